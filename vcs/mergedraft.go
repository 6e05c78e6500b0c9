package vcs

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"coral/internal/oid"
	"coral/vcs/merge"
	"coral/vcs/object"
)

// draft is a merge that is only looked at: files that it makes lie in a directory, trees in memory, and the store is not written to. Ids of both are the draft's own.
// The merge adds to it; afterwards it is only read, by any number of goroutines.
type draft struct {
	mergeStore
	root  *os.Root          // where files are made
	made  map[oid.ID]string // names in root
	trees map[oid.ID]*object.Tree
}

var _ merge.Store = (*draft)(nil)

func newDraft(r *Repo, dir string) (*draft, error) {
	root, err := emptyDir(dir)
	if err != nil {
		return nil, err
	}
	return &draft{mergeStore: mergeStore{r}, root: root, made: map[oid.ID]string{}, trees: map[oid.ID]*object.Tree{}}, nil
}

// PutTree implements merge.Store.
func (d *draft) PutTree(_ context.Context, t *object.Tree) (oid.ID, error) {
	id := draftID('t', len(d.trees))
	d.trees[id] = t
	return id, nil
}

// Tree implements merge.Store.
func (d *draft) Tree(ctx context.Context, id oid.ID) (*object.Tree, error) {
	if t := d.trees[id]; t != nil {
		return t, nil
	}
	return d.mergeStore.Tree(ctx, id)
}

// Ingest implements merge.Store: it keeps a copy.
func (d *draft) Ingest(ctx context.Context, r io.ReaderAt, size int64, _ string, _ oid.ID) (id oid.ID, stored int64, err error) {
	name := strconv.Itoa(len(d.made))
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return oid.ID{}, 0, err
	}
	err = copyFile(f, r, size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return oid.ID{}, 0, err
	}
	id = draftID('f', len(d.made))
	d.made[id] = name
	return id, 0, nil
}

// copyFile copies all of a file; by the kernel, without copying the blocks where the file system can, if r is one.
func copyFile(dst *os.File, r io.ReaderAt, size int64) error {
	src := io.Reader(io.NewSectionReader(r, 0, size))
	if f, ok := r.(*os.File); ok {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		src = f
	}
	n, err := io.Copy(dst, src) // of two files: copy_file_range
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// draftID is no hash of anything that is stored.
func draftID(kind byte, n int) oid.ID {
	return oid.Sum(binary.LittleEndian.AppendUint64([]byte("coral draft "+string(kind)), uint64(n)))
}

// write writes a tree of the draft to a new or empty directory.
func (d *draft) write(ctx context.Context, tree oid.ID, dst string, progress func(files int, bytes int64)) error {
	root, err := emptyDir(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	e := &exporter{r: d.r, root: root, time: time.Now(), tree: d.Tree, report: progress}
	e.write = func(ctx context.Context, f *os.File, entry object.Entry) error {
		name, made := d.made[entry.ID]
		if !made {
			return e.stored(ctx, f, entry)
		}
		src, err := d.root.Open(name)
		if err != nil {
			return err
		}
		defer src.Close()
		if err := copyFile(f, src, entry.Size); err != nil {
			return err
		}
		return d.root.Remove(name)
	}
	return e.all(ctx, object.Entry{Kind: object.Dir, ID: tree, Mode: 0o755})
}

// draft merges trees into a directory. What it needs meanwhile lies beside that.
func (j *merging) draft(ctx context.Context, o merge.Options) error {
	o.TempDir = filepath.Dir(j.opts.Dir)
	made, err := os.MkdirTemp(o.TempDir, "made-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	d, err := newDraft(j.r, made)
	if err != nil {
		return err
	}
	defer d.root.Close()
	got, err := j.join(ctx, d, o)
	if err != nil {
		return err
	}
	if len(got.Conflicts) > 0 {
		return nil
	}
	if err := d.write(ctx, got.Tree, j.opts.Dir, nil); err != nil {
		return fmt.Errorf("write to %s: %w", j.opts.Dir, err)
	}
	j.res.Tree = oid.ID{} // it is the draft's
	return nil
}

// join merges the trees of the sides. One alone is the result.
func (j *merging) join(ctx context.Context, store merge.Store, o merge.Options) (got merge.Result, err error) {
	if len(o.Sides) == 1 {
		got.Tree = o.Sides[0]
	} else if got, err = merge.Run(ctx, store, o); err != nil {
		return got, err
	}
	j.res.Tree, j.res.Omitted, j.res.Taken, j.res.Computed, j.res.Bytes, j.res.StoredBytes = got.Tree, got.Omitted, got.Taken, got.Computed, got.Bytes, got.Stored
	j.res.Conflicts = append(j.res.Conflicts, got.Conflicts...)
	j.res.Files = append(j.res.Files, got.Files...)
	return got, nil
}
