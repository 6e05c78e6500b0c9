package pickle

import (
	"math"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

// storageClass is what the class in a persistent id tells.
type storageClass struct {
	kind  dtype.Kind
	width int
}

// storageClasses are torch's typed storages by class name. The kind of an untyped one is only in its tensors.
var storageClasses = map[string]storageClass{
	"DoubleStorage":        {dtype.F64, 8},
	"FloatStorage":         {dtype.F32, 4},
	"HalfStorage":          {dtype.F16, 2},
	"BFloat16Storage":      {dtype.BF16, 2},
	"LongStorage":          {dtype.I64, 8},
	"IntStorage":           {dtype.I32, 4},
	"ShortStorage":         {dtype.I16, 2},
	"CharStorage":          {dtype.I8, 1},
	"ByteStorage":          {dtype.U8, 1},
	"BoolStorage":          {dtype.Bool, 1},
	"ComplexFloatStorage":  {dtype.C64, 8},
	"ComplexDoubleStorage": {dtype.C128, 16},
	"QInt8Storage":         {dtype.I8, 1},
	"QUInt8Storage":        {dtype.U8, 1},
	"QInt32Storage":        {dtype.I32, 4},
	"QUInt4x2Storage":      {dtype.Bytes, 1},
	"QUInt2x4Storage":      {dtype.Bytes, 1},
	"UntypedStorage":       {dtype.Bytes, 1},
}

// scalarTypes are the kinds of torch.dtype objects, which are pickled by name.
var scalarTypes = map[string]dtype.Kind{
	"float64": dtype.F64, "float32": dtype.F32, "float16": dtype.F16, "bfloat16": dtype.BF16,
	"float8_e4m3fn": dtype.F8E4M3, "float8_e5m2": dtype.F8E5M2, "float8_e8m0fnu": dtype.F8E8M0,
	"float8_e4m3fnuz": dtype.U8, "float8_e5m2fnuz": dtype.U8, "float4_e2m1fn_x2": dtype.U8, // no kind of their own: one byte each
	"int64": dtype.I64, "int32": dtype.I32, "int16": dtype.I16, "int8": dtype.I8,
	"uint64": dtype.U64, "uint32": dtype.U32, "uint16": dtype.U16, "uint8": dtype.U8,
	"bool": dtype.Bool, "complex64": dtype.C64, "complex128": dtype.C128,
}

// persistent returns what a persistent id of torch stands for.
func (m *machine) persistent(id any) any {
	t, ok := id.(*tuple)
	if !ok || len(t.items) < 2 {
		return nothing{}
	}
	switch t.items[0] {
	case text("storage"):
		return m.storage(t.items)
	case text("module"): // legacy files wrap a class with its source text
		return t.items[1]
	}
	return nothing{}
}

// storage returns the storage of a persistent id ('storage', class, key, location, numel, view or None).
func (m *machine) storage(id []any) any {
	if len(id) < 5 {
		return nothing{}
	}
	var key string
	switch k := id[2].(type) {
	case text:
		key = string(k)
	case integer:
		key = label(k, 0)
	default:
		return nothing{}
	}
	s := &storage{first: viewOffset(id)}
	m.spend(32)
	index, known := m.keys[key]
	if s.index = index; known {
		return s
	}
	if len(m.storages) >= format.MaxTensors {
		return nothing{}
	}
	st := Storage{Key: key, Numel: -1}
	if class, ok := id[1].(global); ok {
		c := storageClasses[string(class[strings.LastIndexByte(string(class), ' ')+1:])]
		st.Kind, st.Width = c.kind, c.width
	}
	if n, ok := id[4].(integer); ok {
		st.Numel = int64(n)
	}
	m.spend(160)
	s.index = len(m.storages)
	m.keys[key] = s.index
	m.storages = append(m.storages, st)
	return s
}

// viewOffset returns the first element of a legacy storage that is a view of another: the
// sixth item of its id is (key, offset, size) then.
func viewOffset(id []any) int64 {
	if len(id) < 6 {
		return 0
	}
	view, ok := id[5].(*tuple)
	if !ok || len(view.items) != 3 {
		return 0
	}
	n, _ := view.items[1].(integer)
	return int64(n)
}

// call returns what a call of fn with args gives: a tensor, a container, or an object that holds the arguments.
func (m *machine) call(fn, args any) any {
	for {
		name, _ := fn.(global)
		t, _ := args.(*tuple)
		if t == nil {
			t = &tuple{}
		}
		switch name {
		case "torch._tensor _rebuild_from_type_v2", "torch._tensor _rebuild_from_type", "torch.tensor _rebuild_from_type":
			if len(t.items) >= 3 { // (function, type, arguments, state)
				fn, args = t.items[0], t.items[2]
				if _, same := fn.(global); same {
					continue
				}
			}
		case "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "torch._utils _rebuild_qtensor":
			if v := m.tensor(t.items, name == "torch._utils _rebuild_tensor_v3"); v != nil {
				return v
			}
		case "torch._utils _rebuild_parameter", "torch._utils _rebuild_parameter_with_state", "torch.nn.parameter Parameter", "torch Size":
			if len(t.items) > 0 {
				return t.items[0]
			}
		case "collections OrderedDict", "collections defaultdict":
			return m.ordered(t.items)
		}
		n := m.node(object)
		for i, v := range t.items {
			if holds(v) {
				m.spend(32)
				n.entries = append(n.entries, entry{integer(i), v})
			}
		}
		return n
	}
}

// tensor returns the tensor of (storage, offset, size, stride, …), or nil if the arguments are others. In a v3 call the
// seventh argument is the dtype.
func (m *machine) tensor(args []any, v3 bool) any {
	if len(args) < 4 {
		return nil
	}
	s, ok := args[0].(*storage)
	offset, ok2 := args[1].(integer)
	shape, ok3 := ints(args[2])
	stride, ok4 := ints(args[3])
	if !ok || !ok2 || !ok3 || !ok4 || len(shape) != len(stride) || offset < 0 || s.first < 0 || int64(offset) > math.MaxInt64-s.first {
		return nil
	}
	t := &tensor{storage: s.index, offset: int64(offset) + s.first, shape: shape, stride: stride}
	st := &m.storages[s.index]
	t.kind = st.Kind
	if v3 {
		if len(args) < 7 {
			return nil
		}
		name, _ := args[6].(global)
		kind, ok := scalarTypes[strings.TrimPrefix(string(name), "torch ")]
		if !ok {
			return nil
		}
		t.kind = kind
		if st.Kind == dtype.Bytes {
			st.Kind = t.kind // the kind of its first tensor
		}
	}
	m.spend(112 + 16*len(shape))
	if format.Contiguous(shape, stride) {
		t.stride = nil
	}
	return t
}

// ordered returns a dict; Python 2 pickled the items of an OrderedDict as a list of [key, value] lists.
func (m *machine) ordered(args []any) any {
	d := m.node(dict)
	if len(args) == 0 {
		return d
	}
	pairs, ok := args[0].(*node)
	if !ok || pairs.sort != list {
		return d
	}
	for _, e := range pairs.entries {
		switch p := e.value.(type) {
		case *node:
			if p.sort == list && p.count == 2 && len(p.entries) == 2 {
				m.set(d, []any{p.entries[0].value, p.entries[1].value})
			}
		case *tuple:
			if len(p.items) == 2 {
				m.set(d, p.items)
			}
		}
	}
	return d
}

// build sets the state of an object.
func (m *machine) build(obj, state any) {
	if n, ok := obj.(*node); ok && holds(state) {
		m.spend(32)
		n.entries = append(n.entries, entry{attributes{}, state})
	}
}
