package service

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"coral/internal/errs"
)

// TestScratch: a directory that is in use stays, what a killed process left goes, also where it may not be written to.
func TestScratch(t *testing.T) {
	repo := t.TempDir()
	held, err := NewScratch(repo)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(repo, scratchName, "left")
	if err := os.MkdirAll(filepath.Join(left, "deep", "er"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "deep", "er", "file"), []byte("x"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(left, "deep", "er"), 0o500); err != nil {
		t.Fatal(err)
	}
	sweepScratch(repo)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if _, err := os.Stat(held.Dir); err != nil {
		t.Errorf("in use: %v", err)
	}
	for path, ok := range map[string]bool{
		filepath.Join(held.Dir, "1"): true, held.Dir: false, filepath.Join(held.Dir, "a", "b"): false, held.Dir + "/../../x": false, "/tmp/x/y": false, held.Dir + "/..": false, "": false,
	} {
		if err := inScratch(repo, path); (err == nil) != ok || err != nil && !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
	if list, err := os.ReadDir(filepath.Join(repo, scratchName)); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	sweepScratch(t.TempDir()) // without one
}
