package suites

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// fsxConfig turns everything on that fsx knows: largest file, alignment, and the weight of posix_fallocate.
const fsxConfig = `flen = %d
[opsize]
max = 131072
align = %d
[weights]
close_open = 1
invalidate = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
truncate = 5
fsync = 0.2
fdatasync = 0.2
posix_fallocate = %d
punch_hole = 5
sendfile = 3
posix_fadvise = 2
copy_file_range = 3
`

// TestFsx runs random reads, writes, mappings, truncations, allocations and holes on single files, several at a time, with snapshots in between.
// 100,000 operations, or 2,000,000 in a long run. At the end the files of a commit are what fsx left.
func TestFsx(t *testing.T) { fsxFiles(t, size(4, 16), size(25_000, 125_000)) }

// TestNoPassthrough runs the suites that find most, the load of programs left aside, on a mount whose daemon serves every read and write.
func TestNoPassthrough(t *testing.T) {
	t.Run("pjdfstest", func(t *testing.T) { pjdfstest(t, size(1, 20), "--no-passthrough") })
	t.Run("fsx", func(t *testing.T) { fsxFiles(t, size(4, 16), size(5_000, 125_000), "--no-passthrough") })
	t.Run("fio", func(t *testing.T) { fio(t, "--no-passthrough") })
	t.Run("sqlite", func(t *testing.T) { sqlite(t, "--no-passthrough") })
}

// fsxFiles is fsx on a mount with these flags: a file for each seed, two at a time.
func fsxFiles(t *testing.T, seeds, ops int, flags ...string) {
	bin := program(t, "fsx")
	r := mount(t, flags...)
	dir := mkdir(t, r, "fsx")
	watch(t, r, true, 300*time.Millisecond)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2)
	for seed := range seeds {
		flen, align, allocate := 1<<18, 1, 3
		if seed%2 == 1 {
			flen = 3 << 20
		}
		if seed%4 == 3 {
			align, allocate = 512, 0 // fsx 0.3.2 asks for 0 bytes then, which is EINVAL, on ext4 too
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			fsx(t, bin, dir, seed+1, ops, fmt.Sprintf(fsxConfig, flen, align, allocate))
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Logf("fsx: %d operations", seeds*ops)
	sameInCommit(t, r, "fsx")
}

// fsx runs one file's operations. It compares what it reads with what it wrote by itself.
func fsx(t *testing.T, bin, dir string, seed, ops int, config string) {
	art := filepath.Join(t.TempDir(), "artifacts")
	conf := filepath.Join(t.TempDir(), "fsx.toml")
	if err := os.Mkdir(art, 0o755); err != nil {
		t.Error(err)
		return
	}
	if err := os.WriteFile(conf, []byte(config), 0o600); err != nil {
		t.Error(err)
		return
	}
	cmd := command(t, dir, size(5*time.Minute, time.Hour), bin, "-q", "-f", conf, "-P", art, "-N", fmt.Sprint(ops), "-S", fmt.Sprint(seed), fmt.Sprintf("f%d", seed))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("fsx, seed %d: %v\n%s", seed, err, tail(out, 60))
	}
}

// sameInCommit makes a commit and compares a directory of it, and of the live tree after all caches were dropped and after a remount, with what
// the live tree holds.
func sameInCommit(t *testing.T, r *mounttest.Repo, name string) {
	t.Helper()
	entries, err := os.ReadDir(r.Live(name))
	must(t, err)
	want := map[string][]byte{}
	for _, e := range entries {
		if e.Type().IsRegular() {
			want[e.Name()], err = os.ReadFile(r.Live(name, e.Name()))
			must(t, err)
		}
	}
	if len(want) == 0 {
		t.Errorf("%s is empty: nothing was shown", name)
	}
	id := r.Snapshot("end of " + name)
	r.Coral("sync")
	r.Coral("cache", "drop")
	for file, data := range want {
		for _, path := range []string{r.Commit(id, name, file), r.Live(name, file)} {
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes, not what was written (%d): %v", path, len(got), len(data), err)
			}
		}
	}
}
