package integration

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// damagedFormats are a real file of each format, by the name that its twins have on the mount. In the damaged ones, keep bytes of the begin are as they were, so that the magic is right.
var damagedFormats = []struct {
	name, fixture string
	keep          int
}{
	{"m.safetensors", "safetensors/testdata/model.safetensors", 8},
	{"m.pt", "torchzip/testdata/plain.pt", 4},
	{"m.ts", "torchzip/testdata/script.ts", 4},
	{"m.distcp", "torchzip/testdata/rank0.distcp", 4},
	{"m.pth", "torchlegacy/testdata/plain.pth", 30},
	{"m.npy", "npy/testdata/fortran.npy", 8},
	{"m.npz", "npy/testdata/mixed.npz", 4},
	{"m.gguf", "gguf/testdata/tiny.gguf", 8},
	{"m.onnx", "onnx/testdata/model.onnx", 4},
	{"m.tflite", "tflite/testdata/float.tflite", 8},
	{"m.h5", "hdf5/testdata/layouts-latest.h5", 8},
	{"m.keras", "hdf5/testdata/model.keras", 4},
	{"m.msgpack", "msgpack/testdata/params.msgpack", 1},
	{"m.bin", "ctranslate2/testdata/tiny.bin", 8},
}

// TestDamagedTwins: of each format a file that is cut off, one of noise behind its magic, and one of noise alone. They come back as they are, the views have none of them, or one that
// can be read, and coral show says why.
func TestDamagedTwins(t *testing.T) {
	r := mounttest.Mounted(t)
	rng := rand.New(rand.NewPCG(8, 8))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	files := map[string][]byte{}
	for _, f := range damagedFormats {
		b, err := os.ReadFile(filepath.Join(mounttest.Root(), "delta/format", f.fixture))
		must(t, err)
		for twin, data := range map[string][]byte{"whole": b, "cut": b[:len(b)/2], "noise": append(append([]byte(nil), b[:f.keep]...), noise(len(b)-f.keep)...), "random": noise(len(b))} {
			files[twin+"/"+f.name] = data
			r.Write(twin+"/"+f.name, data)
		}
	}
	id := r.Snapshot("damaged")
	r.Coral("cache", "drop")
	type shown struct {
		File struct {
			Format  string
			Tensors int `json:"tensor_count"`
			Why     string
		}
	}
	for _, f := range damagedFormats {
		for _, twin := range []string{"whole", "cut", "noise", "random"} {
			path := twin + "/" + f.name
			var s shown
			r.JSON(&s, "show", id+":"+path)
			if whole := twin == "whole"; whole != (s.File.Tensors > 0) || !whole && s.File.Format != "opaque" || (s.File.Why == "") != (whole || f.name == "m.bin" && twin != "cut") {
				t.Errorf("show %s: %+v", path, s.File) // a .bin file may be anything
			}
			r.Want(r.Commit(id, path), files[path])
		}
	}
	for _, tree := range [][]string{{"commits", id[:12]}, {"branches", "main"}} {
		for _, twin := range []string{"whole", "cut", "noise", "random"} {
			dir := viewOf(r, append(tree, twin)...)
			list, err := os.ReadDir(dir)
			must(t, err)
			var names []string
			for _, e := range list {
				names = append(names, e.Name())
				if twin == "whole" {
					b, err := os.ReadFile(filepath.Join(dir, e.Name()))
					must(t, err)
					checkSafetensors(t, e.Name(), b)
				}
			}
			want := []string{"m.msgpack", "m.ts"} // names of other things too, which a view shows as they are
			if twin == "whole" {
				want = nil
				for _, f := range damagedFormats {
					want = append(want, strings.TrimSuffix(f.name, ".safetensors")+".safetensors")
				}
				slices.Sort(want)
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s of %s has %v, want %v", twin, tree[0], names, want)
			}
		}
	}
}

// checkSafetensors checks that a file is as its header says.
func checkSafetensors(t *testing.T, name string, b []byte) {
	t.Helper()
	if len(b) < 8 || uint64(len(b)-8) < binary.LittleEndian.Uint64(b) {
		t.Errorf("%s: no header in %d bytes", name, len(b))
		return
	}
	n := int(binary.LittleEndian.Uint64(b))
	var header map[string]json.RawMessage
	must(t, json.Unmarshal(b[8:8+n], &header))
	end := 0
	for tensor, raw := range header {
		var x struct {
			Offsets [2]int `json:"data_offsets"`
		}
		if tensor != "__metadata__" {
			must(t, json.Unmarshal(raw, &x))
			end = max(end, x.Offsets[1])
		}
	}
	if len(header) < 2 || 8+n+end != len(b) {
		t.Errorf("%s: %d bytes, the header has %d entries and ends at %d", name, len(b), len(header), 8+n+end)
	}
}
