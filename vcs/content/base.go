package content

import (
	"context"
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"

	"coral/delta"
	"coral/delta/derive"
	"coral/delta/format/dtype"
	"coral/delta/similar"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// When a base is worth one.
const (
	minDelta = 4096 // shorter blobs are stored alone: a base id and a second decode cost more than they save

	// Each link of a chain is decoded by every reader, so a delta that is the n-th of its chain must be smaller than the
	// blob alone by about n times this share, and smaller by one such share than a delta that is one link shallower. Where a
	// far base is nearly as good as the near one (F32, frozen rows) chains so stay short; where it is not (BF16: doubling
	// the distance costs 4.6 % of the raw size, research/compression.md §7) they grow to delta.MaxDepth. Twelve AdamW checkpoints of a
	// 3.7 M F32 network, 20 steps apart (November 2026): 0.763 of raw and 2.5 GB decoded to store and read all twice, against 0.758 and 4.3 GB with the near base always.
	linkCost = 0.03

	// maxBaseDepth leaves a link above the deepest delta for what is computed from it: a cast, a shard.
	maxBaseDepth = delta.MaxDepth - 2

	maxCandidates = 6
)

// Candidates are compared on samples: whole blocks, since these are what is decoded of a base.
const (
	sampleRanges = 8
	sampleLen    = delta.BlockSize
)

// previous finds the extents of the same path's former content by tensor name.
type previous struct {
	m       *object.Manifest
	starts  []int64 // of segments
	tensors map[string]int
}

// loadPrevious prepares hint.Prev for lookups, or returns nil: without it only ratio is lost.
func (s *Store) loadPrevious(ctx context.Context, hint Hint) *previous {
	if hint.Prev.IsZero() {
		return nil
	}
	m, err := s.objects.Manifest(ctx, hint.Prev)
	if err != nil {
		if ctx.Err() == nil {
			s.log.Warn("no bases from the previous version", "op", "ingest", "path", hint.Path, "id", hint.Prev, "err", err)
		}
		return nil
	}
	p := &previous{m: m, starts: make([]int64, len(m.Segments)), tensors: make(map[string]int, len(m.Tensors))}
	at := int64(0)
	for i := range m.Segments {
		p.starts[i] = at
		at += m.Segments[i].Length
	}
	for i := range m.Tensors {
		if _, ok := p.tensors[m.Tensors[i].Name]; !ok {
			p.tensors[m.Tensors[i].Name] = i
		}
	}
	return p
}

// extent returns the blob that held extent k of the storage that is named after the tensor. A manifest does not say where storages begin and end: the tensor may be a
// part of a larger one, as in flat buffers of which all parameters are views. But extents of one storage are full but for the last.
func (p *previous) extent(name string, dt dtype.Kind, k int) (oid.ID, bool) {
	i, ok := p.tensors[name]
	if !ok || p.m.Tensors[i].DType != dt {
		return oid.ID{}, false
	}
	t := &p.m.Tensors[i]
	seg := sort.Search(len(p.starts), func(i int) bool { return p.starts[i] > t.Offset }) - 1
	if seg < 0 || p.m.Segments[seg].Blob.IsZero() {
		return oid.ID{}, false
	}
	for seg > 0 && p.starts[seg] != t.Offset && p.full(seg-1) {
		seg-- // the tensor begins within the storage
	}
	for ; k > 0 && p.full(seg); k-- {
		seg++
	}
	if k > 0 || seg == len(p.starts) || p.m.Segments[seg].Blob.IsZero() {
		return oid.ID{}, false
	}
	return p.m.Segments[seg].Blob, true
}

// full reports whether segment i may be an extent that others of its storage follow.
func (p *previous) full(i int) bool {
	return i < len(p.starts) && p.m.Segments[i].Length == extentLen && !p.m.Segments[i].Blob.IsZero()
}

// role says how a blob's place in a file counts for bases.
type role struct {
	track bool // may be and may have a base
	key   [8]byte
}

// role of a job: none for chunks, literals, short extents and Adam's first moment, which resembles its former self
// less than its own distribution after ten steps (research/compression.md §2.0). But where rows had no gradient yet (zeros), others had
// none since, and their moment only decayed: package predict knows by how much. MiniLM's word embeddings, 15 steps later: 0.074 of raw instead of 0.122.
func (in *ingest) role(j *job, raw []byte) role {
	if j.payload < 0 || len(raw) < minDelta || in.s.noBases {
		return role{}
	}
	p := &in.layout.Payloads[j.payload]
	if p.Name == "" || lastComponent(p.Name) == "exp_avg" && !hasZeros(raw) {
		return role{}
	}
	return role{track: true, key: hintKey(p.Name, p.DType, p.Length, j.extent)}
}

// hasZeros reports whether at least an eighth of 1024 words all over b are zero.
func hasZeros(b []byte) bool {
	const word, looks = 8, 1024
	step := max(1, len(b)/word/looks)
	zeros, seen := 0, 0
	for at := 0; at+step <= len(b)/word; at += step {
		i := at + seen*29%step // not in step with rows
		if seen++; binary.LittleEndian.Uint64(b[i*word:]) == 0 {
			zeros++
		}
	}
	return 8*zeros >= seen
}

func lastComponent(name string) string {
	return name[strings.LastIndexAny(name, "./")+1:]
}

// hintKey is the key under which the store remembers the blob last stored for a payload's extent, little endian:
// xxh64 of the name, a zero byte, the dtype byte, and as uint64 the payload's length and the extent's index. The value is the blob's id.
func hintKey(name string, dt dtype.Kind, payloadLen int64, extent int) [8]byte {
	b := make([]byte, 0, 128)
	b = append(b, name...)
	b = append(b, 0, byte(dt))
	b = binary.LittleEndian.AppendUint64(b, uint64(payloadLen))
	b = binary.LittleEndian.AppendUint64(b, uint64(extent))
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], xxhash.Sum64(b))
	return key
}

// remember sets the hint unless it is set so already.
func (s *Store) remember(key, value []byte) {
	if string(s.b.Hint(key)) != string(value) {
		s.b.SetHint(key, value)
	}
}

// nameKey is the key under which the last blob of a name, kind and extent is remembered whatever the tensor's length, for those that
// grew or shrank: 'n', then as hintKey without the length.
func nameKey(name string, dt dtype.Kind, extent int) []byte {
	b := hintKey(name, dt, 0, extent)
	return append([]byte{hintName}, b[:]...)
}

// candidates returns the bases worth trying, the likelier first.
func (in *ingest) candidates(j *job, raw []byte) []objstore.Info {
	r := in.role(j, raw)
	if !r.track {
		return nil
	}
	var cands []objstore.Info
	p := &in.layout.Payloads[j.payload]
	if in.prev != nil {
		if id, ok := in.prev.extent(p.Name, p.DType, j.extent); ok {
			cands = in.s.addChain(cands, id, p.DType)
		}
	}
	id, ok := in.s.last(r.key[:])
	if !ok {
		id, ok = in.s.last(nameKey(p.Name, p.DType, j.extent))
	}
	if ok {
		cands = in.s.addChain(cands, id, p.DType)
	}
	return cands
}

// addChain appends the blob id and some of the bases below it: the next one, the middle one and the last. A blob that is not there, or
// an index that is damaged, ends the chain early: ratio is lost, and fsck names it.
func (s *Store) addChain(cands []objstore.Info, id oid.ID, dt dtype.Kind) []objstore.Info {
	var links []objstore.Info
	for !id.IsZero() {
		info, err := s.b.Stat(id)
		if err != nil || len(links) > 0 && info.Depth >= links[len(links)-1].Depth {
			break
		}
		links = append(links, info)
		id = info.Base
	}
	last := len(links) - 1
	for i, c := range links {
		if i > 1 && i != (last+1)/2 && i != last || int(c.Depth) > maxBaseDepth {
			continue
		}
		if c.Kind != objstore.Blob || c.DType != uint8(dt) || c.RawSize <= 0 || c.RawSize > delta.MaxBlob {
			continue
		}
		known := slices.ContainsFunc(cands, func(o objstore.Info) bool { return o.ID == c.ID })
		if !known && len(cands) < maxCandidates {
			cands = append(cands, c)
		}
	}
	return cands
}

// choice is what a blob is coded against: nothing, a base, or what a recipe computes, with base its deepest source.
type choice struct {
	base   objstore.Info
	recipe *derive.Recipe
}

// baseLen returns how many bytes there are to code against.
func (c choice) baseLen() int {
	if c.recipe != nil {
		return int(c.recipe.Len())
	}
	return int(c.base.RawSize)
}

// baseBytes fills dst, of that length, with them.
func (s *Store) baseBytes(ctx context.Context, sl *slot, c choice, dst []byte) error {
	if c.recipe != nil {
		return s.compute(ctx, guess{c.recipe, c.base}, dst)
	}
	return s.wholeBlob(ctx, sl, c.base.ID, dst)
}

// compare sets best to the cheapest of itself, which costs least on the samples, and the candidates. A candidate that cannot be read is passed over: it is
// damage, but not of this file.
func (s *Store) compare(ctx context.Context, sl *slot, n int, dt dtype.Kind, cands []objstore.Info, best *choice, least *float64) error {
	for _, c := range cands {
		if s.Approximated(ctx, c.ID) {
			continue // what is exact does not hang on what is not
		}
		base, err := s.sampleBase(ctx, sl, c, n)
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if err != nil {
			s.log.Warn("base passed over", "op", "ingest", "id", c.ID, "err", err)
			continue
		}
		cost := float64(sl.enc.Estimate(sl.sample, base, dt)) * (1 + linkCost*float64(c.Depth+1))
		if cost < *least {
			*best, *least = choice{base: c}, cost
		}
	}
	return nil
}

// choose compares the blob alone, against each derivation and each candidate of the same name on samples, and returns the cheapest; if that is alone, it looks
// at neighbours. look is what the blob is to be remembered by, or nil.
func (in *ingest) choose(ctx context.Context, sl *slot, raw []byte, j *job) (best choice, look *similar.Sketch, err error) {
	s := in.s
	look = in.sketch(j, raw)
	guesses := in.guesses(ctx, raw, j)
	cands := in.candidates(j, raw)
	guesses = slices.DeleteFunc(guesses, func(g guess) bool {
		if g.plain() && !isBase(cands, g.base.ID) {
			cands = append(cands, g.base)
		}
		return g.plain()
	})
	if len(cands)+len(guesses) == 0 && look == nil {
		return best, look, nil
	}
	key, alike := in.habitKey(j, cands)
	if alike && len(guesses) == 0 {
		if i, ok := in.habits.skip(key); ok && !s.Approximated(ctx, cands[i].ID) {
			return choice{base: cands[i]}, look, nil
		}
	}
	sl.sample = sl.sample[:0] // keeps its memory
	for _, r := range samplesOf(len(raw)) {
		sl.sample = append(sl.sample, raw[r.off:r.off+r.n]...)
	}
	g, derived, sure, err := s.chooseGuess(ctx, sl, len(raw), j.dt, guesses)
	if err != nil || sure {
		return choice{g.base, g.recipe}, look, err
	}
	least := float64(sl.enc.Estimate(sl.sample, nil, j.dt))
	if g.recipe != nil && derived < least {
		best, least = choice{g.base, g.recipe}, derived
	}
	if err := s.compare(ctx, sl, len(raw), j.dt, cands, &best, &least); err != nil {
		return best, look, err
	}
	if alike && len(guesses) == 0 {
		in.habits.note(key, slices.IndexFunc(cands, func(c objstore.Info) bool { return best.recipe == nil && c.ID == best.base.ID }))
	}
	if best.baseLen() == 0 && look != nil {
		err = s.compare(ctx, sl, len(raw), j.dt, s.neighbours(look, cands), &best, &least)
	}
	return best, look, err
}

type sampleRange struct{ off, n int }

// samplesOf returns the ranges of a blob of n bytes that stand for it: all of a short one, else blocks spread evenly, about a quarter of it.
func samplesOf(n int) []sampleRange {
	if n <= 2*sampleLen {
		return []sampleRange{{0, n}}
	}
	out := make([]sampleRange, max(2, min(sampleRanges, n/(4*sampleLen))))
	last := (n - 1) / sampleLen // the last block, which may be short
	for i := range out {
		off := last * i / (len(out) - 1) * sampleLen
		out[i] = sampleRange{off, min(sampleLen, n-off)}
	}
	return out
}

// sampleBase returns the candidate's bytes of the samples of a blob of n bytes, up to the candidate's end. They are read through the block cache, where
// one candidate's chain leaves what the next, its base, needs.
func (s *Store) sampleBase(ctx context.Context, sl *slot, c objstore.Info, n int) ([]byte, error) {
	base := sized(&sl.base, min(n, sampleRanges*sampleLen))[:0]
	plain, isPlain := s.plains.get(c.ID)
	for _, r := range samplesOf(n) {
		have := min(r.n, int(c.RawSize)-r.off)
		if have <= 0 {
			break
		}
		at := len(base)
		base = base[:at+have]
		if !isPlain || !sl.plain.read(plain, base[at:], int64(r.off)) { // what a plain file has is not compared with the id: a sample is a hint
			err := s.withMeta(ctx, c.ID, func(m *blobMeta) error {
				return s.copyBlocks(ctx, m, base[at:], int64(r.off), readCold)
			})
			if err != nil {
				return nil, err
			}
		}
		if have < r.n {
			break
		}
	}
	return base, nil
}
