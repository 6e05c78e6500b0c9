package graph

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// source is a history in memory that counts what is read of it.
type source struct {
	commits map[oid.ID]*object.Commit
	reads   int
}

func (s *source) Commit(_ context.Context, id oid.ID) (*object.Commit, error) {
	s.reads++
	if c := s.commits[id]; c != nil {
		return c, nil
	}
	return nil, errs.NotFound
}

func id(i int) oid.ID { return oid.Sum([]byte{byte(i), byte(i >> 8)}) }

// history makes commits 0 … n-1, each with the one before as parent, and each tenth a merge of three.
func history(n int) *source {
	s := &source{commits: map[oid.ID]*object.Commit{}}
	for i := range n {
		c := &object.Commit{Time: time.Unix(int64(i), 5)}
		if i > 0 {
			c.Parents = []oid.ID{id(i - 1)}
		}
		if i%10 == 9 || i == 3 {
			c.Parents = append(c.Parents, id(i-2), id(i-3))
		}
		s.commits[id(i)] = c
	}
	return s
}

func check(t *testing.T, g *Graph, s *source, n int) {
	t.Helper()
	for i := range n {
		got, err := g.Node(t.Context(), id(i))
		if err != nil {
			t.Fatal(err)
		}
		want := s.commits[id(i)]
		if got.Time != want.Time.UnixNano() || !slices.Equal(got.Parents, want.Parents) {
			t.Fatalf("commit %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestGraph(t *testing.T) {
	dir := t.TempDir()
	const n = 1500 // more than one flush
	s := history(n)
	g := Open(dir, s, false, nil)
	check(t, g, s, n/2)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true, false} {
		before := s.reads
		g = Open(dir, s, readOnly, nil)
		check(t, g, s, n/2)
		if s.reads != before {
			t.Fatalf("read-only %v: %d commits read again", readOnly, s.reads-before)
		}
		check(t, g, s, n)
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.Node(t.Context(), id(n+1)); err == nil {
		t.Fatal("a commit that is not there was found")
	}
}

// TestDamage cuts and flips the file everywhere: what is told is never wrong, and the file mends.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	const n = 4
	s := history(n)
	g := Open(dir, s, false, nil)
	check(t, g, s, n)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		g := Open(dir, s, false, nil)
		check(t, g, s, n)
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		before := s.reads
		g = Open(dir, s, true, nil)
		check(t, g, s, n)
		if s.reads != before {
			t.Fatalf("the file was not mended: %d reads", s.reads-before)
		}
	}
	for cut := range whole {
		try(whole[:cut])
	}
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		try(b)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(magic))
	f.Add(appendRecord([]byte(magic), id(1), Node{Time: 7, Parents: []oid.ID{id(0)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		g := &Graph{nodes: map[oid.ID]Node{}}
		end, err := g.load(bytes.NewReader(b))
		if err != nil || end < 0 || end > int64(len(b)) {
			t.Fatalf("%d of %d, %v", end, len(b), err)
		}
	})
}
