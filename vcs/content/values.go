package content

import (
	"bytes"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"coral/delta/derive"
	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/oid"
)

// Casts and transposes are found by a few values: a tensor's unit of unitElems elements is remembered under the hash of some of them, rounded to each kind that it may be cast to. So
// the one of seven checkpoints that a BF16 file was made of is found at once, whatever names and paths say.
const (
	unitElems   = 2 << 20 // an extent of F64 has one unit, of F32 two, of F16 and BF16 four: units of all kinds begin at the same elements
	printValues = 64
	checkValues = 1024
	maxPlaces   = 8
	gridValues  = 8    // and 8×8 of a matrix
	minMatrix   = 4096 // bytes
)

// The first byte of a hint's key says what the hint is; names have keys of 8 bytes (base.go) and no such byte.
const (
	hintValues    = 'v'
	hintTranspose = 't'
	hintRow       = 'r'
	hintName      = 'n'
)

// place is a place in a blob, as hints have it:
//
//	0  32  blob
//	32 1   element kind
//	33 4   offset, little endian
//	37 4   check of values, little endian; 0 in hints of rows and matrices
type place struct {
	id    oid.ID
	dt    dtype.Kind
	off   int64
	check uint32
}

const placeLen = oid.Size + 9

func (p place) append(b []byte) []byte {
	b = append(b, p.id[:]...)
	b = append(b, byte(p.dt))
	b = binary.LittleEndian.AppendUint32(b, uint32(p.off))
	return binary.LittleEndian.AppendUint32(b, p.check)
}

func parsePlace(b []byte) (p place) {
	copy(p.id[:], b)
	p.dt, p.off = dtype.Kind(b[oid.Size]), int64(binary.LittleEndian.Uint32(b[oid.Size+1:]))
	p.check = binary.LittleEndian.Uint32(b[oid.Size+5:])
	return p
}

// placeAt returns the place remembered under key.
func (s *Store) placeAt(key []byte) (p place, ok bool) {
	b := s.b.Hint(key)
	if len(b) != placeLen {
		return p, false
	}
	return parsePlace(b), true
}

// rememberPlace makes p the place under key.
func (s *Store) rememberPlace(key []byte, p place) { s.remember(key, p.append(nil)) }

// places returns those remembered under the key of values, the newest first.
func (s *Store) places(key []byte) []place {
	b := s.b.Hint(key)
	if len(b)%placeLen != 0 || len(b) > maxPlaces*placeLen {
		return nil
	}
	out := make([]place, 0, maxPlaces)
	for ; len(b) > 0; b = b[placeLen:] {
		out = append(out, parsePlace(b))
	}
	return out
}

// valuesKey is the key of a unit of elements of kind from as it would be in kind to: 'v', then xxh64 of the kind, the number of elements and 64 of them, evenly spread. ok is false if
// these are all the same. check is the low half of the xxh64 of 1024 elements: units that differ in few elements, as rows that were
// not trained make them, share a key and are told apart by it.
func valuesKey(unit []byte, from, to dtype.Kind) (key []byte, check uint32, ok bool) {
	var buf [checkValues * 8]byte
	n := len(unit) / from.Width()
	values := spread(buf[:0], unit, from, to, printValues)
	what := binary.LittleEndian.AppendUint32([]byte{hintValues, byte(to)}, uint32(n))
	key, ok = printKey(hintValues, what, values, to.Width())
	if ok {
		check = uint32(xxhash.Sum64(spread(buf[:0], unit, from, to, checkValues)))
	}
	return key, check, ok
}

// spread appends up to k elements of a unit, evenly spread, as elements of kind to.
func spread(dst, unit []byte, from, to dtype.Kind, k int) []byte {
	fw, tw := from.Width(), to.Width()
	n := len(unit) / fw
	if k = min(n, k); k < 2 {
		return dst
	}
	var picked [checkValues * 8]byte
	for i := range k {
		copy(picked[i*fw:][:fw], unit[i*(n-1)/(k-1)*fw:])
	}
	dst = dst[:k*tw]
	derive.Convert(dst, picked[:k*fw], to, from)
	return dst
}

// printKey hashes what describes values and the values, of w bytes each.
func printKey(kind byte, what, values []byte, w int) (key []byte, ok bool) {
	for i := w; i < len(values) && !ok; i += w {
		ok = string(values[i:i+w]) != string(values[:w])
	}
	what = append(what, values...)
	return binary.LittleEndian.AppendUint64([]byte{kind}, xxhash.Sum64(what)), ok
}

// units calls fn for each unit of raw.
func units(raw []byte, dt dtype.Kind, fn func(off int, unit []byte)) {
	w := dt.Width()
	raw = raw[:len(raw)/w*w]
	for off, n := 0, unitElems*w; off < len(raw); off += n {
		fn(off, raw[off:min(len(raw), off+n)])
	}
}

// rememberValues remembers a stored blob under what it would be in other kinds. A wider kind stays where it is known: it is the original.
func (s *Store) rememberValues(id oid.ID, raw []byte, dt dtype.Kind) {
	var kinds []dtype.Kind
	switch dt {
	case dtype.F64, dtype.BF16:
		kinds = []dtype.Kind{dtype.BF16}
	case dtype.F32:
		kinds = []dtype.Kind{dtype.BF16, dtype.F16}
	case dtype.F16:
		kinds = []dtype.Kind{dtype.F16}
	}
	units(raw, dt, func(off int, unit []byte) {
		for _, to := range kinds {
			if key, check, ok := valuesKey(unit, dt, to); ok {
				s.rememberUnit(key, place{id, dt, int64(off), check})
			}
		}
	})
}

// rememberUnit puts p first among the places under key, unless it is known there in a wider kind.
func (s *Store) rememberUnit(key []byte, p place) {
	old := s.places(key)
	for _, o := range old {
		if o.check == p.check && o.dt.Width() >= p.dt.Width() && s.b.Has(o.id) {
			return
		}
	}
	b := p.append(make([]byte, 0, maxPlaces*placeLen))
	for _, o := range old {
		if o.check != p.check && len(b) < maxPlaces*placeLen {
			b = o.append(b)
		}
	}
	s.b.SetHint(key, b)
}

// guessCast finds blobs with the same values in the same or another kind.
func (in *ingest) guessCast(raw []byte, j *job) (guess, bool) {
	if !isFloat(j.dt) {
		return guess{}, false
	}
	d := draft{s: in.s, dt: j.dt}
	units(raw, j.dt, func(off int, unit []byte) {
		for _, l := range looks(unit, j.dt) {
			key, check, ok := valuesKey(unit, j.dt, l.kind)
			if !ok {
				continue
			}
			p, ok := l.nearest(in.s.places(key), j.dt, check)
			if !ok {
				continue
			}
			n := int64(len(unit)) / int64(j.dt.Width()) * int64(p.dt.Width())
			src, ok := d.source(p.id, p.off+n)
			if !ok {
				continue
			}
			piece := derive.Piece{Op: derive.Cast, Len: int64(len(unit)), Terms: []derive.Term{{Source: src, DType: p.dt, Off: p.off}}}
			switch {
			case p.dt == j.dt && j.dt.Width() == 2:
				piece.Op, piece.Terms[0].DType = derive.Copy, dtype.Bytes
			case p.dt.Width() > 2 && j.dt.Width() > 2 && l.short:
				piece.Mode = derive.ViaBF16
				if l.kind == dtype.F16 {
					piece.Mode = derive.ViaF16
				}
			}
			d.add(int64(off), piece)
			return
		}
	})
	return d.guess()
}

// look is a kind under which the values of a unit may be known.
type look struct {
	kind  dtype.Kind
	short bool // the unit's values are exact in it
}

// looks returns those of a unit, by a few of its values.
func looks(unit []byte, dt dtype.Kind) []look {
	if dt.Width() == 2 {
		return []look{{dt, true}}
	}
	var out []look
	for _, k := range []dtype.Kind{dtype.BF16, dtype.F16} {
		var values, short, back [8 * 8]byte
		v := spread(values[:0], unit, dt, dt, 8)
		b := back[:len(v)]
		derive.Convert(b, spread(short[:0], unit, dt, k, 8), dt, k)
		if bytes.Equal(b, v) {
			out = append(out, look{k, true})
		}
	}
	if out == nil { // F32 of F64, and back
		out = []look{{kind: dtype.BF16}}
	}
	return out
}

// nearest returns the place whose values have the check; if the unit's values are exact in the kind, else the newest.
func (l look) nearest(places []place, dt dtype.Kind, check uint32) (best place, ok bool) {
	for _, p := range places {
		if !isFloat(p.dt) || !l.short && (p.dt == dt || p.dt.Width() < 4 || p.check != check) {
			continue
		}
		if p.check == check {
			return p, true
		}
		if !ok {
			best, ok = p, true
		}
	}
	return best, ok
}

// matrix returns the shape of a job's blob if it is all of a matrix.
func (in *ingest) matrix(j *job, n int) (rows, cols int, ok bool) {
	shape := in.shape(j)
	if len(shape) != 2 || shape[0] < 2 || shape[1] < 2 || n < minMatrix || int64(n) != in.layout.Payloads[j.payload].Length {
		return 0, 0, false
	}
	size, ok := format.Extent(shape, nil, j.dt.Width())
	return int(shape[0]), int(shape[1]), ok && size == int64(n)
}

// transposeKey is the key of a matrix: 't', then xxh64 of the kind, rows, columns and 8×8 elements, evenly spread, row after row. With swap it is that of the transposed matrix.
func transposeKey(raw []byte, dt dtype.Kind, rows, cols int, swap bool) (key []byte, ok bool) {
	w := dt.Width()
	values := make([]byte, 0, gridValues*gridValues*w)
	for a := range gridValues {
		for b := range gridValues {
			r, c := a, b
			if swap {
				r, c = b, a
			}
			at := (r*(rows-1)/(gridValues-1)*cols + c*(cols-1)/(gridValues-1)) * w
			values = append(values, raw[at:at+w]...)
		}
	}
	if swap {
		rows, cols = cols, rows
	}
	what := binary.LittleEndian.AppendUint32([]byte{hintTranspose, byte(dt)}, uint32(rows))
	return printKey(hintTranspose, binary.LittleEndian.AppendUint32(what, uint32(cols)), values, w)
}

// rememberMatrix remembers a matrix for those that are its transpose.
func (in *ingest) rememberMatrix(id oid.ID, raw []byte, j *job) {
	if rows, cols, ok := in.matrix(j, len(raw)); ok {
		if key, ok := transposeKey(raw, j.dt, rows, cols, false); ok {
			in.s.rememberPlace(key, place{id: id, dt: j.dt})
		}
	}
}

// guessTranspose finds a matrix whose transpose the blob may be.
func (in *ingest) guessTranspose(raw []byte, j *job) (guess, bool) {
	rows, cols, ok := in.matrix(j, len(raw))
	if !ok {
		return guess{}, false
	}
	key, ok := transposeKey(raw, j.dt, rows, cols, true)
	if !ok {
		return guess{}, false
	}
	p, ok := in.s.placeAt(key)
	if !ok || p.dt != j.dt {
		return guess{}, false
	}
	d := draft{s: in.s, dt: j.dt}
	src, ok := d.source(p.id, int64(len(raw)))
	if !ok {
		return guess{}, false
	}
	d.add(0, derive.Piece{Op: derive.Transpose, Len: int64(len(raw)), Rows: cols, Terms: []derive.Term{{Source: src, DType: j.dt}}})
	return d.guess()
}
