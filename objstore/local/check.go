package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/index"
	"coral/objstore/pack"
)

// Damage is one finding of Check.
type Damage struct {
	Pack   string // file name, or "" for the index
	Offset int64
	ID     oid.ID // zero if unknown
	Detail string
}

// String returns the finding on one line.
func (d Damage) String() string {
	where := "index"
	if d.Pack != "" {
		where = fmt.Sprintf("pack %s at offset %d", d.Pack, d.Offset)
	}
	if !d.ID.IsZero() {
		where += ", record " + d.ID.Short()
	}
	return where + ": " + d.Detail
}

// checker is one run of Check.
type checker struct {
	s       *Store
	report  func(Damage)
	known   map[uint64]index.Pack
	matched map[uint64]int64 // records of the index found in each pack
	listed  map[uint64]int64 // records that the index places in each pack
}

// Check verifies the structure of packs and index and the checksum of every frame, calling report for each finding: frames against
// index and index against frames, directories, bases and depths. What is put while it runs may or may not be checked.
// The error is that the check could not be finished.
func (s *Store) Check(ctx context.Context, report func(Damage)) error {
	if !s.sweep.TryRLock() {
		return fmt.Errorf("check: a collect is running: %w", errs.Busy)
	}
	defer s.sweep.RUnlock()
	c := &checker{s: s, report: report, known: s.known(), matched: map[uint64]int64{}, listed: map[uint64]int64{}}
	packs, err := listPacks(s.env.fs, s.packDir, true)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	for _, n := range slices.Sorted(maps.Keys(c.known)) {
		if !c.known[n].Dead && !slices.Contains(packs, n) {
			c.found(n, 0, oid.ID{}, "the file is missing")
		}
	}
	for _, n := range packs {
		if err := c.pack(ctx, n); err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	if s.ix != nil {
		if err := s.ix.Verify(); errors.Is(err, errs.Corrupt) {
			report(Damage{Detail: err.Error() + ": coral fsck --rebuild-index makes it anew from the packs"})
		} else if err != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	if err := c.index(ctx); err != nil {
		return fmt.Errorf("check index: %w", err)
	}
	return nil
}

// known returns the row of every pack as it is now, what is pending included: how far each is to be checked.
func (s *Store) known() map[uint64]index.Pack {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := maps.Clone(s.rows)
	writers := slices.Clone(s.sealed)
	if s.active != nil {
		writers = append(writers, s.active)
	}
	for _, w := range writers {
		row := out[w.Number()]
		row.Length, row.Sealed = w.Size(), w != s.active
		out[w.Number()] = row
	}
	return out
}

func (c *checker) found(n uint64, off int64, id oid.ID, format string, args ...any) {
	d := Damage{Offset: off, ID: id, Detail: fmt.Sprintf(format, args...)}
	if n != 0 {
		d.Pack = pack.Name(n)
	}
	c.report(d)
}

// pack checks the frames of pack n. Only an end of ctx is returned; what cannot be read is a finding.
func (c *checker) pack(ctx context.Context, n uint64) error {
	row, known := c.known[n]
	r, release, err := c.s.files.acquire(n)
	if err != nil && !known && c.s.readOnly && c.s.ix != nil {
		return ctx.Err() // never synced; a store that may write puts it aside
	}
	if err != nil {
		c.found(n, 0, oid.ID{}, "%v", err)
		return ctx.Err()
	}
	defer release()
	if herr := r.HeaderDamage(); herr != nil && (known || c.s.ix == nil || !c.s.readOnly) {
		c.found(n, 0, oid.ID{}, "%v", herr)
	}
	size, err := r.Size()
	switch {
	case err != nil:
		c.found(n, 0, oid.ID{}, "%v", err)
		return ctx.Err()
	case known && size < row.Length:
		c.found(n, size, oid.ID{}, "the file ends here, %d bytes are missing", row.Length-size)
	case known:
		size = row.Length
	case !c.s.readOnly:
		return nil // begun since Check began
	}
	if err := c.frames(ctx, n, r, size, row); err != nil {
		c.found(n, 0, oid.ID{}, "%v", err)
	}
	return ctx.Err()
}

func (c *checker) frames(ctx context.Context, n uint64, r *pack.Reader, size int64, row index.Pack) error {
	end, sealed, err := r.End(size)
	if err != nil {
		return err
	}
	if row.Sealed && !sealed {
		c.found(n, size, oid.ID{}, "the trailer of the sealed pack is damaged")
		if end, err = c.framesEnd(ctx, r, size); err != nil {
			return err
		}
	}
	// In a read-only store, what was never synced may be torn, which says nothing about what was.
	torn := row.Length == 0 && c.s.ix != nil
	frames := xxhash.New()
	err = r.Scan(ctx, pack.FileHeaderSize, end, true, func(e pack.Entry, intact bool) error {
		pack.SumEntry(frames, e)
		if !intact && !torn && !c.replaced(n, e) {
			c.s.suspect(e.ID)
			c.found(n, e.Offset, e.ID, "payload checksum is wrong")
		}
		c.frame(n, e, row.Loose || torn)
		return nil
	}, func(off, length int64) error {
		if !torn && (row.Length > 0 || off+length < end) {
			c.found(n, off, oid.ID{}, "%d bytes are no frame", length)
		}
		return nil
	})
	if err != nil || !sealed || torn {
		return err
	}
	listed := xxhash.New()
	err = r.Directory(size, func(e pack.Entry) error {
		pack.SumEntry(listed, e)
		return nil
	})
	if err != nil {
		c.found(n, end, oid.ID{}, "%v", err)
	} else if listed.Sum64() != frames.Sum64() {
		c.found(n, end, oid.ID{}, "the directory does not list the frames that are there")
	}
	return nil
}

// framesEnd returns where the last frame ends in a pack whose trailer is damaged.
func (c *checker) framesEnd(ctx context.Context, r *pack.Reader, size int64) (end int64, err error) {
	end = pack.FileHeaderSize
	err = r.Scan(ctx, pack.FileHeaderSize, size, false, func(e pack.Entry, _ bool) error {
		end = e.Offset + e.Size()
		return nil
	}, nil)
	return end, err
}

// replaced reports whether the index has another copy of the frame's record: nobody reads this one.
func (c *checker) replaced(n uint64, e pack.Entry) bool {
	info, err := c.s.lookup(e.ID)
	return err == nil && !e.Filler() && info != e.Info(n, e.Offset)
}

// frame compares a frame with the index.
func (c *checker) frame(n uint64, e pack.Entry, loose bool) {
	if e.Filler() {
		return
	}
	info, err := c.s.lookup(e.ID)
	at := e.Info(n, e.Offset)
	switch {
	case errors.Is(err, errs.NotFound):
		if !loose {
			c.found(n, e.Offset, e.ID, "the frame is not in the index")
		}
	case err != nil:
		c.found(0, 0, e.ID, "%v", err)
	case info == at:
		c.matched[n]++
	case info.Pack == n && info.Offset == at.Offset:
		c.found(n, e.Offset, e.ID, "frame and index differ")
	}
}

// index checks every record of the index: it is where it should be, and so is its base.
func (c *checker) index(ctx context.Context) error {
	err := c.s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		c.listed[info.Pack]++
		c.base(info)
		return true, c.needed(ctx, info)
	})
	if err != nil && ctx.Err() == nil {
		c.found(0, 0, oid.ID{}, "%v", err)
		return nil
	}
	if err != nil || !c.disagree() {
		return err
	}
	return c.s.each(ctx, oid.ID{}, func(info objstore.Info) (bool, error) {
		if c.listed[info.Pack] == c.matched[info.Pack] {
			return true, nil
		}
		_, err := c.s.read(info, func(r *pack.Reader, at objstore.Info) error {
			_, err := r.ReadFrame(ctx, at)
			return err
		})
		if err != nil && ctx.Err() == nil {
			c.found(info.Pack, info.Offset-pack.HeaderSize, info.ID, "%v", err)
		}
		return true, ctx.Err()
	})
}

// disagree reports whether the index has records in some pack that were not found there.
func (c *checker) disagree() bool {
	for n, k := range c.listed {
		if c.matched[n] != k {
			return true
		}
	}
	return false
}

func (c *checker) base(info objstore.Info) {
	if info.Base.IsZero() {
		if info.Depth != 0 {
			c.found(info.Pack, info.Offset-pack.HeaderSize, info.ID, "depth %d without a base", info.Depth)
		}
		return
	}
	base, err := c.s.lookup(info.Base)
	switch {
	case errors.Is(err, errs.NotFound):
		c.found(info.Pack, info.Offset-pack.HeaderSize, info.ID, "its base %s is missing", info.Base.Short())
	case err != nil:
		c.found(0, 0, info.Base, "%v", err)
	case info.Depth <= base.Depth:
		c.found(info.Pack, info.Offset-pack.HeaderSize, info.ID, "depth %d over a base of depth %d", info.Depth, base.Depth)
	}
}

// needed checks that what a record needs besides its base is there.
func (c *checker) needed(ctx context.Context, info objstore.Info) error {
	sources, err := sourcesOf(c.s.sources, info, func(p []byte, off int64) error { return c.s.ReadPayload(ctx, info, p, off) })
	if err != nil {
		return ctx.Err() // the frame cannot be read, which is found elsewhere
	}
	for _, id := range sources {
		source, err := c.s.lookup(id)
		switch {
		case errors.Is(err, errs.NotFound):
			c.found(info.Pack, info.Offset-pack.HeaderSize, info.ID, "its source %s is missing", id.Short())
		case err != nil:
			c.found(0, 0, id, "%v", err)
		case source.Depth >= info.Depth:
			c.found(info.Pack, info.Offset-pack.HeaderSize, info.ID, "depth %d over a source of depth %d", info.Depth, source.Depth)
		}
	}
	return nil
}
