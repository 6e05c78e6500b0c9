package integration

import (
	"os"
	"path/filepath"
	"testing"

	"coral/integration/mounttest"
)

// TestExportTar unpacks with tar what the binary wrote, with and without a daemon.
func TestExportTar(t *testing.T) {
	r := mounttest.New(t)
	src, out := t.TempDir(), t.TempDir()
	big := noise(9, 2<<20)
	if err := os.MkdirAll(filepath.Join(src, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(src, "run", "model.bin"), big, 0o640); err != nil {
		t.Fatal(err)
	}
	r.Coral("add", filepath.Join(src, "run"))
	r.Snapshot("one")
	for i, name := range []string{"a.tar", "b.tar.gz"} {
		if i == 1 {
			r.Mount()
		}
		file, dir := filepath.Join(out, name), filepath.Join(out, name+".d")
		r.Coral("export", "main", "-o", file)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		mounttest.Exec(t, "tar", "-xf", file, "-C", dir)
		r.Want(filepath.Join(dir, "run/model.bin"), big)
		want, err := os.Stat(filepath.Join(src, "run/model.bin"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.Stat(filepath.Join(dir, "run/model.bin")); err != nil || got.Mode() != want.Mode() || !got.ModTime().Equal(want.ModTime()) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if _, errOut, code := r.Try("export", "main", file); code != 1 {
			t.Errorf("export over what is there: exit %d, %s", code, errOut)
		}
	}
}
