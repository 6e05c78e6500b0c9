package content

import (
	"sync"

	"coral/delta/format/dtype"
	"coral/objstore"
)

// Tensors of one checkpoint have much the same history, and so the same choice of bases. A habit is what won for the last blobs of a file whose candidates were
// alike: when one candidate has won habitRuns times in a row, the next habitSkips blobs take it without a comparison. A wrong one costs ratio: blocks that are
// smaller without the base do without it anyway. Comparing took a fifth of the time to store a BF16 checkpoint.
const (
	habitRuns  = 4
	habitSkips = 8
)

// habitKey is what makes candidates alike: kind, role and depths, in order.
type habitKey struct {
	dt     dtype.Kind
	moment string // Adam's name for the tensor, "" for others
	n      int
	depths [maxCandidates]uint8
}

type habit struct{ winner, runs, skipped int }

// habits of one file. Safe for concurrent use.
type habits struct {
	mu sync.Mutex
	m  map[habitKey]habit
}

// key returns the key of a job's candidates; ok is false if there are too many to tell, or none.
func (in *ingest) habitKey(j *job, cands []objstore.Info) (k habitKey, ok bool) {
	if len(cands) == 0 || len(cands) > maxCandidates {
		return k, false
	}
	k = habitKey{dt: j.dt, n: len(cands)}
	switch name := lastComponent(in.layout.Payloads[j.payload].Name); name {
	case "exp_avg", "exp_avg_sq":
		k.moment = name
	}
	for i := range cands {
		k.depths[i] = cands[i].Depth
	}
	return k, true
}

// skip returns the candidate to take without a comparison.
func (h *habits) skip(k habitKey) (winner int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.m[k]
	if a.runs < habitRuns || a.skipped >= habitSkips {
		return 0, false
	}
	a.skipped++
	h.m[k] = a
	return a.winner, true
}

// note tells which candidate won a comparison; -1 is none of them, which never becomes a habit.
func (h *habits) note(k habitKey, winner int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = map[habitKey]habit{}
	}
	a := h.m[k]
	switch {
	case winner < 0:
		a = habit{}
	case a.runs > 0 && a.winner == winner:
		a.runs, a.skipped = a.runs+1, 0
	default:
		a = habit{winner: winner, runs: 1}
	}
	h.m[k] = a
}
