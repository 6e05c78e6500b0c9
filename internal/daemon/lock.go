package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

const lockName = "lock"

// Holder is who holds the lock, as it wrote itself. It is for messages: only the flock counts.
type Holder struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Daemon  bool      `json:"daemon,omitempty"`
	Started time.Time `json:"started"`
}

// String names the holder in a message.
func (h Holder) String() string {
	switch {
	case h.PID == 0:
		return "another process"
	case h.Daemon:
		return fmt.Sprintf("the daemon, process %d", h.PID)
	}
	return fmt.Sprintf("process %d (%s)", h.PID, h.Command)
}

// errLocked is TryLock's answer while another process holds the lock.
var errLocked = fmt.Errorf("locked by another process: %w", errs.Busy)

// Lock is a held lock.
type Lock struct {
	f      *os.File
	shared bool
}

// TryLock takes the lock of the repository dir for writing, without waiting. While another process holds it, the error is
// errLocked and holder says who. A repository that this process cannot write to is errs.ReadOnly.
func TryLock(dir, command string, daemon bool) (*Lock, Holder, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			return nil, Holder{}, fmt.Errorf("repository %s cannot be written to (%w): %w", dir, errnoOf(err), errs.ReadOnly)
		}
		return nil, Holder{}, fmt.Errorf("lock the repository: %w", err)
	}
	if err := flock(f, unix.LOCK_EX); err != nil {
		h := readHolder(f)
		f.Close()
		return nil, h, err
	}
	l := &Lock{f: f}
	b, err := json.Marshal(Holder{PID: os.Getpid(), Command: command, Daemon: daemon, Started: time.Now().UTC().Truncate(time.Millisecond)})
	if err == nil {
		err = errors.Join(f.Truncate(0), writeAt0(f, append(b, '\n')))
	}
	if err != nil && !errors.Is(err, unix.ENOSPC) { // a full disk must not keep one from freeing space; the flock is what counts
		l.Unlock()
		return nil, Holder{}, fmt.Errorf("lock the repository: %w", err)
	}
	return l, Holder{}, nil
}

// tryShared takes the lock for reading, in a repository that cannot be written to: writers of other users wait meanwhile.
// A nil Lock without error means that there is no lock file: nobody can be writing.
func tryShared(dir string) (*Lock, Holder, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, Holder{}, nil
	}
	if err != nil {
		return nil, Holder{}, fmt.Errorf("lock the repository: %w", err)
	}
	if err := flock(f, unix.LOCK_SH); err != nil {
		h := readHolder(f)
		f.Close()
		return nil, h, err
	}
	return &Lock{f: f, shared: true}, Holder{}, nil
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		}
		return fmt.Errorf("lock the repository: flock: %w", err)
	}
}

func writeAt0(f *os.File, b []byte) error {
	_, err := f.WriteAt(b, 0)
	return err
}

// readHolder reads who wrote itself in; the zero Holder if that cannot be read.
func readHolder(f *os.File) (h Holder) {
	b, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, 0, 1<<16), 1<<16))
	if err != nil || json.Unmarshal(b, &h) != nil {
		return Holder{}
	}
	return h
}

// Unlock lets go. A nil Lock is unlocked.
func (l *Lock) Unlock() {
	if l == nil {
		return
	}
	if !l.shared {
		_ = l.f.Truncate(0)
	}
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN) // at once, even if a child that is being forked still has a copy of the descriptor
	_ = l.f.Close()
}

// locked reports whether anybody holds the lock now.
func locked(dir string) bool {
	l, _, err := tryShared(dir)
	l.Unlock()
	return errors.Is(err, errLocked)
}

// errnoOf returns the bare error number in err, which says what a path does not.
func errnoOf(err error) error {
	var no unix.Errno
	if errors.As(err, &no) {
		return no
	}
	return err
}
