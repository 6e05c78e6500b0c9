package detect

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/formattest"
)

// fixtures returns the files of all packages and the formats that their names stand for.
func fixtures(t testing.TB) map[string]string {
	t.Helper()
	out := map[string]string{}
	for ext, want := range map[string]string{
		"torchzip/testdata/*.pt": format.TorchZip, "torchzip/testdata/*.ts": format.TorchZip, "torchzip/testdata/*.distcp": format.TorchZip,
		"torchlegacy/testdata/*.pth": format.TorchLegacy, "safetensors/testdata/*.safetensors": format.Safetensors,
		"npy/testdata/*.npy": format.NPY, "npy/testdata/*.npz": format.NPZ, "gguf/testdata/*.gguf": format.GGUF,
		"onnx/testdata/*.onnx": format.ONNX, "tflite/testdata/*.tflite": format.TFLite, "tfbundle/testdata/*.index": format.TFBundle, "ctranslate2/testdata/*.bin": format.CTranslate2,
		"hdf5/testdata/*.h5": format.HDF5, "hdf5/testdata/*.keras": format.Keras, "msgpack/testdata/*.msgpack": format.FlaxMsgpack,
	} {
		files, err := filepath.Glob("../" + ext)
		if err != nil || len(files) == 0 {
			t.Fatalf("no fixtures %s: %v", ext, err)
		}
		for _, f := range files {
			out[f] = want
		}
	}
	return out
}

// TestFixtures: one parser takes each file and all others call it unknown.
func TestFixtures(t *testing.T) {
	for file, want := range fixtures(t) {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil || l.Format != want {
			t.Errorf("%s is %s, %v; want %s", file, l.Format, err, want)
		}
		for _, p := range Parsers() {
			if _, err := p.Parse(bytes.NewReader(b), int64(len(b))); p.Name() != want && !errors.Is(err, format.ErrUnknown) {
				t.Errorf("%s taken for %s: %v", file, p.Name(), err)
			}
		}
	}
}

func TestOpaque(t *testing.T) {
	script, err := os.ReadFile("detect.go")
	if err != nil {
		t.Fatal(err)
	}
	torch, err := os.ReadFile("../torchzip/testdata/plain.pt")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":          {nil, format.ErrUnknown},
		"a byte":         {[]byte{0}, format.ErrUnknown},
		"source":         {script, format.ErrUnknown},
		"zeros":          {make([]byte, 100_000), format.ErrUnknown},
		"json":           {[]byte(`{"model_type": "bert", "hidden_size": 384}`), format.ErrUnknown},
		"a small pickle": {[]byte("\x80\x02}q\x00."), format.ErrUnknown},
		"cut off":        {torch[:len(torch)-30], format.ErrDamaged},
		"cut zip":        {torch[:2000], format.ErrDamaged},
		"lying header":   {[]byte("\x00\x00\x00\x01\x00\x00\x00\x00{\"a\":{"), format.ErrDamaged},
		"huge header":    {[]byte("\xff\xff\xff\xff\xff\xff\xff\xff{\"a\":{"), format.ErrUnknown},
	} {
		l, err := Parse(bytes.NewReader(c.b), int64(len(c.b)))
		if !errors.Is(err, c.want) || l == nil || l.Format != format.Opaque || len(l.Payloads)+len(l.Tensors) > 0 {
			t.Errorf("%s: %+v, %v; want opaque and %v", name, l, err, c.want)
		}
	}
}

// unreadable is a file that cannot be read.
type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, os.ErrPermission }

// broken is a parser with bugs.
type broken struct{}

func (broken) Name() string { return "broken" }

func (broken) Parse(_ io.ReaderAt, size int64) (*format.Layout, error) {
	if size == 1 {
		panic("bug")
	}
	return &format.Layout{Payloads: []format.Payload{{Offset: 5, Length: 500}}}, nil
}

// TestBroken: a parser's bug costs the tensors of a file, and nothing else.
func TestBroken(t *testing.T) {
	for size := range int64(2) {
		if l, err := try(broken{}, bytes.NewReader(nil), size); !errors.Is(err, format.ErrDamaged) || l != nil {
			t.Errorf("size %d: %v, %v", size, l, err)
		}
	}
	if l, err := Parse(unreadable{}, 1000); !errors.Is(err, os.ErrPermission) || l.Format != format.Opaque {
		t.Errorf("unreadable file: %v, %v", l, err)
	}
}

func FuzzParse(f *testing.F) {
	for file := range fixtures(f) {
		if b, err := os.ReadFile(file); err == nil && len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range Parsers() {
			formattest.Try(t, p, b)
		}
		l, err := Parse(bytes.NewReader(b), int64(len(b)))
		if err != nil && strings.Contains(err.Error(), "panic") {
			t.Error(err)
		}
		if err := l.Check(int64(len(b))); err != nil {
			t.Error(err)
		}
	})
}

// onlyBegin is a file whose first bytes can be read, and no others.
type onlyBegin struct {
	b []byte
}

func (f onlyBegin) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.b)) {
		return 0, os.ErrPermission
	}
	n := copy(p, f.b[off:])
	if n < len(p) {
		return n, os.ErrPermission
	}
	return n, nil
}

// TestReadsTheBegin: parsers that come before that of a file need no more than its header: the rest of a stored file would have to be
// decoded for them, and may be damaged.
func TestReadsTheBegin(t *testing.T) {
	head := []byte(`{"w":{"dtype":"F32","shape":[1000],"data_offsets":[0,4000]}}    `)
	b := append([]byte{byte(len(head)), 0, 0, 0, 0, 0, 0, 0}, head...)
	l, err := Parse(onlyBegin{b}, int64(len(b))+4000)
	if err != nil || l.Format != format.Safetensors {
		t.Errorf("%s, %v", l.Format, err)
	}
}
