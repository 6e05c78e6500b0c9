package fs

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// version is a state of a path that one or more commits in a row share: those from the one that brought it on.
type version struct {
	commit oid.ID // the oldest of them
	root   oid.ID // its tree
	time   time.Time
	entry  object.Entry // what is at the path; of the root directory, only Kind and ID
}

// same says whether two entries are one version: the same content, or the same link.
func same(a, b object.Entry) bool { return a.Kind == b.Kind && a.ID == b.ID && a.Target == b.Target }

// versionName is the name of the i-th version (0 is the newest): it sorts newest first.
func versionName(i int, v version) string { return fmt.Sprintf("%04d-%s", i+1, v.commit.Short()) }

// below returns the versions of the child called name, given those of its directory, newest first.
func below(dirs []version, name string, tree func(oid.ID) (*object.Tree, error)) ([]version, error) {
	var out []version
	gap := true // the path is absent in the next newer version
	for _, d := range dirs {
		if d.entry.Kind != object.Dir {
			gap = true
			continue
		}
		t, err := tree(d.entry.ID)
		if err != nil {
			return nil, err
		}
		e, ok := t.Find(name)
		if !ok {
			gap = true
			continue
		}
		v := version{d.commit, d.root, d.time, e}
		if last := len(out) - 1; !gap && same(out[last].entry, e) {
			out[last] = v // an older commit has it too
		} else {
			out = append(out, v)
		}
		gap = false
	}
	return out, nil
}

// historyNode is history/<branch>/<path>/: the versions of the file at the path, and what was ever below it as a directory.
type historyNode struct {
	readOnly
	up     *historyNode // nil for the root directory of the branch
	branch string
	name   string
	key    key

	mu       sync.Mutex
	head     oid.ID // versions are those of this head
	versions []version
}

func newHistoryNode(m *Mount, branch string) *historyNode {
	return &historyNode{readOnly: m.readOnly(), branch: branch, key: newKey(historyName, branch)}
}

// path returns the path in the tree, "" for the root.
func (h *historyNode) path() string {
	if h.up == nil {
		return ""
	}
	return path.Join(h.up.path(), h.name)
}

// load returns the versions of the path as of the branch's present head.
func (h *historyNode) load() ([]version, error) {
	r, err := h.m.repo.Refs.Branch(h.branch)
	if err != nil {
		return nil, err
	}
	return h.at(r.ID)
}

func (h *historyNode) at(head oid.ID) ([]version, error) {
	h.mu.Lock()
	if h.head == head && h.versions != nil {
		defer h.mu.Unlock()
		return h.versions, nil
	}
	h.mu.Unlock()

	vs := []version{}
	var err error
	if h.up == nil {
		vs, err = h.m.history.roots(h.m, h.branch, head)
	} else {
		var dirs []version
		if dirs, err = h.up.at(head); err == nil {
			vs, err = below(dirs, h.name, func(id oid.ID) (*object.Tree, error) { return h.m.repo.Objects.Tree(h.m.base, id) })
		}
	}
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.head, h.versions = head, vs
	return vs, nil
}

// historyHeads keeps the root directory's versions of branches that were looked at.
type historyHeads struct {
	mu    sync.Mutex
	heads map[string]historyHead
}

type historyHead struct {
	head     oid.ID
	versions []version
}

func (hh *historyHeads) init() { hh.heads = map[string]historyHead{} }

// drop forgets branches that are no longer there.
func (hh *historyHeads) drop(there func(branch string) bool) {
	hh.mu.Lock()
	defer hh.mu.Unlock()
	for b := range hh.heads {
		if !there(b) {
			delete(hh.heads, b)
		}
	}
}

// roots walks the first parents of head. From the second call on for a branch, only what is new since is walked.
func (hh *historyHeads) roots(m *Mount, branch string, head oid.ID) ([]version, error) {
	hh.mu.Lock()
	known := hh.heads[branch]
	hh.mu.Unlock()
	if known.head == head && known.versions != nil {
		return known.versions, nil
	}
	vs, err := m.walkRoots(head, known)
	if err != nil {
		return nil, err
	}
	hh.mu.Lock()
	defer hh.mu.Unlock()
	hh.heads[branch] = historyHead{head, vs}
	return vs, nil
}

func (m *Mount) walkRoots(head oid.ID, known historyHead) ([]version, error) {
	vs := []version{}
	add := func(v version) {
		if last := len(vs) - 1; last >= 0 && same(vs[last].entry, v.entry) {
			vs[last] = v
		} else {
			vs = append(vs, v)
		}
	}
	for id, n := head, 0; !id.IsZero() && n < maxListed; n++ {
		if id == known.head {
			for _, v := range known.versions {
				add(v)
			}
			break
		}
		c, err := m.repo.Objects.Commit(m.base, id)
		if err != nil {
			return nil, err
		}
		add(version{id, c.Tree, c.Time, object.Entry{Kind: object.Dir, ID: c.Tree}})
		if len(c.Parents) == 0 {
			break
		}
		id = c.Parents[0]
	}
	return vs, nil
}

// attr says when the newest version was made.
func (h *historyNode) attr(out *fuse.Attr) {
	var at time.Time
	if vs, err := h.load(); err == nil && len(vs) > 0 {
		at = vs[0].time
	}
	h.m.owned(out, syscall.S_IFDIR|0o555, 0, at)
}

func (h *historyNode) ttl() time.Duration { return brief }

// Getattr serves stat(2).
func (h *historyNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(h, out)
}

// files returns those versions that are files or links, newest first.
func files(vs []version) []version {
	return slices.DeleteFunc(slices.Clone(vs), func(v version) bool { return v.entry.Kind == object.Dir })
}

// Lookup serves path lookup: a version of the file, or a name that was ever in the directory.
func (h *historyNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	vs, err := h.load()
	if err != nil {
		return nil, h.fail("lookup", err)
	}
	for i, v := range files(vs) {
		if versionName(i, v) == name {
			c, k := h.version(v)
			return h.enter(ctx, c, k, typeBits(v.entry.Kind), brief, out), 0
		}
	}
	down := &historyNode{readOnly: h.m.readOnly(), up: h, branch: h.branch, name: name, key: h.key.child(name)}
	if vs, err = down.load(); err != nil {
		return nil, h.fail("lookup", err)
	}
	if len(vs) == 0 {
		return nil, syscall.ENOENT
	}
	return h.enter(ctx, down, down.key, syscall.S_IFDIR, brief, out), 0
}

// version makes the node of a version: the very inode that the file has in its commit.
func (h *historyNode) version(v version) (child, key) {
	k := treeKey(v.root).path(h.path())
	if v.entry.Kind == object.Symlink {
		return &linkNode{readOnly: h.m.readOnly(), target: v.entry.Target, mtime: v.entry.MTime}, k
	}
	return newFile(h.m, v.entry), k
}

// OpendirHandle serves opendir(3): versions newest first, then names.
func (h *historyNode) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return plainDir{h.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		vs, err := h.load()
		if err != nil {
			return nil, h.fail("readdir", err)
		}
		var list []fuse.DirEntry
		taken := map[string]bool{}
		for i, v := range files(vs) {
			_, k := h.version(v)
			mode := typeBits(v.entry.Kind)
			list = append(list, fuse.DirEntry{Name: versionName(i, v), Mode: mode, Ino: k.stable(mode).Ino})
			taken[versionName(i, v)] = true
		}
		names, err := h.names(vs)
		if err != nil {
			return nil, h.fail("readdir", err)
		}
		for _, name := range names {
			if !taken[name] {
				list = append(list, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: h.key.child(name).stable(syscall.S_IFDIR).Ino})
			}
		}
		return list, 0
	})}, 0, 0
}

// names returns every name that was ever in the directory, sorted. Trees that versions share are read once.
func (h *historyNode) names(vs []version) ([]string, error) {
	seen, names := map[oid.ID]bool{}, map[string]bool{}
	for _, v := range vs {
		if v.entry.Kind != object.Dir || seen[v.entry.ID] {
			continue
		}
		seen[v.entry.ID] = true
		t, err := h.m.repo.Objects.Tree(h.m.base, v.entry.ID)
		if err != nil {
			return nil, err
		}
		for _, e := range t.Entries {
			names[e.Name] = true
		}
	}
	out := make([]string, 0, len(names))
	for n := range names {
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

func (h *historyNode) fail(op string, err error) syscall.Errno {
	if errors.Is(err, errs.NotFound) { // the branch was deleted
		return syscall.ENOENT
	}
	return h.m.fail(op, path.Join(historyName, h.branch, h.path()), err)
}
