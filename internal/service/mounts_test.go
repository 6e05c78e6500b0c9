package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"coral/fs"
	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs"
)

// fakeMounts is a Mounter without a kernel.
type fakeMounts struct {
	mu   sync.Mutex
	list map[string]*fakeMount
}

type fakeMount struct {
	mu    sync.Mutex
	refs  int
	live  []string // branches of LiveChanged
	alone bool     // the last SetShared was false
	busy  bool
	gone  chan struct{}
	once  sync.Once
	drops int
}

func newFakeMounts() *fakeMounts { return &fakeMounts{list: map[string]*fakeMount{}} }

func (f *fakeMounts) mount(_ context.Context, _ *vcs.Repo, _ fs.Controller, opts fs.Options) (Mounted, error) {
	if strings.HasSuffix(opts.Mountpoint, "bad") {
		return nil, fmt.Errorf("mount %s: %w", opts.Mountpoint, errs.Permission)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &fakeMount{gone: make(chan struct{})}
	f.list[opts.Mountpoint] = m
	return m, nil
}

func (f *fakeMounts) at(point string) *fakeMount {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list[point]
}

func (m *fakeMount) Settle(context.Context)   {}
func (m *fakeMount) RefsChanged()             { m.mu.Lock(); m.refs++; m.mu.Unlock() }
func (m *fakeMount) LiveChanged(b string)     { m.mu.Lock(); m.live = append(m.live, b); m.mu.Unlock() }
func (m *fakeMount) Told(context.Context)     {}
func (m *fakeMount) SetShared(on bool)        { m.mu.Lock(); m.alone = !on; m.mu.Unlock() }
func (m *fakeMount) Wait()                    { <-m.gone }
func (m *fakeMount) Passthrough() bool        { return false }
func (m *fakeMount) SetCacheSize(int64) error { return nil }
func (m *fakeMount) CacheSize() int64         { return 0 }
func (m *fakeMount) DropCache(context.Context) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drops++
	return 0, nil
}

func (m *fakeMount) Unmount(lazy bool) error {
	m.mu.Lock()
	busy := m.busy
	m.mu.Unlock()
	if busy && !lazy {
		return errs.Busy
	}
	m.once.Do(func() { close(m.gone) })
	return nil
}

func TestMounts(t *testing.T) {
	m := newFakeMounts()
	gone := make(chan int, 4)
	s := open(t, newRepo(t), Options{
		Mounter: m.mount, MountGone: func(_ string, left int) { gone <- left },
		Daemon: func() control.Info { return control.Info{PID: 7, Version: "v"} }, Lines: func() []byte { return []byte("line\n") },
	})
	for _, p := range []string{"/a", "/b"} {
		if _, err := s.Mount(t.Context(), MountOptions{Mountpoint: p}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Mount(t.Context(), MountOptions{Mountpoint: "/a"}); !errors.Is(err, errs.Busy) {
		t.Errorf("twice: %v", err)
	}
	if _, err := s.Mount(t.Context(), MountOptions{Mountpoint: "/bad"}); !errors.Is(err, errs.Permission) {
		t.Errorf("bad: %v", err)
	}
	var st StatusResult
	do(t, s, "status", &st)
	if st.Daemon == nil || st.Daemon.PID != 7 || len(st.Daemon.Mounts) != 2 || st.Daemon.Mounts[1].Mountpoint != "/b" {
		t.Errorf("status: %+v", st.Daemon)
	}
	for _, p := range []string{"/a", "/b"} {
		if m.at(p).alone {
			t.Errorf("%s was not told of the other mount", p)
		}
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	do(t, s, "add "+Quote(file), nil)
	if got := m.at("/b").live; len(got) != 1 || got[0] != "main" {
		t.Errorf("add told the mount of changes in %q", got)
	}
	do(t, s, "branch x", nil)
	do(t, s, "cache drop", nil)
	if a := m.at("/a"); a.refs == 0 || a.drops != 1 {
		t.Errorf("mount was told of %d ref changes and %d drops", a.refs, a.drops)
	}
	m.at("/a").busy = true
	if err := s.Unmount("/a", false); !errors.Is(err, errs.Busy) {
		t.Errorf("busy: %v", err)
	}
	if err := s.Unmount("/c", false); !errors.Is(err, errs.NotFound) {
		t.Errorf("no mount: %v", err)
	}
	if err := s.Unmount("/a", true); err != nil {
		t.Error(err)
	}
	if left := <-gone; left != 1 || !m.at("/b").alone {
		t.Errorf("%d left; was /b told that it is alone again? %v", left, m.at("/b").alone)
	}
	_ = m.at("/b").Unmount(false) // from outside
	if left := <-gone; left != 0 {
		t.Errorf("%d left", left)
	}
	if got := string(s.Log(t.Context())); got != "line\n" {
		t.Errorf("log: %q", got)
	}
}
