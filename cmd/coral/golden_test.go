package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files again")

// world is a repository beside a directory of files, and what runs commands on it in this process.
type world struct {
	t    *testing.T
	base string
	ids  map[string]string // masks, by the 12 digits of an id
}

func newWorld(t *testing.T) *world {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CORAL_AUTHOR", "Test <test@localhost>")
	t.Setenv("CORAL_REPO", filepath.Join(base, "models"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(base, "xdg"))
	w := &world{t: t, base: base, ids: map[string]string{}}
	return w
}

// run executes a command line as main does.
func (w *world) run(args ...string) (stdout, stderr string, code int) {
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errOut, loc: time.UTC, now: func() time.Time { return time.Unix(1.7e9, 0) }, width: 80}
	for i, s := range args {
		args[i] = strings.ReplaceAll(s, "$BASE", w.base)
	}
	code = a.execute(context.Background(), args)
	return out.String(), errOut.String(), code
}

func (w *world) write(name, text string) {
	w.t.Helper()
	p := filepath.Join(w.base, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(p, when, when); err != nil {
		w.t.Fatal(err)
	}
}

var (
	hexID     = regexp.MustCompile(`\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b`)
	stamp     = regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}(T[0-9:.]+Z| [0-9]{2}:[0-9]{2}(:[0-9]{2} \+0000)?)`)
	duration  = regexp.MustCompile(`\b[0-9.]+ (ms|s)\b`)
	jsonFloat = regexp.MustCompile(`"seconds":[0-9.e-]+`)
	stored    = regexp.MustCompile(`("stored_bytes":|"saved_ratio":|"freed_bytes":|"spool_bytes":|"clean_bytes":)-?[0-9.e-]+|[0-9.]+ (B|KiB) added to the store`)
)

// mask hides what differs from run to run: ids become numbered, times, durations and sizes on disk constant.
func (w *world) mask(s string) string {
	s = strings.ReplaceAll(s, w.base, "$BASE")
	s = hexID.ReplaceAllStringFunc(s, func(id string) string {
		short := id[:12]
		if w.ids[short] == "" {
			w.ids[short] = fmt.Sprintf("%d", len(w.ids)+1)
		}
		if len(id) == 12 {
			return "<id " + w.ids[short] + ">"
		}
		return "<full id " + w.ids[short] + ">"
	})
	s = stamp.ReplaceAllStringFunc(s, func(t string) string {
		if strings.HasPrefix(t, "2026-01-02") {
			return t // written by the test
		}
		return "<time>"
	})
	s = duration.ReplaceAllString(s, "<duration>")
	s = jsonFloat.ReplaceAllString(s, `"seconds":<seconds>`)
	return stored.ReplaceAllStringFunc(s, func(m string) string {
		if i := strings.IndexByte(m, ':'); i >= 0 {
			return m[:i+1] + "<n>"
		}
		return "<size> added to the store"
	})
}

// session runs lines of a script and compares the whole with a golden file. A line is split at blanks; "$ " lines of the
// golden show it, then stdout, then stderr with "! " before each line, then the exit code if it is not 0.
func (w *world) session(golden string, script []string) {
	w.t.Helper()
	var got strings.Builder
	for _, line := range script {
		out, errOut, code := w.run(words(line)...)
		fmt.Fprintf(&got, "$ coral %s\n%s", line, w.mask(out))
		for l := range strings.Lines(w.mask(errOut)) {
			got.WriteString("! " + l)
		}
		if code != 0 {
			fmt.Fprintf(&got, "exit %d\n", code)
		}
	}
	path := filepath.Join("testdata", golden)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	if got.String() != string(want) {
		w.t.Errorf("%s differs (go test -update writes it):\n%s", path, firstDifference(got.String(), string(want)))
	}
}

// words splits a script line at blanks, with '…' kept together.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s", i+1, a, b)
		}
	}
	return ""
}

func TestSessionText(t *testing.T) {
	w := newWorld(t)
	w.write("run/a.bin", strings.Repeat("weights ", 20_000))
	w.write("run/notes.txt", "first\n")
	w.write("run/model.safetensors", tinySafetensors())
	w.session("init.golden", []string{"init $BASE/models", "init $BASE/models", "status", "log", "show", "branch", "tag"})
	w.session("first.golden", []string{
		"add $BASE/run --to ckpt", "status", "snapshot -m 'step 1' --metric loss=0.5 --label run=a7 -t v1", "status", "snapshot", "log", "show",
		"show v1:ckpt/run/model.safetensors", "ls v1:ckpt/run", "cat v1:ckpt/run/notes.txt",
	})
	w.write("run/notes.txt", "second, longer\n")
	w.write("run/new", "x")
	w.session("second.golden", []string{
		"add $BASE/run --to ckpt", "snapshot -m 'step 2'", "log --oneline", "show HEAD", "branch exp/a v1", "branch", "tag best -m 'the best one'", "tag", "checkout exp/a",
		"checkout v1", "status", "snapshot", "checkout -b next", "branch -m next later", "branch -d main", "branch -d later", "checkout main", "branch -d later", "tag -d best",
		"export v1:ckpt $BASE/out", "export v1 $BASE/out", "fsck --full", "gc --dry-run", "optimize --dry-run", "optimize", "cache drop", "sync",
	})
	w.session("errors.golden", []string{
		"nope", "snapsot", "status extra", "log --nope", "log nowhere", "show main:nowhere", "cat", "add", "add $BASE/nowhere", "branch -d nowhere", "-R $BASE status", "gc --keep x", "optimize x", "optimize --newest-solo -1", "optimize --path [", "optimize --branch nope",
		"unmount $BASE/run", "unmount", "mount", "mount $BASE/run", "checkout nowhere", "export v1", "export v1 $BASE/run", "fsck extra", "version extra", "cache fill", "snapshot --metric loss", "log -n x", "completion", "completion ksh",
	})
}

func TestSessionJSON(t *testing.T) {
	w := newWorld(t)
	w.write("run/notes.txt", "first\n")
	w.write("run/model.safetensors", tinySafetensors())
	w.session("json.golden", []string{
		"init $BASE/models --json", "add $BASE/run --json", "status --json", "snapshot -m 'step 1' --metric loss=0.5 --metric x=nan --json -t v1", "log --json", "show --json",
		"show v1:run/model.safetensors --json", "ls v1:run --json", "branch --json", "branch x --json", "branch -d x --json", "tag --json", "checkout v1 --json", "checkout main --json", "cache --json",
		"gc --json", "optimize --json", "fsck --json", "sync --json", "export v1 $BASE/out --json", "cat v1", "log nowhere --json", "status extra --json", "branch -d main --json", "log --daemon --json",
	})
}

func TestSessionSimilar(t *testing.T) {
	w := newWorld(t)
	w.write("run/model.safetensors", twoTensors("w", "bias", 0))
	w.write("new.safetensors", twoTensors("renamed", "bias", 1e-3))
	w.session("similar.golden", []string{
		"init $BASE/models", "add $BASE/run", "snapshot -m 'step 1'", "similar $BASE/new.safetensors", "similar $BASE/new.safetensors:renamed --json", "similar $BASE/new.safetensors:bias",
		"similar main:run/model.safetensors", "similar --rebuild", "similar", "similar $BASE/nowhere", "similar main:nowhere --json", "similar --help",
	})
}

func TestSessionDiff(t *testing.T) {
	w := newWorld(t)
	w.write("run/model.safetensors", twoTensors("w", "bias", 0))
	w.write("run/notes.txt", "first\n")
	w.write("new.safetensors", twoTensors("w", "bias2", 1e-3))
	w.session("diff.golden", []string{"init $BASE/models", "diff", "compare HEAD", "add $BASE/run", "diff", "snapshot -m 'step 1'", "diff", "diff --json"})
	w.write("run/model.safetensors", twoTensors("w", "bias", 1e-3))
	w.write("run/notes.txt", "second\n")
	w.session("diff2.golden", []string{
		"add $BASE/run", "diff", "diff --stat", "diff --json", "diff --tensor w --path '*.safetensors' --fail-on 'cos<0.999999' -n 1", "diff --fail-on rel_l2>1e-3 --fail-on nan>0 --json", "snapshot -m 'step 2'",
		"diff HEAD~ HEAD --stat", "diff HEAD:run/model.safetensors $BASE/new.safetensors", "compare HEAD~", "compare HEAD~ :", "compare HEAD~ HEAD --json -n 1", "diff HEAD~ HEAD --soup -n 1", "diff HEAD~ HEAD --soup-of HEAD~ --soup-of $BASE/new.safetensors --soup-of HEAD:run --json --tensor nothing", "diff HEAD~ HEAD --soup-of nowhere",
		"compare HEAD:run/model.safetensors $BASE/run/model.safetensors", "compare $BASE/run HEAD:run --stat",
		"diff nowhere", "diff HEAD:nowhere", "diff $BASE/nowhere", "diff HEAD $BASE/new.safetensors", "diff --fail-on nope>1", "diff --path [", "diff a b c", "compare", "compare HEAD nowhere --json", "diff --help", "compare --help",
	})
}

// Two files are compared where there is no repository at all.
func TestDiffWithoutRepository(t *testing.T) {
	w := newWorld(t)
	t.Setenv("CORAL_REPO", "")
	w.write("a.safetensors", twoTensors("w", "bias", 0))
	w.write("b.safetensors", twoTensors("w", "bias", 1e-3))
	w.session("diff3.golden", []string{"diff $BASE/a.safetensors $BASE/b.safetensors", "compare $BASE/a.safetensors $BASE/b.safetensors --soup-of $BASE/b.safetensors", "compare $BASE/a.safetensors $BASE/b.safetensors --json -n 1", "-R $BASE diff $BASE/a.safetensors $BASE/b.safetensors",
		"diff $BASE/a.safetensors $BASE/nowhere.safetensors"})
	for _, line := range []string{"diff $BASE/a.safetensors", "diff HEAD $BASE/b.safetensors", "diff $BASE/a.safetensors $BASE/b.safetensors --soup"} {
		if _, errOut, code := w.run(words(line)...); code != 1 || !strings.Contains(errOut, "no repository in") {
			t.Errorf("%s: exit %d, %s", line, code, errOut)
		}
	}
}

// twoTensors is a safetensors file of an F32 tensor of [100, 64], moved by step, and a short one.
func twoTensors(name, short string, step float64) string {
	head := fmt.Sprintf(`{%q:{"dtype":"F32","shape":[100,64],"data_offsets":[0,25600]},%q:{"dtype":"F32","shape":[2],"data_offsets":[25600,25608]}}`, name, short)
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	b = append(b, head...)
	values, steps := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, 2))
	for range 6402 {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(values.Float64()-0.5+step*steps.Float64())))
	}
	return string(b)
}

// TestNonUTF8 goes once through each command that takes or gives paths of a tree.
func TestNonUTF8(t *testing.T) {
	w := newWorld(t)
	w.write("run/bad\xff", "b\x80\n")
	w.session("nonutf8.golden", []string{
		"init $BASE/models", "add $BASE/run", "add $BASE/run/bad\xff --to d\xfe --json", "status --json", "status", "snapshot", "ls :run --json", "show --json", "show HEAD:run/bad\xff", "cat :d\xfe/bad\xff",
		"export HEAD:d\xfe $BASE/out\xfd --json", "snapshot --allow-empty -m caf\xe9", "tag t\xe9", "branch b\xe9",
	})
	if b, err := os.ReadFile(filepath.Join(w.base, "out\xfd/bad\xff")); err != nil || string(b) != "b\x80\n" {
		t.Errorf("exported %q, %v", b, err)
	}
}

// tinySafetensors is a file of two tensors.
func tinySafetensors() string {
	head := `{"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}}`
	for len(head)%8 != 0 {
		head += " "
	}
	n := len(head)
	return string([]byte{byte(n), byte(n >> 8), 0, 0, 0, 0, 0, 0}) + head + "abcdefghijklmnopqrstuvwxyz"
}
