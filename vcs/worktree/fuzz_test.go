package worktree

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"coral/internal/oid"
)

// everyRecord has one record of each kind, all their fields set.
func everyRecord() []record {
	var list []record
	for k := range recordFields {
		if recordFields[k] == nil {
			continue
		}
		r := record{kind: recKind(k), time: -5}
		for _, f := range recordFields[k] {
			switch f {
			case fPath:
				r.path = "a/\xff"
			case fPath2:
				r.path2 = "b"
			case fMode:
				r.mode = 0o100644
			case fOwner:
				r.uid, r.gid = 1<<32-1, 7
			case fRdev:
				r.rdev = 0x801
			case fSpool:
				r.spool = 1<<64 - 1
			case fID:
				r.id = oid.Sum([]byte("x"))
			case fStat:
				r.stat = spoolStat{1 << 60, -1, 1 << 62}
			case fTimes:
				r.mask, r.atime, r.mtime, r.ctime = setAll, 1, -2, 3
			case fName:
				r.name = "user.x"
			case fValue:
				r.value = []byte{0, 255}
			case fState:
				r.dirty = true
			case fSize:
				r.size = 12
			}
		}
		list = append(list, r)
	}
	return list
}

func TestRecordRoundTrip(t *testing.T) {
	for _, r := range everyRecord() {
		b := appendRecord(nil, &r)
		n, err := frameLength(b)
		if err != nil || n != len(b) {
			t.Fatalf("%s: frame of %d bytes, %v", r.kind, n, err)
		}
		got, err := decodeRecord(b)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v (%v), want %+v", got, err, r)
		}
		for i := range b { // any damaged byte is found
			d := bytes.Clone(b)
			d[i] ^= 0x40
			if n, err := frameLength(d); err == nil && n == len(d) {
				if _, err := decodeRecord(d); err == nil {
					t.Errorf("%s: damage at byte %d goes unnoticed", r.kind, i)
				}
			}
		}
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	for _, h := range []header{{}, {-1, oid.Sum(nil), "feature/ä"}} {
		b := appendHeader(nil, h)
		got, n, err := decodeHeader(append(b, "more"...))
		if err != nil || n != len(b) || got != h {
			t.Errorf("%+v, %d, %v", got, n, err)
		}
		for i := range b {
			d := bytes.Clone(b)
			d[i] ^= 0x40
			if _, _, err := decodeHeader(d); err == nil {
				t.Errorf("damage at byte %d goes unnoticed", i)
			}
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range everyRecord() {
		b := appendRecord(nil, &r)
		f.Add(b[4 : len(b)-8])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) == 0 || len(body) > maxRecord {
			return
		}
		r, err := decodeRecord(frame(body))
		if err != nil {
			return
		}
		again, err := decodeRecord(appendRecord(nil, &r))
		if err != nil || !reflect.DeepEqual(normal(again), normal(r)) {
			t.Fatalf("%+v (%v), want %+v", again, err, r)
		}
	})
}

func normal(r record) record {
	if len(r.value) == 0 {
		r.value = nil
	}
	return r
}

// frame puts a body into a valid frame.
func frame(body []byte) []byte {
	return seal(append(make([]byte, 4), body...), 0)
}

// FuzzReplay opens a live tree whose journal has arbitrary records with valid checksums: it opens or is refused, and what opens can be listed, changed,
// compacted and opened again.
func FuzzReplay(f *testing.F) {
	seed := func(records ...record) {
		var b []byte
		for _, r := range records {
			body := appendRecord(nil, &r)
			body = body[4 : len(body)-8]
			b = append(append(b, byte(len(body))), body...)
		}
		f.Add(b)
	}
	seed(everyRecord()...)
	mk := record{kind: recMkdir, path: "d", mode: 0o755}
	seed(mk, record{kind: recCreate, path: "d/f", spool: 1}, record{kind: recLink, path: "d/f", path2: "g"}, record{kind: recRename, path: "d", path2: "e"}, record{kind: recUnlink, path: "g"})
	seed(mk, record{kind: recExchange, path: "d", path2: "d"}, record{kind: recSymlink, path: "l", value: []byte("x")}, record{kind: recDrop, path: "d"}, record{kind: recDirty, path: "l", spool: 3})
	seed(record{kind: recFile, path: "f", mask: setAll, mode: 0o644, spool: 2, dirty: true}, record{kind: recIngested, path: "f", spool: 2}, record{kind: recGraft, path: "g"}, record{kind: recDoomed, spool: 2})
	dir := f.TempDir()
	deps := newMemDeps()
	f.Fuzz(func(t *testing.T, in []byte) {
		b := appendHeader(nil, header{branch: "main"})
		for len(in) > 0 {
			n := min(int(in[0]), len(in)-1)
			if n > 0 {
				b = append(b, frame(in[1:1+n])...)
			}
			in = in[1+n:]
		}
		os.RemoveAll(dir)
		e := &env{t: t, dir: dir, deps: deps}
		e.ok(os.MkdirAll(filepath.Join(dir, "live", "main"), 0o700))
		e.ok(os.WriteFile(filepath.Join(dir, "live", "main", "journal"), b, 0o600))
		set, err := Open(bg, dir, deps, Options{})
		e.ok(err)
		tree, err := set.Tree(bg, "main", oid.ID{})
		if err != nil {
			e.ok(set.Close(bg))
			return
		}
		listAll(t, tree, tree.Root(), 0)
		tree.Mkdir(bg, tree.Root(), "fuzz", 0o755, 0, 0)
		e.ok(compactTo(tree, oid.ID{}))
		names := listAll(t, tree, tree.Root(), 0)
		e.ok(set.Close(bg))
		set, err = Open(bg, dir, deps, Options{})
		e.ok(err)
		tree, err = set.Tree(bg, "main", oid.ID{})
		e.ok(err)
		if n := listAll(t, tree, tree.Root(), 0); n != names {
			t.Fatalf("%d names after compaction and restart, were %d", n, names)
		}
		e.ok(set.Close(bg))
	})
}

func listAll(t *testing.T, tree *Tree, dir Ino, depth int) int {
	names, err := tree.Readdir(bg, dir)
	if err != nil {
		return 0 // a graft whose tree is not there
	}
	n := len(names)
	for _, x := range names {
		if _, err := tree.Getattr(bg, x.Ino); err == nil && x.Mode == typeDir {
			n += listAll(t, tree, x.Ino, depth+1)
		}
	}
	return n
}

func FuzzReadJournal(f *testing.F) {
	b := appendHeader(nil, header{branch: "main"})
	for _, r := range everyRecord() {
		b = appendRecord(b, &r)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, in []byte) {
		n := 0
		valid, records, err := readJournal(bytes.NewReader(in), func(header) error { return nil }, func(*record, int64) error { n++; return nil })
		if valid > int64(len(in)) || err == nil && n != records {
			t.Fatalf("%d of %d bytes, %d records, %d seen, %v", valid, len(in), records, n, err)
		}
		holdsRecords(bytes.NewReader(in))
	})
}

func TestHoldsRecords(t *testing.T) {
	r := everyRecord()[3]
	rec := appendRecord(nil, &r)
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 10000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	if holdsRecords(bytes.NewReader(noise)) || holdsRecords(bytes.NewReader(rec[:len(rec)-1])) || holdsRecords(bytes.NewReader(make([]byte, 100))) {
		t.Error("found a record that is not there")
	}
	if !holdsRecords(bytes.NewReader(append(noise, rec...))) {
		t.Error("a record is not found")
	}
}
