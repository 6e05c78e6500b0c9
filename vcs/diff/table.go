package diff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"

	"coral/delta/format"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// contentKey is what is known of a tensor's bytes without reading them.
type contentKey struct {
	how keyKind
	id  oid.ID
}

type keyKind uint8

const (
	unknown keyKind = iota
	whole           // id is the BLAKE3-256 of the tensor's bytes in row-major order
	blobs           // id is a hash of the ids of the blobs that hold it: another cut of the same bytes has another
)

// file is an opened file of one side with its tensors.
type file struct {
	node    *Node
	old     bool
	c       *Content
	f       *tensor.File
	partner *file // that it is compared with as a whole
	tensors []entry
}

// entry is a tensor of a side.
type entry struct {
	file *file
	t    *object.Tensor
	key  contentKey
	pair *pair // what it was matched to
}

func (e *entry) operand() operand { return operand{e.file.f, e.t} }

// String is path:name, for errors.
func (e *entry) String() string { return e.file.node.Path + ":" + e.t.Name }

// open reads the tensor table of a file. What no parser knows has none.
func open(ctx context.Context, tree Tree, n *Node, old bool, keep func(string) bool) (*file, error) {
	c, err := tree.Open(ctx, *n)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", n.Path, err)
	}
	f := &file{node: n, old: old, c: c}
	var keys []contentKey
	if c.Manifest != nil {
		f.f = tensor.FromManifest(c.Source, c.Manifest)
		keys = keysOf(c.Manifest)
	} else if f.f, err = tensor.ParseBeside(ctx, c.Source, c.Size, path.Base(n.Path), c.Beside); err != nil && !errors.Is(err, format.ErrUnknown) && !errors.Is(err, format.ErrDamaged) {
		return nil, errors.Join(fmt.Errorf("read %s: %w", n.Path, err), c.Close())
	}
	for i := range f.f.Tensors {
		t := &f.f.Tensors[i]
		if keep != nil && !keep(t.Name) {
			continue
		}
		e := entry{file: f, t: t}
		if keys != nil {
			e.key = keys[i]
		}
		f.tensors = append(f.tensors, e)
	}
	return f, nil
}

// keysOf finds the blobs of each tensor that is contiguous and lies in whole segments.
func keysOf(m *object.Manifest) []contentKey {
	starts := make([]int64, len(m.Segments))
	at := int64(0)
	for i := range m.Segments {
		starts[i] = at
		at += m.Segments[i].Length
	}
	out := make([]contentKey, len(m.Tensors))
	for i := range m.Tensors {
		t := &m.Tensors[i]
		if t.Stride == nil || format.Contiguous(t.Shape, t.Stride) {
			out[i] = keyOf(m.Segments, starts, t)
		}
	}
	return out
}

func keyOf(segs []object.Segment, starts []int64, t *object.Tensor) contentKey {
	if t.Length == 0 {
		return contentKey{whole, oid.Sum(nil)}
	}
	first := sort.Search(len(starts), func(i int) bool { return starts[i] >= t.Offset })
	if first == len(starts) || starts[first] != t.Offset {
		return contentKey{}
	}
	left := t.Length
	var ids []byte
	for i := first; left > 0; i++ {
		if i == len(segs) || segs[i].Length > left {
			return contentKey{}
		}
		id := segs[i].Blob
		if id.IsZero() {
			id = oid.Sum(segs[i].Inline)
		}
		if segs[i].Length == t.Length {
			return contentKey{whole, id}
		}
		ids = append(ids, id[:]...)
		left -= segs[i].Length
	}
	return contentKey{blobs, oid.Sum(ids)}
}

// same reports whether two tensors are known to hold the same bytes; false means nothing.
func same(a, b *entry) bool {
	return a.key.how != unknown && a.key == b.key && tensor.Bytes(a.t) == tensor.Bytes(b.t)
}

// hash makes e's key that of its bytes, reading them if need be.
func (e *entry) hash(ctx context.Context, report func(int64)) error {
	if e.key.how == whole {
		return nil
	}
	h := oid.NewHasher()
	buf := make([]byte, 256<<10)
	r := e.file.f.Reader(ctx, e.t)
	for {
		n, err := r.Read(buf)
		if _, werr := h.Write(buf[:n]); werr != nil {
			return werr
		}
		report(int64(n))
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
	}
	e.key = contentKey{whole, h.Sum()}
	return nil
}

// bomb reports a tensor that claims far more elements than its file has bytes: an expanded view, by the torch idiom or on purpose. It is not
// worth reading element by element.
func bomb(t *object.Tensor) bool { return tensor.Bytes(t) > 1024*t.Length+1<<20 }

// equalBytes compares two files of one length, up to the first difference.
func equalBytes(ctx context.Context, a, b *Content) (bool, error) {
	if a.Size != b.Size {
		return false, nil
	}
	bufA, bufB := make([]byte, 256<<10), make([]byte, 256<<10)
	for at := int64(0); at < a.Size; {
		n := int(min(int64(len(bufA)), a.Size-at))
		for _, s := range []struct {
			src tensor.Source
			buf []byte
		}{{a, bufA[:n]}, {b, bufB[:n]}} {
			if got, err := s.src.ReadAt(ctx, s.buf, at); got < n {
				if err == nil || err == io.EOF {
					err = fmt.Errorf("cut off at %d while it was read: %w", at+int64(got), errs.Busy)
				}
				return false, err
			}
		}
		if string(bufA[:n]) != string(bufB[:n]) {
			return false, nil
		}
		at += int64(n)
	}
	return true, nil
}

// hashFile returns the BLAKE3-256 of a file, from its manifest if it has one.
func hashFile(ctx context.Context, c *Content) (oid.ID, error) {
	if c.Manifest != nil {
		return c.Manifest.Hash, nil
	}
	h := oid.NewHasher()
	buf := make([]byte, 256<<10)
	for at := int64(0); at < c.Size; {
		p := buf[:min(int64(len(buf)), c.Size-at)]
		n, err := c.ReadAt(ctx, p, at)
		if _, werr := h.Write(p[:n]); werr != nil {
			return oid.ID{}, werr
		}
		at += int64(n)
		if n < len(p) {
			if err == nil || err == io.EOF {
				err = fmt.Errorf("cut off at %d while it was read: %w", at, errs.Busy)
			}
			return oid.ID{}, err
		}
	}
	return h.Sum(), nil
}
