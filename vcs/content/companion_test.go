package content

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"coral/delta/format"
	"coral/internal/errs"
)

// dirReader is a file of a directory that is in memory.
type dirReader struct {
	*bytes.Reader
	files    map[string][]byte
	err      error
	released *int
}

func (d dirReader) Beside(_ context.Context, name string) (io.ReaderAt, int64, func() error, error) {
	b, ok := d.files[name]
	if d.err != nil || !ok {
		return nil, 0, nil, errors.Join(d.err, errs.NotFound)
	}
	return bytes.NewReader(b), int64(len(b)), func() error { *d.released++; return nil }, nil
}

func fixture(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../delta/format/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCompanions: a file that does not tell what is in it is cut by the one that does, and comes out as it was, whatever that one is.
func TestCompanions(t *testing.T) {
	bundle, index := fixture(t, "tfbundle/testdata/adam.data-00000-of-00001"), fixture(t, "tfbundle/testdata/adam.index")
	other := fixture(t, "tfbundle/testdata/kinds.index")
	external, model := fixture(t, "onnx/testdata/large.onnx_data"), fixture(t, "onnx/testdata/large.onnx")
	const data, extData = "run/adam.data-00000-of-00001", "run/large.onnx_data"
	for name, c := range map[string]struct {
		path  string
		b     []byte
		files map[string][]byte
		err   error
		want  string
	}{
		"bundle":          {data, bundle, map[string][]byte{"adam.index": index}, nil, format.TFBundle},
		"external data":   {extData, external, map[string][]byte{"large.onnx": model}, nil, format.ONNXData},
		"no index":        {data, bundle, nil, nil, format.Opaque},
		"another's index": {data, bundle[:50], map[string][]byte{"adam.index": other}, nil, format.Opaque},
		"damaged index":   {data, bundle, map[string][]byte{"adam.index": index[:len(index)-60]}, nil, format.Opaque},
		"unreadable":      {data, bundle, map[string][]byte{"adam.index": index}, os.ErrPermission, format.Opaque},
		"another name":    {"run/adam.data", bundle, map[string][]byte{"adam.index": index}, nil, format.Opaque},
		"empty":           {data, nil, map[string][]byte{"adam.index": index}, nil, format.Opaque},
		"tensors itself":  {data, fixture(t, "safetensors/testdata/model.safetensors"), nil, nil, format.Safetensors},
	} {
		s, _ := newStore(t, Options{})
		released := 0
		res, err := s.Ingest(t.Context(), dirReader{bytes.NewReader(c.b), c.files, c.err, &released}, int64(len(c.b)), Hint{Path: c.path})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkFile(t, s, res.Manifest, c.b)
		m := mustOpen(t, s, res.Manifest).Manifest()
		if m.Format != c.want || (c.want != format.Opaque) != (len(m.Tensors) > 0) {
			t.Errorf("%s: %s with %d tensors, want %s", name, m.Format, len(m.Tensors), c.want)
		}
		if opened := c.err == nil && c.files != nil && name != "another name" && name != "empty"; opened != (released == 1) {
			t.Errorf("%s: companion released %d times", name, released)
		}
	}
}

// TestCompanionComesLater: the same bytes at the same path keep their manifest, though it would be another one now; other bytes do not.
func TestCompanionComesLater(t *testing.T) {
	bundle, index := fixture(t, "tfbundle/testdata/adam.data-00000-of-00001"), fixture(t, "tfbundle/testdata/adam.index")
	s, _ := newStore(t, Options{})
	hint := Hint{Path: "adam.data-00000-of-00001"}
	put := func(b []byte, files map[string][]byte) IngestResult {
		t.Helper()
		res, err := s.Ingest(t.Context(), dirReader{bytes.NewReader(b), files, nil, new(int)}, int64(len(b)), hint)
		if err != nil {
			t.Fatal(err)
		}
		checkFile(t, s, res.Manifest, b)
		return res
	}
	first := put(bundle, nil)
	hint.Prev = first.Manifest
	files := map[string][]byte{"adam.index": index}
	if again := put(bundle, files); again.Manifest != first.Manifest {
		t.Error("a file that did not change has another manifest since its index came")
	}
	changed := bytes.Clone(bundle)
	changed[len(changed)-1] ^= 1
	if m := mustOpen(t, s, put(changed, files).Manifest).Manifest(); m.Format != format.TFBundle {
		t.Errorf("a changed file is %s", m.Format)
	}
}
