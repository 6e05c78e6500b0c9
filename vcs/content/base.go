package content

import (
	"context"
	"encoding/binary"
	"errors"
	"sort"
	"strings"

	"github.com/cespare/xxhash/v2"

	"coral/delta"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// Where a base is looked for, and when it is worth one.
const (
	minDelta = 4096 // shorter blobs are stored alone: a base id and a second decode cost more than they save

	// A delta must be smaller than the blob alone by this share, as each link of a chain is decoded by every reader.
	minGain     = 0.03
	deepChain   = 6 // from this depth on
	minGainDeep = 0.10

	// The base of the same path is taken without trying another one when it saves this much: it is then the near one.
	plentyGain = 0.25

	// A blob whose natural base is at the end of a chain goes back to the ancestor of this depth: three of four
	// checkpoints keep their near base, every fourth pays for a far one, and none restarts the chain unless alone is smaller.
	restartDepth = delta.MaxDepth / 2
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

// extent returns the blob that held extent k of the tensor.
func (p *previous) extent(name string, dt dtype.Kind, k int) (oid.ID, bool) {
	i, ok := p.tensors[name]
	if !ok || p.m.Tensors[i].DType != dt {
		return oid.ID{}, false
	}
	t := &p.m.Tensors[i]
	at := int64(k) * extentLen
	if at >= t.Length {
		return oid.ID{}, false
	}
	at += t.Offset
	seg := sort.Search(len(p.starts), func(i int) bool { return p.starts[i] >= at })
	// Only a segment that begins with the extent is one of it: a view into a larger storage begins elsewhere. Empty segments do not occur.
	if seg == len(p.starts) || p.starts[seg] != at || p.m.Segments[seg].Blob.IsZero() {
		return oid.ID{}, false
	}
	return p.m.Segments[seg].Blob, true
}

// role says how a blob's place in a file counts for bases.
type role struct {
	track bool // may be and may have a base
	key   [8]byte
}

// role of a job: none for chunks, literals, short extents and Adam's first moment, which resembles its former self
// less than its own distribution after ten steps (research/compression.md §2.0).
func (in *ingest) role(j *job, n int) role {
	if j.payload < 0 || n < minDelta {
		return role{}
	}
	p := &in.layout.Payloads[j.payload]
	if p.Name == "" || lastComponent(p.Name) == "exp_avg" {
		return role{}
	}
	return role{track: true, key: hintKey(p.Name, p.DType, p.Length, j.extent)}
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
func (s *Store) remember(key [8]byte, id oid.ID) {
	if string(s.b.Hint(key[:])) != string(id[:]) {
		s.b.SetHint(key[:], id[:])
	}
}

// candidates returns the bases worth trying, the likelier first.
func (in *ingest) candidates(j *job, n int) []objstore.Info {
	r := in.role(j, n)
	if !r.track {
		return nil
	}
	var cands []objstore.Info
	p := &in.layout.Payloads[j.payload]
	if in.prev != nil {
		if id, ok := in.prev.extent(p.Name, p.DType, j.extent); ok {
			cands = in.s.addCandidate(cands, id, p.DType)
		}
	}
	if id, err := oid.FromBytes(in.s.b.Hint(r.key[:])); err == nil {
		cands = in.s.addCandidate(cands, id, p.DType)
	}
	return cands
}

// addCandidate appends the blob id, or the ancestor that stands in for it at the end of a chain, if it can be a base.
func (s *Store) addCandidate(cands []objstore.Info, id oid.ID, dt dtype.Kind) []objstore.Info {
	info, err := s.b.Stat(id)
	if err == nil && int(info.Depth) >= delta.MaxDepth {
		for err == nil && int(info.Depth) > restartDepth {
			depth := info.Depth
			if info, err = s.b.Stat(info.Base); err == nil && info.Depth >= depth {
				return cands // a damaged index: fsck names it
			}
		}
	}
	if err != nil || info.Kind != objstore.Blob || info.DType != uint8(dt) || info.RawSize <= 0 || info.RawSize > delta.MaxBlob {
		return cands
	}
	for _, c := range cands {
		if c.ID == info.ID {
			return cands
		}
	}
	return append(cands, info)
}

// chosenBase is a base and its bytes; zero if the blob is stored alone.
type chosenBase struct {
	info objstore.Info
	raw  []byte
}

// chooseBase compares the blob alone and against each candidate by sampled blocks. buf has room for the largest candidate.
// A candidate that cannot be read is passed over: it is damage, but not of this file.
func (s *Store) chooseBase(ctx context.Context, enc *delta.Encoder, raw []byte, dt dtype.Kind, cands []objstore.Info, buf []byte) (chosenBase, error) {
	alone := float64(enc.Estimate(raw, nil, dt))
	best, loaded := -1, -1
	bestCost := alone
	for i, c := range cands {
		base := buf[:c.RawSize]
		loaded = -1
		if err := s.decodeBlob(ctx, c.ID, base); err != nil {
			if cerr := ctx.Err(); cerr != nil {
				return chosenBase{}, cerr
			}
			if !errors.Is(err, errs.NotFound) {
				s.log.Warn("base passed over", "op", "ingest", "id", c.ID, "err", err)
			}
			continue
		}
		loaded = i
		cost := float64(enc.Estimate(raw, base, dt))
		if cost < bestCost && cost <= alone*(1-gainWanted(c.Depth+1)) {
			best, bestCost = i, cost
		}
		if bestCost <= alone*(1-plentyGain) {
			break
		}
	}
	if best < 0 {
		return chosenBase{}, nil
	}
	chosen := chosenBase{info: cands[best], raw: buf[:cands[best].RawSize]}
	if loaded != best {
		if err := s.decodeBlob(ctx, chosen.info.ID, chosen.raw); err != nil {
			return chosenBase{}, ctx.Err() // it could be read a moment ago: store the blob alone
		}
	}
	return chosen, nil
}

// gainWanted returns the share by which a delta that would have the given depth must be smaller.
func gainWanted(depth uint8) float64 {
	if depth >= deepChain {
		return minGainDeep
	}
	return minGain
}
