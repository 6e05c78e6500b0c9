package vfs

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// sector is the unit in which a power cut keeps or loses unsynced data.
const sector = 512

// Crash returns m as a power cut at this moment could leave it: what was synced is there; of the
// rest, r decides for each changed sector and each changed name whether it had reached the disk, and how
// far an unsynced file had grown. m itself is not changed.
func (m *Mem) Crash(r *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &Mem{names: map[string]*node{}, durable: map[string]*node{}}
	clones := map[*node]*node{}
	for _, p := range m.sortedNames() {
		n := m.durable[p]
		if cur := m.names[p]; cur != n && r.IntN(2) == 0 {
			n = cur
		}
		if n == nil || p != filepath.Dir(p) && out.names[filepath.Dir(p)] == nil {
			continue
		}
		if clones[n] == nil {
			clones[n] = n.crash(r)
		}
		out.names[p], out.durable[p] = clones[n], clones[n]
	}
	return out
}

// sortedNames returns every current or durable name, parents first. m.mu is held.
func (m *Mem) sortedNames() []string {
	var out []string
	for p := range m.names {
		out = append(out, p)
	}
	for p := range m.durable {
		if m.names[p] == nil {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

func (n *node) crash(r *rand.Rand) *node {
	if n.dir {
		return &node{dir: true}
	}
	size := len(n.synced)
	switch lo, hi := min(size, len(n.data)), max(size, len(n.data)); r.IntN(3) {
	case 0:
		size = len(n.data)
	case 1:
		size = lo + r.IntN(hi-lo+1)
	}
	written := r.IntN(3) // of 2 sectors: none, one, or both reached the disk
	out := make([]byte, size)
	for at := 0; at < size; at += sector {
		end := min(at+sector, size)
		copy(out[at:end], clip(n.synced, at, end))
		if r.IntN(2) < written {
			copy(out[at:end], clip(n.data, at, end))
		}
	}
	return &node{data: out, synced: slices.Clone(out)}
}

// clip returns the part of b inside [lo, hi).
func clip(b []byte, lo, hi int) []byte {
	return b[min(lo, len(b)):min(hi, len(b))]
}
