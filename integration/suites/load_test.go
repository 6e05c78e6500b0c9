package suites

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// TestFio writes blocks that carry their own checksums and reads them back, by every way that a program has to do so.
func TestFio(t *testing.T) { fio(t) }

// fio is the test on a mount with these flags.
func fio(t *testing.T, flags ...string) {
	bin := program(t, "fio")
	r := mount(t, flags...)
	dir := mkdir(t, r, "fio")
	watch(t, r, true, 500*time.Millisecond)
	mb := size("24m", "512m")
	for _, job := range []struct {
		name string
		args []string
	}{
		{"random", []string{"--ioengine=psync", "--rw=randwrite", "--bsrange=512-64k", "--bs_unaligned=1"}},
		{"mixed", []string{"--ioengine=psync", "--rw=randrw", "--bs=8k", "--rwmixread=30", "--fsync=64"}},
		{"sequential", []string{"--ioengine=sync", "--rw=write", "--bs=128k", "--fallocate=none"}},
		{"mmap", []string{"--ioengine=mmap", "--rw=randwrite", "--bs=4k"}},
		{"direct", []string{"--ioengine=psync", "--rw=randrw", "--bs=4k", "--direct=1"}},
		{"libaio-direct", []string{"--ioengine=libaio", "--rw=randwrite", "--bs=4k", "--direct=1", "--iodepth=16"}},
		{"threads", []string{"--ioengine=psync", "--rw=randwrite", "--bs=4k", "--numjobs=4", "--thread"}},
	} {
		t.Run(job.name, func(t *testing.T) {
			args := append([]string{"--name=" + job.name, "--directory=" + dir, "--size=" + mb, "--verify=crc32c", "--verify_fatal=1", "--do_verify=1",
				"--verify_backlog=1024", "--randrepeat=0", "--output-format=terse"}, job.args...)
			runs(t, dir, size(2*time.Minute, time.Hour), bin, args...)
		})
	}
	// What a commit holds passes the same check, after it was decoded.
	runs(t, dir, 5*time.Minute, bin, "--name=kept", "--filename=kept", "--rw=randwrite", "--bs=4k", "--size="+mb, "--verify=crc32c", "--do_verify=0")
	id := r.Snapshot("kept")
	r.Coral("sync")
	r.Coral("cache", "drop")
	for _, rw := range []string{"read", "randread"} {
		runs(t, r.Commit(id, "fio"), 5*time.Minute, bin, "--name=kept", "--filename=kept", "--rw="+rw, "--bs=4k", "--size="+mb, "--verify=crc32c",
			"--verify_fatal=1", "--verify_state_save=0", "--readonly")
	}
}

// stressors are the file stressors of stress-ng that check what they do, and those that try unusual calls. Left out: bind-mount, binderfs, fanotify, procfs
// (not about this file system), iomix and dirmany (minutes each for little).
var stressors = strings.Fields(`access aio chdir chmod chown copy-file dentry dir dirdeep dup fallocate fcntl fiemap file-ioctl filename flock fpunch fsize
	fstat getdent handle hdd inode-flags inotify io lease link locka lockf lockofd mknod mmap msync open readahead rename revio seek sendfile splice
	symlink sync-file tee touch utime verity xattr`)

// TestStressNG runs each stressor for a moment, with checks.
func TestStressNG(t *testing.T) {
	bin := program(t, "stress-ng")
	r := mount(t)
	dir := mkdir(t, r, "ng")
	watch(t, r, true, 500*time.Millisecond)
	for _, s := range stressors {
		t.Run(s, func(t *testing.T) {
			cmd := command(t, dir, 2*time.Minute, bin, "--"+s, "2", "--timeout", fmt.Sprint(size(1, 60)), "--verify", "--temp-path", dir, "--hdd-bytes", "16m",
				"--no-rand-seed", "--stdout")
			out, err := cmd.CombinedOutput()
			const notImplemented = 4 // "some of the stressors are not supported", by stress-ng(1)
			if err != nil && exitCode(cmd) == notImplemented {
				t.Skipf("stress-ng: not supported here: %s", tail(out, 3))
			}
			if err != nil || strings.Contains(string(out), "fail:") {
				t.Errorf("stress-ng --%s: %v\n%s", s, err, tail(out, 30))
			}
		})
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range left {
		t.Errorf("stress-ng left %s", e.Name())
	}
}

// TestDbench replays the calls of a file server's clients.
func TestDbench(t *testing.T) {
	bin := program(t, "dbench")
	load := "/usr/share/dbench/client.txt"
	if _, err := os.Stat(load); err != nil {
		load = filepath.Join(mounttest.Root(), ".cache", "tools", "root", load)
	}
	r := mount(t)
	dir := mkdir(t, r, "dbench")
	watch(t, r, true, time.Second)
	out := runs(t, dir, size(2*time.Minute, time.Hour), bin, "-D", dir, "-c", load, "-t", size("8", "600"), size("4", "16"))
	if !strings.Contains(out, "Throughput") {
		t.Errorf("dbench printed no result:\n%s", tail([]byte(out), 20))
	}
}

// TestFsMark makes and syncs many small files in many directories by several threads.
func TestFsMark(t *testing.T) {
	bin := program(t, "fs_mark")
	r := mount(t)
	dir := mkdir(t, r, "mark")
	watch(t, r, true, 500*time.Millisecond)
	for _, how := range []string{"0", "1", "5"} { // no sync, fsync of each file, fsync of one after all are written
		out := runs(t, dir, size(2*time.Minute, time.Hour), bin, "-d", ".", "-D", "16", "-t", "4", "-n", size("250", "10000"), "-s", "5000", "-S", how, "-k", "-l", os.DevNull)
		if strings.Contains(strings.ToLower(out), "error") {
			t.Errorf("fs_mark -S %s:\n%s", how, tail([]byte(out), 20))
		}
	}
}
