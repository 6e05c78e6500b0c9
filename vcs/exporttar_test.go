package vcs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"coral/internal/errs"
)

// untar reads an archive, as its name says it is compressed.
func untar(t *testing.T, name string) (names []string, heads map[string]*tar.Header, data map[string]string) {
	t.Helper()
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	var in io.Reader = f
	switch filepath.Ext(name) {
	case ".gz":
		in, err = gzip.NewReader(f)
	case ".zst":
		var z *zstd.Decoder
		if z, err = zstd.NewReader(f); err == nil {
			defer z.Close()
		}
		in = z
	}
	must(t, err)
	heads, data = map[string]*tar.Header{}, map[string]string{}
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names, heads, data
		}
		must(t, err)
		b, err := io.ReadAll(r)
		must(t, err)
		names, heads[h.Name], data[h.Name] = append(names, h.Name), h, string(b)
	}
}

func TestExportArchive(t *testing.T) {
	r := newRepo(t)
	big := noise(3<<20+5, 1)
	src := writeTree(t, map[string]string{"d/big": big, "a": "1", "bad\xff": "b", "empty": ""})
	when := time.Date(2020, 5, 6, 7, 8, 9, 123456789, time.UTC)
	must(t, os.Chmod(filepath.Join(src, "a"), 0o751))
	must(t, os.Chtimes(filepath.Join(src, "a"), when, when))
	must(t, os.Symlink("../a", filepath.Join(src, "d/link")))
	_, _, err := r.Add(bg, "main", src, "", nil)
	must(t, err)
	id := snap(t, r, "one")
	out := t.TempDir()
	for _, ext := range []string{".tar", ".tar.gz", ".tar.zst"} {
		name := filepath.Join(out, "x"+ext)
		files, n := 0, int64(0)
		must(t, r.ExportArchive(bg, id, "", name, func(f int, b int64) { files, n = f, b }))
		if files != 5 || n != int64(len(big)+2) {
			t.Errorf("%s: told of %d files, %d bytes", ext, files, n)
		}
		names, heads, data := untar(t, name)
		if len(names) != 6 || names[0] != "a" || names[1] != "bad\xff" || names[2] != "d/" || names[3] != "d/big" || names[4] != "d/link" {
			t.Errorf("%s: names %q", ext, names)
		}
		if data["d/big"] != big || data["a"] != "1" || data["bad\xff"] != "b" || heads["d/link"].Linkname != "../a" {
			t.Errorf("%s: contents differ", ext)
		}
		if h := heads["a"]; h.Mode != 0o751 || !h.ModTime.Equal(when) || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%s: %+v", ext, h)
		}
		first, err := os.ReadFile(name)
		must(t, err)
		wantErr(t, r.ExportArchive(bg, id, "", name, nil), errs.Exist, name)
		must(t, os.Remove(name))
		must(t, r.ExportArchive(bg, id, "", name, nil))
		if again, err := os.ReadFile(name); err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: other bytes the second time, %v", ext, err)
		}
	}
	must(t, r.ExportArchive(bg, id, "d/big", filepath.Join(out, "one.tar"), nil))
	if names, _, data := untar(t, filepath.Join(out, "one.tar")); len(names) != 1 || data["big"] != big {
		t.Errorf("one file: %q", names)
	}
	wantErr(t, r.ExportArchive(bg, id, "nowhere", filepath.Join(out, "no.tar"), nil), errs.NotFound, "nowhere")
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := r.ExportArchive(ctx, id, "", filepath.Join(out, "no.tar"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if list, err := os.ReadDir(out); err != nil || len(list) != 4 {
		t.Errorf("left %v, %v", list, err)
	}
	for name, want := range map[string]bool{"x.tar": true, "a/b.tgz": true, "x.tzst": true, ".tar": false, "a/.tar.gz": false, "x.zst": false, "tar": false} {
		if ArchiveName(name) != want {
			t.Errorf("ArchiveName(%q)", name)
		}
	}
}

func TestExportArchiveOfDamage(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"run/model.safetensors": noise(300_000, 3)})
	id := snap(t, r, "one")
	info, err := r.Packs.Stat(firstBlob(t, r, id))
	must(t, err)
	r = reopen(t, r) // nothing is cached
	defer flip(t, r, info)()
	name := filepath.Join(t.TempDir(), "x.tar")
	wantErr(t, r.ExportArchive(bg, id, "", name, nil), errs.Corrupt, "model.safetensors")
	if list, err := os.ReadDir(filepath.Dir(name)); err != nil || len(list) != 0 {
		t.Errorf("left %v, %v", list, err)
	}
}
