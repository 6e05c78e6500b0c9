package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
)

// powerFS is the real file system that remembers what a power cut could undo: bytes not synced, names not synced, removals not synced.
type powerFS struct {
	vfs.OS
	before func() // called before each change

	mu      sync.Mutex
	synced  map[string]int64 // length at the last Sync, by path
	named   map[string]bool
	removed map[string][]byte
}

func newPowerFS() *powerFS {
	return &powerFS{before: func() {}, synced: map[string]int64{}, named: map[string]bool{}, removed: map[string][]byte{}}
}

func (p *powerFS) OpenFile(name string, flag int, perm iofs.FileMode) (vfs.File, error) {
	if flag&vfs.ReadWrite != 0 {
		p.before()
	}
	f, err := p.OS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &powerFile{f, p, name}, nil
}

func (p *powerFS) Remove(name string) error {
	p.before()
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.removed[name] = b
	p.mu.Unlock()
	return p.OS.Remove(name)
}

func (p *powerFS) SyncDir(name string) error {
	p.before()
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.removed)
	names, err := p.ReadDir(name)
	for _, n := range names {
		p.named[filepath.Join(name, n)] = true
	}
	return err
}

type powerFile struct {
	vfs.File
	p    *powerFS
	name string
}

func (f *powerFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.p.before()
	return f.File.WritevAt(bufs, off)
}

func (f *powerFile) Truncate(size int64) error {
	f.p.before()
	return f.File.Truncate(size)
}

func (f *powerFile) Sync() error {
	f.p.before()
	size, err := f.Size()
	f.p.mu.Lock()
	f.p.synced[f.name] = size
	f.p.mu.Unlock()
	return err
}

// cut copies the store in dir as it could be after a power cut now.
func (p *powerFS) cut(t testing.TB, dir string, r *rand.Rand) string {
	t.Helper()
	to := copyDir(t, dir)
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, b := range p.removed {
		if r.IntN(2) == 0 {
			ok(t, os.WriteFile(filepath.Join(to, "packs", filepath.Base(name)), b, 0o600))
		}
	}
	packs, err := os.ReadDir(filepath.Join(to, "packs"))
	if errors.Is(err, os.ErrNotExist) {
		return to
	}
	ok(t, err)
	for _, e := range packs {
		was, is := filepath.Join(dir, "packs", e.Name()), filepath.Join(to, "packs", e.Name())
		if _, ok := p.removed[was]; ok {
			continue
		}
		if !p.named[was] && r.IntN(2) == 0 {
			ok(t, os.Remove(is))
			continue
		}
		b, err := os.ReadFile(is)
		ok(t, err)
		ok(t, os.WriteFile(is, tear(b, min(p.synced[was], int64(len(b))), r), 0o600))
	}
	return to
}

// tear returns b with what is behind synced lost in part, as sectors of 64 bytes to make it interesting.
func tear(b []byte, synced int64, r *rand.Rand) []byte {
	size := synced + r.Int64N(int64(len(b))-synced+1)
	if r.IntN(3) == 0 {
		size = int64(len(b))
	}
	b = b[:size]
	chance := r.IntN(20)
	for at := synced; at < size; at += 64 {
		if r.IntN(20) < chance {
			clear(b[at:min(at+64, size)])
		}
	}
	return b
}

// crasher runs a scenario and looks at what every crash in it would leave.
type crasher struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	fs    *powerFS
	s     *Store
	put   map[int]bool // Put returned
	safe  map[int]bool // Sync returned since
	gone  map[int]bool // handed to Collect as dead
	looks int
	every int // of so many chances take one
}

func (c *crasher) look() {
	if c.every > 1 && c.r.IntN(c.every) > 0 {
		return
	}
	c.looks++
	for _, mid := range slices.Concat(c.verify(copyDir(c.t, c.dir), c.put), c.verify(c.fs.cut(c.t, c.dir, c.r), c.safe)) {
		c.verify(mid.dir, mid.acknowledged) // killed again while it recovered
	}
}

// state is a directory and what must be in it.
type state struct {
	dir          string
	acknowledged map[int]bool
}

// verify opens what a crash left: what was acknowledged is there, everything that is there is right, and the store can be used.
// It returns states of the directory from in between.
func (c *crasher) verify(dir string, acknowledged map[int]bool) (between []state) {
	c.t.Helper()
	for _, ro := range []bool{true, false} {
		s := open1(c.t, dir, Options{ReadOnly: ro}, env{step: func(string) {
			if c.r.IntN(3) == 0 {
				between = append(between, state{copyDir(c.t, dir), acknowledged})
			}
		}})
		for i := range 400 {
			err := wrong(s, i)
			if acknowledged[i] && !c.gone[i] && err != nil || err != nil && !errors.Is(err, errs.NotFound) {
				c.t.Fatalf("look %d, read-only %v: record %d: %v", c.looks, ro, i, err)
			}
		}
		whole(c.t, s)
		if !ro {
			put(c.t, s, 900, 901)
			whole(c.t, s)
		}
		ok(c.t, s.Close())
	}
	n, damage, err := RebuildIndex(c.t.Context(), dir, Options{})
	if err != nil || len(damage) > 0 {
		c.t.Fatalf("look %d: rebuilt %d records, damage %v, %v", c.looks, n, damage, err)
	}
	s := open1(c.t, dir, Options{}, env{})
	for i := range acknowledged {
		if err := wrong(s, i); err != nil && !c.gone[i] {
			c.t.Fatalf("look %d, rebuilt: record %d: %v", c.looks, i, err)
		}
	}
	ok(c.t, s.Close())
	return between
}

func (c *crasher) puts(from, to int) {
	for i := from; i < to; i++ {
		put(c.t, c.s, i)
		c.put[i] = true
	}
}

func (c *crasher) sync() {
	ok(c.t, c.s.Sync(c.t.Context()))
	maps.Copy(c.safe, c.put)
}

func (c *crasher) collect(full bool) {
	ids := map[oid.ID]bool{}
	for i := range c.put {
		if i%8 >= 4 {
			c.gone[i] = true
		}
		ids[rec(i).ID] = !c.gone[i]
	}
	_, err := c.s.Collect(c.t.Context(), func(id oid.ID) bool { return ids[id] }, full, false)
	ok(c.t, err)
}

func (c *crasher) open() {
	c.s = open1(c.t, c.dir, Options{PackSize: 6 << 10}, env{fs: c.fs, step: func(string) { c.look() }})
}

// TestCrashEverywhere crashes at every change of a file and at every step of the store.
func TestCrashEverywhere(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := &crasher{t: t, r: rand.New(rand.NewPCG(seed, 5)), dir: fastDir(t), fs: newPowerFS(), every: 8,
				put: map[int]bool{}, safe: map[int]bool{}, gone: map[int]bool{}}
			c.fs.before = c.look
			c.open()
			c.puts(0, 12)
			c.sync()
			c.puts(12, 40)
			c.sync()
			c.collect(seed%2 == 0)
			c.puts(40, 44)
			ok(t, c.s.Close())
			maps.Copy(c.safe, c.put)
			c.open()
			c.puts(44, 48)
			c.collect(true)
			c.sync()
			ok(t, c.s.Close())
			t.Logf("%d crashes", 2*c.looks)
		})
	}
}

// TestMain also is the program that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CORAL_KILL_DIR"); dir != "" {
		os.Exit(victim(dir))
	}
	os.Exit(m.Run())
}

// victim puts records from where the store ends, says so on its standard output, and never stops.
func victim(dir string) int {
	s, err := openStore(context.Background(), dir, Options{PackSize: 32 << 10}, env{})
	if err != nil {
		fmt.Println("open:", err)
		return 1
	}
	next := 0
	for s.Has(rec(next).ID) {
		next++
	}
	live := func(id oid.ID) bool { return true }
	for i := next; ; i++ {
		if err := s.Put(context.Background(), rec(i)); err != nil {
			fmt.Println("put:", err)
			return 1
		}
		fmt.Println(i)
		switch {
		case i%40 == 0:
			err = s.Sync(context.Background())
		case i%300 == 0:
			_, err = s.Collect(context.Background(), live, true, false)
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
	}
}

// TestKill kills a process that writes, twenty times over, with SIGKILL: every Put that returned is there afterwards.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	dir, r := t.TempDir(), rand.New(rand.NewPCG(8, 9))
	last := -1
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "CORAL_KILL_DIR="+dir)
		out, err := cmd.StdoutPipe()
		ok(t, err)
		ok(t, cmd.Start())
		lines, stop := bufio.NewScanner(out), last+1+r.IntN(150)
		for lines.Scan() {
			i, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatalf("round %d: %s", round, lines.Text())
			}
			if last = i; i >= stop {
				ok(t, cmd.Process.Kill())
				break
			}
		}
		for lines.Scan() { // what it still said before it died
			if i, err := strconv.Atoi(lines.Text()); err == nil && i == last+1 {
				last = i
			}
		}
		_ = cmd.Wait()
		s := open1(t, dir, Options{PackSize: 32 << 10}, env{})
		has(t, s, slices.DeleteFunc(seq(0, last), func(i int) bool { return i < last-200 && i%7 > 0 })...)
		whole(t, s)
		ok(t, s.Close())
	}
	t.Logf("%d records after %d kills", last, rounds)
}
