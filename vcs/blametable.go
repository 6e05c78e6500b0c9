package vcs

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sort"

	"coral/internal/oid"
	"coral/vcs/object"
)

// blameTable is what tells the tensors of one file from others: a sum of dtype, shape and what they consist of.
type blameTable struct {
	m      *object.Manifest
	sums   []oid.ID // of m.Tensors
	byName map[string]int
	bySum  map[oid.ID]bool
}

// maxTables is how many are kept: a walk looks at the file of a commit and of its parents.
const maxTables = 64

func (b *blamer) table(ctx context.Context, manifest oid.ID) (*blameTable, error) {
	if t := b.tables[manifest]; t != nil {
		return t, nil
	}
	m, err := b.r.Objects.Manifest(ctx, manifest)
	if err != nil {
		return nil, err
	}
	t := &blameTable{m: m, byName: map[string]int{}, bySum: map[oid.ID]bool{}}
	s := summer{r: b.r, id: manifest, m: m, h: oid.NewHasher()}
	for _, seg := range m.Segments {
		s.starts = append(s.starts, s.end)
		s.end += seg.Length
	}
	for i := range m.Tensors {
		sum, err := s.sum(ctx, &m.Tensors[i])
		if err != nil {
			return nil, err
		}
		t.sums = append(t.sums, sum)
		t.byName[m.Tensors[i].Name] = i
		t.bySum[sum] = true
	}
	if len(b.tables) >= maxTables {
		clear(b.tables)
	}
	b.tables[manifest] = t
	return t, nil
}

// split divides items into those that the file has and those it has not. A tensor of the same name decides; one that has another name counts
// only where none has the old one.
func (t *blameTable) split(items []blameItem) (has, hasNot []blameItem) {
	for _, it := range items {
		same := it.bytes > 0 && t.bySum[it.sum]
		if it.whole {
			same = it.sum == t.m.Hash
		} else if i, ok := t.byName[it.name]; ok {
			same = t.sums[i] == it.sum
		}
		if same {
			has = append(has, it)
		} else {
			hasNot = append(hasNot, it)
		}
	}
	return has, hasNot
}

// summer makes the sums of one file.
type summer struct {
	r      *Repo
	id     oid.ID
	m      *object.Manifest
	starts []int64 // of m.Segments
	end    int64
	h      *oid.Hasher
}

// smallTensor is the length below which tensors have no blob of their own (vcs/content), and so are read.
const smallTensor = 512

func (s *summer) sum(ctx context.Context, t *object.Tensor) (oid.ID, error) {
	s.h.Reset()
	s.number(int64(t.DType))
	for _, dims := range [][]int64{t.Shape, t.Stride} {
		s.number(int64(len(dims)))
		for _, d := range dims {
			s.number(d)
		}
	}
	if t.Length < smallTensor {
		b, err := s.read(ctx, t.Offset, t.Length)
		_, _ = s.h.Write(b)
		return s.h.Sum(), err
	}
	i := max(0, sort.Search(len(s.starts), func(i int) bool { return s.starts[i] > t.Offset })-1)
	for end := t.Offset + t.Length; i < len(s.starts) && s.starts[i] < end; i++ {
		seg := &s.m.Segments[i]
		from, to := max(t.Offset, s.starts[i])-s.starts[i], min(end, s.starts[i]+seg.Length)-s.starts[i]
		s.number(from)
		s.number(to)
		if seg.Blob.IsZero() {
			_, _ = s.h.Write(seg.Inline[from:to])
		} else {
			_, _ = s.h.Write(seg.Blob[:])
		}
	}
	return s.h.Sum(), nil
}

// read reads a few bytes of the file.
func (s *summer) read(ctx context.Context, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off+n > s.end {
		return nil, nil // a table that does not fit is told by its numbers alone
	}
	b := make([]byte, n)
	f, err := s.r.Content.Open(ctx, s.id)
	if err != nil {
		return nil, err
	}
	if k, err := f.ReadAt(ctx, b, off); err != nil && !(errors.Is(err, io.EOF) && k == len(b)) {
		return nil, err
	}
	return b, nil
}

func (s *summer) number(n int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	_, _ = s.h.Write(b[:]) // a hash never fails
}
