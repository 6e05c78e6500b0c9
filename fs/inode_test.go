package fs

import (
	"strconv"
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"coral/internal/oid"
)

func TestKeys(t *testing.T) {
	tree := treeKey(oid.Sum([]byte("tree")))
	if tree.path("a/b/c") != tree.child("a").child("b").child("c") {
		t.Fatal("path and child disagree")
	}
	if newKey("refdir", "ab", "c") == newKey("refdir", "a", "bc") {
		t.Fatal("the parts of a key run into each other")
	}
	long := string(make([]byte, 4096))
	if tree.child(long) == tree.child(long[1:]) {
		t.Fatal("long names collide")
	}
	seen := map[fusefs.StableAttr]string{}
	for i := range 10_000 {
		name := strconv.Itoa(i)
		id := tree.child(name).stable(syscall.S_IFREG | 0o644)
		if id.Ino>>63 != 1 || id.Reserved() {
			t.Fatalf("inode number %#x of %s may be a live one's or is reserved", id.Ino, name)
		}
		if id.Gen>>32 != 0 {
			t.Fatalf("generation %#x: the kernel keeps 32 bits", id.Gen)
		}
		if id.Mode != syscall.S_IFREG {
			t.Fatalf("mode %o", id.Mode)
		}
		if other, ok := seen[id]; ok {
			t.Fatalf("%s and %s are one inode", name, other)
		}
		seen[id] = name
	}
	var all key
	for i := range all {
		all[i] = 0xff
	}
	if id := all.stable(syscall.S_IFREG); id.Reserved() {
		t.Fatal("the reserved number was given out")
	}
}
