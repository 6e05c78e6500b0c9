package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"

	"coral/delta/derive"
	"coral/internal/oid"
	"coral/objstore"
)

// Slices and concatenations (shards, fused and split projections) are found by anchors: rows of tensors, remembered under the hash of
// their first bytes. A row is an anchor if its hash says so, so both sides choose the same ones wherever the row lies; the
// first and the last row of an extent are anchors always. From an anchor that is known a run is extended both ways by comparing bytes.
const (
	anchorBytes  = 64
	anchorEvery  = 128 << 10 // bytes of rows to an anchor, on average; twice as many in tensors up to smallRows
	smallRows    = 1 << 20
	maxAnchors   = 1024     // of a blob
	minRow       = 256      // shorter rows would be hashed for longer than they are worth
	minRowTensor = 64 << 10 // shorter tensors are not worth two hints
	minRun       = 4096     // bytes
	maxRuns      = 256      // of a blob
	runStep      = 64 << 10
)

// rowsOf returns how the rows of a job's tensor lie in its blob: where the first one begins, and their length. ok is false if it has none that count.
func (in *ingest) rowsOf(j *job) (first, length int, ok bool) {
	shape := in.shape(j)
	pl := &in.layout.Payloads[j.payload]
	if len(shape) < 2 || shape[0] < 1 || pl.Length < minRowTensor {
		return 0, 0, false
	}
	n := pl.Length / shape[0]
	if n < minRow || n > extentLen {
		return 0, 0, false
	}
	into := int64(j.extent) * extentLen % n
	return int((n - into) % n), int(n), true
}

// anchor is a row of a blob that may be known.
type anchor struct {
	off  int
	hash uint64
}

// anchors returns those of a blob. With dense they are twice as many: those of a small tensor, and what to look for, since the small one may be the other.
func anchors(raw []byte, first, length int, dense bool) []anchor {
	var out []anchor
	every := max(1, uint64(anchorEvery/length)/2)
	if !dense {
		every *= 2 // so that the fewer are among the more
	}
	last := first + (len(raw)-anchorBytes-first)/length*length
	for at := first; at+anchorBytes <= len(raw) && len(out) < maxAnchors; at += length {
		if a, ok := anchorAt(raw, at); ok && (a.hash%every == 0 || at == first || at == last) {
			out = append(out, a)
		}
	}
	return out
}

// anchorAt returns the row at off as an anchor; ok is false if it begins with repetitions, as rows of zeros do, which are found everywhere.
func anchorAt(raw []byte, off int) (a anchor, ok bool) {
	if off < 0 || off+anchorBytes > len(raw) {
		return a, false
	}
	row := raw[off : off+anchorBytes]
	if bytes.Equal(row[:anchorBytes-8], row[8:]) {
		return a, false
	}
	return anchor{off, xxhash.Sum64(row)}, true
}

// key is that of the hint: 'r', then xxh64 of the row's first 64 bytes.
func (a anchor) key() []byte { return binary.LittleEndian.AppendUint64([]byte{hintRow}, a.hash) }

// rememberRows remembers the anchors of a stored blob; not those of one that was computed from other blobs, of which a slice is rather made from those, which are less deep.
// Where that is a cast or a sum its rows are its own.
func (in *ingest) rememberRows(id oid.ID, raw []byte, j *job, how *derive.Recipe) {
	first, length, ok := in.rowsOf(j)
	if !ok || how != nil && how.Copies() {
		return
	}
	for _, a := range anchors(raw, first, length, in.layout.Payloads[j.payload].Length <= smallRows) {
		in.s.rememberPlace(a.key(), place{id: id, dt: j.dt, off: int64(a.off)})
	}
}

// guessRows finds runs of the blob in other blobs.
func (in *ingest) guessRows(ctx context.Context, raw []byte, j *job) (guess, bool) {
	first, length, ok := in.rowsOf(j)
	if !ok {
		return guess{}, false
	}
	f := rowFinder{in: in, ctx: ctx, raw: raw, d: draft{s: in.s, dt: j.dt}}
	var known []anchor
	var cands []objstore.Info
	moved := false
	for _, a := range anchors(raw, first, length, true) {
		if p, ok := in.s.placeAt(a.key()); ok && p.dt == j.dt {
			if known == nil {
				cands = in.candidates(j, raw)
			}
			known = append(known, a)
			moved = moved || p.off != int64(a.off) || !isBase(cands, p.id)
		}
	}
	if !moved { // the same rows at the same place of a base: that is what bases are for
		return guess{}, false
	}
	for _, a := range known {
		// Where a run ends, another tensor's first row may follow.
		for next := -1; next < int(f.d.end) && int(f.d.end) < a.off && len(f.d.pieces) > 0; {
			next = int(f.d.end)
			b, ok := anchorAt(raw, next)
			if !ok || (next-first)%length != 0 || !f.extend(b) {
				break
			}
		}
		if int64(a.off) >= f.d.end && !f.extend(a) {
			break
		}
	}
	if f.d.bytes < int64(len(raw))/4 {
		return guess{}, false
	}
	return f.d.guess()
}

// isBase reports whether id is a base that is looked at anyway.
func isBase(cands []objstore.Info, id oid.ID) bool {
	return slices.ContainsFunc(cands, func(c objstore.Info) bool { return c.ID == id })
}

// rowFinder puts runs together.
type rowFinder struct {
	in  *ingest
	ctx context.Context
	raw []byte
	d   draft
	buf []byte
}

// extend adds the run around an anchor, if it is known and the run is long enough; more is false if no other is to be looked for.
func (f *rowFinder) extend(a anchor) (more bool) {
	p, ok := f.in.s.placeAt(a.key())
	if !ok || len(f.d.pieces) >= maxRuns {
		return ok
	}
	src, ok := f.d.source(p.id, p.off+anchorBytes)
	if !ok {
		return true
	}
	before, ok := f.back(a.off, p, int(min(int64(a.off)-f.d.end, p.off)))
	if !ok {
		return f.ctx.Err() == nil
	}
	after, ok := f.ahead(a.off, p, int(min(int64(len(f.raw)-a.off), f.d.infos[src].RawSize-p.off)))
	if !ok {
		return f.ctx.Err() == nil
	}
	if before+after >= minRun || before+after == len(f.raw) {
		at := int64(a.off - before)
		f.d.add(at, derive.Piece{Op: derive.Copy, Len: int64(before + after), Terms: []derive.Term{{Source: src, Off: p.off - int64(before)}}})
	}
	return true
}

// read returns n bytes of a blob from off.
func (f *rowFinder) read(id oid.ID, off int64, n int) ([]byte, bool) {
	b := sized(&f.buf, n)
	err := f.in.s.withMeta(f.ctx, id, func(m *blobMeta) error { return f.in.s.copyBlocks(f.ctx, m, b, off, readCold) })
	return b, err == nil
}

// ahead returns how many of the next n bytes are those at p and after. ok is false if they could not be read.
func (f *rowFinder) ahead(off int, p place, n int) (run int, ok bool) {
	for run < n {
		// Steps end where blocks of the source do.
		k := min(n-run, runStep-int(p.off+int64(run))%runStep)
		b, ok := f.read(p.id, p.off+int64(run), k)
		if !ok {
			return 0, false
		}
		same := agree(f.raw[off+run:off+run+k], b)
		if run += same; same < k {
			break
		}
	}
	return run, true
}

// back returns how many of the n bytes before are those before p.
func (f *rowFinder) back(off int, p place, n int) (run int, ok bool) {
	for run < n {
		k := min(n-run, runStep)
		b, ok := f.read(p.id, p.off-int64(run+k), k)
		if !ok {
			return 0, false
		}
		mine := f.raw[off-run-k : off-run]
		same := 0
		for same < k && mine[k-1-same] == b[k-1-same] {
			same++
		}
		if run += same; same < k {
			break
		}
	}
	return run, true
}

// agree returns how many leading bytes of a and b belong to one run: all if at most a quarter of the words differ, and the last ones do not, else up to the
// first that differs.
func agree(a, b []byte) int {
	if bytes.Equal(a, b) {
		return len(a)
	}
	first, last, diff := -1, -1, 0
	for i := 0; i+8 <= len(a); i += 8 {
		if binary.LittleEndian.Uint64(a[i:]) != binary.LittleEndian.Uint64(b[i:]) {
			if first < 0 {
				first = i
			}
			last = i
			diff++
		}
	}
	switch {
	case first < 0: // in the last bytes only
		return len(a) / 8 * 8
	case diff > len(a)/32 || last >= len(a)/8*8-anchorBytes:
		return first
	}
	return len(a)
}
