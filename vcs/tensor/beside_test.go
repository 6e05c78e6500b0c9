package tensor

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"coral/delta/format"
)

// TestParseBeside: the files of delta/format's fixtures whose tensors another file tells.
func TestParseBeside(t *testing.T) {
	for _, c := range []struct{ dir, name, of, format string }{
		{"tfbundle", "adam.data-00000-of-00001", "adam.index", format.TFBundle},
		{"onnx", "large.onnx_data", "large.onnx", format.ONNXData},
	} {
		from := filepath.Join("../../delta/format", c.dir, "testdata")
		dir := t.TempDir()
		parse := func() (*File, error) {
			path := filepath.Join(dir, c.name)
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			fi, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			return ParseBeside(t.Context(), Plain(f), fi.Size(), c.name, OnDisk(path))
		}
		link := func(name string) {
			b, err := os.ReadFile(filepath.Join(from, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, name), b, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		link(c.name)
		if f, err := parse(); err == nil || f.Format != format.Opaque {
			t.Errorf("%s alone: %s, %v", c.name, f.Format, err)
		}
		link(c.of)
		f, err := parse()
		if err != nil || f.Format != c.format || len(f.Tensors) == 0 {
			t.Errorf("%s: %s with %d tensors, %v", c.name, f.Format, len(f.Tensors), err)
		}
		if err := os.WriteFile(filepath.Join(dir, c.of), []byte("not it"), 0o644); err != nil {
			t.Fatal(err)
		}
		if f, err := parse(); err == nil || f.Format != format.Opaque {
			t.Errorf("%s with another file of that name: %s, %v", c.name, f.Format, err)
		}
		if err := os.Remove(filepath.Join(dir, c.of)); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, c.of), 0o755); err != nil {
			t.Fatal(err)
		}
		if f, err := parse(); err == nil || f.Format != format.Opaque {
			t.Errorf("%s with a directory of that name: %s, %v", c.name, f.Format, err)
		}
		if got := DataOf(c.of, []string{"x", c.name, c.of}); !slices.Equal(got, []string{c.name}) || DataOf(c.name, []string{c.name, c.of}) != nil {
			t.Errorf("data of %s: %v", c.of, got)
		}
	}
}
