package vcs

import (
	"fmt"
	"testing"
)

// BenchmarkSnapshotOneOf10k commits one changed file in a directory of 10,000.
func BenchmarkSnapshotOneOf10k(b *testing.B) {
	dir := b.TempDir()
	must(b, Init(dir))
	r, err := Open(bg, dir+"/"+DirName, Options{})
	must(b, err)
	defer r.Close(bg)
	live, err := r.LiveTree(bg, "main")
	must(b, err)
	for i := range 10_000 {
		write(b, live, fmt.Sprintf("file-%05d", i), fmt.Sprint(i))
	}
	_, err = r.Snapshot(bg, SnapshotOptions{Message: "all"})
	must(b, err)
	n := 0
	for b.Loop() {
		n++
		write(b, live, "file-00042", fmt.Sprint("change ", n))
		res, err := r.Snapshot(bg, SnapshotOptions{Message: "one"})
		if err != nil || res.Unchanged {
			b.Fatalf("%+v, %v", res, err)
		}
	}
}
