package vcs

import (
	"context"
	"errors"

	"coral/delta"
	"coral/objstore"
	"coral/vcs/content"
)

// How bases are chosen.
const (
	// optimizeLink is what a link costs, as a share of the stored bytes: less than at ingest, since what is old is read seldom.
	optimizeLink = 0.02
	// optimizeKeep is how much smaller a delta of an older blob must be to stay one: it keeps the older blob from being a delta of this one.
	optimizeKeep = 1.02
	// optimizeCandidates bounds how many newer blobs are tried.
	optimizeCandidates = 8
	// optimizeCopy bounds the stored bytes that are copied to other depths so that one blob can become a delta, in raw bytes of the blob.
	optimizeCopy = 16
)

// settled reports whether member i of the family that begins at start is as a run leaves it: the newest alone, others deltas of a newer one. Others that are alone
// may have become so by a choice; that is made again.
func (o *optimizer) settled(start, i int) bool {
	b := o.members[i].blob
	base := o.g.base[b]
	if i-start < o.opts.Solo {
		return base == noBlob
	}
	return base != noBlob && o.newer(start, i, base)
}

// newer reports whether b is in the family that begins at start, before i.
func (o *optimizer) newer(start, i int, b int32) bool {
	r := int(o.rank[b])
	return r >= start && r < i
}

// errUnfit says that the graph has changed since a base was chosen.
var errUnfit = errors.New("base does not fit any more")

// code finds the best form of member i and puts it.
func (o *optimizer) code(ctx context.Context, start, i int) error {
	o.coding.RLock()
	defer o.coding.RUnlock()
	b := o.members[i].blob
	o.mu.Lock()
	if o.settled(start, i) {
		o.mu.Unlock()
		return nil
	}
	opts := content.RecodeOptions{Solo: true, LinkCost: optimizeLink, Estimate: o.opts.DryRun}
	if i-start >= o.opts.Solo {
		opts.Bases = o.candidates(start, i)
	}
	o.mu.Unlock()
	rec, ok, err := o.r.Content.Recode(ctx, o.g.ids[b], opts, func(rec objstore.Record) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.put(ctx, b, rec, int64(len(rec.Payload)))
	})
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil && ok && o.opts.DryRun && !rec.Same {
		err = o.put(ctx, b, objstore.Record{ID: o.g.ids[b], Base: rec.Base, Depth: rec.Depth}, rec.Stored)
	}
	if o.done += int64(o.g.raw[b]); o.opts.Progress != nil {
		o.opts.Progress(o.done, o.total, "")
	}
	if errors.Is(err, errUnfit) {
		o.res.Left++
		return nil
	}
	return err
}

// put gives blob b its new form, and what is decoded with it the depths that it needs for that.
func (o *optimizer) put(ctx context.Context, b int32, rec objstore.Record, stored int64) error {
	base := int32(noBlob)
	if !rec.Base.IsZero() {
		base = o.g.find(rec.Base)
		if base == noBlob || o.g.depth[base] >= rec.Depth || o.g.under(base, b) {
			return errUnfit
		}
	}
	order, ok := o.g.deepen(b, rec.Depth, o.copyLimit(b))
	if !ok {
		return errUnfit
	}
	depths := o.depths(b, rec.Depth, order)
	for k, c := range order {
		if err := o.deepened(ctx, c, depths[k]); err != nil {
			return err
		}
	}
	if !o.opts.DryRun {
		if err := o.rep.Put(ctx, rec); err != nil {
			return err
		}
	}
	o.g.set(b, rec.Depth, stored, rec.Base)
	o.res.Recoded++
	return nil
}

// depths returns the depth that each blob of order, as deepen returned it for b at depth, must have.
func (o *optimizer) depths(b int32, depth uint8, order []int32) []uint8 {
	out := make([]uint8, len(order))
	at := map[int32]uint8{b: depth}
	for k := len(order) - 1; k >= 0; k-- { // bases before what is based on them
		at[order[k]] = at[o.g.base[order[k]]] + 1
		out[k] = at[order[k]]
	}
	return out
}

func (o *optimizer) copyLimit(b int32) int64 { return optimizeCopy * int64(o.g.raw[b]) }

// candidates returns the bases to try for member i: newer ones, near and ever farther ones, and the base that it has.
func (o *optimizer) candidates(start, i int) (out []content.RecodeBase) {
	b, n := o.members[i].blob, i-start
	add := func(c int32, factor float64) {
		id := o.g.ids[c]
		for _, x := range out {
			if x.ID == id {
				return
			}
		}
		depth := o.g.depth[c]
		if int(depth) >= delta.MaxDepth || o.g.under(c, b) {
			return
		}
		if _, ok := o.g.deepen(b, depth+1, o.copyLimit(b)); ok {
			out = append(out, content.RecodeBase{ID: id, Depth: depth, Factor: factor})
		}
	}
	add(o.members[start+n&(n-1)].blob, 1)
	for step := 1; step <= n && len(out) < optimizeCandidates; step *= 2 {
		add(o.members[i-step].blob, 1)
		if step == 2 && n >= 3 {
			add(o.members[i-3].blob, 1)
		}
	}
	if len(out) < optimizeCandidates {
		add(o.members[start].blob, 1)
	}
	if base := o.g.base[b]; base != noBlob {
		factor := 1.0
		if r := int(o.rank[base]); r > i && o.members[r].family == o.members[i].family {
			factor = optimizeKeep
		}
		add(base, factor)
	}
	return out
}
