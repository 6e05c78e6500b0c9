package suites

import (
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// pjdLine is a line of pjdfstest's report.
var pjdLine = regexp.MustCompile(`(?m)^(\S+)\s+(ok|FAILED|skipped)$`)

// pjdFailed is the report of a failure, which ends at the backtrace.
var pjdFailed = regexp.MustCompile(`(?ms)^\S+\s+FAILED$.*?^Backtrace`)

// pjdSummary is its last line.
var pjdSummary = regexp.MustCompile(`(?m)^Summary: .*`)

// TestPjdfstest runs the POSIX conformance suite on branches/main: first its tests of a read-only file system, since a remount needs one on which nothing is open
// for writing or about to be released (open::etxtbsy, when it fails, leaves a program running), then all of it, then all of it again with snapshots in between.
func TestPjdfstest(t *testing.T) { pjdfstest(t, size(3, 100)) }

// pjdfstest is the test on a mount with these flags, with rounds beside snapshots.
func pjdfstest(t *testing.T, rounds int, flags ...string) {
	bin := program(t, "pjdfstest")
	if os.Getuid() != 0 {
		t.Skip("CANNOT RUN: pjdfstest needs root")
	}
	r := mount(t, flags...)
	dir := mkdir(t, r, "pj")
	other, err := os.MkdirTemp("/dev/shm", "suite-")
	if err != nil {
		other, err = os.MkdirTemp("", "suite-")
	}
	must(t, err)
	defer os.RemoveAll(other)
	must(t, os.Chmod(other, 0o755)) // other users reach it

	results := map[string]string{}
	run := func(remount string, pattern ...string) {
		t.Helper()
		args := append([]string{"-c", pjdConfig(t, remount), "-p", dir, "-s", other}, pattern...)
		out, _ := command(t, dir, 5*time.Minute, bin, args...).CombinedOutput()
		found := pjdLine.FindAllSubmatch(out, -1)
		for _, m := range found {
			if name, res := string(m[1]), string(m[2]); results[name] == "" || res != "skipped" { // what needs a remount is skipped the second time
				results[name] = res
			}
		}
		if len(found) == 0 || pjdSummary.Find(out) == nil {
			t.Fatalf("pjdfstest did not come to its end:\n%s", tail(out, 30))
		}
		t.Logf("%s", pjdSummary.Find(out))
		for _, m := range pjdFailed.FindAll(out, -1) {
			t.Logf("%s", m)
		}
	}
	run("true", "erofs")
	run("false")
	if len(results) < 390 {
		t.Errorf("pjdfstest ran %d tests, 398 were there when this was written", len(results))
	}
	judge(t, "pjdfstest", results)

	watch(t, r, true, 50*time.Millisecond)
	clear(results)
	for range rounds {
		run("false")
		if t.Failed() {
			break
		}
	}
	for name, res := range results {
		if strings.HasSuffix(name, "erofs_named") || strings.HasSuffix(name, "erofs_new_file") {
			results[name] = strings.Replace(res, "skipped", "ok", 1) // no remount with a guard
		}
	}
	judge(t, "pjdfstest", results)
}

// pjdConfig writes the configuration.
func pjdConfig(t *testing.T, remount string) string {
	t.Helper()
	b, err := os.ReadFile("pjdfstest.toml")
	must(t, err)
	group := "nogroup" // of nobody: Debian's name
	if _, err := user.LookupGroup(group); err != nil {
		group = "nobody"
	}
	text := strings.NewReplacer("REMOUNT", remount, "GROUP", group).Replace(string(b))
	path := filepath.Join(t.TempDir(), "pjdfstest.toml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// flaky is a result that known.txt may give: ok or FAILED, by chance.
const flaky = "flaky"

// judge compares results (test → ok, FAILED or skipped) with the list of what is known.
func judge(t *testing.T, suite string, results map[string]string) {
	t.Helper()
	known := knownResults(t, suite)
	var names []string
	for name := range results {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		got, want := results[name], known[name]
		if want == "" {
			want = "ok"
		}
		switch {
		case got == want, want == flaky && got != "skipped":
		case want == "ok":
			t.Errorf("%s: %s: %s, which known.txt does not list", suite, name, got)
		default:
			t.Errorf("%s: %s: %s, but known.txt says %s: take it off the list", suite, name, got, want)
		}
	}
	for name := range known {
		if results[name] == "" {
			t.Errorf("%s: known.txt lists %s, which was not run", suite, name)
		}
	}
}

// knownResults reads known.txt.
func knownResults(t *testing.T, suite string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("known.txt")
	must(t, err)
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		entry, reason, _ := strings.Cut(line, "#")
		f := strings.Fields(entry)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || strings.TrimSpace(reason) == "" {
			t.Fatalf("known.txt: want SUITE RESULT TEST # REASON, not %q", line)
		}
		if f[0] == suite {
			out[f[2]] = map[string]string{"fail": "FAILED", "skip": "skipped", "flaky": flaky}[f[1]]
			if out[f[2]] == "" {
				t.Fatalf("known.txt: result %q", f[1])
			}
		}
	}
	return out
}
