package local

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/pack"
)

var update = flag.Bool("update", false, "rewrite golden files")

// recs holds the records that were made: int → objstore.Record. Nobody changes their payloads.
var recs sync.Map

// rec returns record number i: always the same one. Some have the one before as base.
func rec(i int) objstore.Record {
	if out, ok := recs.Load(i); ok {
		return out.(objstore.Record)
	}
	r := rand.New(rand.NewPCG(uint64(i), 1))
	payload := make([]byte, r.IntN(900))
	for j := range payload {
		payload[j] = byte(r.Uint32())
	}
	out := objstore.Record{Kind: objstore.Kind(1 + i%5), ID: oid.Sum(fmt.Append(nil, "record", i)), Codec: uint16(i % 3), DType: uint8(i % 11),
		RawSize: int64(len(payload)) + int64(i), Payload: payload}
	if d := i % 4; d > 0 {
		out.Base, out.Depth = rec(i-1).ID, uint8(d)
	}
	recs.Store(i, out)
	return out
}

const smallPack = 8 << 10

func open1(t testing.TB, dir string, opts Options, e env) *Store {
	t.Helper()
	if opts.PackSize == 0 {
		opts.PackSize = smallPack
	}
	s, err := openStore(context.Background(), dir, opts, e)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, s *Store, is ...int) {
	t.Helper()
	for _, i := range is {
		ok(t, s.Put(context.Background(), rec(i)))
	}
}

func seq(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

// wrong says how the store's record i differs from what was put, or is nil.
func wrong(s *Store, i int) error {
	want := rec(i)
	info, payload, err := s.Get(context.Background(), want.ID)
	if err != nil {
		return err
	}
	got := objstore.Record{Kind: info.Kind, ID: info.ID, Codec: info.Codec, DType: info.DType, Depth: info.Depth, RawSize: info.RawSize,
		Base: info.Base, Payload: payload}
	if pack.FrameOf(got) != pack.FrameOf(want) || !bytes.Equal(payload, want.Payload) || info.Stored != int64(len(payload)) {
		return fmt.Errorf("record %d came back as %+v", i, info)
	}
	half := make([]byte, len(payload)/2)
	if err := s.ReadPayload(context.Background(), info, half, info.Stored-int64(len(half))); err != nil {
		return err
	}
	if !bytes.Equal(half, payload[len(payload)-len(half):]) {
		return fmt.Errorf("the second half of record %d differs", i)
	}
	return nil
}

func has(t testing.TB, s *Store, is ...int) {
	t.Helper()
	for _, i := range is {
		if err := wrong(s, i); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

func lacks(t testing.TB, s *Store, is ...int) {
	t.Helper()
	for _, i := range is {
		if _, err := s.Stat(rec(i).ID); !errors.Is(err, errs.NotFound) || s.Has(rec(i).ID) {
			t.Fatalf("record %d: %v", i, err)
		}
	}
}

func damages(t testing.TB, s *Store) (out []Damage) {
	t.Helper()
	ok(t, s.Check(context.Background(), func(d Damage) { out = append(out, d) }))
	return out
}

// whole fails unless Check finds nothing.
func whole(t testing.TB, s *Store) {
	t.Helper()
	if d := damages(t, s); len(d) > 0 {
		t.Fatalf("check: %d findings, the first: %v", len(d), d[0])
	}
}

// fastDir is a temporary directory in memory if there is one: these tests open hundreds of stores, and every transaction of an index
// is two syncs. TestKill and the benchmarks use the disk.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "coral-local-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { ok(t, os.RemoveAll(dir)) })
	return dir
}

// copyDir copies the store in dir, open or not, to a new directory, as a killed process would leave it.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := fastDir(t)
	ok(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

func TestEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open1(t, dir, Options{}, env{})
	lacks(t, s, 1)
	whole(t, s)
	ok(t, s.Sync(t.Context()))
	st, err := s.Stats(t.Context())
	if err != nil || st.Packs != 0 || st.IndexBytes == 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	ok(t, s.Close())
	ok(t, s.Close())
	s = open1(t, dir, Options{ReadOnly: true}, env{})
	whole(t, s)
	if err := s.Put(t.Context(), rec(0)); !errors.Is(err, errs.ReadOnly) {
		t.Fatalf("put: %v", err)
	}
	if err := s.Sync(t.Context()); !errors.Is(err, errs.ReadOnly) {
		t.Fatalf("sync: %v", err)
	}
	ok(t, s.Close())
	if _, err := Open(t.Context(), filepath.Join(dir, "none"), Options{ReadOnly: true}); !errors.Is(err, errs.NotFound) {
		t.Fatalf("open nothing read-only: %v", err)
	}
}

func TestPutGetReopen(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, dir, Options{}, env{})
	put(t, s, seq(0, 200)...)
	put(t, s, seq(0, 200)...) // again: nothing happens
	has(t, s, seq(0, 200)...)
	whole(t, s)
	ok(t, s.Sync(t.Context()))
	has(t, s, seq(0, 200)...)
	whole(t, s)
	st, err := s.Stats(t.Context())
	if err != nil || st.Packs < 5 || st.Records["tree"] != 40 || st.MaxDepth != 3 {
		t.Fatalf("%+v, %v", st, err)
	}
	sum := int64(0)
	for i := range 200 {
		sum += int64(len(rec(i).Payload))
	}
	if st.PackBytes < sum || st.PackBytes > sum+200*(104+100)+int64(st.Packs)*100 {
		t.Fatalf("packs have %d bytes for payloads of %d", st.PackBytes, sum)
	}
	ok(t, s.Close())
	if err := s.Put(t.Context(), rec(1)); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("put after close: %v", err)
	}
	s = open1(t, dir, Options{}, env{})
	has(t, s, seq(0, 200)...)
	lacks(t, s, 200)
	put(t, s, seq(200, 230)...)
	whole(t, s)
	ok(t, s.Close())
	s = open1(t, dir, Options{ReadOnly: true}, env{})
	has(t, s, seq(0, 230)...)
	whole(t, s)
	ok(t, s.Close())
}

func TestPutRefuses(t *testing.T) {
	s := open1(t, t.TempDir(), Options{}, env{})
	defer s.Close()
	for name, change := range map[string]func(*objstore.Record){
		"no id":            func(r *objstore.Record) { r.ID = oid.ID{} },
		"no kind":          func(r *objstore.Record) { r.Kind = 0 },
		"kind":             func(r *objstore.Record) { r.Kind = 200 },
		"negative size":    func(r *objstore.Record) { r.RawSize = -1 },
		"huge size":        func(r *objstore.Record) { r.RawSize = pack.MaxRaw + 1 },
		"huge payload":     func(r *objstore.Record) { r.Payload = make([]byte, objstore.MaxPayload+1) },
		"depth, no base":   func(r *objstore.Record) { r.Base = oid.ID{} },
		"base, no depth":   func(r *objstore.Record) { r.Depth = 0 },
		"its own base":     func(r *objstore.Record) { r.Base = r.ID },
		"cancelled anyway": nil,
	} {
		r, ctx := rec(1), t.Context()
		if change != nil {
			change(&r)
		} else {
			c, cancel := context.WithCancel(ctx)
			cancel()
			ctx = c
		}
		err := s.Put(ctx, r)
		if !errors.Is(err, errs.Invalid) && !errors.Is(err, errs.TooLarge) && !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	put(t, s, 0, 1)
	info, err := s.Stat(rec(1).ID)
	ok(t, err)
	for _, at := range [][2]int64{{-1, 1}, {info.Stored, 1}, {info.Stored + 1, 0}, {1 << 62, 1}, {0, info.Stored + 1}} {
		if err := s.ReadPayload(t.Context(), info, make([]byte, at[1]), at[0]); !errors.Is(err, errs.Invalid) {
			t.Errorf("read %d at %d: %v", at[1], at[0], err)
		}
	}
	whole(t, s)
}

func TestPrefixAndForEach(t *testing.T) {
	s := open1(t, t.TempDir(), Options{}, env{})
	defer s.Close()
	put(t, s, seq(0, 700)...)
	ok(t, s.Sync(t.Context()))
	put(t, s, seq(700, 1400)...) // half indexed, half pending
	var all []oid.ID
	for i := range 1400 {
		all = append(all, rec(i).ID)
	}
	slices.SortFunc(all, func(a, b oid.ID) int { return bytes.Compare(a[:], b[:]) })
	var got []oid.ID
	ok(t, s.ForEach(t.Context(), 0, func(info objstore.Info) error { got = append(got, info.ID); return nil }))
	if !slices.Equal(got, all) {
		t.Fatalf("ForEach gave %d of %d, or in another order", len(got), len(all))
	}
	n, stop := 0, errors.New("stop")
	err := s.ForEach(t.Context(), objstore.Commit, func(info objstore.Info) error {
		if n++; info.Kind != objstore.Commit {
			t.Fatalf("kind %v", info.Kind)
		}
		if n == 10 {
			return stop
		}
		return nil
	})
	if err != stop || n != 10 {
		t.Fatalf("stopped after %d with %v", n, err)
	}
	for i := range 30 {
		id := rec(i).ID
		for _, digits := range []int{4, 5, 9, 64} {
			got, err := s.Prefix(rec(i).Kind, id.String()[:digits], 10)
			if err != nil || !slices.Contains(got, id) {
				t.Fatalf("prefix of %d digits: %v, %v", digits, got, err)
			}
		}
		if got, err := s.Prefix(1+rec(i).Kind%5, id.String(), 10); err != nil || len(got) != 0 {
			t.Fatalf("prefix of another kind: %v, %v", got, err)
		}
	}
	for _, bad := range []string{"", "abc", "xyzw", "abcdefgh", all[0].String() + "0"} {
		if _, err := s.Prefix(0, bad, 1); !errors.Is(err, errs.Invalid) {
			t.Errorf("prefix %q: %v", bad, err)
		}
	}
	if got, err := s.Prefix(0, "ffffffff", 10); err != nil || len(got) != 0 {
		t.Fatalf("prefix at the end: %v, %v", got, err)
	}
}

func TestHints(t *testing.T) {
	dir := t.TempDir()
	s := open1(t, dir, Options{}, env{})
	long := bytes.Repeat([]byte("path/"), 2000)
	s.SetHint([]byte("a"), []byte("1"))
	s.SetHint(long, []byte("2"))
	s.SetHint([]byte("big"), make([]byte, 1<<20))
	check := func(s *Store) {
		t.Helper()
		if string(s.Hint([]byte("a"))) != "1" || string(s.Hint(long)) != "2" || s.Hint([]byte("big")) != nil || s.Hint([]byte("x")) != nil {
			t.Fatal("hints differ")
		}
	}
	check(s)
	ok(t, s.Sync(t.Context()))
	check(s)
	ok(t, s.Close())
	s = open1(t, dir, Options{}, env{})
	check(s)
	s.SetHint([]byte("a"), []byte("3"))
	if got := string(s.Hint([]byte("a"))); got != "3" {
		t.Fatalf("hint %q", got)
	}
	ok(t, s.Close())
}

// TestModel does random things to a store and to a map.
func TestModel(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	for seed := range rounds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			model(t, rand.New(rand.NewPCG(uint64(seed), 99)), 180)
		})
	}
}

func model(t *testing.T, r *rand.Rand, steps int) {
	dir := fastDir(t)
	opts := Options{PackSize: 2000 + r.Int64N(20000)}
	s := open1(t, dir, opts, env{})
	want := map[int]bool{}
	rebuilt := func() { s = open1(t, dir, opts, env{}) }
	for range steps {
		i := r.IntN(300)
		switch r.IntN(20) {
		case 0:
			ok(t, s.Sync(t.Context()))
		case 1:
			ok(t, s.Close())
			rebuilt()
		case 2: // as after kill -9: whatever was put is there
			dir = copyDir(t, dir)
			ok(t, s.Close())
			rebuilt()
		case 3:
			ok(t, s.Close())
			n, damage, err := RebuildIndex(t.Context(), dir, opts)
			if err != nil || len(damage) > 0 || n < int64(len(want)) {
				t.Fatalf("rebuilt %d records of %d, damage %v, %v", n, len(want), damage, err)
			}
			rebuilt()
		case 4:
			ok(t, s.Close())
			ok(t, os.Remove(filepath.Join(dir, "index.db")))
			rebuilt()
		case 5:
			collect(t, s, r, want)
		default:
			for j := i &^ 3; j <= i; j++ { // bases first
				put(t, s, j)
				want[j] = true
			}
		}
		if want[i] {
			has(t, s, i)
		}
	}
	has(t, s, slices.Sorted(maps.Keys(want))...)
	whole(t, s)
	ok(t, s.Close())
}

// collect drops a random set of records, closed under bases.
func collect(t *testing.T, s *Store, r *rand.Rand, want map[int]bool) {
	ids := map[oid.ID]bool{}
	full := r.IntN(2) == 0
	for _, i := range slices.Sorted(maps.Keys(want)) {
		switch base := i - 1; {
		case i%4 > 0 && !ids[rec(base).ID], r.IntN(6) == 0:
			delete(want, i)
		default:
			ids[rec(i).ID] = true
		}
	}
	live := func(id oid.ID) bool { return ids[id] }
	dry, err := s.Collect(t.Context(), live, full, true)
	ok(t, err)
	res, err := s.Collect(t.Context(), live, full, false)
	ok(t, err)
	if dry.Dropped != res.Dropped || dry.PacksRemoved != res.PacksRemoved || dry.PacksRewritten != res.PacksRewritten {
		t.Fatalf("dry run said %+v, the run %+v", dry, res)
	}
	whole(t, s)
	has(t, s, slices.Sorted(maps.Keys(want))...)
	if full {
		n := 0
		ok(t, s.ForEach(t.Context(), 0, func(objstore.Info) error { n++; return nil }))
		if n != len(want) {
			t.Fatalf("%d records after a full collect, want %d", n, len(want))
		}
	}
}
