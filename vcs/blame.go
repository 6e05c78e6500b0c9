package vcs

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// BlameOptions of Blame.
type BlameOptions struct {
	Copies   bool              // where a file was made, also look for its tensors in files that stayed
	Progress func(commits int) // may be nil
}

// Blamed is one tensor, or a whole file, with the commit that last changed it.
type Blamed struct {
	Tensor *object.Tensor // nil for the whole file
	Commit oid.ID
	Path   string // of the file in that commit
}

// Blame finds, for each tensor of a file of a commit, the commit that last changed it, and the one that last changed the file at all. Tensors are the same if
// dtype, shape and bytes are, which their blob ids tell: only tensors of less than 512 bytes, which share a blob, are read. A tensor is
// followed by its name, and where there is none of this name by what is in it; a file by its path, and where that was made by what is in it: of the
// files that the same commit removed, the one with most bytes of it. At a merge a tensor comes from the first parent that has it.
func (r *Repo) Blame(ctx context.Context, commit oid.ID, path string, opts BlameOptions) (file Blamed, tensors []Blamed, err error) {
	b := &blamer{r: r, opts: opts, tables: map[oid.ID]*blameTable{}, work: map[oid.ID]map[string][]blameItem{}}
	if file, tensors, err = b.run(ctx, commit, path); err != nil {
		return Blamed{}, nil, fmt.Errorf("blame %s: %w", path, err)
	}
	return file, tensors, nil
}

// blamer is one Blame.
type blamer struct {
	r    *Repo
	opts BlameOptions

	tables map[oid.ID]*blameTable // by manifest; see table
	queue  commitQueue            // of the keys of work
	work   map[oid.ID]map[string][]blameItem
	done   int
	out    []Blamed // by number; the last is the file
}

// blameItem is something that is not blamed yet: in the file of the work's commit and path.
type blameItem struct {
	number int // in blamer.out
	name   string
	sum    oid.ID
	bytes  int64
	whole  bool // the file itself: sum is its hash
}

func (b *blamer) run(ctx context.Context, commit oid.ID, path string) (Blamed, []Blamed, error) {
	e, err := b.find(ctx, commit, path)
	if err != nil {
		return Blamed{}, nil, err
	}
	if e.Kind != object.File {
		if e.Kind == object.Dir {
			return Blamed{}, nil, errs.IsDir
		}
		return Blamed{}, nil, fmt.Errorf("is a %s, not a file: %w", e.Kind, errs.Invalid)
	}
	t, err := b.table(ctx, e.ID)
	if err != nil {
		return Blamed{}, nil, err
	}
	items := make([]blameItem, 0, len(t.m.Tensors)+1)
	for i := range t.m.Tensors {
		items = append(items, blameItem{number: i, name: t.m.Tensors[i].Name, sum: t.sums[i], bytes: t.m.Tensors[i].Length})
		b.out = append(b.out, Blamed{Tensor: &t.m.Tensors[i]})
	}
	items = append(items, blameItem{number: len(items), sum: t.m.Hash, whole: true})
	b.out = append(b.out, Blamed{})
	if err := b.push(ctx, commit, path, items); err != nil {
		return Blamed{}, nil, err
	}
	for b.queue.Len() > 0 {
		if err := ctx.Err(); err != nil {
			return Blamed{}, nil, err
		}
		id := heap.Pop(&b.queue).(queued).id
		files := b.work[id]
		delete(b.work, id)
		for _, p := range slices.Sorted(maps.Keys(files)) {
			if err := b.step(ctx, id, p, files[p]); err != nil {
				return Blamed{}, nil, err
			}
		}
		if b.done++; b.opts.Progress != nil {
			b.opts.Progress(b.done)
		}
	}
	last := len(b.out) - 1
	return b.out[last], b.out[:last], nil
}

// push gives items to a commit. Its turn comes after all that are younger; a clock that went back only makes it have more than one.
func (b *blamer) push(ctx context.Context, id oid.ID, path string, items []blameItem) error {
	if b.work[id] == nil {
		c, err := b.r.Objects.Commit(ctx, id)
		if err != nil {
			return err
		}
		b.work[id] = map[string][]blameItem{}
		heap.Push(&b.queue, queued{id, c.Time})
	}
	b.work[id][path] = append(b.work[id][path], items...)
	return nil
}

// step gives each item of a file to the first parent that has it, and blames the commit for what is left.
func (b *blamer) step(ctx context.Context, id oid.ID, path string, items []blameItem) error {
	c, err := b.r.Objects.Commit(ctx, id)
	if err != nil {
		return err
	}
	here, err := b.r.Lookup(ctx, c.Tree, path)
	if err != nil {
		return err
	}
	for _, parent := range c.Parents {
		if len(items) == 0 {
			return nil
		}
		from, there, err := b.origin(ctx, c, parent, path, here, items)
		if err != nil {
			return err
		}
		if from == "" {
			continue
		}
		passed := items
		if items = nil; there.ID != here.ID {
			t, err := b.table(ctx, there.ID)
			if err != nil {
				return err
			}
			passed, items = t.split(passed)
		}
		if len(passed) > 0 {
			if err := b.push(ctx, parent, from, passed); err != nil {
				return err
			}
		}
	}
	for _, it := range items {
		b.out[it.number].Commit, b.out[it.number].Path = id, path
	}
	return nil
}

// find looks a path up in a commit.
func (b *blamer) find(ctx context.Context, commit oid.ID, path string) (object.Entry, error) {
	c, err := b.r.Objects.Commit(ctx, commit)
	if err != nil {
		return object.Entry{}, err
	}
	return b.r.Lookup(ctx, c.Tree, path)
}

// origin finds the file of a parent that a file comes from; "" if there is none.
func (b *blamer) origin(ctx context.Context, c *object.Commit, parent oid.ID, path string, here object.Entry, items []blameItem) (string, object.Entry, error) {
	e, err := b.find(ctx, parent, path)
	switch {
	case err == nil && e.Kind == object.File:
		return path, e, nil
	case err != nil && !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.NotDir):
		return "", e, err
	}
	p, err := b.r.Objects.Commit(ctx, parent)
	if err != nil {
		return "", e, err
	}
	gone := goneFiles{r: b.r, all: b.opts.Copies}
	if err := gone.walk(ctx, p.Tree, c.Tree, "", 0); err != nil {
		return "", e, err
	}
	best, most, from := object.Entry{}, int64(0), ""
	for i, g := range gone.files {
		if g.ID == here.ID {
			return gone.paths[i], g, nil
		}
		t, err := b.table(ctx, g.ID)
		if err != nil {
			return "", e, err
		}
		shared, _ := t.split(items)
		n := int64(0)
		for _, it := range shared {
			if n += it.bytes; it.whole {
				n++ // of a file without tensors it is all there is
			}
		}
		if n > most {
			best, most, from = g, n, gone.paths[i]
		}
	}
	return from, best, nil
}

// maxGone bounds how many files are looked at for one that was made.
const maxGone = 4096

// goneFiles collects the regular files of an old tree that a new one has not at that path, or all of them, in order of paths.
type goneFiles struct {
	r     *Repo
	all   bool
	files []object.Entry
	paths []string
}

func (g *goneFiles) walk(ctx context.Context, old, new oid.ID, dir string, depth int) error {
	if old == new && !g.all || old.IsZero() || len(g.files) >= maxGone {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("%q: more than %d levels: %w", dir, maxDepth, errs.TooLarge)
	}
	a, err := g.r.tree(ctx, old)
	if err != nil {
		return err
	}
	b, err := g.r.tree(ctx, new)
	if err != nil {
		return err
	}
	for _, e := range a.Entries {
		now, ok := b.Find(e.Name)
		switch {
		case e.Kind == object.Dir:
			if !ok || now.Kind != object.Dir {
				now.ID = oid.ID{}
			}
			if err := g.walk(ctx, e.ID, now.ID, join(dir, e.Name), depth+1); err != nil {
				return err
			}
		case e.Kind == object.File && e.Size > 0 && (g.all || !ok || now.Kind != object.File) && len(g.files) < maxGone:
			g.files, g.paths = append(g.files, e), append(g.paths, join(dir, e.Name))
		}
	}
	return nil
}
