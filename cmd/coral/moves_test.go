package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSessionMoves goes through the commands that move refs and live trees back and forth, and what they refuse.
func TestSessionMoves(t *testing.T) {
	w := newWorld(t)
	w.write("a", "one\n")
	w.write("d/b", "one\n")
	w.session("moves1.golden", []string{
		"init $BASE/models", "undo", "reset", "describe", "reflog", "add $BASE/a $BASE/d", "snapshot -m 'step 1' --metric loss=0.9 --author Ann --email ann@example.org", "tag v1 -d 'the first'",
	})
	w.write("a", "two\n")
	w.write("new", "two\n")
	w.session("moves2.golden", []string{
		"add $BASE/a $BASE/new", "commit -m 'step 2' --metric loss=0.4", "describe", "describe --exact-match", "describe v1 --long", "describe HEAD --json", "reset v1", "status", "log --oneline", "undo --dry-run", "undo", "log --oneline",
		"undo --redo", "reset --hard", "reset --hard --force", "cat :a", "undo", "cat :a", "undo", "status", "reflog", "reflog main -n 2", "reflog nope", "undo --redo --json",
	})
	w.write("a", "three\n")
	w.session("moves3.golden", []string{
		"reset --hard main@{1} --force", "add $BASE/a", "restore a", "restore a -f", "cat :a", "restore nowhere", "restore", "checkout v1 -- d new", "status", "checkout main -- new", "status", "checkout -f", "checkout -b x -- a", "checkout v1 -- a",
		"commit -m 'one again'", "revert v1", "revert HEAD -m 'two again'", "cat :a", "cherry-pick v1", "cherry-pick HEAD~", "cherry-pick HEAD~ --mainline 3", "log -n 3 --json", "undo -n 2", "log --oneline", "reset nope", "reset --force", "reset --hard --soft", "revert",
	})
	w.session("moves4.golden", []string{
		"branch x v1", "branch -v y", "branch -d x main", "branch -d x", "undo", "branch", "tag --delete v1 nope", "tag v2 -c HEAD~ -d 'with a description'", "tag", "tag -l v2 'x*' --json", "tag -l [", "tag -d v1", "undo", "tag", "tag v1 -d again", "tag v3 v1 -c HEAD", "checkout -b z", "undo", "branch",
	})
	w.session("moves5.golden", []string{
		"log --oneline -- d", "log --oneline HEAD -- new a", "log --oneline --metric loss<0.5", "log --oneline --metric 'loss >= 0.4' -n 1", "log --metric loss", "log --oneline --author ^Ann", "log --author (", "log --oneline --grep again", "log --oneline --since 2020-01-01 --until now", "log --oneline --until 1d",
		"log --since soon", "log --graph --oneline --all", "log --graph -n 1", "reset --help", "restore --help", "revert --help", "cherry-pick --help", "undo --help", "reflog --help", "describe --help", "log --help", "branch --help", "tag --help", "checkout --help",
	})
	if out, _, code := w.run("branch", "-v"); code != 0 || !strings.Contains(out, "UNIQUE") || !strings.Contains(out, "seconds") {
		t.Errorf("branch -v: exit %d\n%s", code, out)
	}
	if b, err := os.ReadFile(filepath.Join(w.base, "a")); err != nil || string(b) != "three\n" {
		t.Errorf("a file outside was changed: %q, %v", b, err)
	}
}
