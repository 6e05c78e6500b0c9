package content

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"coral/delta/format"
)

// Files of real writers, and the same cut short at every few bytes, go in by the real parsers and come out.
func TestRealFiles(t *testing.T) {
	want := map[string]string{
		".safetensors": format.Safetensors, ".pt": format.TorchZip, ".ts": format.TorchZip, ".pth": format.TorchLegacy,
		".npy": format.NPY, ".npz": format.NPZ, ".gguf": format.GGUF,
		".h5": format.HDF5, ".keras": format.Keras, ".msgpack": format.FlaxMsgpack,
	}
	files, err := filepath.Glob("../../delta/format/*/testdata/*")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d fixtures of delta/format, %v", len(files), err)
	}
	s, _ := newStore(t, Options{})
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		res := mustIngest(t, s, data, Hint{Path: path})
		checkFile(t, s, res.Manifest, data)
		if w := want[filepath.Ext(path)]; w != "" {
			if got := mustOpen(t, s, res.Manifest).Manifest().Format; got != w {
				t.Errorf("%s: format %s, want %s", path, got, w)
			}
		}
		for n := 0; n < len(data); n += 1 + len(data)/thinner(20, 4) {
			f := mustOpen(t, s, mustIngest(t, s, data[:n], Hint{Path: path, Prev: res.Manifest}).Manifest)
			got := make([]byte, n)
			if _, err := f.ReadAt(t.Context(), got, 0); n > 0 && (err != nil || !bytes.Equal(got, data[:n])) {
				t.Fatalf("%s cut to %d bytes: %v", path, n, err)
			}
		}
	}
}
