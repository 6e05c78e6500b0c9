// Package integration tests Coral from outside: the built binary, real mounts, real programs, real signals.
package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("CORAL_BIN") == "" {
		dir, err := os.MkdirTemp("", "coral-bin-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if mounttest.Bin, err = mounttest.Build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	} else {
		mounttest.Bin = os.Getenv("CORAL_BIN")
	}
	before := mounts()
	code := m.Run()
	for m := range mounts() {
		if !before[m] {
			fmt.Fprintln(os.Stderr, "left mounted:", m)
			code = 1
		}
	}
	return code
}

// mounts returns the mountpoints of Coral.
func mounts() map[string]bool {
	out := map[string]bool{}
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.Contains(line, " fuse.coral ") {
			out[f[4]] = true
		}
	}
	return out
}
