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
	var states []entry // of tensors of a subclass, and attributes of others
	for {
		name, _ := fn.(global)
		t, _ := args.(*tuple)
		if t == nil {
			t = &tuple{}
		}
		switch name {
		case "torch._tensor _rebuild_from_type_v2", "torch._tensor _rebuild_from_type", "torch.tensor _rebuild_from_type":
			if len(t.items) >= 3 { // (function, type, arguments, state)
				if _, ok := t.items[0].(global); ok {
					if len(t.items) > 3 && holds(t.items[3]) && len(states) < maxStates {
						states = append(states, entry{attributes{}, t.items[3]})
					}
					fn, args = t.items[0], t.items[2]
					continue
				}
			}
		}
		return m.with(m.rebuild(name, t.items), states...)
	}
}

// maxStates is how many calls may be arguments of each other and have a state.
const maxStates = 8

// with returns what has the path of v and, below it, that of the entries.
func (m *machine) with(v any, entries ...entry) any {
	if len(entries) == 0 {
		return v
	}
	n := m.node(object)
	m.spend(32 * (1 + len(entries)))
	n.entries = append(append(n.entries, entry{attributes{}, v}), entries...)
	return n
}

// named returns an object that holds those of items that may hold tensors under the given names.
func (m *machine) named(items []any, names ...string) any {
	n := m.node(object)
	for i, v := range items {
		list := false
		if m.details != nil {
			_, list = plainList(v) // a size
		}
		if i < len(names) && (list || holds(v)) {
			m.spend(32)
			n.entries = append(n.entries, entry{text(names[i]), v})
		}
	}
	return n
}

// rebuild returns what a call of the function or class of this name gives.
func (m *machine) rebuild(name global, args []any) any {
	switch name {
	case "torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3":
		if v := m.tensor(args, name == "torch._utils _rebuild_tensor_v3"); v != nil {
			return v
		}
	case "torch._utils _rebuild_qtensor": // (storage, offset, size, stride, (scheme, scale, zero point, axis), …)
		if v := m.tensor(args, false); v != nil {
			m.quantized(v, args)
			return m.with(v, m.quantizer(args)...)
		}
	case "torch._utils _rebuild_parameter_with_state": // (data, requires_grad, hooks, state)
		if len(args) > 3 && holds(args[3]) {
			return m.with(args[0], entry{attributes{}, args[3]})
		}
		fallthrough
	case "torch._utils _rebuild_parameter", "torch.nn.parameter Parameter", "torch Size", "torch._utils _rebuild_device_tensor_from_cpu_tensor",
		"torch.nested._internal.nested_tensor _rebuild_njt":
		if len(args) > 0 {
			return args[0]
		}
	case "torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_sparse_csr_tensor":
		if len(args) > 1 {
			if parts, ok := args[1].(*tuple); ok {
				return m.sparseParts(args[0], parts.items)
			}
		}
	case "torch._utils _rebuild_nested_tensor":
		return m.named(args, "buffer", "sizes", "strides", "offsets")
	case "torch.serialization _get_layout":
		if len(args) == 1 {
			return args[0] // its name
		}
	case "collections OrderedDict", "collections defaultdict":
		return m.ordered(args)
	}
	n := m.node(object)
	for i, v := range args {
		if holds(v) {
			m.spend(32)
			n.entries = append(n.entries, entry{integer(i), v})
		}
	}
	return n
}

// sparseParts returns the parts of a sparse tensor by the names of the methods that give them.
func (m *machine) sparseParts(layout any, parts []any) any {
	switch layout {
	case text("torch.sparse_csr"), text("torch.sparse_bsr"):
		return m.named(parts, "crow_indices", "col_indices", "values", "size")
	case text("torch.sparse_csc"), text("torch.sparse_bsc"):
		return m.named(parts, "ccol_indices", "row_indices", "values", "size")
	}
	return m.named(parts, "indices", "values", "size")
}

// quantizer returns the tensors of a quantizer that has a scale and a zero point for each channel.
func (m *machine) quantizer(args []any) (out []entry) {
	if len(args) < 5 {
		return nil
	}
	q, ok := args[4].(*tuple)
	if !ok || len(q.items) != 4 {
		return nil
	}
	for i, name := range []string{"scales", "zero_points"} {
		if v := q.items[1+i]; holds(v) {
			out = append(out, entry{text(name), v})
		}
	}
	return out
}

// lazily reports whether the metadata of a tensor, {"conj": True, "neg": True}, say that its elements are others than those of its storage.
func lazily(args []any) bool {
	if len(args) < 7 {
		return false
	}
	meta, ok := args[6].(*node)
	if !ok {
		return false
	}
	for _, e := range meta.entries {
		if e.value == boolean(true) && (e.key == text("conj") || e.key == text("neg")) {
			return true
		}
	}
	return false
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
	if !v3 && lazily(args) {
		t.kind = dtype.Bytes
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
