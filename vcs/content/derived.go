package content

import (
	"context"
	"fmt"
	"slices"

	"coral/delta"
	"coral/delta/derive"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// A derived blob is coded against what a recipe computes from other blobs, its sources. Reading it, the bytes that a base would give are
// computed, from no more of each source than the range in work needs: twice its bytes for BF16 of F32. A transpose alone needs
// its whole matrix, 16 MiB at most, for any range.

// keepInput bounds the buffer that an idle input holds on to.
const keepInput = 4 << 20

// input is the working memory of one evaluation.
type input struct {
	needs []derive.Need
	parts [][]byte // one for each of needs, in buf
	buf   []byte
}

// prepare finds what n bytes from off of the recipe's output need and makes room for it.
func (in *input) prepare(r *derive.Recipe, off, n int64) {
	in.needs = r.Needs(in.needs[:0], off, n)
	total := int64(0)
	for i := range in.needs {
		total += in.needs[i].Len
	}
	buf := sized(&in.buf, int(total))
	in.parts = in.parts[:0]
	for i := range in.needs {
		k := in.needs[i].Len
		in.parts = append(in.parts, buf[:k:k])
		buf = buf[k:]
	}
}

// trim lets go of a long buffer.
func (in *input) trim() {
	if cap(in.buf) > keepInput {
		in.buf = nil
	}
}

// evalRange fills dst with what the recipe of m computes from off on, reading sources past the block cache. level is that of m.
func (s *Store) evalRange(ctx context.Context, sc *scratch, level int, m *blobMeta, dst []byte, off int64) error {
	in := &sc.inputs[level]
	return s.eval(ctx, m, in, dst, off, func(bm *blobMeta, p []byte, at int64) error {
		if len(in.buf) > wideInput*len(dst) {
			return s.copyBlocks(ctx, bm, p, at, readCold)
		}
		return s.decodeRange(ctx, sc, level+1, bm, p, at)
	})
}

// wideInput is how many times its output an input is at which the next range most likely needs the same again: sources are then read through the cache.
const wideInput = 4

// evalBlock is evalRange by way of the block cache, for readers at random.
func (s *Store) evalBlock(ctx context.Context, m *blobMeta, dst []byte, off int64) error {
	sc := s.getScratch()
	defer s.putScratch(sc)
	return s.eval(ctx, m, &sc.inputs[0], dst, off, func(bm *blobMeta, p []byte, at int64) error {
		return s.copyBlocks(ctx, bm, p, at, readCold)
	})
}

func (s *Store) eval(ctx context.Context, m *blobMeta, in *input, dst []byte, off int64, read func(bm *blobMeta, p []byte, at int64) error) error {
	r := m.recipe
	if end := off + int64(len(dst)); end > r.Len() {
		return corrupt(m.info.ID, "needs %d bytes of a recipe for %d", end, r.Len())
	}
	in.prepare(r, off, int64(len(dst)))
	for i := range in.needs {
		need := &in.needs[i]
		err := s.withSource(ctx, m, r.Sources[need.Source], need.Off+need.Len, func(bm *blobMeta) error {
			return read(bm, in.parts[i], need.Off)
		})
		if err != nil {
			return err
		}
	}
	if err := r.Eval(dst, off, in.parts); err != nil {
		return corrupt(m.info.ID, "%v", err)
	}
	return nil
}

// withSource calls fn with the head of a source of m, after checking that it reaches to need and that the chain goes on downwards.
func (s *Store) withSource(ctx context.Context, m *blobMeta, source oid.ID, need int64, fn func(*blobMeta) error) error {
	id := m.info.ID
	err := s.withMeta(ctx, source, func(bm *blobMeta) error {
		switch {
		case bm.info.Depth >= m.info.Depth:
			return corrupt(id, "depth %d on a source of depth %d", m.info.Depth, bm.info.Depth)
		case bm.info.RawSize < need:
			return corrupt(id, "needs %d bytes of a source of %d", need, bm.info.RawSize)
		}
		return fn(bm)
	})
	if err != nil {
		return fmt.Errorf("source %s of derived blob %s: %w", source, id, err)
	}
	return nil
}

// readRecipe reads the recipe at the head of m's payload. b holds the first bytes of the payload; what is returned holds the recipe and at least delta.PrefixLen bytes more.
func (s *Store) readRecipe(ctx context.Context, m *blobMeta, b []byte) ([]byte, error) {
	stored := m.info.Stored
	n, err := derive.Len(b[:min(len(b), derive.PrefixLen)], stored-delta.PrefixLen)
	if err != nil {
		return b, err
	}
	if b, err = s.extend(ctx, m, b, n+delta.PrefixLen); err != nil {
		return b, err
	}
	if m.recipe, err = derive.Parse(b[:n]); err != nil {
		return b, err
	}
	if m.recipe.Len() > m.info.RawSize || !slices.Contains(m.recipe.Sources, [32]byte(m.info.Base)) {
		return b, fmt.Errorf("recipe for %d bytes with base %s: %w", m.recipe.Len(), m.info.Base, errs.Corrupt)
	}
	m.body = n
	m.cost += 2*n + int64(len(m.recipe.Pieces))*64
	return b, nil
}

// Sources returns the blobs that a derived blob is computed from, and none for others. It is what objstore/local asks, to
// keep them: read fills p from the payload at off.
func Sources(info objstore.Info, read func(p []byte, off int64) error) ([]oid.ID, error) {
	if info.Kind != objstore.Blob || delta.FrameCodec(info.Codec) != delta.FrameDerived {
		return nil, nil
	}
	prefix := make([]byte, derive.PrefixLen)
	if info.Stored < derive.PrefixLen {
		return nil, corrupt(info.ID, "recipe in a payload of %d bytes", info.Stored)
	}
	if err := read(prefix, 0); err != nil {
		return nil, err
	}
	n, err := derive.Len(prefix, info.Stored)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", info.ID, err)
	}
	b := make([]byte, n)
	if err := read(b, 0); err != nil {
		return nil, err
	}
	r, err := derive.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", info.ID, err)
	}
	ids := make([]oid.ID, len(r.Sources))
	for i := range r.Sources {
		ids[i] = r.Sources[i]
	}
	return ids, nil
}

// References returns the blobs that must be kept for blob id to be readable: its base, or all sources of a derived blob. Each is less deep than the blob.
func (s *Store) References(ctx context.Context, id oid.ID) ([]oid.ID, error) {
	info, err := s.b.Stat(id)
	if err != nil {
		return nil, err
	}
	if info.Base.IsZero() {
		return nil, nil
	}
	ids, err := Sources(info, func(p []byte, off int64) error { return s.b.ReadPayload(ctx, info, p, off) })
	if err != nil {
		return nil, err
	}
	if !slices.Contains(ids, info.Base) {
		ids = append(ids, info.Base)
	}
	return ids, nil
}
