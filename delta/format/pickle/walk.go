package pickle

import (
	"coral/delta/format"
)

// part is a path from the root, as a list from its last component.
type part struct {
	parent *part
	label  string
	length int // of the whole path with dots
}

func (p *part) with(label string) *part {
	if p == nil {
		return &part{label: label, length: len(label)}
	}
	return &part{parent: p, label: label, length: p.length + 1 + len(label)}
}

// String joins the components with dots.
func (p *part) String() string {
	if p == nil {
		return RootName
	}
	b := make([]byte, p.length)
	for at := p.length; ; p = p.parent {
		at -= copy(b[at-len(p.label):], p.label)
		if p.parent == nil {
			return string(b)
		}
		at--
		b[at] = '.'
	}
}

// frame is a container that is being walked.
type frame struct {
	items   []any   // of a tuple
	entries []entry // of a node
	next    int
	path    *part
	state   bool // it is the state of an object
}

// walker collects named tensors, depth first in the order of the containers. A container
// that is reached twice keeps its first path.
type walker struct {
	res    *Result
	frames []frame
	ranks  []rank // by storage
	names  int    // bytes of all names so far
	dims   int

	details *Details // nil if they are not wanted
	values  int      // bytes of them so far
}

// rank says how well a name fits a storage. The better one stays, and of equals the first: where
// a storage lies in the file is best found again by a tensor that is all of it.
type rank uint8

const (
	unnamed rank = iota
	within       // a tensor somewhere in it
	begins       // a tensor at its begin
	whole        // a tensor that is all of it, or the storage itself
)

// walk fills in the tensors, the storages' names and the root, and details if they are wanted.
func (res *Result) walk(root any, details *Details) {
	res.Root = describe(root)
	w := walker{res: res, ranks: make([]rank, len(res.Storages)), details: details}
	w.visit(root, nil, false)
	for len(w.frames) > 0 {
		f := &w.frames[len(w.frames)-1]
		switch i := f.next; {
		case i < len(f.entries):
			f.next++
			w.entry(f.entries[i], i, f.path, f.state)
		case i < len(f.items):
			f.next++
			if f.state && isState(f.items) {
				w.visit(f.items[i], f.path, true)
			} else {
				w.visit(f.items[i], f.path.with(label(integer(i), i)), false)
			}
		default:
			w.frames = w.frames[:len(w.frames)-1]
		}
	}
}

// isState reports whether a tuple is (state of the dict, state of the slots); either may be None.
func isState(items []any) bool {
	for _, v := range items {
		switch n := v.(type) {
		case nothing, none:
		case *node:
			if n.sort != dict {
				return false
			}
		default:
			return false
		}
	}
	return len(items) == 2
}

// entry visits an entry of a node. The state of an object and the dictionaries in which a torch.nn.Module keeps its
// parameters, buffers and children add nothing to the path, so that a pickled module has the names of its state_dict.
func (w *walker) entry(e entry, i int, path *part, state bool) {
	if _, ok := e.key.(attributes); ok {
		w.visit(e.value, path, true)
		return
	}
	if state && (e.key == text("_parameters") || e.key == text("_buffers") || e.key == text("_modules")) {
		w.visit(e.value, path, false)
		return
	}
	w.visit(e.value, path.with(label(e.key, i)), false)
}

func (w *walker) visit(v any, path *part, state bool) {
	if path != nil && path.length > format.MaxNameBytes {
		return
	}
	if w.details != nil && !state && w.detail(v, path) {
		return
	}
	switch v := v.(type) {
	case *tensor:
		w.tensor(v, path)
	case *storage:
		if name, ok := w.name(path); ok {
			w.rename(v.index, name, whole)
		}
	case *tuple:
		if !v.seen {
			v.seen = true
			w.frames = append(w.frames, frame{items: v.items, path: path, state: state})
		}
	case *node:
		if !v.seen {
			v.seen = true
			w.frames = append(w.frames, frame{entries: v.entries, path: path, state: state})
		}
	}
}

func (w *walker) tensor(t *tensor, path *part) {
	if w.dims += len(t.shape); w.dims > format.MaxAllDims || len(w.res.Tensors) >= format.MaxTensors {
		return
	}
	name, ok := w.name(path)
	if !ok {
		return
	}
	w.rename(t.storage, name, w.rank(t))
	if q := t.quantizer; q != nil && w.details != nil {
		out := *q
		out.Name = name
		w.details.Quantizers = append(w.details.Quantizers, out)
	}
	w.res.Tensors = append(w.res.Tensors, Tensor{
		Name: name, Storage: t.storage, Kind: t.kind, Offset: t.offset, Shape: t.shape, Stride: t.stride,
	})
}

// rename gives a storage a name unless it has one that fits as well.
func (w *walker) rename(storage int, name string, r rank) {
	if r > w.ranks[storage] {
		w.ranks[storage] = r
		w.res.Storages[storage].Name = name
	}
}

func (w *walker) rank(t *tensor) rank {
	if t.offset != 0 {
		return within
	}
	st := &w.res.Storages[t.storage]
	n, ok := format.Extent(t.shape, t.stride, t.kind.Width())
	if ok && n > 0 && st.Width > 0 && n%int64(st.Width) == 0 && n/int64(st.Width) == st.Numel {
		return whole
	}
	return begins
}

// name returns the text of path; ok is false when the names of this file are more than a layout may have.
func (w *walker) name(path *part) (name string, ok bool) {
	if w.names > format.MaxNames {
		return "", false
	}
	if name = format.CleanName(path.String()); name == "" {
		name = RootName // an empty name means none
	}
	if w.names += len(name); w.names > format.MaxNames {
		return "", false
	}
	return name, true
}

// maxFlags is the largest dict that is told about as Root.Flags.
const maxFlags = 64

// describe returns what Root tells about v.
func describe(v any) Root {
	n, ok := v.(*node)
	if !ok {
		return Root{}
	}
	var root Root
	switch {
	case n.sort == list && n.strings:
		root.Strings = make([]string, 0, len(n.entries))
		for _, e := range n.entries {
			if s, ok := e.value.(text); ok {
				root.Strings = append(root.Strings, string(s))
			}
		}
	case n.sort == dict && len(n.entries) <= maxFlags:
		root.Flags = map[string]bool{}
		for _, e := range n.entries {
			k, ok := e.key.(text)
			if flag, ok2 := e.value.(boolean); ok && ok2 {
				root.Flags[string(k)] = bool(flag)
			}
		}
	}
	return root
}
