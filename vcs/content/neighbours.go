package content

import (
	"slices"

	"coral/delta/similar"
	"coral/internal/oid"
	"coral/objstore"
)

// Neighbours finds bases where names do not help: for files that were renamed, or come from elsewhere. What it says is a guess, which is
// compared with the blob alone like any other candidate.
type Neighbours interface {
	// Candidates returns at most n blobs of the sketch's dtype that resemble it, the nearest first. They may be gone meanwhile.
	Candidates(s *similar.Sketch, n int) []oid.ID
	// Add remembers a blob that was just stored. It does not fail; s is not kept.
	Add(id oid.ID, s *similar.Sketch)
}

// maxNeighbours is how many are asked for. The chains below them may fill up maxCandidates.
const maxNeighbours = 3

// sketch returns the sketch of a blob that is worth one: the same that may have a base by name, if it is not too short and no first moment; else nil.
func (in *ingest) sketch(j *job, raw []byte) *similar.Sketch {
	if in.s.near == nil || len(raw) < similar.MinBytes || !in.role(j, raw).track {
		return nil
	}
	if FirstMoment(in.layout.Payloads[j.payload].Name) {
		return nil
	}
	s, ok := similar.Make(raw, j.dt)
	if !ok {
		return nil
	}
	return &s
}

// FirstMoment reports whether a tensor of this name is Adam's first moment, which resembles nothing for long and is not indexed.
func FirstMoment(name string) bool { return lastComponent(name) == "exp_avg" }

// neighbours returns bases worth trying after those of the same name were not.
func (s *Store) neighbours(look *similar.Sketch, tried []objstore.Info) []objstore.Info {
	var cands []objstore.Info
	for _, id := range s.near.Candidates(look, maxNeighbours) {
		cands = s.addChain(cands, id, look.DType)
	}
	return slices.DeleteFunc(cands, func(c objstore.Info) bool {
		return slices.ContainsFunc(tried, func(t objstore.Info) bool { return t.ID == c.ID })
	})
}
