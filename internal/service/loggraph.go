package service

import (
	"slices"

	"coral/internal/oid"
)

// drawable orders commits, which come newest first and no parent before a child, so that a graph of them has few lines beside each other: no parent before all its children, and
// what a merge brought in right after it (the order of git's --topo-order). Commits that are not shown are left out; their children get their nearest shown ancestors for parents.
func drawable(list []*CommitInfo, shown map[oid.ID]bool) []*CommitInfo {
	list = topological(list)
	up := map[oid.ID][]oid.ID{} // of what is not shown: its nearest shown ancestors
	for _, c := range slices.Backward(list) {
		parents := []oid.ID{}
		for _, p := range c.Parents {
			near := []oid.ID{p}
			if ok, known := shown[p]; known && !ok {
				near = up[p]
			}
			for _, id := range near {
				if !slices.Contains(parents, id) {
					parents = append(parents, id)
				}
			}
		}
		if shown[c.Commit] {
			c.Parents = parents
		} else {
			up[c.Commit] = parents
		}
	}
	return slices.DeleteFunc(list, func(c *CommitInfo) bool { return !shown[c.Commit] })
}

// topological is the order of drawable.
func topological(list []*CommitInfo) []*CommitInfo {
	byID := make(map[oid.ID]*CommitInfo, len(list))
	children := make(map[oid.ID]int, len(list)) // not yet put out
	for _, c := range list {
		byID[c.Commit] = c
		for _, p := range c.Parents {
			children[p]++
		}
	}
	var ready []*CommitInfo // a stack: the last is next
	for _, c := range slices.Backward(list) {
		if children[c.Commit] == 0 {
			ready = append(ready, c)
		}
	}
	out := make([]*CommitInfo, 0, len(list))
	for len(ready) > 0 {
		c := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		out = append(out, c)
		for _, p := range c.Parents {
			if children[p]--; children[p] == 0 && byID[p] != nil {
				ready = append(ready, byID[p])
			}
		}
	}
	return out
}
