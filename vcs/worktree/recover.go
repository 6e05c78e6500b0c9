package worktree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"coral/internal/errs"
)

// trashPrefix begins the names of directories under live/ whose branch was removed. No escaped branch begins with a dot.
const trashPrefix = ".trash-"

// recover replays all journals and sorts the spool.
func (s *Set) recover(ctx context.Context) error {
	if !s.opts.ReadOnly {
		if err := os.MkdirAll(s.liveDir(), 0o700); err != nil {
			return err
		}
	}
	dirs, err := os.ReadDir(s.liveDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	present := map[spoolID]bool{}
	other := s.spool.dropSpare
	if s.opts.ReadOnly {
		other = nil
	}
	if err := s.spool.list(func(id spoolID) { present[id] = true; s.spool.used(id) }, other); err != nil {
		return err
	}
	doomed := map[spoolID]bool{}
	for _, d := range dirs {
		path := filepath.Join(s.liveDir(), d.Name())
		switch {
		case !d.IsDir():
		case strings.HasPrefix(d.Name(), trashPrefix):
			if !s.opts.ReadOnly {
				if err := errJoin(syncDir(s.liveDir()), s.emptyTrashDir(path)); err != nil {
					return err
				}
			}
		default:
			if err := s.openTree(ctx, path, doomed); err != nil {
				return err
			}
		}
	}
	return s.sortSpool(present, doomed)
}

// openTree replays one branch's journal and enters the tree. That it cannot be replayed is not an error: the tree is entered as broken.
func (s *Set) openTree(ctx context.Context, dir string, doomed map[spoolID]bool) error {
	path, err := s.finishSwitch(dir)
	if err != nil {
		return err
	}
	if !s.opts.ReadOnly {
		if err := os.Remove(path + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	t, valid, records, err := s.replayFile(ctx, path, doomed)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a crash before the first journal was there
		if !s.opts.ReadOnly {
			os.Remove(dir) // only if it is empty
		}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		branch := filepath.Base(dir)
		if t != nil {
			branch = t.branch
		}
		s.opts.Logger.Error("live tree cannot be replayed", "path", path, "err", err)
		s.broken[branch] = err
		return nil
	}
	if s.trees[t.branch] != nil {
		return fmt.Errorf("%s: there is another live tree of %s: %w", dir, t.branch, errs.Corrupt)
	}
	if !s.opts.ReadOnly {
		if dir, err = s.finishRename(dir, t.branch); err != nil {
			return err
		}
		if t.j, err = s.openJournal(filepath.Join(dir, "journal"), valid, records); err != nil {
			return err
		}
	}
	s.trees[t.branch] = t
	return nil
}

// finishRename moves a branch's directory to where its name says that it is: a rename was interrupted between header and directory.
func (s *Set) finishRename(dir, branch string) (string, error) {
	want := s.branchDir(branch)
	if filepath.Clean(dir) == filepath.Clean(want) {
		return dir, nil
	}
	if _, err := os.Lstat(want); err == nil {
		return "", fmt.Errorf("%s is the live tree of %s, which has another: %w", dir, branch, errs.Corrupt)
	}
	if err := os.Rename(dir, want); err != nil {
		return "", err
	}
	return want, syncDir(s.liveDir())
}

// openJournal opens a replayed journal for appending, its torn tail cut off. A tail that holds whole records is kept beside it: that is more than a write
// cut short (a power failure may leave it, and so does damage in the middle).
func (s *Set) openJournal(path string, valid int64, records int) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && st.Size() > valid {
		s.opts.Logger.Warn("journal has a torn tail", "path", path, "valid", valid, "size", st.Size())
		if holdsRecords(io.NewSectionReader(f, valid, st.Size()-valid)) {
			err = saveTail(f, valid, st.Size(), fmt.Sprintf("%s.torn-%d-%d", path, clock(), valid))
		}
		if err == nil {
			err = f.Truncate(valid)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{path: path, f: f, size: valid, records: records}
	j.seq.Store(uint64(records) + 1) // none is known to be synced: they may be from a process that was killed
	return j, nil
}

func saveTail(f *os.File, from, to int64, name string) error {
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(f, from, to-from))
	if err == nil {
		err = out.Sync()
	}
	return errJoin(err, out.Close())
}

// emptyTrashDir removes the spool files of a removed branch and then its directory.
func (s *Set) emptyTrashDir(dir string) error {
	ids := map[spoolID]bool{}
	f, err := os.Open(filepath.Join(dir, "journal"))
	if err == nil {
		_, _, err = readJournal(f, func(header) error { return nil }, func(r *record, _ int64) error {
			if r.spool != 0 {
				ids[r.spool] = true
			}
			return nil
		})
		f.Close()
	}
	switch {
	case errors.Is(err, errs.Corrupt), errors.Is(err, errs.Unsupported): // its spool files go to lost+found
		s.opts.Logger.Warn("journal of a removed live tree", "path", dir, "err", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("removed live tree %s: %w", dir, err)
	}
	for id := range ids {
		if err := s.spool.remove(id); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// sortSpool checks the spool files of all trees against what the disk has, queues dirty files, removes what was deliberately given up and lists the rest.
func (s *Set) sortSpool(present, doomed map[spoolID]bool) error {
	rebooted, err := s.spool.rebooted()
	if err != nil {
		return err
	}
	owned := map[spoolID]bool{}
	for _, t := range s.all() {
		t.mu.Lock()
		for _, n := range t.inodes {
			id := n.spoolID()
			if id == 0 {
				continue
			}
			if rebooted && !n.x.dirty {
				err = s.distrust(n, doomed)
			} else {
				owned[id] = true
				err = s.recoverFile(t, n, rebooted)
			}
			if err != nil {
				t.mu.Unlock()
				return err
			}
		}
		t.mu.Unlock()
	}
	if len(s.broken) > 0 {
		return nil // their spool files would look like nobody's
	}
	if !s.opts.ReadOnly && len(doomed) > 0 { // as ever: a spool file goes after the record that allows it is durable
		for _, t := range s.all() {
			if err := t.sync(); err != nil {
				return err
			}
		}
	}
	for id := range present {
		if owned[id] {
			continue
		}
		if err := s.recoverOrphan(id, doomed[id]); err != nil {
			return err
		}
	}
	aside, err := s.spool.aside()
	if err != nil {
		return err
	}
	s.lost = append(s.lost, aside...)
	slices.Sort(s.lost)
	if s.opts.ReadOnly {
		return nil
	}
	return s.spool.markBoot()
}

// distrust moves a file from B to A after a reboot. That it is ingested is durable, but nobody synced the copy: a power cut may have left an older
// state of it, zeros or nothing, with whatever size and times. A copy that looks as it should, or is empty, is removed. Another is put aside and listed: it
// may have been written to since, though nothing of that was acknowledged as durable, since then the file would be dirty. Either way it no longer has the name
// that the journal knows, so that the next start does not take it for newer content. t.mu is held.
func (s *Set) distrust(n *node, doomed map[spoolID]bool) error {
	x := n.x
	st, err := s.spool.stat(x.spool)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case st.Size == 0 || statOf(&st) == spoolStat{size: n.size, mtime: n.mtime, ctime: x.ctimeBase}:
		doomed[x.spool] = true
	case !s.opts.ReadOnly:
		if err := s.spool.putAside(x.spool); err != nil {
			return err
		}
	}
	x.spool, x.blocks = 0, 0
	n.slim()
	return nil
}

// takeBack moves a file from C to A whose spool file a power cut took: the record that it is dirty reached the disk before the name of its copy did. Nothing written to
// the copy was acknowledged as durable, since that syncs the name first; so what was stored before is what the file has. It reports false for a file
// that was never stored. t.mu is held.
func (s *Set) takeBack(t *Tree, n *node) bool {
	if n.id.IsZero() {
		return false
	}
	m, err := s.deps.Manifest(context.Background(), n.id)
	if err != nil {
		return false
	}
	x := n.x
	if t.j != nil { // else the next start, in the same boot, would miss the spool file
		r := &record{kind: recIngested, time: clock(), path: n.path(), spool: x.spool, id: n.id, stat: spoolStat{size: m.Size, mtime: n.mtime}}
		if err := t.log(r); err != nil {
			return false
		}
	}
	s.opts.Logger.Warn("unsynced changes of a file were lost in a power cut", "path", t.branch+":"+n.path())
	n.size, x.dirty = m.Size, false
	x.spool, x.blocks = 0, 0
	n.markEntries()
	n.slim()
	return true
}

// recoverFile compares a file with its spool file. t.mu is held.
func (s *Set) recoverFile(t *Tree, n *node, rebooted bool) error {
	x := n.x
	st, err := s.spool.stat(x.spool)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !x.dirty: // dropped: the manifest suffices
		x.spool, x.blocks = 0, 0
		n.slim()
		return nil
	case errors.Is(err, fs.ErrNotExist) && rebooted && s.takeBack(t, n):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		s.opts.Logger.Error("spool file of a dirty file is gone", "path", t.branch+":"+n.path(), "spool", x.spool.String())
		x.lost = true
		return nil
	case err != nil:
		return err
	}
	want := spoolStat{size: n.size, mtime: n.mtime, ctime: x.ctimeBase}
	if !x.dirty && statOf(&st) == want {
		if t.j != nil {
			x.seq = t.j.seq.Load()
		}
		x.blocks = st.Blocks
		t.enterClean(n)
		return nil
	}
	if !x.dirty {
		x.dirty = true // written to after the last record that we have: the spool file is newer
		n.markEntries()
	}
	n.learn(&st)
	x.gen++
	if !s.opts.ReadOnly {
		s.queue.add(t, n, true)
	}
	return nil
}

// recoverOrphan removes a spool file that no tree has if a record gave it up or nothing is in it, and otherwise lists it.
func (s *Set) recoverOrphan(id spoolID, doomed bool) error {
	st, err := s.spool.stat(id)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if !doomed && st.Size > 0 {
		s.opts.Logger.Warn("spool file that no journal knows is kept", "path", s.spool.path(id), "size", st.Size)
		s.lost = append(s.lost, s.spool.path(id))
		return nil
	}
	if s.opts.ReadOnly {
		return nil
	}
	if !doomed {
		s.opts.Logger.Info("empty spool file that no journal knows is removed", "path", s.spool.path(id))
	}
	return s.spool.remove(id)
}
