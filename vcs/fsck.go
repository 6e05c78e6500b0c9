package vcs

import (
	"context"
	"errors"
	"fmt"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/local"
	"coral/vcs/object"
)

// FsckOptions: Full also decodes every file of every commit and compares its BLAKE3.
type FsckOptions struct {
	Full     bool
	Progress func(done, total int64, what string) // total 0: unknown
}

// FsckReport lists damage. An empty Damage and Damaged mean whole.
type FsckReport struct {
	Packs     int           `json:"packs"`
	Records   int64         `json:"records"`
	Files     int64         `json:"files"`            // distinct contents
	Bytes     int64         `json:"bytes"`            // of these
	Damage    []string      `json:"damage,omitempty"` // packs, index, refs, objects, live trees
	Damaged   []DamagedFile `json:"damaged_files,omitempty"`
	LostFound []string      `json:"lost_found,omitempty"`
}

// DamagedFile names a file (or a directory that cannot be listed) of a commit that cannot be given back whole. Commit is the newest that has it so.
type DamagedFile struct {
	Commit oid.ID `json:"commit"`
	Path   string `json:"path"`
	Why    string `json:"why"`
}

// Fsck checks packs, index, refs, every reachable object, and with Full every byte. The error is that the check could not be
// finished; what it found is in the report.
func (r *Repo) Fsck(ctx context.Context, opts FsckOptions) (FsckReport, error) {
	if !r.checks.TryRLock() { // a collection takes away what is being looked at
		return FsckReport{}, fmt.Errorf("fsck: a collection is running: %w", errs.Busy)
	}
	defer r.checks.RUnlock()
	f := &fsck{r: r, opts: opts, torn: map[oid.ID]string{}, blobs: map[oid.ID]string{}, trees: map[oid.ID]string{}, files: map[oid.ID]string{}, sizes: map[oid.ID]int64{}}
	if err := f.run(ctx); err != nil {
		return f.rep, fmt.Errorf("fsck: %w", err)
	}
	return f.rep, nil
}

// fsck is one check. The maps remember what was looked at: "" is whole, else what is wrong.
type fsck struct {
	r     *Repo
	opts  FsckOptions
	rep   FsckReport
	torn  map[oid.ID]string // records that the check of packs found damaged
	blobs map[oid.ID]string
	trees map[oid.ID]string // of the tree object itself, not of what is below
	files map[oid.ID]string // manifests, and everything that they need
	sizes map[oid.ID]int64  // of the files whose manifests could be read
	list  []oid.ID          // manifests, in the order they were found
	tips  []oid.ID
	bad   bool // some tree or file is damaged
}

func (f *fsck) run(ctx context.Context) error {
	f.r.Objects.DropCache() // what is checked is what is on disk
	f.r.Content.DropCache()
	f.progress(0, 0, "packs")
	if err := f.r.Packs.Check(ctx, f.packDamage); err != nil {
		return err
	}
	st, err := f.r.Packs.Stats(ctx)
	if err != nil {
		return err
	}
	f.rep.Packs = st.Packs
	for _, n := range st.Records {
		f.rep.Records += n
	}
	f.progress(0, 0, "history")
	if err := f.names(ctx); err != nil {
		return err
	}
	if err := f.walkCommits(ctx); err != nil {
		return err
	}
	live := f.liveRoots(ctx)
	if f.opts.Full {
		if err := f.verifyAll(ctx); err != nil {
			return err
		}
	}
	if err := live(); err != nil {
		return err
	}
	f.rep.LostFound = f.r.Live.Spool().LostFound
	if !f.bad {
		return nil
	}
	return f.nameDamaged(ctx)
}

func (f *fsck) progress(done, total int64, what string) {
	if f.opts.Progress != nil {
		f.opts.Progress(done, total, what)
	}
}

func (f *fsck) damage(format string, args ...any) {
	f.rep.Damage = append(f.rep.Damage, fmt.Sprintf(format, args...))
}

func (f *fsck) packDamage(d local.Damage) {
	f.damage("%s", d)
	if !d.ID.IsZero() {
		f.torn[d.ID] = d.String()
	}
}

// names checks that every name points to a commit, and tag objects.
func (f *fsck) names(ctx context.Context) error {
	type name struct {
		what       string
		commit, at oid.ID
	}
	var names []name
	branches, err := f.r.Refs.Branches()
	if err != nil {
		return err
	}
	for _, b := range branches {
		names = append(names, name{what: "branch " + b.Name, commit: b.ID})
	}
	tags, err := f.r.Refs.Tags()
	if err != nil {
		return err
	}
	for _, t := range tags {
		names = append(names, name{what: "tag " + t.Name, commit: t.ID, at: t.Tag})
	}
	head, err := f.r.Refs.Head()
	if err != nil {
		return err
	}
	names = append(names, name{what: "HEAD", commit: head.Commit})
	if head.Branch != "" {
		if _, err := f.r.Refs.Branch(head.Branch); err != nil {
			f.damage("HEAD: %v", err)
		}
	}
	for _, n := range names {
		if n.commit.IsZero() {
			continue
		}
		f.tips = append(f.tips, n.commit)
		if _, err := f.r.Objects.Commit(ctx, n.commit); err != nil {
			f.damage("%s: commit %s: %v", n.what, n.commit.Short(), err)
		}
		if n.at.IsZero() {
			continue
		}
		if t, err := f.r.Objects.Tag(ctx, n.at); err != nil {
			f.damage("%s: %v", n.what, err)
		} else if t.Target != n.commit {
			f.damage("%s: tag object %s is for commit %s, the ref says %s", n.what, n.at.Short(), t.Target.Short(), n.commit.Short())
		}
	}
	return ctx.Err()
}

// walkCommits looks at every object that a name reaches, once.
func (f *fsck) walkCommits(ctx context.Context) error {
	tip := map[oid.ID]bool{}
	for _, id := range f.tips {
		tip[id] = true
	}
	bad := func(id oid.ID, err error) error {
		if !tip[id] { // of these, names has told already
			f.damage("commit %s, a parent: %v", id.Short(), err)
		}
		return nil
	}
	return f.r.eachCommit(ctx, f.tips, bad, func(id oid.ID, c *object.Commit) (bool, error) {
		return true, f.tree(ctx, c.Tree, 0)
	})
}

// tree checks a tree and everything below it.
func (f *fsck) tree(ctx context.Context, id oid.ID, depth int) error {
	if _, ok := f.trees[id]; ok || id.IsZero() {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	why := f.torn[id]
	t, err := f.r.Objects.Tree(ctx, id)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		why = err.Error()
	case depth > maxDepth:
		why = fmt.Sprintf("more than %d levels", maxDepth)
	}
	f.trees[id] = why
	if why != "" {
		f.bad = true
		return nil
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		switch e.Kind {
		case object.Dir:
			err = f.tree(ctx, e.ID, depth+1)
		case object.File:
			err = f.file(ctx, e.ID)
			f.bad = f.bad || f.wrongSize(e) != ""
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file checks a manifest and that its blobs are there; not their bytes.
func (f *fsck) file(ctx context.Context, id oid.ID) error {
	if _, ok := f.files[id]; ok {
		return nil
	}
	why, err := f.manifest(ctx, id)
	if err != nil {
		return err
	}
	f.files[id] = why
	f.bad = f.bad || why != ""
	if why == "" {
		f.list = append(f.list, id)
	}
	return nil
}

func (f *fsck) manifest(ctx context.Context, id oid.ID) (why string, err error) {
	if why := f.torn[id]; why != "" {
		return why, nil
	}
	m, err := f.r.Objects.Manifest(ctx, id)
	if err != nil {
		return err.Error(), ctx.Err()
	}
	f.rep.Files++
	f.rep.Bytes += m.Size
	f.sizes[id] = m.Size
	for i := range m.Segments {
		s := &m.Segments[i]
		if s.Blob.IsZero() {
			continue
		}
		why, err := f.blob(ctx, s.Blob, s.Length)
		if why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// wrongSize says how a file's directory and manifest differ.
func (f *fsck) wrongSize(e *object.Entry) string {
	if size, ok := f.sizes[e.ID]; ok && size != e.Size {
		return fmt.Sprintf("manifest %s: %d bytes, the directory says %d", e.ID.Short(), size, e.Size)
	}
	return ""
}

// blob checks that a blob, and what it is a delta of or derived from, is there and undamaged as far as the check of packs can tell.
func (f *fsck) blob(ctx context.Context, id oid.ID, length int64) (why string, err error) {
	if why, ok := f.blobs[id]; ok {
		return why, nil
	}
	why = f.torn[id]
	info, err := f.r.Packs.Stat(id)
	switch {
	case why != "":
	case errors.Is(err, errs.NotFound) || errors.Is(err, errs.Corrupt):
		why = fmt.Sprintf("blob %s: %v", id.Short(), err)
	case err != nil:
		return "", err
	case info.Kind != objstore.Blob:
		why = fmt.Sprintf("blob %s is a %s", id.Short(), info.Kind)
	case length >= 0 && info.RawSize != length:
		why = fmt.Sprintf("blob %s: %d bytes, the manifest says %d", id.Short(), info.RawSize, length)
	}
	f.blobs[id] = why // known before what it needs is: a cycle ends here
	if why == "" && !info.Base.IsZero() {
		if why, err = f.needs(ctx, info); err != nil {
			return "", err
		}
		f.blobs[id] = why
	}
	return why, nil
}

// needs checks the base or the sources of a blob.
func (f *fsck) needs(ctx context.Context, info objstore.Info) (why string, err error) {
	id := info.ID
	if info.Depth == 0 {
		return fmt.Sprintf("blob %s: a base at depth 0", id.Short()), nil
	}
	ids, err := f.r.Content.References(ctx, id)
	if err != nil {
		if ctx.Err() == nil && (errors.Is(err, errs.Corrupt) || errors.Is(err, errs.Unsupported)) {
			return fmt.Sprintf("blob %s: %v", id.Short(), err), nil
		}
		return "", err
	}
	for _, need := range ids {
		why, err := f.blob(ctx, need, -1)
		if err != nil {
			return "", err
		}
		if why != "" {
			return fmt.Sprintf("blob %s is a delta: %s", id.Short(), why), nil
		}
	}
	return "", nil
}

// liveRoots looks at what live trees refer to. The function that it returns reports what is damaged of it, after bytes were verified.
func (f *fsck) liveRoots(ctx context.Context) (report func() error) {
	var manifests, trees []oid.ID
	err := f.r.Live.Roots(ctx,
		func(id oid.ID) error { manifests = append(manifests, id); return f.file(ctx, id) },
		func(id oid.ID) error { trees = append(trees, id); return f.tree(ctx, id, 0) })
	return func() error {
		if err != nil {
			return err
		}
		for _, id := range manifests {
			if why := f.files[id]; why != "" {
				f.damage("live tree: file with manifest %s: %s", id.Short(), why)
			}
		}
		for _, id := range trees {
			if why := f.trees[id]; why != "" {
				f.damage("live tree: base tree %s: %s", id.Short(), why)
			}
		}
		return nil
	}
}

// verifyAll decodes every distinct file.
func (f *fsck) verifyAll(ctx context.Context) error {
	var done int64
	for _, id := range f.list {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := f.r.Content.Open(ctx, id)
		var first string
		if err == nil {
			f.progress(done, f.rep.Bytes, "files")
			err = file.Verify(ctx, func(blob oid.ID, err error) {
				if first == "" {
					first = err.Error()
					if !blob.IsZero() {
						first = fmt.Sprintf("blob %s: %v", blob.Short(), err)
					}
				}
			})
			done += file.Size()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if first == "" && err != nil {
			first = err.Error()
		}
		if first != "" {
			f.files[id] = first
			f.bad = true
		}
	}
	f.progress(done, f.rep.Bytes, "files")
	return nil
}
