package fs

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"coral/delta"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs"
	"coral/vcs/object"
)

// makeLarge makes a repository of commits in a line and of small blobs.
func makeLarge(b *testing.B, commits, blobs int) string {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "models")
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	check(vcs.Init(dir))
	ctx := b.Context()
	r, err := vcs.Open(ctx, filepath.Join(dir, ".coral"), vcs.Options{})
	check(err)
	for i := range blobs {
		raw := binary.LittleEndian.AppendUint64(nil, uint64(i)|1<<63)
		payload, codec := delta.CompressObject(nil, raw)
		check(r.Packs.Put(ctx, objstore.Record{Kind: objstore.Blob, ID: oid.Sum(raw), Codec: uint16(codec), RawSize: 8, Payload: payload}))
	}
	tree, err := r.Objects.PutTree(ctx, &object.Tree{})
	check(err)
	var at oid.ID
	for i := range commits {
		c := &object.Commit{Tree: tree, Author: "Bench <bench@localhost>", Time: time.Unix(int64(i), 0), Message: fmt.Sprintf("step %d", i)}
		if !at.IsZero() {
			c.Parents = []oid.ID{at}
		}
		at, err = r.Objects.PutCommit(ctx, c)
		check(err)
		_, err = r.Graph.Node(ctx, at) // as a snapshot does
		check(err)
	}
	check(r.Refs.MoveBranch("main", oid.ID{}, at, "bench", "commits"))
	check(r.Close(ctx))
	return dir
}

// BenchmarkMountLarge starts the daemon on a repository of 100,000 commits and 1,000,000 blobs, until the mount answers, and ends it. It reports the daemon's memory, too.
func BenchmarkMountLarge(b *testing.B) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		b.Skip("CANNOT RUN: no /dev/fuse")
	}
	repo, dir := makeLarge(b, 100_000, 1_000_000), b.TempDir()
	conf, err := json.Marshal(daemonConfig{Repo: filepath.Join(repo, ".coral"), Mountpoint: dir})
	if err != nil {
		b.Fatal(err)
	}
	rss := 0
	var mounting time.Duration
	for b.Loop() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), daemonEnv+"="+string(conf))
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		mounting += time.Since(start)
		if status, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); rerr == nil {
			if m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status); m != nil {
				rss, _ = strconv.Atoi(string(m[1]))
			}
		}
		in.Close()
		if werr := cmd.Wait(); err != nil || werr != nil || line != "ready\n" {
			b.Fatalf("daemon: %q, %v, %v", line, err, werr)
		}
	}
	b.ReportMetric(float64(mounting.Milliseconds())/float64(b.N), "ms/mount")
	b.ReportMetric(float64(rss)/1024, "MiB-RSS")
}
