package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coral/internal/errs"
)

func TestNatural(t *testing.T) {
	want := []string{"base", "ckpt", "ckpt-9", "ckpt-9/a", "ckpt-9/b2", "ckpt-9/b10", "ckpt-010/a", "ckpt-010/b", "ckpt-10/a", "ckpt-100", "d1x", "d1y", "d99999999999999999999998", "d99999999999999999999999"}
	got := slices.Clone(want)
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		r.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
		slices.SortFunc(got, byDirectory)
		if !slices.Equal(got, want) {
			t.Fatalf("%q", got)
		}
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkpoint is a safetensors of two tensors, n elements of F32 each, step by step away from the same weights.
func checkpoint(n, step int) []byte {
	r := rand.New(rand.NewPCG(7, 7))
	walk := rand.New(rand.NewPCG(8, uint64(step)))
	head := fmt.Sprintf(`{"a":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]},"b":{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}}`, n, 4*n, n, 4*n, 8*n)
	for len(head)%8 != 0 {
		head += " "
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	b = append(b, head...)
	for range 2 * n {
		v := float32(r.NormFloat64()*0.05 + walk.NormFloat64()*1e-5*float64(step))
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// family writes a base, three checkpoints and a small file, and returns the directory.
func family(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "z-base/model.safetensors"), checkpoint(40_000, 0))
	for _, step := range []int{2, 10, 30} {
		write(t, filepath.Join(dir, fmt.Sprintf("run/ckpt-%d/model.safetensors", step)), checkpoint(40_000, step))
	}
	write(t, filepath.Join(dir, "run/ckpt-10/notes.txt"), []byte("loss 0.5\n"))
	write(t, filepath.Join(dir, "run/.git/config"), []byte("not part of it"))
	return dir
}

func names(files []file, root string) (out []string) {
	for _, f := range files {
		rel, _ := filepath.Rel(root, f.from)
		out = append(out, rel)
	}
	return out
}

func TestCollect(t *testing.T) {
	root, err := filepath.EvalSymlinks(family(t))
	if err != nil {
		t.Fatal(err)
	}
	in := func(p string) string { return filepath.Join(root, p) }
	if err := os.Symlink(in("z-base/model.safetensors"), in("run/ckpt-10/linked.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(in("gone"), in("run/dangling")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(in("run/ckpt-2"), in("link")); err != nil {
		t.Fatal(err)
	}
	run := []string{"run/ckpt-2/model.safetensors", "z-base/model.safetensors", "run/ckpt-10/model.safetensors", "run/ckpt-10/notes.txt", "run/ckpt-30/model.safetensors"}
	for _, c := range []struct {
		name string
		o    Options
		want []string
	}{
		{"all", Options{Paths: []string{in("run")}}, run},
		{"base first, once", Options{Paths: []string{root}, Base: in("z-base")}, append([]string{"z-base/model.safetensors"}, run...)},
		{"by number", Options{Paths: []string{in("run/ckpt-30"), in("run/ckpt-2")}}, []string{run[0], run[4]}},
		{"as given", Options{Paths: []string{in("run/ckpt-30"), in("run/ckpt-2")}, KeepOrder: true}, []string{run[4], run[0]}},
		{"a link to a directory", Options{Paths: []string{in("link"), in("z-base")}}, []string{run[0], "z-base/model.safetensors"}},
		{"globs", Options{Paths: []string{in("run")}, Include: []string{"*.txt", "x*"}}, []string{run[3]}},
	} {
		files, err := collect(&c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := names(files, root); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		for i, f := range files {
			if want := fmt.Sprintf("%04d/%s", i, filepath.Base(f.name)); f.name != want {
				t.Errorf("%s: name %q, want %q", c.name, f.name, want)
			}
		}
	}
	for _, o := range []Options{{Paths: []string{in("nowhere")}}, {Paths: []string{in("run")}, Include: []string{"*.gguf"}}} {
		if _, err := collect(&o); err == nil {
			t.Errorf("%v: no error", o.Paths)
		}
	}
}

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	good := checkpoint(1000, 0)
	write(t, at("good"), good)
	other := bytes.Clone(good)
	other[len(other)-1] ^= 1
	write(t, at("bit"), other)
	write(t, at("short"), good[:len(good)-1])
	write(t, at("long"), append(bytes.Clone(good), 0))
	// The same tensors behind another header: what a tool writes that keeps tensors and not files.
	head := fmt.Sprintf(`{"b":{"dtype":"F32","shape":[1000],"data_offsets":[4000,8000]},"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}%s`, strings.Repeat(" ", 16))
	again := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	write(t, at("header"), append(append(again, head...), good[len(good)-8000:]...))
	for _, c := range []struct {
		got  string
		want Exactness
	}{
		{"good", Exactness{Files: 1}},
		{"gone", Exactness{Files: 1, FilesDiffer: 1, FilesMissing: 1}},
		{"bit", Exactness{Files: 1, FilesDiffer: 1, Tensors: 2, TensorsDiffer: 1}},
		{"short", Exactness{Files: 1, FilesDiffer: 1, Tensors: 2, TensorsDiffer: 2}},
		{"long", Exactness{Files: 1, FilesDiffer: 1, Tensors: 2, TensorsDiffer: 2}},
		{"header", Exactness{Files: 1, FilesDiffer: 1, Tensors: 2}},
	} {
		var e Exactness
		if err := e.compare(at("good"), at(c.got)); err != nil || e != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.got, e, err, c.want)
		}
		if e.Exact() != (c.got == "good") {
			t.Errorf("%s: exact is %v", c.got, e.Exact())
		}
	}
}

func TestOurs(t *testing.T) {
	work := t.TempDir()
	steps := map[string]bool{}
	o := Options{Paths: []string{family(t)}, NoPeers: true, Cores: 1, Dir: work, Progress: func(step string, done, total int64) {
		steps[step] = true
		if done < 0 || done > total {
			t.Errorf("%s: %d of %d", step, done, total)
		}
	}}
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Files != 5 || rep.Bytes < 4*320_000 || rep.Cores != 1 || len(rep.Rows) != len(Codecs) {
		t.Errorf("%+v", rep)
	}
	ratio := map[string]float64{}
	for _, w := range rep.Rows {
		if w.Failed != "" || w.Exact == nil || !w.Exact.Exact() || w.Exact.Files != 5 || w.EncodeMBps <= 0 || w.DecodeMBps <= 0 || w.WriteMBps <= 0 || w.EncodeCPU <= 0 || w.WriteCPU < 0 {
			t.Errorf("%s: %+v", w.Name, w)
		}
		ratio[w.Name] = w.Ratio
	}
	if ratio["auto"] > 0.7 || ratio["solo"] < 0.8 {
		t.Errorf("ratios %v: noise of 1e-5 under weights of 0.05 must show", ratio)
	}
	for _, s := range []string{"copy", "auto: encode", "auto: decode", "auto: to files"} {
		if !steps[s] {
			t.Errorf("no progress of %q", s)
		}
	}
	if left, err := os.ReadDir(work); err != nil || len(left) > 0 {
		t.Errorf("left in the work directory: %v, %v", left, err)
	}
}

func TestRefusals(t *testing.T) {
	dir := family(t)
	for _, c := range []struct {
		o    Options
		want error
	}{
		{Options{Paths: []string{dir}, Codecs: []string{"auto", "lzma"}}, errs.Invalid},
		{Options{Paths: []string{dir}, Peers: []string{"tar"}}, errs.Invalid},
		{Options{Paths: []string{t.TempDir()}}, errs.NotFound},
		{Options{Paths: []string{dir}, Dir: filepath.Join(dir, "nowhere")}, os.ErrNotExist},
	} {
		if _, err := Run(t.Context(), c.o); !errors.Is(err, c.want) {
			t.Errorf("%v: %v, want %v", c.o, err, c.want)
		}
	}
}

func TestCanceled(t *testing.T) {
	work := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Paths: []string{family(t)}, NoPeers: true, Dir: work, Progress: func(step string, _, _ int64) {
		if strings.HasSuffix(step, "encode") {
			cancel()
		}
	}}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(work); err != nil || len(left) > 0 {
		t.Errorf("left in the work directory: %v, %v", left, err)
	}
}

// tools writes programs that stand for a peer, and returns Options.Tools.
func tools(t *testing.T, name, script string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "tools", name)
	write(t, path, []byte("#!/bin/sh\n"+script))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// zstdScript is a zstd that compresses nothing; damage is done to what it gives back.
func zstdScript(damage string) string {
	return `case "$1" in version) exit 1;; --version) echo "*** Zstandard CLI (64-bit) v9.8.7, by nobody ***"; exit;; esac
for a; do case "$a" in -o) out=next;; -*) ;; *) if [ "$out" = next ]; then out=$a; else in=$a; fi;; esac; done
cp "$in" "$out"
case "$1" in -d) ` + damage + `;; esac
`
}

func peerRow(t *testing.T, o Options, name string) *Row {
	t.Helper()
	o.Codecs, o.Peers, o.Dir = []string{"auto"}, []string{name}, t.TempDir()
	rep, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left in the work directory: %v, %v", left, err)
	}
	return rep.Rows[1]
}

func TestPeerProgram(t *testing.T) {
	dir := family(t)
	w := peerRow(t, Options{Paths: []string{dir}, Tools: tools(t, "zstd", zstdScript(":"))}, "zstd")
	if w.Version != "9.8.7" || w.Failed != "" || w.Ratio != 1 || w.EncodeMBps <= 0 || w.WriteMBps <= 0 || w.Exact == nil || !w.Exact.Exact() || w.Exact.Files != 5 || w.PeakBytes <= 0 {
		t.Errorf("%+v", w)
	}
	w = peerRow(t, Options{Paths: []string{dir}, Tools: tools(t, "zstd", zstdScript(`printf x >>"$out"; printf xyz | dd of="$out" bs=1 seek=400000 conv=notrunc 2>/dev/null`))}, "zstd")
	if w.Exact == nil || w.Exact.Exact() || w.Exact.FilesDiffer != 1 {
		t.Errorf("damaged: %+v, %+v", w, w.Exact)
	}
	w = peerRow(t, Options{Paths: []string{dir}, Tools: tools(t, "zstd", zstdScript(`echo "no such   memory" >&2; exit 3`))}, "zstd")
	if w.Exact != nil || w.Ratio == 0 || !strings.Contains(w.Failed, "decode: zstd: exit status 3: no such memory") {
		t.Errorf("failing: %+v", w)
	}
}

// TestPeerLimit: a tool that hangs is ended with its children.
func TestPeerLimit(t *testing.T) {
	o := Options{Paths: []string{family(t)}, PeerLimit: 300 * time.Millisecond, Tools: tools(t, "zstd", "case \"$1\" in *version) echo 1.0;; *) sleep 600 & sleep 600;; esac\n")}
	if w := peerRow(t, o, "zstd"); w.Failed != "encode: ended after 300ms" {
		t.Errorf("%+v", w)
	}
}

func TestPeerMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, name := range []string{"restic", "lmz"} {
		if w := peerRow(t, Options{Paths: []string{family(t)}}, name); w.Missing == "" || w.Failed != "" || w.Exact != nil || w.Ratio != 0 {
			t.Errorf("%s: %+v", name, w)
		}
	}
}

// TestHelper drives the helper with a Python package that stands for lmz, and without any.
func TestHelper(t *testing.T) {
	tool := t.TempDir()
	write(t, filepath.Join(tool, "peers/lmz/lmz/__init__.py"), nil)
	write(t, filepath.Join(tool, "peers/lmz/lmz/cli.py"), []byte(`
import shutil
def main(a):
    print("noise on stdout")
    if a[0] == "compress": shutil.make_archive(a[-1], "tar", a[-2])
    else: shutil.unpack_archive(a[-2] + ".tar", a[-1])
`))
	write(t, filepath.Join(tool, "peers/lmz/lmzip-0.1.2.dist-info/METADATA"), []byte("Metadata-Version: 2.1\nName: lmzip\nVersion: 0.1.2\n"))
	w := peerRow(t, Options{Paths: []string{family(t)}, Tools: tool}, "lmz")
	if w.Missing != "" {
		t.Skip("no python3 here: ", w.Missing)
	}
	if w.Version != "0.1.2" || w.Failed != "" || w.Ratio < 1 || w.Exact == nil || !w.Exact.Exact() || w.WriteMBps <= 0 {
		t.Errorf("%+v, %+v", w, w.Exact)
	}
	write(t, filepath.Join(tool, "peers/lmz/lmz/cli.py"), []byte("def main(a): return 7\n"))
	if w := peerRow(t, Options{Paths: []string{family(t)}, Tools: tool}, "lmz"); !strings.Contains(w.Failed, "RuntimeError: lmz compress: exit code 7") {
		t.Errorf("%+v", w)
	}
	if w := peerRow(t, Options{Paths: []string{family(t)}, Tools: t.TempDir(), Python: "python3"}, "bigsmall"); w.Missing == "" && w.Version == "" {
		t.Errorf("%+v", w)
	}
}
