package suites

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// page is the unit that a disk writes whole.
const page = 4096

// buildDisk makes, in dir, what a disk may hold after a power cut at the end of log. How says what of the unsynced is there:
//
//	nothing unsynced  neither data nor names
//	names only        all names, no data: new files are empty, changed ones as they were (what ext4 may do with data=writeback)
//	any of it         each unsynced write, page by page, and names as of any moment since the last fsync of a directory
//
// Names are journalled: what is there of them is a prefix of what was done, which holds at least all that was done in a directory before its last fsync.
func buildDisk(t *testing.T, log []recOp, dir, how string, rnd *rand.Rand) {
	t.Helper()
	data := map[int][]byte{}
	pending := map[int][]recOp{}
	var names []recOp
	durable := 0
	for _, op := range log {
		switch op.Kind {
		case opWrite, opTruncate, opAllocate:
			pending[op.Obj] = append(pending[op.Obj], op)
		case opSync:
			for _, p := range pending[op.Obj] {
				data[op.Obj] = apply(data[op.Obj], p)
			}
			delete(pending, op.Obj)
		case opSyncDir:
			for i := len(names) - 1; i >= durable; i-- {
				if names[i].Dir == op.Obj || names[i].Dir2 == op.Obj {
					durable = i + 1
				}
			}
		default:
			if !strings.HasPrefix(op.Name, "mark-") {
				names = append(names, op)
			}
		}
	}
	keep := durable
	switch how {
	case "names only":
		keep = len(names)
	case "any of it":
		keep += rnd.IntN(len(names) - durable + 1)
		for obj, ops := range pending {
			for _, op := range ops {
				for _, part := range pages(op) {
					if rnd.IntN(2) == 0 {
						data[obj] = apply(data[obj], part)
					}
				}
			}
		}
	}
	writeTree(t, names[:keep], data, dir)
}

// apply changes a file's content.
func apply(b []byte, op recOp) []byte {
	switch op.Kind {
	case opTruncate:
		return resized(b, op.Off)
	case opAllocate:
		end := op.Off + op.Len
		if op.Mode&unix.FALLOC_FL_KEEP_SIZE == 0 && end > uint64(len(b)) {
			b = resized(b, end)
		}
		if op.Mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 && op.Off < uint64(len(b)) {
			clear(b[op.Off:min(end, uint64(len(b)))])
		}
		return b
	}
	if end := op.Off + uint64(len(op.Data)); end > uint64(len(b)) {
		b = resized(b, end)
	}
	copy(b[op.Off:], op.Data)
	return b
}

func resized(b []byte, n uint64) []byte {
	if n <= uint64(len(b)) {
		return b[:n:n]
	}
	out := make([]byte, n, n+n/4)
	copy(out, b)
	return out
}

// pages cuts a write at page boundaries.
func pages(op recOp) []recOp {
	if op.Kind != opWrite {
		return []recOp{op}
	}
	var out []recOp
	for len(op.Data) > 0 {
		n := min(page-op.Off%page, uint64(len(op.Data)))
		out = append(out, recOp{Kind: opWrite, Obj: op.Obj, Off: op.Off, Data: op.Data[:n]})
		op.Off, op.Data = op.Off+n, op.Data[n:]
	}
	return out
}

// writeTree makes the tree that names describe, with the files' data.
func writeTree(t *testing.T, names []recOp, data map[int][]byte, dir string) {
	t.Helper()
	kind, target := map[int]string{1: opMkdir}, map[int]string{}
	dirs := map[int]map[string]int{1: {}}
	for _, op := range names {
		d := dirs[op.Dir]
		if d == nil {
			t.Fatalf("recording: %s of %q in directory %d, which is not known", op.Kind, op.Name, op.Dir)
		}
		switch op.Kind {
		case opRemove:
			delete(d, op.Name)
		case opRename:
			dirs[op.Dir2][op.Name2] = d[op.Name]
			if op.Dir != op.Dir2 || op.Name != op.Name2 {
				delete(d, op.Name)
			}
		default:
			d[op.Name] = op.Obj
			if op.Kind != opLink {
				kind[op.Obj], target[op.Obj] = op.Kind, op.Name2
			}
			if op.Kind == opMkdir {
				dirs[op.Obj] = map[string]int{}
			}
		}
	}
	first := map[int]string{}
	var fill func(obj int, path string)
	fill = func(obj int, path string) {
		for name, o := range dirs[obj] {
			p := filepath.Join(path, name)
			switch {
			case kind[o] == opMkdir:
				must(t, os.MkdirAll(p, 0o700))
				fill(o, p)
			case kind[o] == opSymlink:
				must(t, os.Symlink(target[o], p))
			case kind[o] == opOther:
			case first[o] != "":
				must(t, os.Link(first[o], p))
			default:
				first[o] = p
				must(t, os.WriteFile(p, data[o], 0o600))
			}
		}
	}
	fill(1, dir)
}
