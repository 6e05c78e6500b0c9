package integration

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// hostile returns files that lie, by name.
func hostile(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	st := func(header string, body int) []byte {
		b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
		return append(append(b, header...), make([]byte, body)...)
	}
	out["huge-header.safetensors"] = binary.LittleEndian.AppendUint64(nil, 1<<60)
	out["lying-offsets.safetensors"] = st(`{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}`, 64)
	out["overlap.safetensors"] = st(`{"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},"b":{"dtype":"F32","shape":[16],"data_offsets":[32,96]}}`, 96)
	out["negative.safetensors"] = st(`{"a":{"dtype":"F32","shape":[-4],"data_offsets":[-16,0]}}`, 96)
	out["deep.safetensors"] = st(strings.Repeat(`{"a":`, 200_000), 10)
	out["truncated.safetensors"] = st(`{"a":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}`, 100)
	out["gguf-lies.gguf"] = append([]byte("GGUF\x03\x00\x00\x00"), bytes.Repeat([]byte{0xff}, 200)...)
	npy := []byte("\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976, 8), }")
	out["big.npy"] = append(npy, make([]byte, 100)...)
	out["deep-pickle.pth"] = append([]byte("\x80\x02"), bytes.Repeat([]byte("("), 3_000_000)...)
	out["empty"] = nil
	out["one"] = []byte{0}

	var z bytes.Buffer
	w := zip.NewWriter(&z)
	f, err := w.Create("archive/data.pkl") // deflated: a bomb of zeros
	must(t, err)
	for range 200 {
		_, err := f.Write(make([]byte, 1<<20))
		must(t, err)
	}
	f, err = w.CreateHeader(&zip.FileHeader{Name: "archive/data/0", Method: zip.Store})
	must(t, err)
	_, err = f.Write(make([]byte, 1000))
	must(t, err)
	must(t, w.Close())
	out["bomb.pt"] = z.Bytes()
	cut := bytes.Clone(z.Bytes())
	for i := len(cut) - 60; i < len(cut); i++ {
		cut[i] ^= 0xa5
	}
	out["bad-directory.pt"] = cut
	return out
}

// TestHostileFiles stores files that lie: they come back exactly, in bounded time and memory.
func TestHostileFiles(t *testing.T) {
	r := mounttest.Mounted(t)
	files := hostile(t)
	for name, b := range files {
		r.Write("h/"+name, b)
	}
	// real files, cut at many places
	for _, real := range realFiles(t) {
		b, err := os.ReadFile(real)
		must(t, err)
		for i := range 12 {
			name := fmt.Sprintf("cut%d-%s", i, filepath.Base(real))
			files[name] = b[:len(b)*i/12]
			r.Write("h/"+name, files[name])
			flipped := bytes.Clone(b)
			for j := i; j < len(flipped); j += 997 {
				flipped[j] ^= byte(j)
			}
			files["flip-"+name] = flipped
			r.Write("h/flip-"+name, flipped)
		}
	}
	id := r.Snapshot("hostile")
	r.Coral("cache", "drop")
	r.Unmount()
	r.Mount()
	for name, b := range files {
		r.Want(r.Commit(id, "h", name), b)
		r.Want(r.Live("h", name), b)
	}
	r.Coral("fsck", "--full")
	if rss := peakRSS(t, r.PID()); rss > 400<<20 {
		t.Errorf("peak RSS %d MiB", rss>>20)
	}
}

// realFiles returns the small real model files that the segmenters' tests keep.
func realFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(mounttest.Root(), "delta/format/*/testdata/*"))
	must(t, err)
	var out []string
	for _, f := range files {
		switch filepath.Ext(f) {
		case ".pt", ".pth", ".bin", ".safetensors", ".npy", ".npz", ".gguf", ".ckpt":
			out = append(out, f)
		}
	}
	if len(out) < 5 {
		t.Fatalf("only %d real files found", len(out))
	}
	return out
}

// peakRSS returns VmHWM of a process in bytes.
func peakRSS(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			must(t, err)
			return kb << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestMemoryBound puts a 3 GB file of three tensors of 1 GB in and takes it out; the daemon stays under 400 MiB.
func TestMemoryBound(t *testing.T) {
	if testing.Short() {
		t.Skip("CANNOT RUN under -short: it writes 3 GB")
	}
	py := mounttest.Python(t)
	r := mounttest.Mounted(t)
	gen := `
import sys, json, struct, numpy as np
n = 1 << 28; rng = np.random.default_rng(1)
h = {k: {"dtype": "F32", "shape": [n], "data_offsets": [i * 4 * n, (i + 1) * 4 * n]} for i, k in enumerate("abc")}
b = json.dumps(h).encode(); b += b" " * (-len(b) % 8)
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack("<Q", len(b)) + b)
    for k in "abc":
        for _ in range(64):
            f.write((rng.standard_normal(n // 64, dtype=np.float32) * 0.02).tobytes())
`
	path := r.Live("big.safetensors")
	mounttest.Exec(t, py, "-c", gen, path)
	sum := splitLines(mounttest.Exec(t, "sha256sum", path))[0][:64]
	id := r.Snapshot("3 GB")
	t.Logf("peak RSS after ingest: %d MiB", peakRSS(t, r.PID())>>20)
	r.Coral("cache", "drop")
	if got := splitLines(mounttest.Exec(t, "sha256sum", r.Commit(id, "big.safetensors")))[0][:64]; got != sum {
		t.Error("3 GB came back different")
	}
	rss := peakRSS(t, r.PID())
	t.Logf("peak RSS after reading back: %d MiB", rss>>20)
	if rss > 400<<20 {
		t.Errorf("peak RSS %d MiB, want under 400", rss>>20)
	}
	var s struct {
		Saved float64 `json:"saved_ratio"`
	}
	r.JSON(&s, "stats")
	if s.Saved < 0.1 {
		t.Errorf("saved ratio %.3f: the tensors were not recognised", s.Saved)
	}
}

// TestDedup: the same tensors in two containers, under two names, in two commits are stored once.
func TestDedup(t *testing.T) {
	py := mounttest.Python(t)
	r := mounttest.Mounted(t)
	gen := `
import sys, torch
from safetensors.torch import save_file
d = sys.argv[1]; g = torch.Generator().manual_seed(1)
w = {"a": torch.randn(512, 1024, generator=g), "b": torch.randn(1024, 512, generator=g)}
save_file(w, d + "/x.safetensors")
if sys.argv[2] == "2":
    torch.save({"other.name": w["a"], "tied": w["a"], "b": w["b"]}, d + "/x.pt")
    torch.save(w, d + "/legacy.pth", _use_new_zipfile_serialization=False)
    import numpy; numpy.savez(d + "/x.npz", **{k: v.numpy() for k, v in w.items()})
`
	must(t, os.MkdirAll(r.Live("m"), 0o755))
	mounttest.Exec(t, py, "-c", gen, r.Live("m"), "1")
	r.Snapshot("one container")
	stored := func() float64 {
		var s struct {
			Unique float64 `json:"unique_bytes"`
		}
		r.JSON(&s, "stats")
		return s.Unique
	}
	one := stored()
	mounttest.Exec(t, py, "-c", gen, r.Live("m"), "2")
	id := r.Snapshot("four containers")
	four := stored()
	t.Logf("unique bytes: %.0f with one container, %.0f with four", one, four)
	if four-one > 0.02*one {
		t.Errorf("three more containers of the same tensors added %.0f unique bytes to %.0f", four-one, one)
	}
	r.Coral("cache", "drop")
	for _, f := range []string{"x.safetensors", "x.pt", "legacy.pth", "x.npz"} {
		if out, err := exec.Command("cmp", r.Live("m", f), r.Commit(id, "m", f)).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", f, out)
		}
	}
}
