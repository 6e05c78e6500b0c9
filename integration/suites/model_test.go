package suites

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"coral/integration/mounttest"
)

// model does the same calls below a mount and below a plain directory of the disk, which is the reference. Both must answer alike and look alike.
type model struct {
	r       *mounttest.Repo
	live    string
	ref     string
	open    []pair
	commits map[string]string // id → what it looked like when it was made
}

// pair is a file that is open on both sides.
type pair struct {
	live, ref int
	path      string
}

// TestMountModel compares random calls on a mount and on the disk, with snapshots, ingest, cache drops, gc, remounts and kill -9 between them. After a
// kill all must be there that had returned. What fails is shrunk by rapid.
func TestMountModel(t *testing.T) {
	mounttest.NeedFUSE(t)
	for name, value := range map[string]string{"rapid.checks": size("40", "5000"), "rapid.steps": size("60", "150")} {
		if f := flag.Lookup(name); f != nil && f.Value.String() == f.DefValue { // not told on the command line
			must(t, flag.Set(name, value))
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		base := filepath.Join(os.TempDir(), fmt.Sprint(mounted.Add(1)))
		must(t, os.MkdirAll(filepath.Join(base, "ref"), 0o755))
		m := &model{r: mounttest.NewAt(t, filepath.Join(base, "r"), filepath.Join(base, "m")), ref: filepath.Join(base, "ref"), commits: map[string]string{}}
		m.live = m.r.Live()
		defer m.end(rt, base)
		m.coral(rt, "mount", m.r.Mnt)
		actions := m.calls()
		actions[""] = m.compare
		actions["snapshot"] = m.snapshot
		actions["upkeep"] = m.upkeep
		actions["restart"] = m.restart
		rt.Repeat(actions)
		m.closeAll()
		m.snapshot(rt)
		m.remount(rt, false)
		for id, want := range m.commits {
			if got := listing(rt, m.r.Commit(id), true); got != want {
				rt.Fatalf("commit %s has changed:\n%s", id, diffLines(want, got))
			}
		}
	})
}

// end lets go of everything, whatever happened.
func (m *model) end(t *rapid.T, base string) {
	m.closeAll()
	if mounttest.IsMounted(m.r.Mnt) {
		if out, errOut, code := m.r.Try("unmount", m.r.Mnt); code != 0 {
			m.r.Try("unmount", "--lazy", m.r.Mnt)
			t.Errorf("unmount: exit %d\n%s%s", code, out, errOut)
		}
	}
	if out, errOut, code := m.r.Try("fsck", "--full"); code != 0 {
		t.Errorf("fsck --full: exit %d\n%s%s", code, out, errOut)
	}
	os.RemoveAll(base)
}

// coral runs a command that must succeed.
func (m *model) coral(t *rapid.T, args ...string) string {
	out, errOut, code := m.r.Try(args...)
	if code != 0 {
		t.Fatalf("coral %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// both does a call on both sides and wants the same answer. It says whether the call succeeded.
func (m *model) both(t *rapid.T, what string, call func(root string) (string, error)) bool {
	ref, refErr := call(m.ref)
	live, liveErr := call(m.live)
	if errnoOf(refErr) != errnoOf(liveErr) {
		t.Fatalf("%s: the mount says %v, the disk %v", what, liveErr, refErr)
	}
	if ref != live {
		t.Fatalf("%s: the mount answers %.200q, the disk %.200q", what, live, ref)
	}
	return refErr == nil
}

func errnoOf(err error) syscall.Errno {
	var no syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &no):
		return no
	}
	return ^syscall.Errno(0)
}

// compare wants both trees to look alike, and is called after every step.
func (m *model) compare(t *rapid.T) {
	if ref, live := listing(t, m.ref, false), listing(t, m.live, false); ref != live {
		t.Fatalf("the trees differ (- disk, + mount):\n%s", diffLines(ref, live))
	}
}

// snapshot makes a commit, which must look like the live tree.
func (m *model) snapshot(t *rapid.T) {
	var s struct {
		Commit  string   `json:"commit"`
		Skipped []string `json:"skipped"`
	}
	before := listing(t, m.live, true)
	if err := json.Unmarshal([]byte(m.coral(t, "snapshot", "-m", "model", "--allow-empty", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	got := listing(t, m.r.Commit(s.Commit), true)
	if got != before {
		t.Fatalf("the commit differs from the live tree (- live, + commit):\n%s", diffLines(before, got))
	}
	if n := strings.Count("\n"+listing(t, m.ref, false), "\nspecial "); n != len(s.Skipped) {
		t.Fatalf("the snapshot names %d files that a commit cannot hold, the tree has %d: %q", len(s.Skipped), n, s.Skipped)
	}
	m.commits[s.Commit] = got
}

// upkeep does what must change nothing.
func (m *model) upkeep(t *rapid.T) {
	before := stats(t, m.live)
	m.coral(t, rapid.SampledFrom([][]string{{"sync"}, {"cache", "drop"}, {"gc"}, {"status"}}).Draw(t, "upkeep")...)
	sameTimes(t, "upkeep", before, stats(t, m.live))
}

// restart ends the daemon and mounts again.
func (m *model) restart(t *rapid.T) {
	m.closeAll()
	m.remount(t, rapid.Bool().Draw(t, "kill"))
}

func (m *model) remount(t *rapid.T, kill bool) {
	before := stats(t, m.live)
	if kill {
		var s struct {
			Daemon struct {
				PID int `json:"pid"`
			} `json:"daemon"`
		}
		if err := json.Unmarshal([]byte(m.coral(t, "status", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		m.r.Kill9(s.Daemon.PID)
	} else {
		m.coral(t, "unmount", m.r.Mnt)
	}
	m.coral(t, "mount", m.r.Mnt)
	sameTimes(t, fmt.Sprintf("a restart (kill: %v)", kill), before, stats(t, m.live))
}

// sameTimes wants mtime to be as it was, and ctime not to go back. (After a kill it may be when the spool file was filled.)
func sameTimes(t *rapid.T, what string, before, after map[string]times) {
	for path, b := range before {
		if a, ok := after[path]; !ok || a.mtime != b.mtime || a.ctime < b.ctime {
			t.Fatalf("%s changed the times of %q from %v to %v", what, path, b, a)
		}
	}
}

func (m *model) closeAll() {
	for _, p := range m.open {
		unix.Close(p.live)
		unix.Close(p.ref)
	}
	m.open = nil
}

// diffLines shows the lines of two listings that differ.
func diffLines(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out []string
	for _, l := range as {
		if !slices.Contains(bs, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range bs {
		if !slices.Contains(as, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}
