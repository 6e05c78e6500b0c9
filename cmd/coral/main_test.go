package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/service"
)

// TestMain lets the test binary be the daemon that `coral mount` starts, which is itself again, and the program coral of scripts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "mount" {
		main()
	}
	testscript.Main(m, map[string]func(){"coral": main})
}

// TestHelp: every command has a purpose, an example, exit codes, and one-line flags.
func TestHelp(t *testing.T) {
	w := newWorld(t)
	root := newRootCmd(&app{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c == root || c.Name() == "help" || c.Name() == "completion" || c.Parent() != root {
			return
		}
		out, errOut, code := w.run(c.Name(), "--help")
		if code != 0 || errOut != "" || !strings.Contains(out, "Examples:\n") {
			t.Errorf("coral %s --help: exit %d, %s%s", c.Name(), code, out, errOut)
		}
		if c.Name() != "version" && !strings.Contains(out, "Exit codes:") {
			t.Errorf("coral %s --help says nothing of exit codes", c.Name())
		}
	}
	walk(root)
	root.InitDefaultCompletionCmd("x")
	for _, name := range []string{"init", "mount", "unmount", "umount", "snapshot", "commit", "add", "status", "log", "branch", "checkout", "tag", "show", "stats", "export", "sync", "cache", "fsck", "gc", "optimize", "cat", "ls", "version", "completion", "config"} {
		if c, _, err := root.Find([]string{name}); err != nil || c == root {
			t.Errorf("no command %s", name)
		}
	}
	for _, v := range service.Verbs {
		if c, _, err := root.Find([]string{v.Name}); err != nil || c.Name() != v.Name {
			t.Errorf("verb %s has no command", v.Name)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _, code := w.run("completion", shell); code != 0 || len(out) < 1000 {
			t.Errorf("completion %s: exit %d, %d bytes", shell, code, len(out))
		}
	}
}

// TestDocs: docs/cli.md names every command and every flag.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	root := newRootCmd(&app{out: &bytes.Buffer{}, err: &bytes.Buffer{}})
	for _, c := range root.Commands() {
		if c.Name() != "help" && !strings.Contains(doc, "`coral "+c.Name()) {
			t.Errorf("docs/cli.md does not describe coral %s", c.Name())
		}
		for line := range strings.Lines(c.LocalFlags().FlagUsages()) {
			f := strings.Fields(line)
			for _, w := range f[:min(2, len(f))] {
				w = strings.TrimSuffix(w, ",")
				if w == "-h" || w == "--help" || w == "--delete" || w == "--delete-force" || w == "--move" || !strings.HasPrefix(w, "-") || c.Name() == "completion" {
					continue
				}
				if !strings.Contains(doc, "`"+w) {
					t.Errorf("docs/cli.md does not have flag %s of coral %s", w, c.Name())
				}
			}
		}
	}
}

func TestExitCodes(t *testing.T) {
	for err, want := range map[error]int{
		errors.New("x"): 1, errs.NotFound: 1, control.Usagef("x"): 2, fmt.Errorf("a: %w", errs.Conflict): 3, errs.Invalid: 1, &resultError{}: 1,
		&control.Error{Class: "conflict", Message: "m"}: 3, &control.Error{Class: "usage", Message: "m"}: 2, &control.Error{Class: "some later class"}: 1,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("exitCode(%v) = %d, want %d", err, got, want)
		}
	}
}

// TestErrorsAreOneLine: also when the cause has several, and with --json the object is on stdout.
func TestErrorsAreOneLine(t *testing.T) {
	var out, errOut bytes.Buffer
	a := &app{out: &out, err: &errOut, json: true}
	if code := a.fail(fmt.Errorf("read\nthe\tfile: %w", errs.Corrupt)); code != 1 {
		t.Errorf("code %d", code)
	}
	if got := errOut.String(); got != "coral: read the file: corrupt; run `coral fsck --full` to see what is damaged\n" {
		t.Errorf("stderr %q", got)
	}
	if got := out.String(); got != `{"error":{"class":"corrupt","message":"read the file: corrupt"}}`+"\n" {
		t.Errorf("stdout %q", got)
	}
}

// TestHints: a full disk says how to make room, whoever met it.
func TestHints(t *testing.T) {
	for _, err := range []error{errs.NoSpace, &os.PathError{Op: "write", Path: "journal", Err: syscall.ENOSPC}, &control.Error{Class: "no-space", Message: "m"}} {
		if got := hint(fmt.Errorf("reset: %w", err)); !strings.Contains(got, "coral gc") {
			t.Errorf("%v: %q", err, got)
		}
	}
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out, now: time.Now, loc: time.UTC}
	if err := runVersion(a, build{Version: "v1.2.3", Commit: "0123456789abcdef", Modified: true, Go: "go1.26", OS: "linux", Arch: "amd64"}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "coral v1.2.3 (commit 0123456789ab with changes, go1.26, linux/amd64)\n" {
		t.Errorf("version: %q", got)
	}
	w := newWorld(t)
	text, _, code := w.run("version", "--json")
	var b build
	if err := json.Unmarshal([]byte(text), &b); code != 0 || err != nil || b.Version == "" || b.Go == "" {
		t.Errorf("version --json: %s, %v", text, err)
	}
}

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{"a b": "a b", "重み.pt": "重み.pt", "a\x1b[2J": `"a\x1b[2J"`, "a\nb": `"a\nb"`, "\xff": `"\xff"`, "a\u202eb": `"a\u202eb"`} {
		if got := safe(in); got != want {
			t.Errorf("safe(%q) = %s, want %s", in, got, want)
		}
	}
}

// TestDamage: fsck of a damaged pack names file and commit and exits 1, in text and as JSON.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	w.write("run/notes.txt", strings.Repeat("some text that is stored in a blob of its own ", 500))
	for _, line := range []string{"init $BASE/models", "add $BASE/run", "snapshot -m one", "cache drop"} {
		if _, errOut, code := w.run(words(line)...); code != 0 {
			t.Fatalf("%s: %s", line, errOut)
		}
	}
	packs, err := filepath.Glob(filepath.Join(w.base, "models/.coral/packs/*.pack"))
	if err != nil || len(packs) == 0 {
		t.Fatalf("packs: %v, %v", packs, err)
	}
	b, err := os.ReadFile(packs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[170] ^= 1 // in the only block of the blob, which is the first record: pack and frame header end at 138, the block index at 165
	if err := os.WriteFile(packs[0], b, 0o644); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := w.run("fsck", "--full")
	if code != 1 || !strings.Contains(out, "run/notes.txt") || errOut != "" {
		t.Errorf("fsck: exit %d\n%s%s", code, out, errOut)
	}
	out, errOut, code = w.run("fsck", "--full", "--json")
	var r service.FsckResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 1 || r.OK || len(r.Damaged) != 1 || r.Damaged[0].Path != "run/notes.txt" {
		t.Errorf("fsck --json: exit %d\n%s%s", code, out, errOut)
	}
	if _, errOut, code := w.run("cat", "main:run/notes.txt"); code != 1 || !strings.Contains(errOut, "corrupt") || strings.Count(errOut, "\n") != 1 {
		t.Errorf("cat: exit %d, %q", code, errOut)
	}
}
