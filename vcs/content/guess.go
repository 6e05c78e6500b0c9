package content

import (
	"context"
	"slices"

	"coral/delta"
	"coral/delta/derive"
	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/objstore"
)

// A guess is a derivation that may give a blob's bytes. It is found by hints alone (values.go, rows.go, family.go, flat.go), which is cheap, judged on samples as
// bases are, and computed whole only if it is chosen. A wrong one costs time.
type guess struct {
	recipe *derive.Recipe
	base   objstore.Info // the deepest source
}

// sureShare is the part of the samples' bytes below which a guess is taken without looking at other bases.
const sureShare = 64

// floats are the kinds of which values are compared across kinds.
func isFloat(dt dtype.Kind) bool {
	return dt == dtype.F32 || dt == dtype.BF16 || dt == dtype.F16 || dt == dtype.F64
}

// derivable reports whether a job's blob may be derived and be a source. Adam's moments are in no other tensor.
func (in *ingest) derivable(j *job) bool {
	if j.payload < 0 || in.s.noBases || in.strategy != delta.Auto {
		return false
	}
	switch lastComponent(in.layout.Payloads[j.payload].Name) {
	case "exp_avg", "exp_avg_sq":
		return false
	}
	return j.dt.Width() > 0 && j.dt != dtype.Bytes
}

// guesses returns the derivations worth trying, the likelier first.
func (in *ingest) guesses(ctx context.Context, raw []byte, j *job) []guess {
	if !in.derivable(j) {
		return nil
	}
	var out []guess
	add := func(g guess, ok bool) {
		if ok {
			out = append(out, g)
		}
	}
	add(in.guessCast(raw, j))
	add(in.guessTranspose(raw, j))
	out = append(out, in.guessFamily(raw, j)...)
	add(in.guessRows(ctx, raw, j))
	add(in.guessFlat(ctx, raw, j))
	return out
}

// draft is a recipe in the making.
type draft struct {
	s      *Store
	dt     dtype.Kind
	infos  []objstore.Info // of the sources
	pieces []derive.Piece
	end    int64 // of the output so far
	bytes  int64 // of it, not gaps
}

// source returns the number of blob id among the sources, if it can be one: stored, exact, not too deep, and at least reach bytes long.
func (d *draft) source(id oid.ID, reach int64) (n int, ok bool) {
	n = slices.IndexFunc(d.infos, func(i objstore.Info) bool { return i.ID == id })
	if n < 0 {
		info, err := d.s.b.Stat(id)
		if err != nil || info.Kind != objstore.Blob || int(info.Depth) >= delta.MaxDepth || info.RawSize > delta.MaxBlob || d.s.marked(id) {
			return 0, false
		}
		n = len(d.infos)
		d.infos = append(d.infos, info)
	}
	return n, reach <= d.infos[n].RawSize
}

// add puts a piece at output byte at, which is not before the end so far.
func (d *draft) add(at int64, p derive.Piece) {
	if at > d.end {
		d.pieces = append(d.pieces, derive.Piece{Op: derive.Gap, Len: at - d.end})
	}
	d.pieces = append(d.pieces, p)
	d.end = at + p.Len
	d.bytes += p.Len
}

// guess makes the recipe; ok is false if there is none.
func (d *draft) guess() (g guess, ok bool) {
	var ids [][32]byte
	renumber := make([]int, len(d.infos))
	used := make([]bool, len(d.infos))
	for i := range d.pieces {
		for _, t := range d.pieces[i].Terms {
			used[t.Source] = true
		}
	}
	for i, info := range d.infos {
		if !used[i] { // looked at and not taken
			continue
		}
		renumber[i] = len(ids)
		if len(ids) == 0 || info.Depth > g.base.Depth {
			g.base = info
		}
		ids = append(ids, info.ID)
	}
	for i := range d.pieces {
		for k := range d.pieces[i].Terms {
			t := &d.pieces[i].Terms[k]
			t.Source = renumber[t.Source]
		}
	}
	if len(ids) == 0 {
		return g, false
	}
	r, err := derive.New(d.dt, ids, d.pieces)
	g.recipe = r
	return g, err == nil
}

// plain reports whether the guess is the bytes of one blob from its beginning on: then the blob is a base like any other.
func (g guess) plain() bool {
	p := &g.recipe.Pieces[0]
	return len(g.recipe.Pieces) == 1 && p.Op == derive.Copy && p.Terms[0].Off == 0 && g.base.DType == uint8(g.recipe.DType)
}

// virtual returns what eval needs to compute the guess, as if the blob were stored.
func (g guess) virtual() *blobMeta {
	info := objstore.Info{Kind: objstore.Blob, ID: g.base.ID, Depth: g.base.Depth + 1, RawSize: g.recipe.Len(), Base: g.base.ID}
	return &blobMeta{info: info, recipe: g.recipe}
}

// sampleGuess returns what the guess gives of the samples of a blob of n bytes, up to its end.
func (s *Store) sampleGuess(ctx context.Context, sl *slot, g guess, n int) ([]byte, error) {
	base := sized(&sl.base, min(n, sampleRanges*sampleLen))[:0]
	m := g.virtual()
	for _, r := range samplesOf(n) {
		if int64(r.off+r.n) > g.recipe.Len() {
			break
		}
		at := len(base)
		base = base[:at+r.n]
		if err := s.evalBlock(ctx, m, base[at:], int64(r.off)); err != nil {
			return nil, err
		}
	}
	return base, nil
}

// compute fills dst with all that the guess gives.
func (s *Store) compute(ctx context.Context, g guess, dst []byte) error {
	sc := s.getScratch()
	defer s.putScratch(sc)
	m := g.virtual()
	for at := 0; at < len(dst); at += decodeWindow {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.evalRange(ctx, sc, 0, m, dst[at:min(len(dst), at+decodeWindow)], int64(at)); err != nil {
			return err
		}
	}
	return nil
}

// chooseGuess returns the cheapest guess for a blob of n bytes and what it costs on sl.sample. sure says that looking further is in vain.
func (s *Store) chooseGuess(ctx context.Context, sl *slot, n int, dt dtype.Kind, guesses []guess) (best guess, cost float64, sure bool, err error) {
	size := float64(len(sl.sample))
	for _, g := range guesses {
		base, err := s.sampleGuess(ctx, sl, g, n)
		if cerr := ctx.Err(); cerr != nil {
			return guess{}, 0, false, cerr
		}
		if err != nil {
			s.log.Warn("derivation passed over", "op", "ingest", "id", g.base.ID, "err", err)
			continue
		}
		c := float64(sl.enc.Estimate(sl.sample, base, dt))*(1+linkCost*float64(g.base.Depth+1)) + float64(g.recipe.Size())*size/float64(n)
		if best.recipe == nil || c < cost {
			best, cost = g, c
		}
		if cost < size/sureShare+256 {
			return best, cost, true, nil
		}
	}
	return best, cost, false, nil
}
