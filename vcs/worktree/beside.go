package worktree

import (
	"context"
	"fmt"
	"io"

	"coral/internal/oid"
)

// beside is a file's place as content.Beside: what is in some files another one of their directory tells.
type beside struct {
	t    *Tree
	path string // of the file
}

// Beside opens the file called name in the same directory as it is in the live tree at this moment, spooled or stored. It is read without a lock: whoever
// writes to it meanwhile is not waited for.
func (b beside) Beside(ctx context.Context, name string) (r io.ReaderAt, size int64, release func() error, err error) {
	var spool spoolID
	var manifest oid.ID
	dir, _ := splitPath(b.path)
	err = b.t.view(ctx, func() error {
		n, err := b.t.walk(join(dir, name))
		if err != nil {
			return err
		}
		if !n.isReg() || n.x != nil && n.x.lost {
			return notFound(name)
		}
		spool, manifest = n.spoolID(), n.id
		return nil
	})
	if err != nil {
		return nil, 0, nil, err
	}
	if spool != 0 {
		return b.spooled(spool)
	}
	if manifest.IsZero() {
		return nil, 0, nil, notFound(name)
	}
	c, err := b.t.set.deps.Open(ctx, manifest)
	if err != nil {
		return nil, 0, nil, err
	}
	return contentAt{ctx, c}, c.Size(), func() error { return nil }, nil
}

func (b beside) spooled(id spoolID) (io.ReaderAt, int64, func() error, error) {
	f, err := b.t.set.spool.open(id, false)
	if err != nil {
		return nil, 0, nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, nil, fmt.Errorf("stat spool file %s: %w", id, err)
	}
	return f, st.Size(), f.Close, nil
}

// contentAt is stored content as an io.ReaderAt.
type contentAt struct {
	ctx context.Context
	c   Content
}

func (r contentAt) ReadAt(p []byte, off int64) (int, error) { return r.c.ReadAt(r.ctx, p, off) }
