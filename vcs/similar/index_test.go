package similar

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	simhash "coral/delta/similar"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/vfs"
)

// world is an index in memory and what was added to it.
type world struct {
	t   testing.TB
	fs  vfs.FS
	x   *Index
	rng *rand.Rand
	all map[oid.ID]simhash.Sketch
	ids []oid.ID
}

func newWorld(t testing.TB, fs vfs.FS, seal int) *world {
	w := &world{t: t, fs: fs, rng: rand.New(rand.NewPCG(1, 2)), all: map[oid.ID]simhash.Sketch{}}
	w.x = Open("/", Options{FS: fs, seal: seal})
	t.Cleanup(func() { _ = w.x.Close() })
	return w
}

func (w *world) add(s simhash.Sketch) oid.ID {
	var id oid.ID
	binary.LittleEndian.PutUint64(id[:], uint64(len(w.ids)))
	w.ids = append(w.ids, id)
	w.all[id] = s
	w.x.Add(id, &s)
	return id
}

// addRandom adds n sketches that resemble no other.
func (w *world) addRandom(n int) {
	for range n {
		w.add(randomSketch(w.rng))
	}
}

// missing returns how many of what was added are not found by their own sketches, and fails on answers that were never added.
func (w *world) missing(x *Index) (n int) {
	w.t.Helper()
	for id, s := range w.all {
		got := x.Near(Query{Sketch: &s, MaxDistance: 0, N: 8})
		if !slices.ContainsFunc(got, func(m Match) bool { return m.ID == id }) {
			n++
		}
		for _, m := range got {
			other, ok := w.all[m.ID]
			if !ok || other.Fingerprint.Distance(&s.Fingerprint) != m.Distance {
				w.t.Fatalf("%s at distance %d was never added", m.ID.Short(), m.Distance)
			}
		}
	}
	return n
}

func (w *world) reopen(seal int) {
	w.x = Open("/", Options{FS: w.fs, seal: seal})
	w.t.Cleanup(func() { _ = w.x.Close() })
}

// TestFindsAll goes through tails, runs and merges, with and without Close between.
func TestFindsAll(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 100, 1000} {
		w := newWorld(t, vfs.NewMem(), 16)
		w.addRandom(n)
		if m := w.missing(w.x); m != 0 || w.x.Len() != int64(n) {
			t.Errorf("%d added: %d not found, length %d", n, m, w.x.Len())
		}
		w.reopen(16) // as after kill -9
		w.addRandom(3)
		if m := w.missing(w.x); m != 0 || w.x.Len() != int64(n+3) {
			t.Errorf("%d added and 3 after a kill: %d not found, length %d", n, m, w.x.Len())
		}
		if err := w.x.Close(); err != nil {
			t.Fatal(err)
		}
		w.reopen(16)
		if m := w.missing(w.x); m != 0 {
			t.Errorf("%d added, after Close: %d not found", n, m)
		}
		if runs := len(w.x.runs); runs > 7 {
			t.Errorf("%d records in %d runs", n, runs)
		}
	}
}

// TestRecall compares with looking at everything.
func TestRecall(t *testing.T) {
	w := newWorld(t, vfs.NewMem(), 256)
	w.addRandom(3000)
	missed := 0
	for _, id := range w.ids[:1000] {
		s := w.all[id]
		flip(&s, w.rng, 16) // a correlation of 0.98
		got := w.x.Near(Query{Sketch: &s, MaxDistance: simhash.MaxDistance(0.98), N: 4})
		if len(got) == 0 || got[0].ID != id {
			missed++
		}
	}
	if missed > 10 {
		t.Errorf("%d of 1000 not found at the distance of 0.98", missed)
	}
}

func TestOrderAndFilters(t *testing.T) {
	w := newWorld(t, vfs.NewMem(), 4)
	s := randomSketch(w.rng)
	var want []oid.ID
	for d := 5; d >= 0; d-- {
		near := s
		flip(&near, rand.New(rand.NewPCG(9, 9)), d)
		want = append([]oid.ID{w.add(near)}, want...)
	}
	other := s
	other.Count++
	w.add(other)
	cast := s
	cast.DType++
	castID := w.add(cast)
	var got []oid.ID
	for _, m := range w.x.Near(Query{Sketch: &s, MaxDistance: 4, N: 100, SameDType: true}) {
		got = append(got, m.ID)
	}
	if !slices.Equal(got, want[:5]) {
		t.Errorf("got %v, want %v", got, want[:5])
	}
	if got := w.x.Candidates(&s, 2); !slices.Equal(got, want[:2]) {
		t.Errorf("candidates %v, want %v", got, want[:2])
	}
	// Without the filter the cast is there, before the equal one that was added earlier.
	if m := w.x.Near(Query{Sketch: &s, MaxDistance: 4, N: 1}); len(m) != 1 || m[0].ID != castID {
		t.Errorf("any dtype: %v", m)
	}
	if m := w.x.Near(Query{Sketch: &s, MaxDistance: 4}); m != nil {
		t.Errorf("none wanted: %v", m)
	}
	w.x.Add(want[0], &s) // twice
	if m := w.x.Near(Query{Sketch: &s, MaxDistance: 0, N: 10, SameDType: true}); len(m) != 1 {
		t.Errorf("one blob added twice: %v", m)
	}
}

// TestBuckets adds thousands of the same: a query stays bounded and answers with the newest.
func TestBuckets(t *testing.T) {
	w := newWorld(t, vfs.NewMem(), 64)
	s := randomSketch(w.rng)
	for range 5000 {
		w.add(s)
	}
	for _, r := range w.x.runs {
		for table, n := range r.postings {
			if n > maxBucket {
				t.Errorf("run of %d records: %d postings of one key in table %d", r.records, n, table)
			}
		}
	}
	got := w.x.Near(Query{Sketch: &s, MaxDistance: 0, N: 3})
	if want := w.ids[len(w.ids)-1]; len(got) != 3 || got[0].ID != want {
		t.Errorf("got %v, want %s first", got, want)
	}
}

func TestCompact(t *testing.T) {
	w := newWorld(t, vfs.NewMem(), 16)
	w.addRandom(100)
	keep := func(id oid.ID) bool { return id[0]%3 == 0 }
	if err := w.x.Compact(keep); err != nil {
		t.Fatal(err)
	}
	for id := range w.all {
		if !keep(id) {
			delete(w.all, id)
		}
	}
	if n := w.missing(w.x); n != 0 || w.x.Len() != int64(len(w.all)) || len(w.x.runs) != 1 {
		t.Errorf("%d not found, length %d, want %d", n, w.x.Len(), len(w.all))
	}
	w.reopen(16)
	if n := w.missing(w.x); n != 0 || w.x.Len() != int64(len(w.all)) {
		t.Errorf("after a kill: %d not found, length %d, want %d", n, w.x.Len(), len(w.all))
	}
	if err := w.x.Compact(func(oid.ID) bool { return false }); err != nil || w.x.Len() != 0 {
		t.Errorf("keep nothing: length %d, %v", w.x.Len(), err)
	}
	w.addRandom(40)
	if n := w.missing(w.x); n != len(w.all)-40 {
		t.Errorf("after all was dropped: %d not found", n)
	}
}

func TestIncomplete(t *testing.T) {
	w := newWorld(t, vfs.NewMem(), 16)
	check := func(when string, want bool) {
		t.Helper()
		if got := w.x.Incomplete(); got != want {
			t.Errorf("%s: incomplete %v, want %v", when, got, want)
		}
	}
	check("no directory", true)
	w.addRandom(5)
	w.reopen(16)
	check("after an Add", true)
	if err := w.x.Reset(); err != nil || w.x.Len() != 0 {
		t.Fatalf("reset: length %d, %v", w.x.Len(), err)
	}
	w.reopen(16)
	check("killed while it was made again", true)
	w.all, w.ids = map[oid.ID]simhash.Sketch{}, nil
	w.addRandom(50)
	if err := w.x.Complete(); err != nil {
		t.Fatal(err)
	}
	check("complete", false)
	w.reopen(16)
	check("complete and reopened", false)
	if n := w.missing(w.x); n != 0 {
		t.Errorf("%d not found", n)
	}
	fresh := vfs.NewMem()
	if err := fresh.MkdirAll("/"+DirName, 0o700); err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, fresh, 16)
	w.addRandom(5)
	check("a new repository", false)
}

func TestReadOnly(t *testing.T) {
	fs := vfs.NewMem()
	w := newWorld(t, fs, 16)
	w.addRandom(100)
	before := listing(t, fs)
	ro := Open("/", Options{FS: fs, ReadOnly: true, seal: 16})
	defer ro.Close()
	if n := w.missing(ro); n != 0 {
		t.Errorf("%d not found", n)
	}
	s := randomSketch(w.rng)
	ro.Add(oid.ID{1}, &s)
	for _, err := range []error{ro.Reset(), ro.Compact(func(oid.ID) bool { return true })} {
		if !errors.Is(err, errs.ReadOnly) {
			t.Errorf("error %v, want read-only", err)
		}
	}
	if got := listing(t, fs); got != before {
		t.Errorf("files %s, were %s", got, before)
	}
	empty := vfs.NewMem()
	ro = Open("/", Options{FS: empty, ReadOnly: true})
	defer ro.Close()
	if _, err := empty.ReadDir("/" + DirName); !errors.Is(err, errs.NotFound) {
		t.Errorf("a read-only index made its directory: %v", err)
	}
}

func listing(t *testing.T, fs vfs.FS) string {
	t.Helper()
	names, err := fs.ReadDir("/" + DirName)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestConcurrent(t *testing.T) {
	x := Open(t.TempDir(), Options{seal: 32})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 500 {
				s := randomSketch(rng)
				id := oid.ID{byte(g), byte(i), byte(i >> 8)}
				x.Add(id, &s)
				if m := x.Near(Query{Sketch: &s, N: 1}); len(m) != 1 || m[0].ID != id {
					t.Errorf("%s: not found right after Add", id.Short())
				}
				if i == 250 && g == 0 {
					if err := x.Compact(func(oid.ID) bool { return true }); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if x.Len() != 2000 {
		t.Errorf("length %d", x.Len())
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// TestCrash cuts the power at every call of a session: what is found afterwards was added, and the index goes on.
func TestCrash(t *testing.T) {
	const adds = 60
	for cut := 1; ; cut++ {
		mem := vfs.NewMem()
		var after *vfs.Mem
		fault := &vfs.Fault{FS: mem}
		fault.Rule = func(op vfs.Op) (int, error) {
			if op.N == cut {
				after = mem.Crash(rand.New(rand.NewPCG(uint64(cut), 3)))
			}
			return op.Len, nil
		}
		w := newWorld(t, fault, 8)
		w.addRandom(adds)
		if after == nil {
			if cut < 50 {
				t.Fatalf("only %d calls", cut)
			}
			return
		}
		w.fs = after
		w.reopen(8)
		w.missing(w.x)
		w.addRandom(20)
		if n := w.missing(w.x); n > adds {
			t.Errorf("cut at call %d: %d not found, of 20 added after it too", cut, n)
		}
	}
}

// TestFaults fails every call in turn, once or for good: what was added is found by this process, and what the next one finds was added.
func TestFaults(t *testing.T) {
	for _, forGood := range []bool{false, true} {
		for n := 1; ; n++ {
			mem := vfs.NewMem()
			fault := &vfs.Fault{FS: mem}
			fault.Rule = func(op vfs.Op) (int, error) {
				if op.N == n || forGood && op.N > n {
					return op.Len / 2, syscall.EIO
				}
				return op.Len, nil
			}
			w := newWorld(t, fault, 8)
			w.addRandom(60)
			calls := fault.Calls()
			if got := w.x.Len(); got != 60 && !(n == 1 || w.x.Incomplete()) {
				t.Errorf("call %d fails (for good: %v): length %d, and not incomplete", n, forGood, got)
			}
			_ = w.x.Close() // may say what failed
			w.fs = mem
			w.reopen(8)
			w.missing(w.x)
			if calls < n {
				break
			}
		}
	}
}

// TestDamage changes a byte anywhere in the files: an answer may be missing, never made up, and what was noticed is made again.
func TestDamage(t *testing.T) {
	w := newWorld(t, vfs.NewMem(), 64)
	w.addRandom(64 + 32 + 7)
	mem := w.fs.(*vfs.Mem)
	names, err := mem.ReadDir("/" + DirName)
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		path := "/" + DirName + "/" + name
		size, err := mem.Size(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := int64(0); at < size; at += 1 + size/200 {
			copied := mem.Crash(rand.New(rand.NewPCG(1, 1)))
			f, err := copied.OpenFile(path, vfs.ReadWrite, 0)
			if err != nil {
				continue // unsynced, and lost by this "crash"
			}
			var b [1]byte
			if _, err := f.ReadAt(b[:], at); err != nil {
				continue
			}
			b[0] ^= 0x41
			if _, err := f.WritevAt([][]byte{b[:]}, at); err != nil {
				t.Fatal(err)
			}
			x := Open("/", Options{FS: copied, seal: 64})
			lost := w.missing(x)
			if strings.HasSuffix(name, runSuffix) && lost > 8 && !x.Incomplete() {
				t.Errorf("%s damaged at %d: %d not found, and not incomplete", name, at, lost)
			}
			for range 200 { // merges with what is damaged
				s := randomSketch(w.rng)
				x.Add(oid.Sum(s.Fingerprint[:]), &s)
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// FuzzRun opens any bytes as a run, with the checksum made right.
func FuzzRun(f *testing.F) {
	w := newWorld(f, vfs.NewMem(), 8)
	w.addRandom(8)
	file, err := w.fs.OpenFile(w.x.runs[0].name, vfs.ReadOnly, 0)
	if err != nil {
		f.Fatal(err)
	}
	size, _ := file.Size()
	seed := make([]byte, size)
	if _, err := file.ReadAt(seed, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[len(seed)-trailerSize:])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= trailerSize {
			tr := b[len(b)-trailerSize:]
			if head, err := decodeTrailer(tr, int64(len(b))); err == nil {
				fences := b[head.start(simhash.Tables) : len(b)-trailerSize]
				binary.LittleEndian.PutUint64(tr[88:], trailerSum(fences, tr))
			}
		}
		fs := vfs.NewMem()
		if err := fs.MkdirAll("/"+DirName, 0o700); err != nil {
			t.Fatal(err)
		}
		g, err := fs.OpenFile("/"+DirName+"/00000001.run", vfs.ReadWrite|vfs.Create, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.WritevAt([][]byte{b}, 0); err != nil {
			t.Fatal(err)
		}
		x := Open("/", Options{FS: fs, seal: 8})
		defer x.Close()
		for _, s := range w.all {
			for _, m := range x.Near(Query{Sketch: &s, MaxDistance: simhash.Bits, N: 20}) {
				if m.Distance > simhash.Bits {
					t.Error("distance", m.Distance)
				}
			}
		}
		for range 20 {
			s := randomSketch(w.rng)
			x.Add(oid.Sum(s.Fingerprint[:]), &s)
		}
	})
}
