package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	logMax  = 10 << 20 // of daemon.log; then it becomes daemon.log.1, whose predecessor goes
	ringMax = 64 << 10 // of recent lines kept for .coral/log
)

// LogPath is where the daemon of the repository dir logs.
func LogPath(dir string) string { return filepath.Join(dir, "log", "daemon.log") }

// logWriter is the daemon's log: a file that is turned over, the recent lines, and a copy to stderr in the foreground.
// Each Write is whole lines (slog does so). It is safe for concurrent use. A log that cannot be written never stops work.
type logWriter struct {
	path   string
	copyTo io.Writer // nil: none
	stdio  bool      // 1 and 2 point at the file and follow it, so that a crash of the runtime is in it too

	mu   sync.Mutex
	f    *os.File // nil if it cannot be opened
	size int64
	ring []byte
}

func openLog(dir string, copyTo io.Writer, stdio bool) (*logWriter, error) {
	w := &logWriter{path: LogPath(dir), copyTo: copyTo, stdio: stdio}
	if err := os.MkdirAll(filepath.Dir(w.path), 0o755); err != nil {
		return w, fmt.Errorf("open the log: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w, w.open()
}

// open opens the file for appending. mu is held.
func (w *logWriter) open() error {
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		w.f = nil
		return fmt.Errorf("open the log: %w", err)
	}
	w.f, w.size = f, 0
	if fi, err := f.Stat(); err == nil {
		w.size = fi.Size()
	}
	if w.stdio {
		_ = unix.Dup3(int(f.Fd()), 1, 0)
		_ = unix.Dup3(int(f.Fd()), 2, 0)
	}
	return nil
}

// Write implements io.Writer. It reports success whatever becomes of the file.
func (w *logWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f != nil {
		if w.size+int64(len(p)) > logMax {
			_ = w.f.Close()
			_ = os.Rename(w.path, w.path+".1")
			_ = w.open()
		}
		if w.f != nil {
			n, _ := w.f.Write(p)
			w.size += int64(n)
		}
	}
	if w.copyTo != nil {
		_, _ = w.copyTo.Write(p)
	}
	w.ring = append(w.ring, p...)
	if over := len(w.ring) - ringMax; over > 0 {
		if i := bytes.IndexByte(w.ring[over:], '\n'); i >= 0 {
			over += i + 1
		}
		w.ring = append([]byte(nil), w.ring[over:]...)
	}
	return len(p), nil
}

// Lines returns the recent lines.
func (w *logWriter) Lines() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.ring)
}

func (w *logWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	err := w.f.Close()
	w.f = nil
	return err
}

// RecentLog returns the last n lines (0: all that is kept) of the daemon's log files, whether it runs or not.
func RecentLog(dir string, n int) ([]string, error) {
	var text []byte
	for _, path := range []string{LogPath(dir) + ".1", LogPath(dir)} {
		b, err := readTail(path, logMax+ringMax)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read the daemon's log: %w", err)
		}
		text = append(text, b...)
	}
	lines := []string{}
	for line := range bytes.Lines(text) {
		lines = append(lines, string(bytes.TrimRight(line, "\n")))
	}
	if n > 0 && len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return lines, nil
}

// readTail reads at most the last most bytes of a file.
func readTail(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	off := max(fi.Size()-most, 0)
	return io.ReadAll(io.LimitReader(io.NewSectionReader(f, off, most), most))
}
