package content

import (
	"encoding/binary"
	"math"
	"slices"

	"coral/delta"
	"coral/delta/derive"
	"coral/delta/format/dtype"
	"coral/internal/oid"
)

// A family is what was stored last under one name, kind, length and extent. The hint of a short blob, or of Adam's moments, is the id of the last one alone. Of others
// it is, newest first, up to maxFamily members with a few values of each, so that a sum of them is noticed without decoding any:
//
//	0  1    version: 1
//	1  128  members: id, then 24 elements, evenly spread, as binary32
const (
	familyVersion = 1
	familyValues  = 24
	memberLen     = oid.Size + 4*familyValues
	maxFamily     = 8
	smallFamily   = 4         // of blobs shorter than largeMember
	minMember     = 32 << 10  // shorter blobs have no family: a sum of them costs little as a delta
	largeMember   = 256 << 10 // the hint is 0.4 % of such a blob, and is not kept for each of them but for the name
)

// member is one blob of a family.
type member struct {
	id     oid.ID
	values [familyValues]float32
}

// family returns what is remembered under a name's key; of an id alone the values are not known, and members says 1.
func (s *Store) family(key []byte) []member {
	b := s.b.Hint(key)
	if id, err := oid.FromBytes(b); err == nil {
		return []member{{id: id}}
	}
	if len(b) < 1+memberLen || b[0] != familyVersion || (len(b)-1)%memberLen != 0 || len(b) > 1+maxFamily*memberLen {
		return nil
	}
	ms := make([]member, 0, maxFamily)
	for b = b[1:]; len(b) > 0; b = b[memberLen:] {
		var m member
		copy(m.id[:], b)
		for i := range m.values {
			m.values[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[oid.Size+4*i:]))
		}
		ms = append(ms, m)
	}
	return ms
}

// last returns the blob stored last under a name's key.
func (s *Store) last(key []byte) (oid.ID, bool) {
	if ms := s.family(key); len(ms) > 0 {
		return ms[0].id, true
	}
	return oid.ID{}, false
}

// summable reports whether sums of the elements of dt are looked for.
func summable(dt dtype.Kind) bool { return dt == dtype.F32 || dt == dtype.BF16 || dt == dtype.F16 }

// valuesOf returns the values of a member.
func valuesOf(raw []byte, dt dtype.Kind) (v [familyValues]float32) {
	var picked, single [familyValues * 4]byte
	w := dt.Width()
	n := len(raw) / w
	for i := range familyValues {
		copy(picked[i*w:][:w], raw[i*(n-1)/(familyValues-1)*w:])
	}
	derive.Convert(single[:], picked[:familyValues*w], dtype.F32, dt)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(single[4*i:]))
	}
	return v
}

// join puts a stored blob first in the family of key.
func (in *ingest) join(key []byte, id oid.ID, raw []byte, j *job) {
	s := in.s
	if len(raw) < minMember || !summable(j.dt) || !in.derivable(j) {
		s.remember(key, id[:])
		return
	}
	ms := s.family(key)
	if len(ms) > 0 && ms[0].id == id {
		return
	}
	limit := maxFamily
	if len(raw) < largeMember {
		limit = smallFamily
	}
	ms = slices.DeleteFunc(ms, func(m member) bool { return m.id == id || m.values == [familyValues]float32{} })
	ms = slices.Insert(ms, 0, member{id, valuesOf(raw, j.dt)})
	for len(ms) > limit {
		i := s.leastOf(ms)
		ms = slices.Delete(ms, i, i+1)
	}
	b := append(make([]byte, 0, 1+len(ms)*memberLen), familyVersion)
	for i := range ms {
		b = append(b, ms[i].id[:]...)
		for _, v := range ms[i].values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	}
	s.b.SetHint(key, b)
}

// leastOf returns the member of a full family that is missed least: the oldest that was computed from others, else the oldest. The newest stays, for
// a moving average goes on from it.
func (s *Store) leastOf(ms []member) int {
	for i := len(ms) - 1; i > 0; i-- {
		if info, err := s.b.Stat(ms[i].id); err != nil || delta.FrameCodec(info.Codec) == delta.FrameDerived {
			return i
		}
	}
	return len(ms) - 1
}

// guessFamily finds sums of members of the blob's family, or of the family of its name in F32; there it also finds casts that cut off bits.
func (in *ingest) guessFamily(raw []byte, j *job) []guess {
	if len(raw) < minMember || !summable(j.dt) || len(raw)%j.dt.Width() != 0 {
		return nil
	}
	p := &in.layout.Payloads[j.payload]
	if p.Name == "" {
		return nil
	}
	y := valuesOf(raw, j.dt)
	key := hintKey(p.Name, p.DType, p.Length, j.extent)
	own := in.s.family(key[:])
	if j.dt == dtype.F32 || p.Length != int64(len(raw)) || 2*p.Length > extentLen {
		return in.guessSums(raw, j, y[:], own, j.dt)
	}
	key = hintKey(p.Name, dtype.F32, 2*p.Length, 0)
	wide := in.s.family(key[:])
	if j.dt == dtype.BF16 {
		for i := range wide {
			if g, ok := in.guessCut(raw, wide[i].id); ok && truncated(wide[i].values[:], y[:]) {
				return []guess{g}
			}
		}
	}
	if sums := in.guessSums(raw, j, y[:], own, j.dt); len(sums) > 0 {
		return sums
	}
	return in.guessSums(raw, j, y[:], wide, dtype.F32)
}

// truncated reports whether y is x without the bits that BF16 has no room for.
func truncated(x, y []float32) bool {
	for i := range y {
		if math.Float32bits(x[i])&^0xffff != math.Float32bits(y[i]) {
			return false
		}
	}
	return true
}

// guessCut makes the recipe of a cast that cuts off bits.
func (in *ingest) guessCut(raw []byte, id oid.ID) (guess, bool) {
	d := draft{s: in.s, dt: dtype.BF16}
	src, ok := d.source(id, 2*int64(len(raw)))
	if !ok {
		return guess{}, false
	}
	d.add(0, derive.Piece{Op: derive.Cast, Mode: derive.Truncate, Len: int64(len(raw)), Terms: []derive.Term{{Source: src, DType: dtype.F32}}})
	return d.guess()
}

// guessSums finds sums of members, whose elements are of kind from.
func (in *ingest) guessSums(raw []byte, j *job, y []float32, ms []member, from dtype.Kind) (out []guess) {
	d := draft{s: in.s, dt: j.dt}
	n := int64(len(raw)) / int64(j.dt.Width()) * int64(from.Width())
	var xs [][]float32
	var src []int
	for i := range ms {
		if ms[i].values == [familyValues]float32{} {
			continue
		}
		if k, ok := d.source(ms[i].id, n); ok {
			xs, src = append(xs, ms[i].values[:]), append(src, k)
		}
	}
	if len(xs) == 0 {
		return nil
	}
	for _, fit := range derive.FindLinear(y, xs, j.dt) {
		p := derive.Piece{Op: derive.Linear, Mode: fit.Mode, Len: int64(len(raw))}
		for i, t := range fit.Terms {
			p.Terms = append(p.Terms, derive.Term{Source: src[t], DType: from, Coef: fit.Coefs[i]})
		}
		sum := draft{s: in.s, dt: j.dt, infos: d.infos}
		sum.add(0, p)
		if g, ok := sum.guess(); ok {
			out = append(out, g)
		}
	}
	return out
}
