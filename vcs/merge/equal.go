package merge

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sort"

	"coral/delta/format"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// version is a file of tensors on one side, or in the base.
type version struct {
	*tensor.File
	m     *object.Manifest
	ends  []int64        // of segments: where each ends in the file
	index map[string]int // of tensors by name; -1 for a name that is there twice
}

func newVersion(src tensor.Source, m *object.Manifest) *version {
	v := &version{File: tensor.FromManifest(src, m), m: m, ends: make([]int64, len(m.Segments)), index: make(map[string]int, len(m.Tensors))}
	at := int64(0)
	for i := range m.Segments {
		at += m.Segments[i].Length
		v.ends[i] = at
	}
	for i := range m.Tensors {
		name := m.Tensors[i].Name
		if _, twice := v.index[name]; twice {
			i = -1
		}
		v.index[name] = i
	}
	return v
}

// get returns a tensor; nil if there is none, or no version.
func (v *version) get(name string) *object.Tensor {
	if v == nil {
		return nil
	}
	if i, ok := v.index[name]; ok && i >= 0 {
		return &v.Tensors[i]
	}
	return nil
}

func sameShape(a, b *object.Tensor) bool { return slices.Equal(a.Shape, b.Shape) }

// contiguous reports whether a tensor's elements lie in row-major order without gaps.
func contiguous(t *object.Tensor) bool {
	return t.Stride == nil || format.Contiguous(t.Shape, t.Stride)
}

// equalTensors reports whether two tensors have the same kind, shape and bytes; nil is no tensor. What is stored once, as nearly all that did not change, is not read.
func (m *merger) equalTensors(ctx context.Context, va *version, a *object.Tensor, vb *version, b *object.Tensor) (bool, error) {
	if a == nil || b == nil {
		return a == b, nil
	}
	if a.DType != b.DType || !sameShape(a, b) {
		return false, nil
	}
	if a.Length == b.Length && (contiguous(a) && contiguous(b) || slices.Equal(a.Stride, b.Stride)) {
		if same, known := sameRange(va, a.Offset, vb, b.Offset, a.Length); known && (same || contiguous(a)) {
			return same, nil
		}
	}
	return m.sameBytes(va.Reader(ctx, a), vb.Reader(ctx, b))
}

// sameRange compares ranges of two files by the ids of the blobs they consist of; known is false if that does not tell.
func sameRange(va *version, a int64, vb *version, b, n int64) (same, known bool) {
	for n > 0 {
		i := sort.Search(len(va.ends), func(i int) bool { return va.ends[i] > a })
		j := sort.Search(len(vb.ends), func(j int) bool { return vb.ends[j] > b })
		if i == len(va.ends) || j == len(vb.ends) {
			return false, false
		}
		x, y := &va.m.Segments[i], &vb.m.Segments[j]
		left, right := va.ends[i]-a, vb.ends[j]-b
		if x.Blob.IsZero() || y.Blob.IsZero() || left != right || x.Length != y.Length {
			return false, false
		}
		if x.Blob != y.Blob {
			return false, left == x.Length && n >= left // all of both blobs is in the range
		}
		a, b, n = a+left, b+right, n-left
	}
	return true, true
}

// compareLen is how much is compared at a time.
const compareLen = 256 << 10

func (m *merger) sameBytes(a, b io.Reader) (bool, error) {
	if m.buf.a == nil {
		m.buf.a, m.buf.b = make([]byte, compareLen), make([]byte, compareLen)
	}
	for {
		n, err := io.ReadFull(a, m.buf.a)
		k, err2 := io.ReadFull(b, m.buf.b)
		for _, e := range []error{err, err2} {
			if e != nil && e != io.EOF && e != io.ErrUnexpectedEOF {
				return false, e
			}
		}
		if !bytes.Equal(m.buf.a[:n], m.buf.b[:k]) {
			return false, nil
		}
		if err != nil || err2 != nil {
			return true, nil
		}
	}
}
