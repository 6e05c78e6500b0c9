package similar

import (
	"slices"

	simhash "coral/delta/similar"
	"coral/internal/oid"
)

// Match is a stored blob that resembles what was asked for.
type Match struct {
	ID       oid.ID
	Distance int // bits of the fingerprints that differ; simhash.Cosine estimates the correlation
}

// Query is what Near is asked.
type Query struct {
	Sketch      *simhash.Sketch
	MaxDistance int // see simhash.MaxDistance
	N           int // at most so many matches
	SameDType   bool
}

// Candidates returns the blobs of the sketch's dtype that are likely bases of its tensor, at most n, the nearest first: content.Neighbours.
func (x *Index) Candidates(s *simhash.Sketch, n int) []oid.ID {
	var ids []oid.ID
	for _, m := range x.Near(Query{Sketch: s, MaxDistance: x.baseDistance, N: n, SameDType: true}) {
		ids = append(ids, m.ID)
	}
	return ids
}

// Near returns the blobs within q.MaxDistance of the sketch, the nearest first and of equally near ones those added last. It finds nearly all pairs of a correlation
// from 0.98 on, and fewer the lower it is. Blobs may be gone from the store meanwhile.
func (x *Index) Near(q Query) []Match {
	if q.N <= 0 {
		return nil
	}
	mem, runs, release := x.acquire()
	defer release()
	best := nearest{q: q}
	for _, recs := range mem {
		for i := len(recs) - 1; i >= 0; i-- {
			best.see(&recs[i])
		}
	}
	if len(runs) == 0 {
		return best.list
	}
	p := newProbe(&q)
	left := maxExamined
	var found [simhash.Tables * maxFound]uint32
	for i := len(runs) - 1; i >= 0 && left > 0; i-- {
		numbers, err := runs[i].examine(found[:0], p, left)
		if err == nil {
			left -= len(numbers)
			err = best.seeAll(runs[i], numbers)
		}
		if err != nil {
			x.drop(runs[i], err)
		}
	}
	return best.list
}

// nearest keeps the best.
type nearest struct {
	q    Query
	list []Match // by distance
}

// seeAll looks at records of a run, the newest first.
func (b *nearest) seeAll(r *run, numbers []uint32) error {
	var rec record
	for i := len(numbers) - 1; i >= 0; i-- {
		ok, err := r.record(numbers[i], &rec)
		if err != nil {
			return err
		}
		if ok {
			b.see(&rec)
		}
	}
	return nil
}

func (b *nearest) see(rec *record) {
	want := b.q.Sketch
	if rec.count() != want.Count || b.q.SameDType && rec.dtype() != want.DType {
		return
	}
	full := len(b.list) == b.q.N
	d := rec.fingerprint().Distance(&want.Fingerprint)
	if d > b.q.MaxDistance || full && d >= b.list[len(b.list)-1].Distance {
		return
	}
	id := rec.id()
	if slices.ContainsFunc(b.list, func(m Match) bool { return m.ID == id }) {
		return
	}
	at, _ := slices.BinarySearchFunc(b.list, d+1, func(m Match, d int) int { return m.Distance - d })
	if full {
		b.list = b.list[:len(b.list)-1]
	}
	b.list = slices.Insert(b.list, at, Match{id, d})
}
