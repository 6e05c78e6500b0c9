package mounttest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Main is what TestMain calls: it builds the binary (unless CORAL_BIN names one), runs the tests with a temporary directory of their own, and fails
// if something is left mounted in it. Mounts of others who work on the machine do not matter.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if Bin = os.Getenv("CORAL_BIN"); Bin == "" {
		if Bin, err = Build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	// Tests act as other users too.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Setenv("TMPDIR", dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	for _, m := range mounts() {
		if strings.HasPrefix(m, dir+"/") {
			fmt.Fprintln(os.Stderr, "left mounted:", m)
			code = 1
		}
	}
	return code
}

// mounts returns the mountpoints of Coral.
func mounts() []string {
	var out []string
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && strings.Contains(line, " fuse.coral ") {
			out = append(out, f[4])
		}
	}
	return out
}
