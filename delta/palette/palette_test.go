package palette

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

var kinds = []dtype.Kind{dtype.F32, dtype.BF16, dtype.F16, dtype.F64, dtype.C64, dtype.I64, dtype.I16}

// quantised returns n bytes of elements of w bytes with k different values.
func quantised(n, w, k int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	values := codectest.Blob("random", dtype.Bytes, k*w, 2)
	var b []byte
	for len(b) < n {
		i := min(max(int(math.Floor(r.NormFloat64()*float64(k)/5+float64(k)/2)), 0), k-1)
		b = append(b, values[i*w:(i+1)*w]...)
	}
	return b[:n]
}

func TestSuite(t *testing.T) {
	var c, d Coder
	codectest.Run(t, codectest.Block{
		Encode: func(dt dtype.Kind, raw, _ []byte) ([]byte, []byte, bool) {
			w, _ := Width(dt)
			out, ok := c.Encode(nil, raw, w)
			return nil, out, ok
		},
		Decode: func(dt dtype.Kind, _, dst, stored, _ []byte) error {
			w, _ := Width(dt)
			return d.Decode(dst, stored, w)
		},
	}, kinds, []string{"none"})
}

// TestQuantised: few values take what their indices do, and what is expected is about what comes.
func TestQuantised(t *testing.T) {
	var c Coder
	for _, w := range []int{2, 4, 8} {
		for _, k := range []int{2, 3, 16, 255, 256} {
			for _, n := range []int{1 << 16, 1<<16 - 1, 9001} {
				raw := quantised(n, w, k)
				expected, ok := c.Bytes(raw, w)
				if !ok {
					t.Fatalf("%d values of %d bytes are too many", k, w)
				}
				out, ok := c.Encode([]byte("x"), raw, w)
				if !ok {
					t.Fatalf("%d values of %d bytes not coded", k, w)
				}
				if got := len(out) - 1; got > expected+expected/20+64 || expected > got+got/20+64 {
					t.Errorf("%d values of %d bytes: %d bytes, expected %d", k, w, got, expected)
				}
				got := make([]byte, n)
				if err := c.Decode(got, out[1:], w); err != nil || !bytes.Equal(got, raw) {
					t.Fatalf("%d values of %d bytes: decoded to others: %v", k, w, err)
				}
			}
		}
		if _, ok := c.Bytes(quantised(1<<16, w, 400), w); ok {
			t.Error("more than 256 values are few")
		}
		if _, ok := c.Encode(nil, make([]byte, 1000), w); ok {
			t.Error("one value is coded")
		}
	}
}

// TestDamagedValues: values out of order and indices beyond them are refused.
func TestDamagedValues(t *testing.T) {
	var c Coder
	raw := quantised(8000, 2, 5)
	out, _ := c.Encode(nil, raw, 2)
	bad := bytes.Clone(out)
	copy(bad[1:], []byte{9, 0, 9, 0})
	if err := c.Decode(make([]byte, 8000), bad, 2); err == nil {
		t.Error("values out of order were read")
	}
	bad = bytes.Clone(out)
	bad[0]--
	bad = append(bad[:1+2*4], bad[1+2*5:]...)
	if err := c.Decode(make([]byte, 8000), bad, 2); err == nil {
		t.Error("indices beyond the values were read")
	}
}

func FuzzDecode(f *testing.F) {
	var c Coder
	for i, dt := range kinds {
		w, _ := Width(dt)
		out, _ := c.Encode(nil, quantised(3000, w, 20), w)
		f.Add(uint8(i), uint16(3000), out)
	}
	f.Fuzz(func(t *testing.T, k uint8, n uint16, stored []byte) {
		w, _ := Width(kinds[int(k)%len(kinds)])
		dst := make([]byte, n)
		if c.Decode(dst, stored, w) != nil {
			return
		}
		if out, ok := c.Encode(nil, dst, w); ok {
			again := make([]byte, n)
			if err := c.Decode(again, out, w); err != nil || !bytes.Equal(again, dst) {
				t.Fatalf("what was decoded does not come back: %v", err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var c Coder
	raw := quantised(1<<16, 4, 200)
	out, _ := c.Encode(nil, raw, 4)
	dst := make([]byte, len(raw))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Decode(dst, out, 4); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(out))/float64(len(raw)), "ratio")
}

func BenchmarkEncode(b *testing.B) {
	var c Coder
	raw := quantised(1<<16, 4, 200)
	var out []byte
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		out, _ = c.Encode(out[:0], raw, 4)
	}
}

// BenchmarkRefuse is what floats that are not quantised cost.
func BenchmarkRefuse(b *testing.B) {
	var c Coder
	raw := codectest.Blob("gauss", dtype.F32, 1<<16, 1)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		c.Bytes(raw, 4)
	}
}
