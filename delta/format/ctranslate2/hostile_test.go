package ctranslate2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"coral/delta/format"
)

// writer makes model files.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *writer) u16(v uint16) { w.b = binary.LittleEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.LittleEndian.AppendUint32(w.b, v) }

func (w *writer) text(s string) {
	w.u16(uint16(len(s) + 1))
	w.b = append(append(w.b, s...), 0)
}

func head(version uint32, spec string, variables uint32) *writer {
	w := &writer{}
	w.u32(version)
	w.text(spec)
	w.u32(1)
	w.u32(variables)
	return w
}

// variable appends one of F32 in version 4 and later.
func (w *writer) variable(name string, n uint32, data int, dims ...uint32) *writer {
	w.text(name)
	w.u8(uint8(len(dims)))
	for _, d := range dims {
		w.u32(d)
	}
	w.u8(0)
	w.u32(n)
	w.b = append(w.b, make([]byte, data)...)
	return w
}

func parse(b []byte) (*format.Layout, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func TestHostile(t *testing.T) {
	good := func() *writer { return head(6, "TransformerSpec", 1).variable("w", 8, 8, 2) }
	aliases := func(n uint32, texts ...string) []byte {
		w := good()
		w.u32(n)
		for _, s := range texts {
			w.text(s)
		}
		return w.b
	}
	for name, c := range map[string]struct {
		b       []byte
		err     error
		tensors int
	}{
		"no aliases":          {good().b, nil, 1},
		"alias":               {aliases(1, "a", "w"), nil, 2},
		"alias of nothing":    {aliases(1, "a", "x"), nil, 1},
		"alias of an alias":   {aliases(2, "a", "w", "b", "a"), nil, 2},
		"aliases missing":     {aliases(2, "a", "w"), format.ErrDamaged, 0},
		"many aliases":        {aliases(math.MaxUint32), format.ErrDamaged, 0},
		"many variables":      {head(6, "TransformerSpec", math.MaxUint32).variable("w", 8, 8, 2).b, format.ErrUnknown, 0},
		"variables missing":   {head(6, "TransformerSpec", 9).variable("w", 8, 8, 2).b, format.ErrDamaged, 0},
		"no variables":        {head(6, "TransformerSpec", 0).b, format.ErrUnknown, 0},
		"version 1":           {head(1, "TransformerSpec", 1).variable("w", 8, 8, 2).b, format.ErrUnknown, 0},
		"version 7":           {head(7, "TransformerSpec", 1).variable("w", 8, 8, 2).b, format.ErrUnknown, 0},
		"spec with a space":   {head(6, "Transformer Spec", 1).variable("w", 8, 8, 2).b, format.ErrUnknown, 0},
		"long spec":           {head(6, strings.Repeat("S", 64), 1).variable("w", 8, 8, 2).b, format.ErrUnknown, 0},
		"no spec":             {head(6, "", 1).variable("w", 8, 8, 2).b, format.ErrUnknown, 0},
		"shape too large":     {head(6, "S", 1).variable("w", 8, 8, math.MaxUint32, math.MaxUint32, math.MaxUint32).b, format.ErrUnknown, 0},
		"past the end":        {head(6, "S", 2).variable("w", 8, 8, 2).variable("x", math.MaxUint32, 8, 2).b, format.ErrDamaged, 0},
		"65 dimensions":       {head(6, "S", 2).variable("w", 8, 8, 2).variable("x", 4, 4, make([]uint32, 65)...).b, format.ErrDamaged, 0},
		"64 dimensions":       {head(6, "S", 2).variable("w", 8, 8, 2).variable("x", 0, 0, make([]uint32, 64)...).b, nil, 2},
		"a shape that is off": {head(6, "S", 2).variable("w", 8, 8, 2).variable("x", 8, 8, 3).b, nil, 1},
	} {
		l, err := parse(c.b)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
			continue
		}
		if err != nil {
			continue
		}
		if err := l.Check(int64(len(c.b))); err != nil || len(l.Tensors) != c.tensors {
			t.Errorf("%s: %d tensors, %v; want %d", name, len(l.Tensors), err, c.tensors)
		}
	}
}
