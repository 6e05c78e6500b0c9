package worktree

import (
	"slices"
	"sort"
)

// inoRange says that the inode numbers first … first+n-1 are those of the entries, in order, of a directory that is not in memory.
type inoRange struct {
	first Ino
	n     int
	dir   Ino
}

// rangeTable finds unloaded directories by the inode numbers of what was in them, so that a number stays good while its node is not in memory.
type rangeTable struct {
	byDir  map[Ino]inoRange
	sorted []inoRange
}

func (r *rangeTable) add(x inoRange) {
	if r.byDir == nil {
		r.byDir = map[Ino]inoRange{}
	}
	r.byDir[x.dir] = x
	i, _ := slices.BinarySearchFunc(r.sorted, x.first, func(y inoRange, first Ino) int { return int(int64(y.first) - int64(first)) })
	r.sorted = slices.Insert(r.sorted, i, x)
}

// find returns the directory that ino was in.
func (r *rangeTable) find(ino Ino) (Ino, bool) {
	i := sort.Search(len(r.sorted), func(i int) bool { return r.sorted[i].first > ino }) - 1
	if i < 0 || ino >= r.sorted[i].first+Ino(r.sorted[i].n) {
		return 0, false
	}
	return r.sorted[i].dir, true
}

// reattach returns the first number that the entries of dir had before, 0 if there is none.
func (r *rangeTable) reattach(dir Ino, n int) Ino {
	x, ok := r.byDir[dir]
	if !ok || x.n != n {
		return 0
	}
	delete(r.byDir, dir)
	i := sort.Search(len(r.sorted), func(i int) bool { return r.sorted[i].first >= x.first })
	r.sorted = slices.Delete(r.sorted, i, i+1)
	return x.first
}

// Forget tells that the kernel no longer knows ino; its memory may be freed if the commit can bring it back. The inode number stays good: with
// several mounts of one tree, another may know it still.
func (t *Tree) Forget(ino Ino) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.inodes[ino]
	if n == nil || !n.isDir() {
		return
	}
	if n.is(flagRemoved) {
		delete(t.inodes, ino)
		t.removed = slices.DeleteFunc(t.removed, func(i Ino) bool { return i == ino })
		return
	}
	if n.is(flagLoaded) && t.pristine(n) {
		t.unload(n)
	}
}

// pristine says whether the commit can bring back all that is below d, inode numbers included.
func (t *Tree) pristine(d *node) bool {
	if d.is(flagChanged|flagShaped) || d.id.IsZero() || len(d.children) == 0 {
		return false
	}
	for _, n := range d.children {
		if n.is(flagTouched) || n.nlink > 1 || n.x != nil && n.x.target == "" {
			return false
		}
		if n.isDir() && (n.is(flagChanged) || n.is(flagLoaded) && len(n.children) > 0 && !t.pristine(n)) {
			return false
		}
	}
	return true
}

// unload takes what is below d out of memory.
func (t *Tree) unload(d *node) {
	first := Ino(0)
	for _, n := range d.children {
		if n.isDir() && n.is(flagLoaded) && len(n.children) > 0 {
			t.unload(n)
		}
		if first == 0 || n.ino < first {
			first = n.ino
		}
		delete(t.inodes, n.ino)
	}
	t.ranges.add(inoRange{first, len(d.children), d.ino})
	d.children = nil
	d.flags &^= flagLoaded
}
