package service

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"coral/delta"
	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs"
)

// weights are the values of an F32 matrix; step s of the same run differs a little from the one before.
func weights(rows, cols, step int) []float32 {
	w := make([]float32, rows*cols)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range w {
		w[i] = float32(r.NormFloat64() * 0.05)
	}
	for s := range step {
		r := rand.New(rand.NewPCG(2, uint64(s)))
		for i := range w {
			w[i] += float32(r.NormFloat64() * 1e-4)
		}
	}
	return w
}

// safetensors makes a file of one matrix called w and a short vector called bias.
func safetensors(rows, cols int, w []float32) string {
	bias := make([]byte, 4*cols)
	type tensor struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	head, err := json.Marshal(map[string]tensor{"w": {"F32", []int{rows, cols}, [2]int{0, 4 * len(w)}}, "bias": {"F32", []int{cols}, [2]int{4 * len(w), 4*len(w) + len(bias)}}})
	if err != nil {
		panic(err)
	}
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	b = append(b, head...)
	for _, f := range w {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return string(append(b, bias...))
}

// blockCodecs counts the block codecs of a file of the head commit, by name.
func blockCodecs(t *testing.T, repo *vcs.Repo, path string) map[string]int {
	t.Helper()
	id, err := repo.Resolve(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	c, err := repo.Objects.Commit(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	e, err := repo.Lookup(t.Context(), c.Tree, path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := repo.Objects.Manifest(t.Context(), e.ID)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, seg := range m.Segments {
		if seg.Blob.IsZero() {
			continue
		}
		for name, k := range codecsOfBlob(t, repo, seg.Blob) {
			n[name] += k
		}
	}
	return n
}

func codecsOfBlob(t *testing.T, repo *vcs.Repo, id oid.ID) map[string]int {
	t.Helper()
	info, payload, err := repo.Packs.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	if delta.FrameCodec(info.Codec) != delta.FrameBlocks {
		n["no blocks"]++
		return n
	}
	size, err := delta.HeaderLen(payload, info.Stored)
	if err != nil {
		t.Fatal(err)
	}
	h, err := delta.ParseHeader(payload[:size], info.Stored)
	if err != nil {
		t.Fatal(err)
	}
	for i := range h.Blocks() {
		n[h.Codec(i)]++
	}
	return n
}

func TestAddCodec(t *testing.T) {
	s := open(t, newRepo(t), Options{})
	for i, codec := range []string{"", "xor_float32", "exponent_mantissa", "xor_bfloat16", ""} {
		src := files(t, map[string]string{"m.safetensors": safetensors(300, 256, weights(300, 256, i+1))})
		line := "add " + Quote(src+"/m.safetensors")
		if codec != "" {
			line += " --codec " + codec
		}
		do(t, s, line, nil)
		do(t, s, "snapshot", nil)
		got := blockCodecs(t, s.Repo(), "m.safetensors")
		want := codec
		if codec == "exponent_mantissa" {
			want = "exponent_mantissa-base"
		}
		named := got["xor_float32"] + got["xor_bfloat16"] + got["exponent_mantissa"] + got["exponent_mantissa-base"]
		if codec == "" && named > 0 || codec != "" && got[want] == 0 {
			t.Errorf("step %d with codec %q: blocks by %v", i, codec, got)
		}
	}
	fails(t, s, "add /x --codec zip", control.ErrUsage, "one of auto, float32_raw")
	fails(t, s, "add /x --codec sparse", control.ErrUsage, "coral compact")
	if _, err := s.Call(t.Context(), "add", json.RawMessage(`{"files":["/x"],"codec":"zip"}`), func(control.Progress) {}); control.Class(err) != "usage" {
		t.Errorf("codec over the socket: %v", err)
	}
	var rep FsckResult
	raw, err := s.Call(t.Context(), "fsck", json.RawMessage(`{"full":true}`), func(control.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	if rep = raw.(FsckResult); !rep.OK {
		t.Errorf("fsck: %+v", rep)
	}
}

func TestSetCodec(t *testing.T) {
	s := open(t, newRepo(t), Options{})
	if err := s.SetCodec(t.Context(), "xor_bfloat16"); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		src := files(t, map[string]string{"m.safetensors": safetensors(300, 256, weights(300, 256, i+1))})
		do(t, s, "add "+Quote(src+"/m.safetensors"), nil)
		do(t, s, "snapshot", nil)
	}
	if got := blockCodecs(t, s.Repo(), "m.safetensors"); got["xor_bfloat16"] == 0 {
		t.Errorf("blocks by %v", got)
	}
	if err := s.SetCodec(t.Context(), "zip"); control.Class(err) != "usage" {
		t.Errorf("unknown codec: %v", err)
	}
}
