package service

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
)

// weightsFile is a safetensors file of one F32 tensor [n, 64], a small step from base for which step is 0.
func weightsFile(name string, n int, step float64) string {
	head, err := json.Marshal(map[string]any{name: map[string]any{"dtype": "F32", "shape": []int{n, 64}, "data_offsets": []int{0, n * 256}}})
	if err != nil {
		panic(err)
	}
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	out = append(out, head...)
	base, tune := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, 2))
	for range n * 64 {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(base.NormFloat64()+step*tune.NormFloat64())))
	}
	return string(out)
}

func TestSimilar(t *testing.T) {
	dir := newRepo(t)
	s := open(t, dir, Options{})
	src := files(t, map[string]string{
		"m/model.safetensors": weightsFile("w", 300, 0), "asked.safetensors": weightsFile("a:b", 300, 0.01), "far.safetensors": weightsFile("w", 200, 0), "text": "hello",
	})
	do(t, s, "add "+src+"/m", nil)
	do(t, s, "snapshot -m one", nil)
	check := func(line string, tensors int, correlation float64) {
		t.Helper()
		var r SimilarResult
		do(t, s, line, &r)
		if len(r.Tensors) != tensors || r.Indexed != 1 {
			t.Fatalf("%s: %+v", line, r)
		}
		if correlation == 0 {
			if len(r.Files) != 0 || len(r.Tensors[0].Matches) != 0 {
				t.Errorf("%s: %+v", line, r)
			}
			return
		}
		if len(r.Files) != 1 || r.Files[0].Path != "m/model.safetensors" || r.Files[0].Commit.IsZero() || r.Files[0].Share != 1 {
			t.Errorf("%s: files %+v", line, r.Files)
		}
		m := r.Tensors[0].Matches
		if len(m) != 1 || m[0].Name != "w" || m[0].Correlation < correlation || m[0].Cosine < correlation || m[0].Path != "m/model.safetensors" {
			t.Errorf("%s: matches %+v", line, m)
		}
	}
	check("similar "+src+"/asked.safetensors", 1, 0.9999)
	check("similar "+src+"/asked.safetensors:a:b -n 1 --threshold 0.9", 1, 0.9999)
	check("similar "+src+"/far.safetensors", 1, 0)
	check("similar :m/model.safetensors", 1, 0) // only itself
	check("similar HEAD:m/model.safetensors:w", 1, 0)
	check("similar --rebuild "+src+"/asked.safetensors", 1, 0.9999)

	fails(t, s, "similar", control.ErrUsage, "name a file")
	fails(t, s, "similar x -n 0", control.ErrUsage, "-n 0")
	fails(t, s, "similar x --threshold 2", control.ErrUsage, "--threshold 2")
	fails(t, s, "similar x --threshold nan", control.ErrUsage, "--threshold NaN")
	fails(t, s, "similar x", errs.NotFound, "REV:PATH")
	fails(t, s, "similar HEAD:nowhere:w", errs.NotFound, "nowhere")
	fails(t, s, "similar HEAD:m/model.safetensors:v", errs.NotFound, `"v"`)
	fails(t, s, "similar HEAD:m", errs.IsDir, "m")
	fails(t, s, "similar "+src+"/text", errs.Invalid, "no tensors")
	fails(t, s, "similar "+src+"/nowhere", errs.NotFound, "no regular file")

	// An index that is lost is made again when it is needed; a read-only repository says that it is not whole.
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "similar")); err != nil {
		t.Fatal(err)
	}
	ro := open(t, dir, Options{ReadOnly: true})
	var r SimilarResult
	do(t, ro, "similar "+src+"/asked.safetensors", &r)
	if !r.Partial || r.Rebuilt || r.Indexed != 0 {
		t.Errorf("read-only without an index: %+v", r)
	}
	if err := ro.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	r = SimilarResult{}
	do(t, s, "similar "+src+"/asked.safetensors", &r)
	if r.Partial || !r.Rebuilt || r.Indexed != 1 || len(r.Files) != 1 {
		t.Errorf("without an index: %+v", r)
	}
}

func TestOnDisk(t *testing.T) {
	dir := files(t, map[string]string{"a": "", "a:b": "", "d/x": ""})
	for arg, want := range map[string][2]string{
		"a": {"a", ""}, "a:b": {"a:b", ""}, "a:c": {"a", "c"}, "a:b:c": {"a:b", "c"}, "a:c:d": {"a", "c:d"}, "d": {}, "n": {}, "n:a": {}, "": {}, ":": {}, "d/x:": {"d/x", ""},
	} {
		path, tensor, ok := onDisk(filepath.Join(dir, "/") + "/" + arg)
		if arg == "" || arg == ":" {
			path, tensor, ok = onDisk(arg)
		}
		if path = strings.TrimPrefix(path, dir+"/"); path != want[0] || tensor != want[1] || ok != (want[0] != "") {
			t.Errorf("%q: %q, %q, %v, want %q", arg, path, tensor, ok, want)
		}
	}
}
