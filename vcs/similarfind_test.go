package vcs

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/race"
	"coral/vcs/content"
)

// weights is one tensor of a test model.
type weights struct {
	name string
	x    []float32
}

// model writes tensors as safetensors of F32 or BF16.
func model(bf16 bool, ts ...weights) string {
	dt, width := "F32", 4
	if bf16 {
		dt, width = "BF16", 2
	}
	head := map[string]any{}
	var data []byte
	for _, t := range ts {
		head[t.name] = map[string]any{"dtype": dt, "shape": []int{len(t.x) / 64, 64}, "data_offsets": []int{len(data), len(data) + width*len(t.x)}}
		for _, v := range t.x {
			if bits := math.Float32bits(v); bf16 {
				data = binary.LittleEndian.AppendUint16(data, uint16((bits+0x8000)>>16))
			} else {
				data = binary.LittleEndian.AppendUint32(data, bits)
			}
		}
	}
	b, _ := json.Marshal(head)
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(b)))) + string(b) + string(data)
}

func normal(seed uint64, n int, sigma float64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 9))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * sigma)
	}
	return x
}

// step is a small update of x.
func step(x []float32, seed uint64, size float64) []float32 {
	d := normal(seed, len(x), size)
	for i := range d {
		d[i] += x[i]
	}
	return d
}

// bigTensor is two extents of F32; the race detector, which has the same goroutines to look at, gets a small one.
var bigTensor = func() int {
	if race.Enabled {
		return 64 * 1100
	}
	return 4<<20 + 64*100
}()

// family adds a base, a fine-tune of it and an unrelated model, each in a commit of its own, and returns their weights and commits.
func family(t *testing.T, r *Repo) (base, tune []weights, commits map[string]oid.ID) {
	t.Helper()
	base = []weights{{"emb", normal(1, bigTensor, 0.02)}, {"w1", normal(2, 64*1000, 0.02)}, {"w2", normal(3, 64*1000, 0.02)}, {"norm", normal(4, 64, 0.02)}}
	other := []weights{{"emb", normal(11, bigTensor, 0.02)}, {"w1", normal(12, 64*1000, 0.02)}}
	for i, w := range base {
		tune = append(tune, weights{w.name, step(w.x, uint64(20+i), 1e-3)})
	}
	commits = map[string]oid.ID{}
	for _, m := range []struct {
		name string
		w    []weights
	}{{"base", base}, {"other", other}, {"tune", tune}} {
		add(t, r, map[string]string{m.name + "/model.safetensors": model(false, m.w...)})
		commits[m.name] = snap(t, r, m.name)
	}
	return base, tune, commits
}

// text is a source in memory.
type text string

func (s text) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	return strings.NewReader(string(s)).ReadAt(p, off)
}

func find(t *testing.T, r *Repo, q SimilarQuery) SimilarResult {
	t.Helper()
	if q.N == 0 {
		q.N = 2
	}
	q.Threshold = 0.98
	q.Progress = func(int64, int64, string) {}
	res, err := r.FindSimilar(bg, q)
	must(t, err)
	return res
}

func TestFindSimilar(t *testing.T) {
	r := newRepo(t)
	_, tune, commits := family(t, r)
	// A later step of the fine-tune as BF16, all names changed, in another order.
	next := model(true, weights{"norm", step(tune[3].x, 30, 1e-4)}, weights{"a", step(tune[2].x, 31, 1e-4)}, weights{"b", step(tune[1].x, 32, 1e-4)}, weights{"c", step(tune[0].x, 33, 1e-4)})
	res := find(t, r, SimilarQuery{Source: text(next), Size: int64(len(next))})
	if len(res.Files) != 2 || res.Files[0].Place != (Place{Path: "tune/model.safetensors", Commit: commits["tune"]}) || res.Files[1].Place.Path != "base/model.safetensors" {
		t.Fatalf("files %+v", res.Files)
	}
	if f := res.Files[0]; f.Tensors != 3 || f.Share != 1 || f.Correlation < 0.9999 || f.Correlation <= res.Files[1].Correlation {
		t.Errorf("parent %+v", f)
	}
	want := map[string]string{"a": "w2", "b": "w1", "c": "emb"}
	for _, x := range res.Tensors {
		if x.Name == "norm" {
			if x.Skipped == "" || len(x.Matches) > 0 {
				t.Errorf("a short tensor: %+v", x)
			}
			continue
		}
		if x.Skipped != "" || len(x.Matches) != 2 {
			t.Errorf("tensor %s: %+v", x.Name, x)
			continue
		}
		if m := x.Matches[0]; m.Tensor.Name != want[x.Name] || m.Place.Commit != commits["tune"] || m.Correlation < 0.9999 || m.Cosine < 0.9999 || m.Identical {
			t.Errorf("tensor %s: nearest %+v", x.Name, m)
		}
	}
	if one := find(t, r, SimilarQuery{Source: text(next), Size: int64(len(next)), Tensor: "b"}); len(one.Tensors) != 1 || one.Tensors[0].Matches[0].Tensor.Name != "w1" {
		t.Errorf("one tensor: %+v", one)
	}
	_, err := r.FindSimilar(bg, SimilarQuery{Source: text(next), Size: int64(len(next)), Tensor: "none", N: 1, Threshold: 0.98})
	wantErr(t, err, errs.NotFound, "none")
	_, err = r.FindSimilar(bg, SimilarQuery{Source: text("hello"), Size: 5, N: 1, Threshold: 0.98})
	wantErr(t, err, errs.Invalid, "no tensors")
}

// TestFindSimilarStored asks about a stored file: it is no answer itself, a copy elsewhere is.
func TestFindSimilarStored(t *testing.T) {
	r := newRepo(t)
	base, _, commits := family(t, r)
	add(t, r, map[string]string{"live/x.safetensors": model(false, weights{"moved", base[1].x})})
	must(t, r.Live.Drain(bg, nil))
	c, err := r.Objects.Commit(bg, commits["tune"])
	must(t, err)
	e, err := r.Lookup(bg, c.Tree, "base/model.safetensors")
	must(t, err)
	f, err := r.Content.Open(bg, e.ID)
	must(t, err)
	res := find(t, r, SimilarQuery{Source: f, Size: f.Size(), Manifest: e.ID})
	if len(res.Files) != 2 || res.Files[0].Place.Path != "tune/model.safetensors" || res.Files[1].Place != (Place{Path: "live/x.safetensors", Branch: "main"}) {
		t.Errorf("files %+v", res.Files)
	}
	for _, x := range res.Tensors {
		if x.Name == "w1" && (len(x.Matches) != 2 || !x.Matches[0].Identical || x.Matches[0].Tensor.Name != "moved") {
			t.Errorf("copied tensor: %+v", x.Matches)
		}
	}
}

func TestRebuildSimilar(t *testing.T) {
	r := newRepo(t)
	_, tune, commits := family(t, r)
	indexed := r.Similar.Len()
	want := int64(8)
	if bigTensor > 4<<20 {
		want += 3 // each emb is two blobs
	}
	if r.Similar.Incomplete() || indexed != want {
		t.Errorf("%d indexed, incomplete %v", indexed, r.Similar.Incomplete())
	}
	must(t, r.Close(bg))
	must(t, os.RemoveAll(filepath.Join(r.Dir, "similar")))
	r = openRepo(t, r.Dir)
	if !r.Similar.Incomplete() {
		t.Error("complete without its directory")
	}
	steps := int64(0)
	n, err := r.RebuildSimilar(bg, func(done, total int64, _ string) { steps = done })
	must(t, err)
	if n != indexed || steps != 3 || r.Similar.Incomplete() {
		t.Errorf("%d indexed in %d files, want %d in 3; incomplete %v", n, steps, indexed, r.Similar.Incomplete())
	}
	m := model(false, weights{"q", step(tune[1].x, 40, 1e-4)})
	res := find(t, r, SimilarQuery{Source: text(m), Size: int64(len(m))})
	if len(res.Files) != 2 || res.Files[0].Place.Commit != commits["tune"] {
		t.Errorf("files %+v", res.Files)
	}
	must(t, r.Close(bg))
	ro, err := Open(bg, r.Dir, Options{ReadOnly: true})
	must(t, err)
	_, err = ro.RebuildSimilar(bg, nil)
	wantErr(t, err, errs.ReadOnly)
	must(t, ro.Close(bg))
}

// TestGCForgetsSimilar drops what a collection dropped from the index, too.
func TestGCForgetsSimilar(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"keep/m.safetensors": model(false, weights{"w", normal(1, 64*1000, 1)})})
	snap(t, r, "keep")
	add(t, r, map[string]string{"drop/m.safetensors": model(false, weights{"v", normal(2, 64*500, 1)})})
	must(t, r.Live.Drain(bg, nil))
	tree, err := r.LiveTree(bg, "main")
	must(t, err)
	dir, err := tree.Lookup(bg, tree.Root(), "drop")
	must(t, err)
	must(t, tree.Unlink(bg, dir.Ino, "m.safetensors"))
	if n := r.Similar.Len(); n != 2 {
		t.Fatalf("%d indexed", n)
	}
	res, err := r.GC(bg, time.Duration(0), true, false)
	must(t, err)
	if n := r.Similar.Len(); res.Dropped == 0 || n != 1 {
		t.Errorf("%d records dropped, %d still indexed", res.Dropped, n)
	}
}

var (
	_ SimilarSource = (*content.File)(nil)
	_ io.ReaderAt   = sourceReader{}
)
