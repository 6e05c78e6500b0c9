package worktree

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// nextPrefix begins the names of journals that a switch is about to rename over the journal: "journal.next-<mark>-<size>", where size is the length of the journal
// that they go on from, and mark 32 hex digits that no other switch has. It is complete and durable under this name before the switch is committed.
const nextPrefix = "journal.next-"

// nextJournal is the journal that a switch leads to, before it is renamed.
type nextJournal struct {
	f    *os.File
	size int64
	mark string
	keep bool // it stays on the disk: the next start renames it
}

// drop closes and removes it.
func (n *nextJournal) drop() {
	n.f.Close()
	if !n.keep {
		os.Remove(n.f.Name())
	}
}

// writeNext writes a copy of the journal with more records behind, durably. compactMu is held; nothing else takes away from the file.
func (t *Tree) writeNext(body []byte) (n *nextJournal, err error) {
	t.mu.RLock()
	old, size, dir := t.j.f, t.j.size, filepath.Dir(t.j.path)
	t.mu.RUnlock()
	if err := t.set.spool.syncDir(); err != nil {
		return nil, err
	}
	var mark [16]byte
	rand.Read(mark[:]) // never fails
	n = &nextJournal{size: size + int64(len(body)), mark: hex.EncodeToString(mark[:])}
	name := filepath.Join(dir, nextPrefix+n.mark+"-"+strconv.FormatInt(size, 10))
	if n.f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("write journal: %w", err)
	}
	_, err = io.Copy(n.f, io.NewSectionReader(old, 0, size))
	if err == nil {
		_, err = n.f.WriteAt(body, size)
	}
	if err == nil {
		err = n.f.Sync()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		n.drop()
		return nil, fmt.Errorf("write journal: %w", err)
	}
	return n, nil
}

// finishSwitch looks in a branch's directory for a switch that was interrupted after its commit, finishes it, and returns the path of the journal that counts. What
// was not committed, or leads on from a journal that has grown since (an older program does not know of it), is removed.
func (s *Set) finishSwitch(dir string) (path string, err error) {
	path = filepath.Join(dir, "journal")
	list, err := os.ReadDir(dir)
	if err != nil {
		return path, err
	}
	for _, e := range list {
		mark, ok := strings.CutPrefix(e.Name(), nextPrefix)
		if !ok {
			continue
		}
		next := filepath.Join(dir, e.Name())
		mark, size, _ := strings.Cut(mark, "-")
		done, err := s.switched(mark, size, path)
		switch {
		case err != nil:
			return path, fmt.Errorf("%s: %w", next, err)
		case s.opts.ReadOnly && done:
			return next, nil
		case s.opts.ReadOnly:
		case done:
			s.opts.Logger.Info("finished the switch of a live tree", "path", path)
			if err := errJoin(os.Rename(next, path), syncDir(dir)); err != nil {
				return path, err
			}
		default:
			if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return path, err
			}
		}
	}
	return path, nil
}

// switched says whether a switch was committed and the journal at path is still what it leads on from.
func (s *Set) switched(mark, size, path string) (bool, error) {
	if s.opts.Switched == nil {
		return false, nil
	}
	st, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if strconv.FormatInt(st.Size(), 10) != size {
		return false, nil
	}
	return s.opts.Switched(mark)
}
