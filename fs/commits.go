package fs

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/errs"
	"coral/internal/oid"
)

// maxListed bounds how many commits commits/ lists; lookup finds any.
const maxListed = 100_000

// commitsNode is commits/.
type commitsNode struct{ readOnly }

func (c *commitsNode) attr(out *fuse.Attr) {
	c.m.owned(out, syscall.S_IFDIR|0o555, 0, c.m.changedAt())
}
func (c *commitsNode) ttl() time.Duration { return brief }

// Getattr serves stat(2).
func (c *commitsNode) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(c, out)
}

// Lookup serves path lookup: a full id, a unique prefix of one, or any revision that is one path component (main~2, a
// tag). What names a commit for good is kept by the kernel; the rest may move.
func (c *commitsNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	id, ttl, err := c.m.findCommit(name)
	if err != nil {
		if errors.Is(err, errs.Invalid) { // not a revision, or ambiguous: as a name of a directory it is not there
			err = errs.NotFound
		}
		return nil, c.m.fail("lookup", commitsName+"/"+name, err)
	}
	snap, err := c.m.snapshot(id)
	if err != nil {
		return nil, c.m.fail("lookup", commitsName+"/"+name, err)
	}
	return c.enterCommit(ctx, snap, newKey(commitsName, name), ttl, out), 0
}

// findCommit resolves a name in commits/ and says for how long it holds.
func (m *Mount) findCommit(name string) (oid.ID, time.Duration, error) {
	if id, err := oid.Parse(name); err == nil {
		return id, forever, nil
	}
	if id, ok := m.commits.short(name); ok {
		return id, forever, nil
	}
	id, err := m.repo.Resolve(m.base, name)
	return id, brief, err
}

// OpendirHandle serves opendir(3): commits reachable from refs, newest first.
func (c *commitsNode) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return plainDir{c.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		names, err := c.m.listCommits()
		if err != nil {
			return nil, c.m.fail("readdir", commitsName, err)
		}
		list := make([]fuse.DirEntry, len(names))
		for i, n := range names {
			k := newKey(commitsName, n.name).child(string(n.id[:]))
			list[i] = fuse.DirEntry{Name: n.name, Mode: syscall.S_IFDIR, Ino: k.stable(syscall.S_IFDIR).Ino}
		}
		return list, 0
	})}, 0, 0
}

// commitList is the list of commits/ as it was at a generation of the refs.
type commitList struct {
	mu         sync.Mutex
	valid      bool
	generation uint64
	names      []commitName
	byName     map[string]oid.ID
}

type commitName struct {
	name string // 12 hex digits, or 64 if they are not enough
	id   oid.ID
}

// short finds a commit by the name it was last listed with.
func (l *commitList) short(name string) (oid.ID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, ok := l.byName[name]
	return id, ok
}

// listCommits returns the names in commits/. It walks the history only if a ref moved since it last did.
func (m *Mount) listCommits() ([]commitName, error) {
	l := &m.commits
	generation := m.repo.Refs.Generation()
	l.mu.Lock()
	if l.valid && l.generation == generation {
		defer l.mu.Unlock()
		return l.names, nil
	}
	l.mu.Unlock()

	ids, err := m.walkCommits()
	if err != nil {
		return nil, err
	}
	names := make([]commitName, len(ids))
	byName := make(map[string]oid.ID, len(ids))
	for i, id := range ids {
		name := id.Short()
		if _, taken := byName[name]; taken {
			name = id.String()
		}
		names[i], byName[name] = commitName{name, id}, id
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid, l.generation, l.names, l.byName = true, generation, names, byName
	return names, nil
}

// walkCommits returns the commits that refs reach, newest first, maxListed at most. A commit comes before its parents
// whatever its clock said. A commit that cannot be read ends its line; fsck says more.
func (m *Mount) walkCommits() ([]oid.ID, error) {
	tips, err := m.tips()
	if err != nil {
		return nil, err
	}
	seen := map[oid.ID]bool{}
	var queue commitHeap
	push := func(id oid.ID, child int64) {
		if id.IsZero() || seen[id] {
			return
		}
		seen[id] = true
		c, err := m.repo.Graph.Node(m.base, id)
		if err != nil {
			m.fail("readdir", commitsName+"/"+id.Short(), err)
			return
		}
		heap.Push(&queue, queuedCommit{id, min(c.Time, child), c.Parents})
	}
	for _, id := range tips {
		push(id, math.MaxInt64)
	}
	var out []oid.ID
	for queue.Len() > 0 && len(out) < maxListed {
		c := heap.Pop(&queue).(queuedCommit)
		out = append(out, c.id)
		for _, p := range c.parents {
			push(p, c.at)
		}
	}
	return out, nil
}

// tips returns what branches, tags and HEAD point to.
func (m *Mount) tips() ([]oid.ID, error) {
	branches, err := m.repo.Refs.Branches()
	if err != nil {
		return nil, err
	}
	tags, err := m.repo.Refs.Tags()
	if err != nil {
		return nil, err
	}
	head, err := m.repo.Refs.Head()
	if err != nil {
		return nil, err
	}
	ids := []oid.ID{head.Commit}
	for _, r := range append(branches, tags...) {
		ids = append(ids, r.ID)
	}
	return ids, nil
}

type queuedCommit struct {
	id      oid.ID
	at      int64 // ns
	parents []oid.ID
}

// commitHeap is a heap with the newest commit on top.
type commitHeap []queuedCommit

func (h commitHeap) Len() int           { return len(h) }
func (h commitHeap) Less(i, j int) bool { return h[i].at > h[j].at }
func (h commitHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *commitHeap) Push(x any)        { *h = append(*h, x.(queuedCommit)) }
func (h *commitHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
