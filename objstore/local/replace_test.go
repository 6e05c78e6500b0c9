package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// form is record number i in some form: its payload says which record it is, so that a mix-up would be seen.
func form(i int, base int, depth uint8, r *rand.Rand) objstore.Record {
	out := objstore.Record{Kind: objstore.Blob, ID: oid.Sum(fmt.Append(nil, "form", i)), RawSize: int64(100 + i), Depth: depth,
		Payload: fmt.Appendf(nil, "record %d %s", i, bytes.Repeat([]byte{'.'}, r.IntN(600)))}
	if depth > 0 {
		out.Base = oid.Sum(fmt.Append(nil, "form", base))
	}
	return out
}

func formID(i int) oid.ID { return oid.Sum(fmt.Append(nil, "form", i)) }

// sound fails unless record i can be decoded: it and every base below it are whole, and depth falls.
func sound(s *Store, i int) error {
	info, payload, err := s.Get(context.Background(), formID(i))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(payload, fmt.Appendf(nil, "record %d ", i)) || info.RawSize != int64(100+i) {
		return fmt.Errorf("record %d: %q: %+v", i, payload[:min(16, len(payload))], info)
	}
	for !info.Base.IsZero() {
		base, _, err := s.Get(context.Background(), info.Base)
		if err != nil {
			return fmt.Errorf("record %d: base: %w", i, err)
		}
		if base.Depth >= info.Depth {
			return fmt.Errorf("record %d: depth %d over %d", i, info.Depth, base.Depth)
		}
		info = base
	}
	return nil
}

func allSound(t testing.TB, s *Store, n int) {
	t.Helper()
	for i := range n {
		if err := sound(s, i); err != nil {
			t.Fatal(err)
		}
	}
}

// chain puts records 0 to n-1, each on the one before, depth at most 5.
func chain(t testing.TB, s *Store, n int, r *rand.Rand) {
	t.Helper()
	for i := range n {
		ok(t, s.Put(t.Context(), form(i, i-1, uint8(i%6), r)))
	}
}

func replaceAll(t testing.TB, s *Store, recs ...objstore.Record) ReplaceResult {
	t.Helper()
	r, err := s.Replace(nil)
	ok(t, err)
	for _, rec := range recs {
		ok(t, r.Put(t.Context(), rec))
	}
	res, err := r.Commit(t.Context())
	ok(t, err)
	ok(t, r.Close())
	return res
}

func TestReplace(t *testing.T) {
	dir, rnd := fastDir(t), rand.New(rand.NewPCG(1, 1))
	s := open1(t, dir, Options{PackSize: 4 << 10}, env{})
	chain(t, s, 6, rnd)
	before, err := s.Stat(formID(5))
	ok(t, err)
	// Turned round in one go: 5 alone, 4 on 5, 3 on 4.
	res := replaceAll(t, s, form(5, 0, 0, rnd), form(4, 5, 1, rnd), form(3, 4, 2, rnd))
	if res.Replaced != 3 || len(res.Left) != 0 {
		t.Fatalf("%+v", res)
	}
	allSound(t, s, 6)
	whole(t, s)
	p := make([]byte, before.Stored)
	ok(t, s.ReadPayload(t.Context(), before, p, 0)) // who knew the old frame goes on reading it
	c, err := s.Collect(t.Context(), func(oid.ID) bool { return true }, true, false)
	ok(t, err)
	if c.Dropped != 0 || c.FreedBytes <= 0 {
		t.Fatalf("%+v", c)
	}
	allSound(t, s, 6)
	whole(t, s)
	ok(t, s.Close())
	n, damage, err := RebuildIndex(t.Context(), dir, Options{})
	if err != nil || len(damage) > 0 || n != 6 {
		t.Fatalf("%d records, %v, %v", n, damage, err)
	}
	s = open1(t, dir, Options{}, env{})
	allSound(t, s, 6)
	if i, err := s.Stat(formID(4)); err != nil || i.Base != formID(5) {
		t.Fatalf("%+v, %v", i, err)
	}
	ok(t, s.Close())
}

// What would break the order of depths is left as it was, and only that.
func TestReplaceLeavesWhatDoesNotFit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		recs []objstore.Record
		left int64
	}{
		"deeper than a dependent":       {[]objstore.Record{form(0, 5, 3, rnd)}, 1},
		"a circle":                      {[]objstore.Record{form(0, 1, 2, rnd)}, 1},
		"on one that is left":           {[]objstore.Record{form(2, 5, 6, rnd), form(1, 2, 7, rnd)}, 2},
		"after the dependent":           {[]objstore.Record{form(1, 0, 0, rnd), form(0, 1, 1, rnd)}, 0},
		"dependents first, then deeper": {[]objstore.Record{form(5, 0, 0, rnd), form(4, 5, 3, rnd), form(3, 5, 2, rnd), form(2, 5, 1, rnd), form(1, 5, 1, rnd), form(0, 1, 2, rnd)}, 0},
		"no such base":                  {[]objstore.Record{form(3, 77, 1, rnd), form(5, 0, 0, rnd)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := open1(t, fastDir(t), Options{}, env{})
			chain(t, s, 6, rnd)
			res := replaceAll(t, s, c.recs...)
			if int64(len(res.Left)) != c.left || res.Replaced != int64(len(c.recs))-c.left {
				t.Errorf("%+v", res)
			}
			allSound(t, s, 6)
			whole(t, s)
			ok(t, s.Close())
		})
	}
}

// A record that needs others than its base holds these where they are.
func TestReplaceMinds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 3))
	s := open1(t, fastDir(t), Options{}, env{})
	for i := range 2 {
		ok(t, s.Put(t.Context(), form(i, 0, 0, rnd)))
	}
	ok(t, s.Put(t.Context(), form(2, 0, 1, rnd))) // on 0 and, as refs says, 1
	r, err := s.Replace(func(i objstore.Info) ([]oid.ID, error) {
		if i.ID == formID(2) {
			return []oid.ID{formID(0), formID(1)}, nil
		}
		return nil, nil
	})
	ok(t, err)
	ok(t, r.Put(t.Context(), form(1, 0, 1, rnd)))
	res, err := r.Commit(t.Context())
	if err != nil || len(res.Left) != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	ok(t, r.Close())
	ok(t, s.Close())
}

func TestDeepen(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 5))
	s := open1(t, fastDir(t), Options{}, env{})
	chain(t, s, 3, rnd)
	r, err := s.Replace(nil)
	ok(t, err)
	ok(t, r.Deepen(t.Context(), formID(2), 7))
	ok(t, r.Put(t.Context(), form(1, 0, 2, rnd)))
	ok(t, r.Deepen(t.Context(), formID(1), 6)) // what was just put
	res, err := r.Commit(t.Context())
	if err != nil || res.Replaced != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	ok(t, r.Close())
	allSound(t, s, 3)
	whole(t, s)
	if i, err := s.Stat(formID(1)); err != nil || i.Depth != 6 || i.Base != formID(0) {
		t.Errorf("%+v, %v", i, err)
	}
	ok(t, s.Close())
}

func TestReplaceRefuses(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 4))
	s := open1(t, fastDir(t), Options{}, env{})
	chain(t, s, 2, rnd)
	r, err := s.Replace(nil)
	ok(t, err)
	if err := r.Put(t.Context(), form(9, 0, 0, rnd)); !errors.Is(err, errs.NotFound) {
		t.Error(err)
	}
	bad := form(1, 0, 0, rnd)
	bad.RawSize++
	if err := r.Put(t.Context(), bad); !errors.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if _, err := s.Collect(t.Context(), func(oid.ID) bool { return true }, true, false); !errors.Is(err, errs.Busy) {
		t.Error(err)
	}
	ok(t, r.Put(t.Context(), form(1, 0, 0, rnd)))
	ok(t, r.Close())
	ok(t, r.Close())
	if i, err := s.Stat(formID(1)); err != nil || i.Depth != 1 {
		t.Errorf("switched without Commit: %+v, %v", i, err)
	}
	whole(t, s)
	if packs, err := filepath.Glob(filepath.Join(s.packDir, "*")); err != nil || len(packs) != 1 {
		t.Errorf("%v, %v", packs, err)
	}
	ok(t, s.Close())
}

// turner is a store whose records change their bases at random, and what every crash in it would leave.
type turner struct {
	t     *testing.T
	r     *rand.Rand
	dir   string
	fs    *powerFS
	s     *Store
	n     int // records put
	safe  int // of these, synced
	every int
	looks int
}

func (c *turner) look() {
	if c.s == nil || c.r.IntN(c.every) > 0 {
		return
	}
	c.looks++
	c.verify(copyDir(c.t, c.dir), c.n, true)
	c.verify(c.fs.cut(c.t, c.dir, c.r), c.safe, false)
}

// verify opens what a crash left, in every way there is. Without its index nobody knows what was acknowledged, and torn bytes are damage.
func (c *turner) verify(dir string, n int, killed bool) {
	check := func(how string, s *Store) {
		c.t.Helper()
		for i := range n {
			if err := sound(s, i); err != nil {
				c.t.Fatalf("look %d, killed %v, %s: record %d: %v", c.looks, killed, how, i, err)
			}
		}
		for _, d := range damages(c.t, s) {
			if !strings.Contains(how, "without") || strings.Contains(d.Detail, "depth") || strings.Contains(d.Detail, "base") {
				c.t.Fatalf("look %d, killed %v, %s: %v", c.looks, killed, how, d)
			}
		}
		ok(c.t, s.Close())
	}
	check("read-only", open1(c.t, dir, Options{ReadOnly: true}, env{}))
	lost := copyDir(c.t, dir)
	ok(c.t, os.Remove(filepath.Join(lost, "index.db")))
	if killed {
		check("read-only without index", open1(c.t, lost, Options{ReadOnly: true}, env{}))
	}
	check("without index", open1(c.t, lost, Options{}, env{}))
	check("recovered", open1(c.t, dir, Options{}, env{}))
	_, damage, err := RebuildIndex(c.t.Context(), dir, Options{})
	if err != nil || len(damage) > 0 {
		c.t.Fatalf("look %d: damage %v, %v", c.looks, damage, err)
	}
	check("rebuilt", open1(c.t, dir, Options{}, env{}))
}

func (c *turner) open() {
	c.s = open1(c.t, c.dir, Options{PackSize: 4 << 10}, env{fs: c.fs, step: func(string) { c.look() }})
}

// turn replaces some records by others on bases that are above or below them, as deep as may be.
func (c *turner) turn() {
	r, err := c.s.Replace(nil)
	ok(c.t, err)
	for range 1 + c.r.IntN(12) {
		i, base, depth := c.r.IntN(c.n), c.r.IntN(c.n), uint8(c.r.IntN(5))
		if base == i {
			depth = 0
		}
		ok(c.t, r.Put(c.t.Context(), form(i, base, depth, c.r)))
	}
	if c.r.IntN(6) > 0 {
		_, err = r.Commit(c.t.Context())
		ok(c.t, err)
		c.safe = c.n
	}
	ok(c.t, r.Close())
}

func (c *turner) put() {
	base, depth := 0, uint8(0)
	if c.n > 0 && c.r.IntN(4) > 0 {
		base = c.r.IntN(c.n)
		i, err := c.s.Stat(formID(base))
		ok(c.t, err)
		depth = i.Depth + 1
	}
	ok(c.t, c.s.Put(c.t.Context(), form(c.n, base, depth, c.r)))
	c.n++
}

func (c *turner) step() {
	switch c.r.IntN(8) {
	case 0, 1, 2:
		c.put()
	case 3:
		ok(c.t, c.s.Sync(c.t.Context()))
		c.safe = c.n
	case 4:
		_, err := c.s.Collect(c.t.Context(), func(oid.ID) bool { return true }, c.r.IntN(2) == 0, false)
		ok(c.t, err)
		c.safe = c.n
	case 5:
		ok(c.t, c.s.Close())
		c.safe = c.n
		c.s = nil
		c.open()
	default:
		c.turn()
	}
}

// TestReplaceCrash replaces records at random and crashes at every change of a file: no record is ever lost, and depths always fall.
func TestReplaceCrash(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := &turner{t: t, r: rand.New(rand.NewPCG(seed, 7)), dir: fastDir(t), fs: newPowerFS(), every: 10}
			c.fs.before = c.look
			c.open()
			for range 6 {
				c.put()
			}
			for range 40 {
				c.step()
			}
			allSound(t, c.s, c.n)
			whole(t, c.s)
			ok(t, c.s.Close())
			t.Logf("%d records, %d crashes", c.n, 2*c.looks)
		})
	}
}

// TestMend damages a store with copies of before and after replacements: a rebuilt index has every record that can be decoded, and no others.
func TestMend(t *testing.T) {
	mended := 0
	for seed := range uint64(30) {
		dir, rnd := fastDir(t), rand.New(rand.NewPCG(seed, 8))
		c := &turner{t: t, r: rnd, dir: dir, fs: newPowerFS(), every: 1 << 30}
		c.open()
		for range 8 {
			c.put()
		}
		for range 6 {
			c.turn()
		}
		ok(t, c.s.Close())
		packs, err := filepath.Glob(filepath.Join(dir, "packs", "*.pack"))
		ok(t, err)
		for range 4 {
			name := packs[rnd.IntN(len(packs))]
			b, err := os.ReadFile(name)
			ok(t, err)
			if at := 200 + rnd.IntN(len(b)); at < len(b) {
				b[at] ^= 1
			}
			ok(t, os.WriteFile(name, b, 0o600))
		}
		_, _, err = RebuildIndex(t.Context(), dir, Options{})
		ok(t, err)
		s := open1(t, dir, Options{}, env{})
		for i := range c.n {
			if err := sound(s, i); err != nil && !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.Corrupt) {
				t.Fatal(err)
			} else if err == nil {
				mended++
			}
		}
		for _, d := range damages(t, s) {
			if bytes.Contains([]byte(d.Detail), []byte("depth")) {
				t.Fatalf("seed %d: %v", seed, d)
			}
		}
		ok(t, s.Close())
	}
	if mended < 200 {
		t.Errorf("%d of 240 records survived", mended)
	}
}
