package detect

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"coral/delta/format"
)

func TestCompanion(t *testing.T) {
	for dir, c := range map[string]struct{ name, companion, format string }{
		"tfbundle": {"adam.data-00000-of-00001", "adam.index", format.TFBundle},
		"onnx":     {"large.onnx_data", "large.onnx", format.ONNXData},
	} {
		if got := Companion(c.name); got != c.companion {
			t.Fatalf("companion of %s is %q, want %q", c.name, got, c.companion)
		}
		b, err := os.ReadFile("../" + dir + "/testdata/" + c.companion)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile("../" + dir + "/testdata/" + c.name)
		if err != nil {
			t.Fatal(err)
		}
		size := int64(len(data))
		l, err := ParseData(c.name, size, bytes.NewReader(b), int64(len(b)))
		if err != nil || l.Format != c.format || len(l.Payloads) == 0 {
			t.Errorf("%s: %+v, %v", c.name, l, err)
		}
		if l, err := ParseData(c.name, size/2, bytes.NewReader(b), int64(len(b))); !errors.Is(err, format.ErrDamaged) || l.Format != format.Opaque {
			t.Errorf("half of %s: %+v, %v", c.name, l, err)
		}
		if l, err := ParseData(c.name, size, bytes.NewReader(b), int64(len(b)/2)); err == nil || l.Format != format.Opaque {
			t.Errorf("%s by half of its companion: %+v, %v", c.name, l, err)
		}
		if l, err := ParseData(c.name, size, unreadable{}, 1000); !errors.Is(err, os.ErrPermission) || l.Format != format.Opaque {
			t.Errorf("%s by a companion that cannot be read: %+v, %v", c.name, l, err)
		}
	}
	if got := Companion("model.safetensors"); got != "" {
		t.Errorf("model.safetensors has a companion %q", got)
	}
	if _, err := ParseData("model.safetensors", 10, bytes.NewReader(nil), 0); !errors.Is(err, format.ErrUnknown) {
		t.Errorf("model.safetensors: %v", err)
	}
}
