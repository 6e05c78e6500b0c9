package integration

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// TestBisectRun searches with a command, in exported directories and in a mount, and leaves neither files nor a search that was cut short behind.
func TestBisectRun(t *testing.T) {
	r := mounttest.New(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	src := t.TempDir()
	var ids []string
	for i := range 10 {
		if err := os.WriteFile(filepath.Join(src, "value"), []byte(strconv.Itoa(i)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		r.Coral("add", filepath.Join(src, "value"))
		ids = append(ids, r.Snapshot("step "+strconv.Itoa(i)))
	}
	script := filepath.Join(src, "test.sh")
	if err := os.WriteFile(script, []byte(`#!/bin/sh
v=$(cat "$CORAL_DIR/value") && [ "$1" = --flag ] || exit 200
echo "$CORAL_COMMIT $CORAL_DIR" >> "$OUT"
[ "$v" != 6 ] || exit 125
[ "$v" -lt "$LIMIT" ]
`), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mounted := range []bool{false, true} {
		if mounted {
			r.Mount()
		}
		out := filepath.Join(src, "out")
		_ = os.Remove(out)
		t.Setenv("OUT", out)
		t.Setenv("LIMIT", "4")
		r.Coral("bisect", "start", "HEAD", ids[0])
		if got := r.Coral("bisect", "run", script, "--flag"); !strings.Contains(got, "the first bad commit is "+ids[4][:12]) {
			t.Errorf("mounted %v: %s", mounted, got)
		}
		log, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if in := strings.Contains(string(log), r.Mnt+"/commits/"); in != mounted || strings.Count(string(log), "\n") > 5 {
			t.Errorf("mounted %v: tested\n%s", mounted, log)
		}
		t.Setenv("LIMIT", "7")
		r.Coral("bisect", "start", "HEAD", ids[5])
		if got, _, code := r.Try("bisect", "run", script, "--flag"); code != 1 || !strings.Contains(got, ids[6][:12]) || !strings.Contains(got, ids[7][:12]) {
			t.Errorf("with a skip: exit %d, %s", code, got)
		}
		r.Coral("bisect", "start", "HEAD", ids[0])
		before := r.Coral("bisect")
		if _, errOut, code := r.Try("bisect", "run", script); code != 1 || !strings.Contains(errOut, "200") || r.Coral("bisect") != before {
			t.Errorf("a command that ends with 200: exit %d, %s", code, errOut)
		}
		r.Coral("bisect", "reset")
		if _, errOut, code := r.Try("bisect", "run", "true"); code != 1 || !strings.Contains(errOut, "needed first") {
			t.Errorf("without start: exit %d, %s", code, errOut)
		}
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "coral-bisect-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
