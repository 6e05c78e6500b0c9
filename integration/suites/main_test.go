// Package suites runs test suites that we did not write against real mounts: pjdfstest, fsx, fio, stress-ng, dbench, fs_mark, git, sqlite, tar.
// Two are ours, since nobody else could write them: the model test, which compares a mount with a plain directory, and the power-cut test.
//
// `make suites` installs the programs (install.sh) and runs all of it in minutes, `make suites SUITES=long` in hours. While a suite runs, a guard
// takes snapshots and rehashes the commits that were there before: they never change.
package suites

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"coral/integration/mounttest"
)

func TestMain(m *testing.M) {
	if arg := strings.Split(os.Getenv(recEnv), "\n"); len(arg) == 3 {
		if err := record(arg[0], arg[1], arg[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(mounttest.Main(m))
}

// size returns short, or long if the long runs are asked for (SUITES=long).
func size[T any](short, long T) T {
	if os.Getenv("SUITES") == "long" {
		return long
	}
	return short
}

// program finds an outside program: in .cache/tools, or on the system. A test whose program is not there is skipped, and says so.
func program(t *testing.T, name string) string {
	t.Helper()
	tools := filepath.Join(mounttest.Root(), ".cache", "tools")
	for _, p := range []string{filepath.Join(tools, "cargo", "bin", name), filepath.Join(tools, name)} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("CANNOT RUN: no %s: integration/suites/install.sh says why", name)
	}
	return p
}

// mounted counts the repositories made.
var mounted atomic.Int32

// mount makes a repository and mounts it so that every user can get at it. The path is short: the name of a socket has 107 bytes, and pjdfstest needs 60.
func mount(t *testing.T, flags ...string) *mounttest.Repo {
	t.Helper()
	mounttest.NeedFUSE(t)
	base := filepath.Join(os.TempDir(), fmt.Sprint(mounted.Add(1)))
	must(t, os.Mkdir(base, 0o755))
	t.Cleanup(func() { os.RemoveAll(base) })
	r := mounttest.NewAt(t, filepath.Join(base, "r"), filepath.Join(base, "m"))
	if os.Getuid() == 0 {
		r.Mount(append(flags, "--allow-other")...)
	} else {
		r.Mount(flags...)
	}
	return r
}

// mkdir makes a directory of the live tree.
func mkdir(t *testing.T, r *mounttest.Repo, name string) string {
	t.Helper()
	dir := r.Live(name)
	must(t, os.Mkdir(dir, 0o755))
	return dir
}

// command is exec.Command in a directory, killed when the test ends or when it runs for longer than limit.
func command(t *testing.T, dir string, limit time.Duration, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(deadline(t, limit), name, args...)
	cmd.Dir = dir
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// runs runs a program in a directory and fails the test, with what it said, if it fails.
func runs(t *testing.T, dir string, limit time.Duration, name string, args ...string) string {
	t.Helper()
	out, err := command(t, dir, limit, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, tail(out, 60))
	}
	return string(out)
}
