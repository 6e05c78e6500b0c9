package vcs

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore/local"
)

// OptimizeOptions of Optimize.
type OptimizeOptions struct {
	Tips     []oid.ID // only what these commits reach is looked at; none: all that names reach
	Path     string   // glob: only files whose path, or name if it has no slash, matches; "" is all
	Solo     int      // so many of the newest blobs of each family are stored without a base
	DryRun   bool     // only estimate
	Progress func(done, total int64, what string)

	batch int64 // bytes that are replaced at a time; 0 is optimizeBatch
}

const (
	// optimizeBatch is how much is coded anew before it is made durable: what a kill costs.
	optimizeBatch = 256 << 20
	// optimizeGarbage is how many bytes are replaced before the old frames are freed.
	optimizeGarbage = 4 << 30
)

// OptimizeResult says what Optimize did, or would. Bytes are of the blobs it looked at, members of families.
type OptimizeResult struct {
	Families   int           `json:"families"`
	Blobs      int64         `json:"blobs"`
	Recoded    int64         `json:"recoded"`    // on another base
	Deepened   int64         `json:"deepened"`   // copied to another depth, since a base below became deeper
	Left       int64         `json:"left"`       // not changed after all, since something was stored meanwhile
	Unreadable int64         `json:"unreadable"` // damaged: see fsck
	Before     OptimizeState `json:"before"`
	After      OptimizeState `json:"after"`
	FreedBytes int64         `json:"freed_bytes"` // of packs; less than nothing if the newest became larger than the oldest smaller
}

// OptimizeState is what the blobs cost.
type OptimizeState struct {
	RawBytes    int64   `json:"raw_bytes"`
	StoredBytes int64   `json:"stored_bytes"`
	ReadBytes   int64   `json:"read_bytes"`   // decoded at most to read each blob once, bases included
	NewestBytes int64   `json:"newest_bytes"` // the same of the newest of each family
	NewestRaw   int64   `json:"newest_raw_bytes"`
	MaxDepth    int     `json:"max_depth"`
	MeanDepth   float64 `json:"mean_depth"`
}

// Optimize chooses bases anew for what is stored: the newest of each family is stored alone and so read at once, older ones as deltas of newer ones, with a larger search
// than ingest has time for. Whatever it is cut short by, nothing is lost and running it again goes on. Reading is not disturbed, and ingest only for the
// moments when a batch is made durable. errs.Busy while a Fsck or GC runs, and these while Optimize does.
func (r *Repo) Optimize(ctx context.Context, opts OptimizeOptions) (OptimizeResult, error) {
	if err := r.writable("optimize"); err != nil && !opts.DryRun {
		return OptimizeResult{}, err
	}
	if !r.checks.TryLock() {
		return OptimizeResult{}, fmt.Errorf("optimize: a check or a collection is running: %w", errs.Busy)
	}
	defer r.checks.Unlock()
	o := &optimizer{r: r, opts: opts}
	if o.opts.batch == 0 {
		o.opts.batch = optimizeBatch
	}
	if err := o.run(ctx); err != nil {
		return o.res, fmt.Errorf("optimize: %w", err)
	}
	return o.res, nil
}

// optimizer is one run. Locks, in order: coding (those who code a blob read it, commit writes it), mu. Nobody holds mu while waiting for anything but the
// disk: ingest, which commit waits for, may wait for those who code.
type optimizer struct {
	r    *Repo
	opts OptimizeOptions

	coding  sync.RWMutex
	mu      sync.Mutex // guards what follows
	g       *baseGraph
	rank    []int32 // of each blob in members; noBlob for others
	members []member
	rep     *local.Replacer
	old     int64 // bytes replaced since the last collect
	done    int64
	total   int64
	res     OptimizeResult
}

func (o *optimizer) run(ctx context.Context) (err error) {
	if err := o.load(ctx); err != nil {
		return err
	}
	families := o.split()
	o.res.Families, o.res.Blobs = len(families), int64(len(o.members))
	o.res.Before = o.state(families)
	o.res.After = o.res.Before
	if o.total == 0 {
		return nil
	}
	before, err := o.r.Packs.Stats(ctx)
	if err != nil {
		return err
	}
	if err := o.begin(); err != nil {
		return err
	}
	err = o.all(ctx, families)
	if err == nil {
		err = o.commit(ctx, 1)
	}
	if o.rep != nil {
		err = errors.Join(err, o.rep.Close())
	}
	if err == nil && !o.opts.DryRun {
		err = o.collect(ctx)
	}
	o.res.After = o.state(families)
	if err != nil {
		return err
	}
	after, err := o.r.Packs.Stats(ctx)
	o.res.FreedBytes = before.PackBytes - after.PackBytes
	return err
}

// load finds the families and what there is to do.
func (o *optimizer) load(ctx context.Context) error {
	tips := o.opts.Tips
	var err error
	if len(tips) == 0 {
		if tips, err = o.r.tips(); err != nil {
			return err
		}
	}
	if o.g, err = loadBases(ctx, o.r); err != nil {
		return err
	}
	w := &familyWalk{r: o.r, g: o.g}
	if o.opts.Path != "" {
		if w.match, err = globMatch(o.opts.Path); err != nil {
			return fmt.Errorf("path %q: %w: %w", o.opts.Path, err, errs.Invalid)
		}
	}
	if o.members, err = w.families(ctx, tips); err != nil {
		return err
	}
	o.rank = fill32(len(o.g.ids))
	for i, m := range o.members {
		o.rank[m.blob] = int32(i)
	}
	return nil
}

// split returns where each family ends in members, and sums up what there is to do.
func (o *optimizer) split() (ends []int) {
	start := 0
	for i := range o.members {
		if i+1 == len(o.members) || o.members[i+1].family != o.members[i].family {
			for k := start; k <= i; k++ {
				if !o.settled(start, k) {
					o.total += int64(o.g.raw[o.members[k].blob])
				}
			}
			start = i + 1
			ends = append(ends, start)
		}
	}
	return ends
}

// state sums up what the members cost now.
func (o *optimizer) state(ends []int) (s OptimizeState) {
	depths, start := int64(0), 0
	for _, end := range ends {
		for i := start; i < end; i++ {
			b := o.members[i].blob
			n := o.g.links(b)
			raw := int64(o.g.raw[b])
			s.RawBytes += raw
			s.StoredBytes += int64(o.g.stored[b])
			s.ReadBytes += raw * int64(n+1)
			if i == start {
				s.NewestBytes += raw * int64(n+1)
				s.NewestRaw += raw
			}
			s.MaxDepth = max(s.MaxDepth, n)
			depths += int64(n)
		}
		start = end
	}
	if len(o.members) > 0 {
		s.MeanDepth = float64(depths) / float64(len(o.members))
	}
	return s
}

// all does every family, several at a time.
func (o *optimizer) all(ctx context.Context, ends []int) error {
	group, gctx := errgroup.WithContext(ctx)
	next := make(chan [2]int)
	group.Go(func() error {
		defer close(next)
		start := 0
		for _, end := range ends {
			select {
			case next <- [2]int{start, end}:
			case <-gctx.Done():
				return gctx.Err()
			}
			start = end
		}
		return nil
	})
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for f := range next {
				for i := f[0]; i < f[1]; i++ {
					if err := o.one(gctx, f[0], i); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// one does a member, and commits if it is time.
func (o *optimizer) one(ctx context.Context, start, i int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := o.code(ctx, start, i)
	id := o.g.ids[o.members[i].blob]
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errs.Corrupt) || errors.Is(err, errs.NotFound):
		o.r.log.Warn("a blob is left as it is", "op", "optimize", "id", id, "err", err)
		o.mu.Lock()
		o.res.Unreadable++
		o.mu.Unlock()
	default:
		return err
	}
	return o.commit(ctx, o.opts.batch)
}

func (o *optimizer) begin() (err error) {
	if !o.opts.DryRun {
		o.rep, err = o.r.Packs.Replace(nil)
	}
	return err
}

// commit makes what was coded durable and visible if it is at least so many bytes.
func (o *optimizer) commit(ctx context.Context, atLeast int64) error {
	if o.opts.DryRun || o.pending() < atLeast {
		return nil
	}
	o.coding.Lock()
	defer o.coding.Unlock()
	if o.pending() < atLeast { // another was faster
		return nil
	}
	resume, err := o.pause(ctx)
	if err != nil {
		return err
	}
	defer resume()
	o.mu.Lock()
	defer o.mu.Unlock()
	res, err := o.rep.Commit(ctx)
	if err != nil {
		return err
	}
	o.res.Left += int64(len(res.Left))
	o.old += res.Before
	if err := o.refresh(res.Left); err != nil {
		return err
	}
	if o.old < optimizeGarbage {
		return nil
	}
	o.old = 0
	if err := o.rep.Close(); err != nil {
		return err
	}
	o.rep = nil
	if err := o.sweep(ctx); err != nil {
		return err
	}
	return o.begin()
}

func (o *optimizer) pending() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, n := o.rep.Pending()
	return n
}

// pause keeps everyone from storing deltas until resume is called.
func (o *optimizer) pause(ctx context.Context) (resume func(), err error) {
	release, err := o.r.exclude(ctx)
	if err != nil {
		return nil, err
	}
	live, err := o.r.Live.Pause(ctx)
	if err != nil {
		release()
		return nil, err
	}
	return func() { live(); release() }, nil
}

// refresh makes the graph say again what the store says of the ids.
func (o *optimizer) refresh(ids []oid.ID) error {
	for _, id := range ids {
		info, err := o.r.Packs.Stat(id)
		if errors.Is(err, errs.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if b := o.g.find(id); b != noBlob {
			o.g.set(b, info.Depth, info.Stored, info.Base)
		}
	}
	return nil
}

// collect frees the frames that were replaced.
func (o *optimizer) collect(ctx context.Context) error {
	resume, err := o.pause(ctx)
	if err != nil {
		return err
	}
	defer resume()
	return o.sweep(ctx)
}

func (o *optimizer) sweep(ctx context.Context) error {
	_, err := o.r.Packs.Collect(ctx, func(oid.ID) bool { return true }, false, false)
	o.r.Objects.DropCache()
	o.r.Content.DropCache()
	return err
}

// deepened puts the record of blob b again, at another depth.
func (o *optimizer) deepened(ctx context.Context, b int32, depth uint8) error {
	if !o.opts.DryRun {
		if err := o.rep.Deepen(ctx, o.g.ids[b], depth); err != nil {
			return err
		}
	}
	o.g.depth[b] = depth
	o.res.Deepened++
	return nil
}
