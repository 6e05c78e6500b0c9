package fs

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"coral/internal/oid"
)

// notifier tells the kernel what changed. All notifications of the mount are sent by its one goroutine, which holds no lock
// that a request could want: the kernel may make it wait for requests in progress.
type notifier struct {
	m      *Mount
	refs   chan struct{} // a ref may have moved
	trees  chan struct{} // a live tree was changed from outside the mount: dirty says which
	forget chan struct{} // nodes wait to be forgotten
	known  refState      // what the kernel may believe; the goroutine's own

	mu    sync.Mutex // held while notifications are sent
	armed bool

	dirtyMu sync.Mutex
	dirty   map[string]bool // branches whose live trees were changed
	asked   uint64          // calls of LiveChanged
	told    uint64          // of these, the kernel knows
	telling chan struct{}   // closed and replaced when told grows
	again   map[string]bool // branches whose trees are sent once more; the goroutine's own

	aging, stales chan struct{} // young has its first file; there are staleNodes
	staleMu       sync.Mutex
	young         []youngWriter
	staleNodes    []*liveNode
}

// refState is where refs point to.
type refState struct {
	head     string
	branches map[string]oid.ID
	tags     map[string]oid.ID
}

func (n *notifier) init(m *Mount) {
	n.m = m
	n.refs = make(chan struct{}, 1)
	n.trees = make(chan struct{}, 1)
	n.dirty, n.again = map[string]bool{}, map[string]bool{}
	n.telling, n.aging, n.stales = make(chan struct{}), make(chan struct{}, 1), make(chan struct{}, 1)
	n.forget = make(chan struct{}, 1)
	n.armed = true
	m.changed.Store(time.Now().UnixNano())
}

// RefsChanged tells the mount that branches, tags, HEAD or a head commit changed; it never blocks.
func (m *Mount) RefsChanged() {
	m.changed.Store(time.Now().UnixNano())
	poke(m.notify.refs)
}

// changedAt is when refs last changed, as far as this mount knows: the time of directories that follow refs.
func (m *Mount) changedAt() time.Time { return time.Unix(0, m.changed.Load()) }

// LiveChanged tells the mount that the live tree of branch was changed by other means than this mount (coral add): the kernel must not show what it
// remembers. Call it after the change. It never blocks; see Told.
func (m *Mount) LiveChanged(branch string) {
	n := &m.notify
	n.dirtyMu.Lock()
	n.dirty[branch] = true
	n.asked++
	n.dirtyMu.Unlock()
	poke(n.trees)
}

// toldTime is the most that Told waits: the kernel takes a notification once the requests in the directory that it is about are answered.
const toldTime = time.Second

// Told waits until the kernel knows of every change that LiveChanged was called for before.
func (m *Mount) Told(ctx context.Context) {
	n := &m.notify
	n.dirtyMu.Lock()
	want := n.asked
	done := n.told >= want
	n.dirtyMu.Unlock()
	if done {
		return
	}
	deadline := time.NewTimer(toldTime)
	defer deadline.Stop()
	for {
		n.dirtyMu.Lock()
		done, telling := n.told >= want, n.telling
		n.dirtyMu.Unlock()
		if done {
			return
		}
		select {
		case <-telling:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		case <-m.ctx.Done():
			return
		}
	}
}

// SetShared tells the mount whether the repository has other mounts. While it has, the kernel keeps no name, size or time of a
// live tree: what is done in one mount is seen in all at once, not within a second. It never blocks.
func (m *Mount) SetShared(on bool) {
	if m.shared.Swap(on) == on || !on {
		return
	}
	for branch := range m.refState().branches {
		m.LiveChanged(branch)
	}
}

// sweep asks for liveNodes.sweep.
func (n *notifier) sweep() { poke(n.forget) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// run works until the mount ends.
func (n *notifier) run() {
	n.known = n.m.refState()
	later := laterTimer{Timer: time.NewTimer(brief)}
	defer later.Stop()
	for {
		select {
		case <-n.m.ctx.Done():
			return
		case <-n.forget:
			n.m.live.sweep()
		case <-n.trees:
			n.sendTrees()
			later.start()
		case <-n.stales:
			n.sendStale()
		case <-n.aging:
			later.start()
		case <-later.C:
			later.running = false
			for branch := range n.again {
				n.sendTree(n.liveRoot(branch))
			}
			clear(n.again)
			n.age()
		case <-n.refs:
			now := n.m.refState()
			was := n.known
			n.known = now
			n.m.history.drop(func(branch string) bool { _, ok := now.branches[branch]; return ok })
			n.send(changes(was, now))
		}
	}
}

// laterTimer fires brief after it was started first.
type laterTimer struct {
	*time.Timer
	running bool
}

func (t *laterTimer) start() {
	if !t.running {
		t.running = true
		t.Reset(brief)
	}
}

// sendTrees tells the kernel of the live trees that LiveChanged was called for. They are sent again a little later: a request that was under way when the
// tree changed may have been answered with what was before, after the notification.
func (n *notifier) sendTrees() {
	n.dirtyMu.Lock()
	dirty, asked := n.dirty, n.asked
	n.dirty = map[string]bool{}
	n.dirtyMu.Unlock()
	for branch := range dirty {
		n.sendTree(n.liveRoot(branch))
		n.again[branch] = true
	}
	n.dirtyMu.Lock()
	n.told = asked
	close(n.telling)
	n.telling = make(chan struct{})
	n.dirtyMu.Unlock()
}

// disarm returns when no notification is in progress, and none is sent until arm.
func (n *notifier) disarm() { n.set(false) }
func (n *notifier) arm()    { n.set(true) }

func (n *notifier) set(armed bool) {
	n.mu.Lock()
	n.armed = armed
	n.mu.Unlock()
}

// refState reads all refs. What cannot be read is empty: the kernel is told that all of it changed.
func (m *Mount) refState() refState {
	s := refState{branches: map[string]oid.ID{}, tags: map[string]oid.ID{}}
	if h, err := m.repo.Refs.Head(); err == nil {
		s.head = h.Branch
		if s.head == "" {
			s.head = h.Commit.String()
		}
	}
	if list, err := m.repo.Refs.Branches(); err == nil {
		for _, r := range list {
			s.branches[r.Name] = r.ID
		}
	}
	if list, err := m.repo.Refs.Tags(); err == nil {
		for _, r := range list {
			s.tags[r.Name] = r.ID
		}
	}
	return s
}

// changes returns the paths in the mount whose last component may lead elsewhere than it did.
func changes(was, now refState) []string {
	var paths []string
	if was.head != now.head {
		paths = append(paths, headName)
	}
	for _, name := range differing(was.branches, now.branches) {
		paths = append(paths, historyName+"/"+name)
		_, before := was.branches[name]
		_, after := now.branches[name]
		if before != after { // a commit does not touch the live tree
			paths = append(paths, above(branchesName+"/"+name)...)
		}
		paths = append(paths, commitsName+"/"+name)
	}
	for _, name := range differing(was.tags, now.tags) {
		paths = append(paths, above(tagsName+"/"+name)...)
		paths = append(paths, commitsName+"/"+name)
	}
	return paths
}

// withViews adds the paths of the views of what paths lead to.
func withViews(paths []string) []string {
	out := slices.Clone(paths)
	for _, p := range paths {
		if kind, _, _ := strings.Cut(p, "/"); slices.Contains(viewedNames, kind) {
			out = append(out, viewsName+"/"+safetensorsName+"/"+p)
		}
	}
	return out
}

// above returns path and, for a name of several components, the directories between, which come and go with it.
func above(path string) []string {
	paths := []string{path}
	for strings.Count(path, "/") > 1 {
		path = path[:strings.LastIndexByte(path, '/')]
		paths = append(paths, path)
	}
	return paths
}

// differing returns the names whose ids differ.
func differing(a, b map[string]oid.ID) []string {
	var out []string
	for name := range maps.Keys(a) {
		if id, ok := b[name]; !ok || id != a[name] {
			out = append(out, name)
		}
	}
	for name := range maps.Keys(b) {
		if _, ok := a[name]; !ok {
			out = append(out, name)
		}
	}
	return out
}

// liveRoot returns the root of a branch's live tree, nil if the kernel does not know it.
func (n *notifier) liveRoot(branch string) *fusefs.Inode {
	if !n.m.opts.At.IsZero() {
		if n.m.opts.At.Branch == branch {
			return n.m.root.EmbeddedInode()
		}
		return nil
	}
	dir, name := n.find(branchesName + "/" + branch)
	if dir == nil {
		return nil
	}
	return dir.GetChild(name)
}

// send invalidates the kernel's entries for paths, where it knows the directory.
func (n *notifier) send(paths []string) {
	if !n.m.opts.At.IsZero() {
		return // the root follows no ref
	}
	for _, p := range withViews(paths) {
		dir, name := n.find(p)
		if dir == nil {
			continue
		}
		n.notify(func() { dir.NotifyEntry(name) }) // ENOENT: the kernel does not have it
	}
}

// sendTree invalidates the attributes of every directory that the kernel knows in a live tree, and the names of what is no
// directory. Names of directories are left alone, as a process may be in one, unless they lead elsewhere by now.
func (n *notifier) sendTree(dir *fusefs.Inode) {
	if dir == nil || !dir.IsDir() {
		return
	}
	n.sendAttr(dir)
	for name, c := range dir.Children() {
		if c.IsDir() && n.stays(dir, name, c) {
			n.sendTree(c)
			continue
		}
		n.notify(func() { dir.NotifyEntry(name) })
		n.sendAttr(c) // for who has it open
	}
}

// sendAttr invalidates the attributes of an inode.
func (n *notifier) sendAttr(i *fusefs.Inode) {
	n.notify(func() { i.NotifyContent(-1, 0) }) // a negative offset: attributes only
}

// stays says whether a name in a live tree still leads to the directory that the kernel knows under it.
func (n *notifier) stays(dir *fusefs.Inode, name string, c *fusefs.Inode) bool {
	d, ok := dir.Operations().(*liveNode)
	if !ok {
		return true
	}
	a, err := d.tree.Lookup(n.m.base, d.ino, name)
	return err == nil && uint64(a.Ino) == c.StableAttr().Ino
}

// notify sends one notification unless the notifier is disarmed.
func (n *notifier) notify(send func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.armed {
		send()
	}
}

// find returns the node of the directory of path, nil if the kernel does not know it, and the last component.
func (n *notifier) find(path string) (*fusefs.Inode, string) {
	dir := n.m.root.EmbeddedInode()
	for {
		name, rest, deeper := strings.Cut(path, "/")
		if !deeper {
			return dir, name
		}
		if dir = dir.GetChild(name); dir == nil {
			return nil, ""
		}
		path = rest
	}
}
