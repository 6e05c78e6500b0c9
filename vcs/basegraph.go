package vcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sort"

	"coral/delta"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/content"
)

// baseGraph is which blob is a delta of which, in arrays by a blob's number: its place in the order of ids. 60 bytes a blob: a million take 60 MB.
type baseGraph struct {
	ids    []oid.ID
	stored []uint32
	raw    []uint32
	depth  []uint8
	roof   []uint8 // how deep it may become, as the source of blobs that have another one as base
	flags  []uint8
	base   []int32 // none: noBlob
	child  []int32 // first of the blobs that have it as base; they are linked by next and prev
	next   []int32
	prev   []int32
}

const noBlob = -1

const (
	flagFixed  uint8 = 1 << iota // cannot be coded anew
	flagMember                   // is in a family
)

// loadBases reads the graph. A base that is not there counts as none: fsck tells of it.
func loadBases(ctx context.Context, r *Repo) (*baseGraph, error) {
	g := &baseGraph{}
	err := r.Packs.ForEach(ctx, objstore.Blob, func(info objstore.Info) error {
		if len(g.ids) == math.MaxInt32 {
			return fmt.Errorf("more than %d blobs: %w", len(g.ids), errs.TooLarge)
		}
		g.ids = append(g.ids, info.ID)
		g.stored = append(g.stored, uint32(info.Stored))
		g.raw = append(g.raw, uint32(min(info.RawSize, math.MaxUint32)))
		g.depth = append(g.depth, info.Depth)
		var flags uint8
		if !content.Recodable(info) {
			flags = flagFixed
		}
		g.flags = append(g.flags, flags)
		return nil
	})
	if err != nil {
		return nil, err
	}
	n := len(g.ids)
	g.roof = bytes.Repeat([]byte{delta.MaxDepth}, n)
	g.base, g.child, g.next, g.prev = fill32(n), fill32(n), fill32(n), fill32(n)
	return g, r.Packs.ForEach(ctx, objstore.Blob, func(info objstore.Info) error {
		i := g.find(info.ID)
		if i == noBlob || info.Base.IsZero() {
			return nil
		}
		g.link(i, g.find(info.Base))
		if g.flags[i]&flagFixed == 0 {
			return nil
		}
		sources, err := r.Content.References(ctx, info.ID)
		if errors.Is(err, errs.Corrupt) || errors.Is(err, errs.NotFound) {
			return nil // it cannot be read whatever its sources become
		}
		for _, id := range sources {
			if s := g.find(id); s != noBlob && id != info.Base {
				g.roof[s] = min(g.roof[s], info.Depth-1)
			}
		}
		return err
	})
}

func fill32(n int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = noBlob
	}
	return s
}

// find returns the number of a blob, or noBlob.
func (g *baseGraph) find(id oid.ID) int32 {
	i := sort.Search(len(g.ids), func(i int) bool { return bytes.Compare(g.ids[i][:], id[:]) >= 0 })
	if i < len(g.ids) && g.ids[i] == id {
		return int32(i)
	}
	return noBlob
}

// link makes b, or nothing, the base of i.
func (g *baseGraph) link(i, b int32) {
	if old := g.base[i]; old != noBlob {
		if g.prev[i] == noBlob {
			g.child[old] = g.next[i]
		} else {
			g.next[g.prev[i]] = g.next[i]
		}
		if g.next[i] != noBlob {
			g.prev[g.next[i]] = g.prev[i]
		}
	}
	g.base[i], g.next[i], g.prev[i] = b, noBlob, noBlob
	if b != noBlob {
		if g.next[i] = g.child[b]; g.next[i] != noBlob {
			g.prev[g.next[i]] = i
		}
		g.child[b] = i
	}
}

// set takes over what the store says of blob i.
func (g *baseGraph) set(i int32, depth uint8, stored int64, base oid.ID) {
	g.depth[i], g.stored[i] = depth, uint32(stored)
	b := int32(noBlob)
	if !base.IsZero() {
		b = g.find(base)
	}
	if b != g.base[i] {
		g.link(i, b)
	}
}

// deepen returns the blobs that must get another depth so that i can have the given one, the deepest first, and not i itself. ok is false if one of
// them, or i, would be deeper than may be, if it takes more than limit stored bytes to write them again, or if they go in a circle.
func (g *baseGraph) deepen(i int32, depth uint8, limit int64) (order []int32, ok bool) {
	type todo struct {
		blob  int32
		depth uint8
	}
	if depth > g.roof[i] {
		return nil, false
	}
	level := []todo{{i, depth}}
	copied := int64(0)
	for len(level) > 0 {
		var below []todo
		for _, t := range level {
			for c := g.child[t.blob]; c != noBlob; c = g.next[c] {
				if g.depth[c] > t.depth {
					continue
				}
				if copied += int64(g.stored[c]); t.depth >= g.roof[c] || copied > limit || c == i {
					return nil, false
				}
				below = append(below, todo{c, t.depth + 1})
				order = append(order, c)
			}
		}
		level = below
	}
	for a, b := 0, len(order)-1; a < b; a, b = a+1, b-1 {
		order[a], order[b] = order[b], order[a]
	}
	return order, true
}

// under reports whether b is decoded with i, however far down.
func (g *baseGraph) under(b, i int32) bool {
	for range delta.MaxDepth + 1 {
		if b == i {
			return true
		}
		if b == noBlob {
			return false
		}
		b = g.base[b]
	}
	return true
}

// links returns how many bases are decoded for blob i.
func (g *baseGraph) links(i int32) int {
	n := 0
	for b := g.base[i]; b != noBlob && n <= math.MaxUint8; b = g.base[b] {
		n++
	}
	return n
}
