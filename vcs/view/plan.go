package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dequant"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/vcs/object"
)

// Format is the format of every view.
const Format = format.Safetensors

// Plan is a safetensors file in the making. It does not change once made, and may be shared.
type Plan struct {
	header []byte // the file's first bytes: length and JSON; or all of a file without tensors
	parts  []part // sorted, not empty, each begins where the one before it ends
	size   int64
}

// part is where the bytes of a tensor come from.
type part struct {
	start, end int64 // in the view
	how        how
	t          *object.Tensor // of the manifest
}

type how uint8

const (
	direct how = iota // bytes of the original
	gather            // elements of the original that do not follow each other
	blocks            // quantised blocks
)

// row is a tensor of the view.
type row struct {
	name   string
	kind   dtype.Kind
	length int64
	how    how
	t      *object.Tensor
}

// New returns the plan of the view of a file that m describes, and that has details (detect.Details) beside its tensors; nil if none. A file without tensors that a view can show is errs.NotFound, as is
// one whose header would be longer than readers of safetensors accept.
func New(m *object.Manifest, details *Details) (*Plan, error) {
	rows, meta := table(m, details)
	if len(rows) == 0 {
		return nil, fmt.Errorf("view of a file of format %s: no tensors: %w", m.Format, errs.NotFound)
	}
	p := &Plan{header: header(rows, meta)}
	if len(p.header)-lengthBytes > format.MaxHeader {
		return nil, fmt.Errorf("view of a file of format %s: header of %d bytes: %w", m.Format, len(p.header), errs.NotFound)
	}
	p.size = int64(len(p.header))
	for i := range rows {
		r := &rows[i]
		if r.length > maxSize-p.size {
			return nil, fmt.Errorf("view of a file of format %s: more than %d bytes: %w", m.Format, int64(maxSize), errs.NotFound)
		}
		if r.length > 0 {
			p.parts = append(p.parts, part{p.size, p.size + r.length, r.how, r.t})
			p.size += r.length
		}
	}
	return p, nil
}

// maxSize bounds a view: tensors may overlap in the original, so it may be larger. 1 EiB is more than any file system has.
const maxSize = 1 << 60

// Text returns the plan of a file that is these bytes.
func Text(b []byte) *Plan { return &Plan{header: b, size: int64(len(b))} }

// Size returns the length of the file.
func (p *Plan) Size() int64 { return p.size }

// table returns the tensors of the view in its order.
func table(m *object.Manifest, details *Details) ([]row, *metadata) {
	meta := newMetadata(m.Format)
	names := newNamer(len(m.Tensors))
	first := make(map[place]int, len(m.Tensors)) // index of the row
	rows := make([]row, 0, len(m.Tensors))
	for i := range m.Tensors {
		t := &m.Tensors[i]
		name := names.unique(t.Name)
		r, ok := convert(t, m.Size)
		if !ok {
			meta.omitted[name] = t.DType.String()
			continue
		}
		r.name = name
		if r.how == blocks {
			meta.dequantized[name] = t.DType.String()
		}
		if r.length > 0 {
			at := place{t.Offset, t.Length, t.DType}
			if j, seen := first[at]; !seen {
				first[at] = len(rows)
			} else if twin := &rows[j]; slices.Equal(twin.t.Shape, t.Shape) && slices.Equal(twin.t.Stride, t.Stride) {
				meta.tied[name] = twin.name
			}
		}
		rows = append(rows, r)
	}
	meta.describe(details, func(name string) bool { return names.used[name] })
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.kind.Width(), a.kind.Width()) })
	return rows, meta
}

// TensorNames returns the names of the tensors that the view of a file has, in its order, and how many bytes they take.
func TensorNames(m *object.Manifest) (names []string, bytes int64) {
	rows, _ := table(m, nil)
	for i := range rows {
		names = append(names, rows[i].name)
		bytes += rows[i].length
	}
	return names, bytes
}

// Tensors returns the tensors of the view of a file as they are in it: no strides, offsets in the view.
func Tensors(m *object.Manifest, details *Details) []object.Tensor {
	rows, meta := table(m, details)
	at := int64(len(header(rows, meta)))
	out := make([]object.Tensor, len(rows))
	for i := range rows {
		r := &rows[i]
		out[i] = object.Tensor{Name: r.name, DType: r.kind, Shape: r.t.Shape, Offset: at, Length: r.length}
		at += r.length
	}
	return out
}

// place says which bytes a tensor is, and of what kind.
type place struct {
	offset, length int64
	kind           dtype.Kind
}

// convert says what a tensor of a file of size bytes is in the view; ok is false if safetensors cannot hold it, or if the
// table, which may be forged, contradicts itself.
func convert(t *object.Tensor, size int64) (r row, ok bool) {
	if t.Offset < 0 || t.Length < 0 || t.Offset > size || t.Length > size-t.Offset || t.Stride != nil && len(t.Stride) != len(t.Shape) {
		return r, false
	}
	n, ok := format.Elements(t.Shape)
	if !ok || n > maxSize/16 {
		return r, false
	}
	if elements, bytes, quantised := dequant.Block(t.DType); quantised {
		whole := int64(elements)
		fits := t.Stride == nil && n%whole == 0 && n/whole*int64(bytes) == t.Length
		return row{kind: dtype.F32, length: 4 * n, how: blocks, t: t}, fits
	}
	width := int64(t.DType.Width())
	if _, known := dtypes[t.DType]; !known {
		return r, false
	}
	r = row{kind: t.DType, length: n * width, t: t}
	if t.Stride != nil && !format.Contiguous(t.Shape, t.Stride) {
		r.how = gather
	}
	for _, s := range t.Stride {
		if s < 0 {
			return r, false
		}
	}
	extent, ok := format.Extent(t.Shape, t.Stride, int(width))
	return r, ok && extent == t.Length
}

// dtypes are the kinds that safetensors has a name for and whose shape tells their size; the name is that of dtype.
var dtypes = map[dtype.Kind]struct{}{
	dtype.F64: {}, dtype.F32: {}, dtype.F16: {}, dtype.BF16: {}, dtype.F8E4M3: {}, dtype.F8E5M2: {}, dtype.F8E8M0: {},
	dtype.I64: {}, dtype.I32: {}, dtype.I16: {}, dtype.I8: {}, dtype.U64: {}, dtype.U32: {}, dtype.U16: {}, dtype.U8: {},
	dtype.Bool: {}, dtype.C64: {},
}

// namer gives each tensor a name that no other has.
type namer struct {
	used map[string]bool
	next map[string]int // what was tried last for a name that occurs often
}

func newNamer(n int) *namer {
	return &namer{used: make(map[string]bool, n), next: map[string]int{metadataKey: 1}}
}

// metadataKey is the one name that no tensor can have.
const metadataKey = "__metadata__"

func (n *namer) unique(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if name != metadataKey && !n.used[name] {
		n.used[name] = true
		return name
	}
	for i := max(n.next[name]+1, 2); ; i++ {
		if s := fmt.Sprintf("%s#%d", name, i); !n.used[s] {
			n.used[s], n.next[name] = true, i
			return s
		}
	}
}
