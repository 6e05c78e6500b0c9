package fs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/view"
)

// viewItem is an entry of the tree that a view shows.
type viewItem struct {
	name     string
	mode     uint32 // type and permission bits
	mtime    time.Time
	manifest oid.ID // of a regular file; zero if it is not stored yet
	from     any    // the source's own
}

// viewSource is a directory of a tree: of a commit (viewcommit.go) or live (viewlive.go).
type viewSource interface {
	list() ([]viewItem, error)
	find(name string) (viewItem, bool, error)
	attr(out *fuse.Attr)
	itself(it viewItem) (child, key) // the node of what the view shows as it is
	key(it viewItem) key             // of the file that a regular one is converted to
	ttl() time.Duration              // how long a name leads to the same
}

// viewDir is a directory of a view. Nothing is decoded for its names: vcs/view has them from names and manifests.
type viewDir struct {
	readOnly
	src viewSource
}

func (d *viewDir) attr(out *fuse.Attr) { d.src.attr(out) }
func (d *viewDir) ttl() time.Duration  { return max(d.src.ttl(), brief) }

// Getattr serves stat(2).
func (d *viewDir) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(d, out)
}

func (d *viewDir) fail(op, name string, err error) syscall.Errno {
	if errors.Is(err, errs.NotFound) {
		return syscall.ENOENT
	}
	return d.m.fail(op, viewsName+"/…/"+name, err)
}

// role says what becomes of an item. What cannot be read is absent; the log says why.
func (d *viewDir) role(it viewItem) view.Role {
	switch it.mode & syscall.S_IFMT {
	case syscall.S_IFDIR, syscall.S_IFLNK:
		return view.Itself
	case syscall.S_IFREG:
	default:
		return view.Absent
	}
	if it.manifest.IsZero() { // being written, or not stored yet: its name tells
		if view.IsSafetensors(it.name) {
			return view.Itself
		}
		return view.Guess(it.name)
	}
	mf, err := d.m.repo.Objects.Manifest(d.m.base, it.manifest)
	if err != nil {
		d.fail("lookup", it.name, err)
		return view.Absent
	}
	return view.RoleOf(it.name, mf)
}

// roles returns the roles by name. The first error of the source is left in failed.
func (d *viewDir) roles(failed *error) view.Dir {
	return func(name string) (view.Role, bool) {
		it, ok, err := d.src.find(name)
		if err != nil && *failed == nil {
			*failed = err
		}
		if err != nil || !ok {
			return view.Absent, false
		}
		return d.role(it), true
	}
}

// Lookup serves path lookup.
func (d *viewDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	var failed error
	roles := d.roles(&failed)
	original, role, ok := roles.Find(name)
	if failed != nil {
		return nil, d.fail("lookup", name, failed)
	}
	if name == view.Index && !ok || name == view.TorchIndex && ok {
		index, err := d.index(roles)
		if err == nil {
			err = failed
		}
		switch {
		case err != nil:
			return nil, d.fail("lookup", name, err)
		case index != nil && name == view.TorchIndex:
			return nil, syscall.ENOENT
		case index != nil:
			return d.converted(ctx, index, out)
		}
	}
	if !ok {
		return nil, syscall.ENOENT
	}
	it, ok, err := d.src.find(original)
	if err != nil {
		return nil, d.fail("lookup", name, err)
	}
	if !ok {
		return nil, syscall.ENOENT // removed meanwhile
	}
	if role == view.Itself {
		c, k := d.src.itself(it)
		return d.enter(ctx, c, k, it.mode&syscall.S_IFMT, d.src.ttl(), out), 0
	}
	return d.converted(ctx, d.file(it), out)
}

// file returns the node of an item that is converted.
func (d *viewDir) file(it viewItem) *viewFile {
	return &viewFile{readOnly: d.m.readOnly(), plan: planOf(d.m, it.manifest), manifest: it.manifest, mode: it.mode & 0o7777 &^ 0o222, mtime: it.mtime, key: d.src.key(it)}
}

// converted answers LOOKUP for a converted file. Its size comes from its header, which is made and forgotten.
func (d *viewDir) converted(ctx context.Context, n *viewFile, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if err := d.m.viewSizes.find(n); err != nil {
		return nil, d.fail("lookup", n.manifest.Short(), err)
	}
	return d.enter(ctx, n, n.key, syscall.S_IFREG, d.src.ttl(), out), 0
}

// index returns the node of view.Index if it stands for view.TorchIndex: nil if there is none, if the tree has view.Index itself, or has no shards.
func (d *viewDir) index(roles view.Dir) (*viewFile, error) {
	it, ok, err := d.src.find(view.TorchIndex)
	if err != nil || !ok || d.role(it) != view.Itself || it.mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, err
	}
	if _, taken, err := d.src.find(view.Index); err != nil || taken {
		return nil, err
	}
	all, err := d.src.list()
	if err != nil {
		return nil, err
	}
	var shards []shard
	k := d.src.key(it)
	for _, s := range all {
		if view.IsShard(s.name) && d.role(s) == view.Converted {
			if name := roles.Name(s.name); name != "" {
				shards = append(shards, shard{name, s.manifest})
				k = k.child(string(s.manifest[:]))
			}
		}
	}
	if shards == nil {
		return nil, nil
	}
	return &viewFile{readOnly: d.m.readOnly(), plan: planOfIndex(d.m, shards), mode: it.mode & 0o7777 &^ 0o222, mtime: it.mtime, key: k}, nil
}

// shard is a converted file that an index names.
type shard struct {
	name     string
	manifest oid.ID
}

// OpendirHandle serves opendir(3).
func (d *viewDir) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	h := d.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		list, err := d.entries()
		if err != nil {
			return nil, d.fail("readdir", "", err)
		}
		return list, 0
	})
	if d.src.ttl() == forever {
		return h, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
	}
	return h, 0, 0
}

// entries returns what the directory lists, sorted.
func (d *viewDir) entries() ([]fuse.DirEntry, error) {
	all, err := d.src.list()
	if err != nil {
		return nil, err
	}
	items := make(map[string]viewItem, len(all))
	names := make([]string, len(all))
	for i, it := range all {
		items[it.name], names[i] = it, it.name
	}
	roles := view.Dir(func(name string) (view.Role, bool) {
		it, ok := items[name]
		if !ok {
			return view.Absent, false
		}
		return d.role(it), true
	})
	var index *viewFile
	if _, ok := items[view.TorchIndex]; ok {
		if index, err = d.index(roles); err != nil {
			return nil, err
		}
	}
	var list []fuse.DirEntry
	shown, originals := roles.Names(names)
	for i, name := range shown {
		it := items[originals[i]]
		mode := it.mode & syscall.S_IFMT
		var k key
		switch {
		case index != nil && name == view.TorchIndex:
			name, k = view.Index, index.key
		case name == it.name:
			_, k = d.src.itself(it)
		default:
			k = d.src.key(it)
		}
		list = append(list, fuse.DirEntry{Name: name, Mode: mode, Ino: k.stable(mode).Ino})
	}
	slices.SortFunc(list, func(a, b fuse.DirEntry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// commitView is a directory of a commit as a view's source.
type commitView struct {
	m     *Mount
	snap  *snapshot
	tree  oid.ID
	place key // as in treeNode
	files key // of this directory in its tree, treeNode.key: what appears as itself is the very inode that it is in commits/
}

// enterCommitView makes the view of a commit known under a directory; place is its key.
func (b *base) enterCommitView(ctx context.Context, snap *snapshot, place key, ttl time.Duration, out *fuse.EntryOut) *fusefs.Inode {
	place = place.child(string(snap.id[:]))
	n := &viewDir{b.m.readOnly(), &commitView{b.m, snap, snap.tree, place, treeKey(snap.tree)}}
	return b.enter(ctx, n, place, syscall.S_IFDIR, ttl, out)
}

func (c *commitView) attr(out *fuse.Attr) { c.m.owned(out, syscall.S_IFDIR|0o555, 0, c.snap.time) }
func (c *commitView) ttl() time.Duration  { return forever }

func (c *commitView) item(e object.Entry) viewItem {
	it := viewItem{name: e.Name, mode: typeBits(e.Kind) | e.Mode, mtime: e.MTime, from: e}
	if e.Kind == object.File {
		it.manifest = e.ID
	}
	return it
}

func (c *commitView) list() ([]viewItem, error) {
	t, err := c.m.repo.Objects.Tree(c.m.base, c.tree)
	if err != nil {
		return nil, err
	}
	out := make([]viewItem, len(t.Entries))
	for i, e := range t.Entries {
		out[i] = c.item(e)
	}
	return out, nil
}

func (c *commitView) find(name string) (viewItem, bool, error) {
	t, err := c.m.repo.Objects.Tree(c.m.base, c.tree)
	if err != nil {
		return viewItem{}, false, err
	}
	e, ok := t.Find(name)
	return c.item(e), ok, nil
}

func (c *commitView) itself(it viewItem) (child, key) {
	e := it.from.(object.Entry)
	if e.Kind == object.Dir {
		below := &commitView{c.m, c.snap, e.ID, c.place.child(e.Name), c.files.child(e.Name)}
		return &viewDir{c.m.readOnly(), below}, below.place
	}
	n := treeNode{readOnly: c.m.readOnly(), snap: c.snap, key: c.files}
	return n.node(e)
}

func (c *commitView) key(it viewItem) key {
	k := c.files.child(it.name)
	return newKey("view", string(k[:]))
}
