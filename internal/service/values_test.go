package service

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "30d": 720 * time.Hour, "2w": 336 * time.Hour, "1w2d3h": 219 * time.Hour, "90m": 90 * time.Minute, "1.5h": 90 * time.Minute, "1d0": 24 * time.Hour,
	} {
		var d Duration
		if err := d.Set(in); err != nil || time.Duration(d) != want {
			t.Errorf("%q = %v, %v, want %v", in, time.Duration(d), err, want)
		}
	}
	for _, in := range []string{"", "d", "-1d", "1x", "9999999999999w", "-3h", "1d-3h", "999999999d", "3d2w"} {
		var d Duration
		if err := d.Set(in); err == nil {
			t.Errorf("%q = %v, want an error", in, time.Duration(d))
		}
	}
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "512": 512, "512M": 512 << 20, "10G": 10 << 30, "1.5GiB": 3 << 29, "2tb": 2 << 40, "1 K": 1024} {
		var z Size
		if err := z.Set(in); err != nil || int64(z) != want {
			t.Errorf("%q = %d, %v, want %d", in, z, err, want)
		}
	}
	for _, in := range []string{"", "G", "-1", "x", "1e99", "NaN", "9999999P", "1GG"} {
		var z Size
		if err := z.Set(in); err == nil {
			t.Errorf("%q = %d, want an error", in, z)
		}
	}
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 10 << 10: "10.0 KiB", 1<<20 - 1: "1.00 MiB", 4402341478: "4.10 GiB", 1 << 62: "4096.0 PiB", -5: "-5 B"} {
		if got := FormatSize(in); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestMetricsJSON(t *testing.T) {
	in := metrics{}
	for _, s := range []string{"a=0.25", "b=nan", "c=-inf", "d=1e-300"} {
		if err := in.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(&SnapshotRequest{Metrics: in})
	if err != nil {
		t.Fatal(err)
	}
	var out SnapshotRequest
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	got := out.Metrics
	if len(got) != 4 || got["a"] != 0.25 || !math.IsNaN(got["b"]) || !math.IsInf(got["c"], -1) || got["d"] != 1e-300 {
		t.Errorf("%s became %v", b, got)
	}
	for _, bad := range []string{`{"a":"x"}`, `{"a":"0.5"}`, `{"a":[]}`, `{"a":null}`} {
		if err := json.Unmarshal([]byte(bad), &metrics{}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestTarget(t *testing.T) {
	for in, want := range map[string]Target{
		"": {}, "main": {Rev: "main"}, "main:": {Rev: "main", HasPath: true}, "main:/a/./b/": {Rev: "main", Path: "a/b", HasPath: true},
		":a": {Path: "a", HasPath: true, Live: true}, "branches/x/y:a:b": {Rev: "x/y", Path: "a:b", HasPath: true, Live: true}, "branches/x": {Rev: "x", HasPath: true, Live: true},
	} {
		got, err := ParseTarget("show", in)
		if err != nil || got != want {
			t.Errorf("%q = %+v, %v, want %+v", in, got, err, want)
		}
		again, err := ParseTarget("show", got.String())
		if err != nil || again != got {
			t.Errorf("%q: String %q gives %+v, %v", in, got.String(), again, err)
		}
	}
	for _, in := range []string{"main:..", "main:../x", "main:a/../../x", "main:a\x00"} {
		if got, err := ParseTarget("show", in); err == nil {
			t.Errorf("%q = %+v, want an error", in, got)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{{"/a", "/a", true}, {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false}, {"/x", "/", true}} {
		if got := within(c.path, c.dir); got != c.want {
			t.Errorf("within(%q, %q) = %v", c.path, c.dir, got)
		}
	}
}

func TestRealPath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   string
		keep bool
		want string
	}{{"link", false, "real"}, {"link", true, "link"}, {"link/x/y", false, "real/x/y"}, {"link/x", true, "real/x"}, {"real", true, "real"}} {
		got, err := realPath(filepath.Join(dir, c.in), c.keep)
		if err != nil || got != filepath.Join(dir, c.want) {
			t.Errorf("realPath(%s, %v) = %s, %v", c.in, c.keep, got, err)
		}
	}
}

// TestFindRepo covers repositories, mounts' .coral/repo files, and what is neither.
func TestFindRepo(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		t.Helper()
		p := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("models/.coral/repo.json", "{}")
	write("models/sub/deep/file", "")
	write("mnt/.coral/repo", filepath.Join(dir, "models")+"\n")
	write("mnt/branches/main/x", "")
	write("gone/.coral/repo", filepath.Join(dir, "deleted")+"\n")
	write("other/.coral/repo", "not a path")
	if err := os.Symlink("models", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(dir, "models/.coral")
	for _, c := range []struct {
		path   string
		upward bool
	}{{"models", false}, {"models/.coral", false}, {"models/sub/deep", true}, {"models/.coral", true}, {"mnt", false}, {"mnt/branches/main", true}, {"link", false}, {"mnt/branches/main/x", true}} {
		got, err := FindRepo(filepath.Join(dir, c.path), c.upward)
		if err != nil || got != want {
			t.Errorf("FindRepo(%s, %v) = %s, %v", c.path, c.upward, got, err)
		}
	}
	for path, text := range map[string]string{"models/sub": "no repository", "other": "no repository", "gone": "moved or deleted", "nowhere": "no repository"} {
		if got, err := FindRepo(filepath.Join(dir, path), false); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("FindRepo(%s) = %s, %v, want %q", path, got, err, text)
		}
	}
}
