package content

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"coral/delta"
)

// cutsOf returns the chunk lengths of data.
func cutsOf(t testing.TB, r io.Reader, size int64) []int {
	t.Helper()
	c, err := newCutter(r, size)
	if err != nil {
		t.Fatal(err)
	}
	defer c.free()
	var out []int
	for {
		b, err := c.next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, len(b))
	}
}

// Where chunks are cut decides what is shared with files stored by older versions.
func TestChunkCutsAreFixed(t *testing.T) {
	const want = "[69258 98302 99140 82279 72644 120406 35465 70516 94033 78664 89581 68334 67125 77178 71725 68281 83284 91190 72274 87354 21215 23865 79640 71004 95379 68160 84646 56210]"
	got := fmt.Sprint(cutsOf(t, bytes.NewReader(noise(99, 2<<20)), 2<<20))
	if got != want {
		t.Errorf("cuts %s\nwant %s", got, want)
	}
	small := cutsOf(t, bytes.NewReader(noise(98, 5000)), 5000)
	if len(small) != 1 || small[0] != 5000 {
		t.Errorf("small stream: %v", small)
	}
}

// Reads of any length give the same cuts, and a pooled cutter the same as a fresh one.
func TestChunkCutsDoNotDependOnReads(t *testing.T) {
	data := noise(97, 1<<20)
	want := fmt.Sprint(cutsOf(t, bytes.NewReader(data), int64(len(data))))
	for _, n := range []int{1, 1000, 4097} {
		if got := fmt.Sprint(cutsOf(t, &slowReader{data, n * 7}, int64(len(data)))); got != want {
			t.Errorf("reads of %d: %s, want %s", n, got, want)
		}
	}
}

type slowReader struct {
	b []byte
	n int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.b)
	r.b = r.b[n:]
	return n, nil
}

// An insertion near the front costs a chunk or two.
func TestChunksResynchronise(t *testing.T) {
	s, b := newStore(t, Options{})
	data := noise(96, 8<<20)
	mustIngest(t, s, data, Hint{})
	before := len(b.blobs())
	moved := append(append(bytes.Clone(data[:1000]), "inserted"...), data[1000:]...)
	res := mustIngest(t, s, moved, Hint{})
	checkFile(t, s, res.Manifest, moved)
	if n := len(b.blobs()) - before; n > 3 {
		t.Errorf("%d new chunks of %d", n, before)
	}
}

func TestChunkAvg(t *testing.T) {
	for _, c := range []struct {
		size int64
		want int
	}{{0, 64 << 10}, {16 << 30, 64 << 10}, {16<<30 + 1, 256 << 10}, {128 << 30, 256 << 10}, {1 << 40, 1 << 20}, {1 << 50, 4 << 20}, {1 << 62, 4 << 20}} {
		if got := chunkAvg(c.size); got != c.want || 4*got > delta.MaxBlob {
			t.Errorf("chunkAvg(%d) = %d, want %d", c.size, got, c.want)
		}
	}
	data := noise(95, 9<<20)
	sum := 0
	for _, n := range cutsOf(t, bytes.NewReader(data), 1<<40) { // as part of a huge file
		if n > 4<<20 {
			t.Errorf("chunk of %d", n)
		}
		sum += n
	}
	if sum != len(data) {
		t.Errorf("chunks cover %d of %d", sum, len(data))
	}
}

func BenchmarkChunk(b *testing.B) {
	data := noise(94, 16<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		cutsOf(b, bytes.NewReader(data), int64(len(data)))
	}
}
