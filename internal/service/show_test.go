package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
)

// showRepo has three commits of a model whose tensor b changes in each and a only in the first, and one directory more.
func showRepo(t *testing.T) (*Service, string) {
	t.Helper()
	s := open(t, newRepo(t), Options{})
	dir := files(t, map[string]string{"ckpt/notes.txt": "hello", "other.safetensors": fourEach("layer.1.only", "layer.1.b")})
	for step := range 3 {
		names := []string{"layer.1.a", "layer.1.b"}
		b := []byte(fourEach(names...))
		b[len(b)-1] = byte(0x3f + step) // the last value of b
		if err := os.WriteFile(filepath.Join(dir, "ckpt", "m.safetensors"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		do(t, s, "add "+Quote(dir+"/ckpt"), nil)
		do(t, s, fmt.Sprintf("snapshot -m 'step %d'", step), nil)
	}
	do(t, s, "add "+Quote(dir+"/other.safetensors")+" --to more", nil)
	do(t, s, "snapshot -m more -t v1", nil)
	return s, dir
}

func TestShowFile(t *testing.T) {
	s, dir := showRepo(t)
	var r ShowResult
	do(t, s, "show v1:ckpt/m.safetensors --stats", &r)
	f := r.File
	if f == nil || f.Format != "safetensors" || f.Tensors != 2 || len(f.List) != 2 || f.Stored == nil || len(f.DTypes) != 1 || len(f.Layers) != 1 || f.Layers[0].Name != "layer.1" || f.Layers[0].Bytes != 32 {
		t.Fatalf("%+v", f)
	}
	a := f.List[0]
	if a.Name != "layer.1.a" || a.TensorStored == nil || a.How == "" || a.Stats == nil || a.Stats.Count != 4 || a.Stats.NaN != 0 || float64(a.Stats.Min) != 0.0078125 || a.Stats.Max <= a.Stats.Min {
		t.Errorf("%+v %+v", a, a.Stats)
	}
	for order, first := range map[string]string{"--sort name": "layer.1.a", "--sort name --reverse": "layer.1.b", "--stats --sort max": "layer.1.b", "--sort bytes": "layer.1.a"} {
		r = ShowResult{}
		do(t, s, "show v1:ckpt/m.safetensors -n 1 "+order, &r)
		if len(r.File.List) != 1 || r.File.List[0].Name != first || r.File.Tensors != 2 {
			t.Errorf("%s: %+v", order, r.File.List)
		}
	}
	disk, err := ShowDisk(t.Context(), &ShowRequest{Disk: control.Text(dir + "/ckpt/m.safetensors"), Stats: true}, nil)
	if err != nil || disk.File.Tensors != 2 || disk.File.List[0].TensorStored != nil || disk.CommitInfo != nil || disk.File.List[1].Stats == nil {
		t.Errorf("%+v, %v", disk, err)
	}
	if disk, err = ShowDisk(t.Context(), &ShowRequest{Disk: control.Text(dir + "/ckpt/notes.txt")}, nil); err != nil || disk.File.Format != "opaque" || disk.File.Why != "" {
		t.Errorf("a text: %+v, %v", disk, err)
	}
	bad := filepath.Join(dir, "bad.safetensors")
	if err := os.WriteFile(bad, []byte(fourEach("a", "b"))[:120], 0o644); err != nil {
		t.Fatal(err)
	}
	if disk, err = ShowDisk(t.Context(), &ShowRequest{Disk: control.Text(bad)}, nil); err != nil || !strings.Contains(disk.File.Why, "damaged") {
		t.Errorf("a damaged file: %+v, %v", disk, err)
	}
}

func TestShowTensor(t *testing.T) {
	s, _ := showRepo(t)
	subjects := func(d *TensorDetail) (out []string) {
		for _, h := range d.History {
			out = append(out, h.Subject)
		}
		return out
	}
	for line, want := range map[string]string{
		"show ckpt/m.safetensors layer.1.b --stats": "step 2,step 1,step 0",
		"show v1:ckpt/m.safetensors layer.1.a":      "step 0",
		"show layer.1.a":                            "step 0",
		"show layer.1.a -c v1":                      "step 0",
		"show :ckpt/m.safetensors layer.1.b -n 1":   "step 2",
		"show layer.1.only -c v1":                   "more",
	} {
		var r ShowResult
		do(t, s, line, &r)
		if r.Tensor == nil || strings.Join(subjects(r.Tensor), ",") != want || r.Tensor.Elements != 4 || r.Tensor.Histogram == nil || sum(r.Tensor.Histogram.Counts) != 4 {
			t.Errorf("%s: %+v", line, r.Tensor)
			continue
		}
		if r.Tensor.More != strings.Contains(line, "-n 1") {
			t.Errorf("%s: more is %v", line, r.Tensor.More)
		}
		for i, h := range r.Tensor.History {
			if last := i == len(r.Tensor.History)-1; (h.Change != nil) != (strings.Contains(line, "--stats") && !last) || h.Change != nil && *h.Change <= 0 {
				t.Errorf("%s: version %d: %+v", line, i, h)
			}
		}
	}
	fails(t, s, "show layer.1.b", errs.Invalid, "ckpt/m.safetensors, more/other.safetensors")
	fails(t, s, "show layer.1.none", errs.NotFound, "no revision, file or tensor")
	fails(t, s, "show v1:ckpt/m.safetensors none", errs.NotFound, `tensor "none"`)
	fails(t, s, "show none -c v1", errs.NotFound, "no path and no tensor")
	fails(t, s, "show v1:ckpt layer.1.a", errs.IsDir, "ckpt")
	fails(t, s, "show v1:ckpt/m.safetensors --histogram", control.ErrUsage, "name a tensor")
	fails(t, s, "show --sort size", control.ErrUsage, "--sort")
	fails(t, s, "show -o x.svg", control.ErrUsage, "--heatmap")
	fails(t, s, "show v1 --heatmap -o x.svg", control.ErrUsage, "command line")
	fails(t, s, "show a b c", control.ErrUsage, "unexpected")
}

// TestShowMounted: a path inside a mount is the file of the repository, with how it is stored and its history.
func TestShowMounted(t *testing.T) {
	f := newFakeMounts()
	s := open(t, newRepo(t), Options{Mounter: f.mount})
	dir := files(t, map[string]string{"m.safetensors": fourEach("a")})
	do(t, s, "add "+Quote(dir+"/m.safetensors")+" --to deep", nil)
	var snap struct{ Commit string }
	do(t, s, "snapshot -m one -t v/1", &snap)
	do(t, s, "branch exp/a", nil)
	point := t.TempDir()
	if _, err := s.Mount(t.Context(), MountOptions{Mountpoint: point}); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"branches/main", "branches/exp/a", "tags/v/1", "commits/" + snap.Commit[:12]} {
		r, err := s.show(t.Context(), &ShowRequest{What: "x/m.safetensors", Disk: control.Text(filepath.Join(point, at, "deep/m.safetensors")), Tensor: "a"}, func(control.Progress) {})
		if err != nil || r.Tensor == nil || r.Tensor.TensorStored == nil || len(r.Tensor.History) != 1 || r.Path != "deep/m.safetensors" {
			t.Errorf("%s: %+v, %v", at, r, err)
		}
	}
	var r ShowResult
	do(t, s, "show HEAD:deep/m.safetensors --against "+Quote(filepath.Join(point, "history/main/deep/m.safetensors/0001-"+snap.Commit[:12])), &r)
	if r.Heatmap == nil || *r.Heatmap.Values[0][0] != 0 {
		t.Errorf("against itself in a mount: %+v", r.Heatmap)
	}
	for _, at := range []string{"history/main/deep/m.safetensors", "branches/none/m", "branches", "views/safetensors/branches/main/m.safetensors", ""} {
		if _, err := s.show(t.Context(), &ShowRequest{What: "x/m", Disk: control.Text(filepath.Join(point, at))}, nil); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", at, err)
		}
	}
	if err := s.Unmount(point, false); err != nil {
		t.Error(err)
	}
}

func sum(list []int64) (n int64) {
	for _, x := range list {
		n += x
	}
	return n
}

func TestShowHeatmap(t *testing.T) {
	s, dir := showRepo(t)
	var r ShowResult
	do(t, s, "show v1:ckpt/m.safetensors --heatmap", &r)
	h := r.Heatmap
	if h == nil || h.Of != "rms" || !slices.Equal(h.Layers, []string{"layer.1"}) || !slices.Equal(h.Kinds, []string{"a", "b"}) || h.Values[0][0] == nil || *h.Values[0][1] <= *h.Values[0][0] {
		t.Fatalf("%+v", h)
	}
	for against, b := range map[string]bool{"v1": false, "HEAD~2": true, "HEAD~2:ckpt/m.safetensors": true, dir + "/ckpt/m.safetensors": false} {
		r = ShowResult{}
		do(t, s, "show v1:ckpt/m.safetensors --against "+Quote(against), &r)
		h := r.Heatmap
		if h == nil || h.Of != "relative_l2" || *h.Values[0][0] != 0 || (*h.Values[0][1] > 0) != b {
			t.Errorf("%s: %+v", against, h)
		}
	}
	r = ShowResult{}
	do(t, s, "show v1:more/other.safetensors --against v1:ckpt/m.safetensors", &r)
	if h := r.Heatmap; h == nil || h.Values[0][slices.Index(h.Kinds, "only")] != nil {
		t.Errorf("a tensor without another: %+v", h)
	}
	fails(t, s, "show v1:ckpt/m.safetensors --against nowhere", errs.NotFound, "against nowhere")
}

func TestFloat(t *testing.T) {
	for _, f := range []float64{0, -1.5, 5e-324, math.Inf(1), math.Inf(-1), math.NaN()} {
		b, err := json.Marshal(Float(f))
		if err != nil {
			t.Fatal(err)
		}
		var got Float
		if err := json.Unmarshal(b, &got); err != nil || float64(got) != f && !(math.IsNaN(f) && math.IsNaN(float64(got))) {
			t.Errorf("%v became %s and %v, %v", f, b, got, err)
		}
	}
	var f Float
	if err := json.Unmarshal([]byte(`"x"`), &f); !errors.Is(err, errs.Invalid) {
		t.Error(err)
	}
}

func TestListLong(t *testing.T) {
	s, _ := showRepo(t)
	for _, rev := range []string{"v1", "branches/main"} {
		var list []EntryInfo
		do(t, s, "ls -l -r "+rev, &list)
		var names []string
		for _, e := range list {
			names = append(names, string(e.Name))
			if e.Name == "ckpt/m.safetensors" && (e.Format != "safetensors" || e.Tensors != 2 || e.Stored == nil) {
				t.Errorf("%+v", e)
			}
		}
		if got := strings.Join(names, " "); got != "ckpt ckpt/m.safetensors ckpt/notes.txt more more/other.safetensors" {
			t.Errorf("%s: %s", rev, got)
		}
	}
	var one []EntryInfo
	do(t, s, "ls -l v1:ckpt/notes.txt", &one)
	if len(one) != 1 || one[0].Format != "opaque" {
		t.Errorf("%+v", one)
	}
}
