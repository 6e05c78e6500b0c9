package content

import (
	"context"
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"coral/delta/derive"
	"coral/delta/format/dtype"
	"coral/internal/oid"
)

// Flat buffers hold the parameters of a model one behind the other, in F32: DeepSpeed's partitions, FSDP's flat parameters. The model beside them, in BF16 or F32, is slices
// of them, which begin anywhere. Both sides are searched for anchors: elements that are chosen by their own values and those of the three behind,
// rounded to BF16. An anchor of a buffer is remembered under the hash of the 64 elements from it on. From one that is known a run is extended both ways by comparing.
const (
	minFlat      = 4 << 20 // bytes of a buffer; vectors of a model are shorter
	minFlatSlice = 32 << 10
	flatEvery    = 15 // bits of the hash that are zero in an anchor: one of 32768 elements, 128 KiB of F32
	flatPrint    = 64 // elements
	flatStep     = 8192
)

// hintFlat is the first byte of the key of an anchor, and all of the key that says that there are any.
const hintFlat = 'f'

func flatKey(hash uint64) []byte { return binary.LittleEndian.AppendUint64([]byte{hintFlat}, hash) }

// isFlat reports whether a job's blob is of a flat buffer.
func (in *ingest) isFlat(j *job) bool {
	return j.dt == dtype.F32 && len(in.shape(j)) < 2 && in.layout.Payloads[j.payload].Length >= minFlat
}

// flatAnchors calls fn with the byte offsets of anchors, in order, until it returns false.
func flatAnchors(raw []byte, dt dtype.Kind, fn func(off int, hash uint64) bool) {
	w := dt.Width()
	n := len(raw) / w
	var buf [2 * (flatStep + flatPrint)]byte
	for from, found := 0, 0; from+flatPrint <= n; from += flatStep {
		k := min(n-from, flatStep+flatPrint)
		short := raw[from*w : (from+k)*w]
		if dt != dtype.BF16 {
			short = buf[:2*k]
			derive.Convert(short, raw[from*w:(from+k)*w], dtype.BF16, dt)
		}
		for i := range min(flatStep, k-flatPrint+1) {
			four := binary.LittleEndian.Uint64(short[2*i:])
			if four*0x9e3779b97f4a7c15>>(64-flatEvery) != 0 || four == bits.RotateLeft64(four, 16) {
				continue
			}
			if found++; found > maxAnchors || !fn((from+i)*w, xxhash.Sum64(short[2*i:2*(i+flatPrint)])) {
				return
			}
		}
	}
}

// rememberFlat remembers the anchors of a buffer's blob.
func (in *ingest) rememberFlat(id oid.ID, raw []byte, j *job) {
	if !in.isFlat(j) {
		return
	}
	in.s.remember([]byte{hintFlat}, []byte{1})
	flatAnchors(raw, j.dt, func(off int, hash uint64) bool {
		in.s.rememberPlace(flatKey(hash), place{id: id, dt: j.dt, off: int64(off)})
		return true
	})
}

// guessFlat finds runs of the blob in flat buffers.
func (in *ingest) guessFlat(ctx context.Context, raw []byte, j *job) (guess, bool) {
	if j.dt != dtype.BF16 && j.dt != dtype.F32 || len(raw) < minFlatSlice || in.s.b.Hint([]byte{hintFlat}) == nil {
		return guess{}, false
	}
	f := flatFinder{rowFinder: rowFinder{in: in, ctx: ctx, raw: raw, d: draft{s: in.s, dt: j.dt}}, w: int64(j.dt.Width())}
	cands := in.candidates(j, raw)
	moved := false
	flatAnchors(raw, j.dt, func(off int, hash uint64) bool {
		if int64(off) < f.d.end {
			return true
		}
		p, ok := in.s.placeAt(flatKey(hash))
		if !ok || p.dt != dtype.F32 || p.off%4 != 0 {
			return true
		}
		moved = moved || j.dt != p.dt || p.off != int64(off) || !isBase(cands, p.id)
		f.extend(int64(off), p)
		return ctx.Err() == nil && len(f.d.pieces) < maxRuns
	})
	if !moved || f.d.bytes < int64(len(raw))/4 { // the same elements at the same place of a base: that is what bases are for
		return guess{}, false
	}
	return f.d.guess()
}

// flatFinder puts runs together.
type flatFinder struct {
	rowFinder
	w    int64 // bytes of an element of the blob
	cast [4 * flatStep]byte
}

// extend adds the run around element off of the blob, which is that at p, if it is long enough.
func (f *flatFinder) extend(off int64, p place) {
	src, ok := f.d.source(p.id, p.off+4)
	if !ok {
		return
	}
	before := int64(0) // elements
	for most := min((off-f.d.end)/f.w, p.off/4); before < most; {
		k := min(most-before, flatStep)
		b, ok := f.elements(p.id, p.off-4*(before+k), k)
		if !ok {
			return
		}
		mine := f.raw[off-f.w*(before+k) : off-f.w*before]
		same := 0
		for same < len(mine) && mine[len(mine)-1-same] == b[len(b)-1-same] {
			same++
		}
		if before += int64(same) / f.w; same < len(mine) {
			break
		}
	}
	after := int64(0)
	for most := min((int64(len(f.raw))-off)/f.w, (f.d.infos[src].RawSize-p.off)/4); after < most; {
		k := min(most-after, flatStep)
		b, ok := f.elements(p.id, p.off+4*after, k)
		if !ok {
			return
		}
		mine := f.raw[off+f.w*after : off+f.w*(after+k)]
		same := 0
		for same < len(mine) && mine[same] == b[same] {
			same++
		}
		if after += int64(same) / f.w; same < len(mine) {
			break
		}
	}
	n := (before + after) * f.w
	if n < minRun && n != int64(len(f.raw)) {
		return
	}
	piece := derive.Piece{Op: derive.Copy, Len: n, Terms: []derive.Term{{Source: src, Off: p.off - 4*before}}}
	if f.d.dt != dtype.F32 {
		piece.Op, piece.Terms[0].DType = derive.Cast, dtype.F32
	}
	f.d.add(off-before*f.w, piece)
}

// elements returns n elements of a buffer's blob from byte off on, at most flatStep, as elements of the blob.
func (f *flatFinder) elements(id oid.ID, off, n int64) ([]byte, bool) {
	b, ok := f.read(id, off, int(4*n))
	if !ok {
		return nil, false
	}
	if f.d.dt == dtype.F32 {
		return b, true
	}
	out := f.cast[:n*f.w]
	derive.Convert(out, b, f.d.dt, dtype.F32)
	return out, true
}
