package pickle

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"coral/delta/format"
	"coral/delta/format/scan"
)

// Value is something in a pickle that is no tensor: a number, text, truth value or None, or a list or tuple of such.
type Value struct {
	Name string // its path, as that of a tensor
	JSON string // numbers that are not finite are the texts "NaN", "Infinity", "-Infinity"
}

// Quantizer says what the integers of a quantised tensor stand for: (integer − zero point) × scale.
type Quantizer struct {
	Name      string  // of the tensor
	Scheme    string  // "per_tensor_affine", "per_channel_affine", …: torch's qscheme
	Scale     float64 // of a tensor with one scale
	ZeroPoint int64
	Channels  bool  // each index of dimension Axis has its own: tensors NAME.scales and NAME.zero_points
	Axis      int64 // of one with Channels
}

// Details is what a pickle holds beside its tensors.
type Details struct {
	Values     []Value // in the order of the pickled containers; of equal names, the first is right
	Quantizers []Quantizer
	Left       int // values that were left out, as there are too many
}

// MaxValues bounds the bytes of names and JSON of the values of one pickle.
const MaxValues = 64 << 10

// ScanDetails is Scan for what a pickle holds beside its tensors. Texts of more than 4096 bytes, bytes and objects of classes are not in it, but what such an object's
// dictionary holds is. A damaged pickle has what was found until then.
func ScanDetails(r *scan.Reader) (*Details, error) {
	m := &machine{r: r, keys: map[string]int{}, details: &Details{}}
	_, err := m.run()
	return m.details, err
}

// real is a float and none is None, on the stack of a machine that collects details.
type (
	real float64
	none struct{}
)

// scalar reads the operand of an opcode for a float, None or a large number.
func (m *machine) scalar(op byte) any {
	switch op {
	case opNone:
		return none{}
	case opBinFloat:
		b := m.r.Next(8)
		if len(b) < 8 {
			return nothing{}
		}
		m.spend(8)
		return real(math.Float64frombits(binary.BigEndian.Uint64(b)))
	default: // opFloat
		f, err := strconv.ParseFloat(strings.TrimSpace(m.line()), 64)
		if err != nil {
			return nothing{}
		}
		m.spend(8)
		return real(f)
	}
}

// plain reports whether v is a value without parts.
func plain(v any) bool {
	switch v.(type) {
	case integer, real, text, boolean, none:
		return true
	}
	return false
}

// detail records v if it is a value, and reports whether it is one. Work is bounded: what is recorded by MaxValues, and what is none is walked, and then seen.
func (w *walker) detail(v any, path *part) bool {
	full := w.values >= MaxValues
	switch x := v.(type) {
	case *tuple:
		if x.seen || full {
			return false
		}
	case *node:
		if x.seen || full {
			return false
		}
	}
	if _, ok := plainList(v); !ok && !plain(v) {
		return false
	}
	if full {
		w.details.Left++
		return true
	}
	w.value(v, path)
	return true
}

// value records v, which has no parts, or all of whose parts are plain.
func (w *walker) value(v any, path *part) {
	d := w.details
	b := appendValue(nil, v)
	if b == nil {
		return
	}
	name := format.CleanName(path.String())
	if w.values += len(name) + len(b) + 8; w.values > MaxValues {
		w.values = MaxValues // the rest is left out too
		d.Left++
		return
	}
	d.Values = append(d.Values, Value{name, string(b)})
}

// maxItems bounds the items of a value that is a list.
const maxItems = 1024

// plainList returns the items of a list or tuple whose items are all plain; ok is false for any other value, an empty one, and one of more than maxItems, whose items
// are values of their own then.
func plainList(v any) (items []any, ok bool) {
	switch v := v.(type) {
	case *tuple:
		if len(v.items) <= maxItems {
			items = v.items
		}
	case *node:
		if v.sort != list || v.count != len(v.entries) || v.count > maxItems {
			return nil, false
		}
		for _, e := range v.entries {
			items = append(items, e.value)
		}
	}
	for _, x := range items {
		if !plain(x) {
			return nil, false
		}
	}
	return items, len(items) > 0
}

// appendValue appends the JSON of a value; nil if it has none.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case none:
		return append(b, "null"...)
	case boolean:
		return strconv.AppendBool(b, bool(v))
	case integer:
		return strconv.AppendInt(b, int64(v), 10)
	case real:
		f := float64(v)
		switch {
		case math.IsNaN(f):
			return append(b, `"NaN"`...)
		case math.IsInf(f, 1):
			return append(b, `"Infinity"`...)
		case math.IsInf(f, -1):
			return append(b, `"-Infinity"`...)
		case f == math.Trunc(f) && math.Abs(f) < 1e15:
			return strconv.AppendFloat(b, f, 'f', 1, 64) // 1.0 stays a float in Python
		}
		return strconv.AppendFloat(b, f, 'g', -1, 64)
	case text:
		out, err := json.Marshal(strings.ToValidUTF8(string(v), "\uFFFD"))
		if err != nil {
			return nil
		}
		return append(b, out...)
	}
	items, ok := plainList(v)
	if !ok {
		return nil
	}
	b = append(b, '[')
	for i, x := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, x)
	}
	return append(b, ']')
}

// quantized records what the arguments of torch's _rebuild_qtensor say of t: (storage, offset, size, stride, (scheme, scale, zero point) or (scheme, scales, zero points, axis), …).
func (m *machine) quantized(t any, args []any) {
	x, ok := t.(*tensor)
	if m.details == nil || !ok || len(args) < 5 {
		return
	}
	q, ok := args[4].(*tuple)
	if !ok || len(q.items) < 3 {
		return
	}
	scheme, _ := q.items[0].(global)
	out := &Quantizer{Scheme: strings.TrimPrefix(string(scheme), "torch ")}
	scale, ok := q.items[1].(real)
	zero, ok2 := q.items[2].(integer)
	switch {
	case ok && ok2 && len(q.items) == 3:
		out.Scale, out.ZeroPoint = float64(scale), int64(zero)
	case len(q.items) == 4:
		axis, ok := q.items[3].(integer)
		if !ok {
			return
		}
		out.Channels, out.Axis = true, int64(axis)
	default:
		return
	}
	m.spend(80)
	x.quantizer = out
}
