package ref

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
)

var update = flag.Bool("update", false, "write golden files")

// TestLogGolden pins which moves each change leaves in the log, and its text.
func TestLogGolden(t *testing.T) {
	s, _ := newStore(t)
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	const who = "Ann <ann@example.org>"
	must(t, s.MoveBranch("main", oid.ID{}, idOf(1), who, "snapshot: step 500\n\nwith more lines"))
	must(t, s.CreateBranch("exp/a", idOf(1), who, "branch: created"))
	must(t, s.SetHead(Head{Branch: "exp/a"}, who, "checkout: exp/a"))
	must(t, s.MoveBranch("exp/a", idOf(1), idOf(2), who, "snapshot: step 600"))
	must(t, s.RenameBranch("exp/a", "exp/b", who))
	must(t, s.CreateTag(Ref{Name: "v1", ID: idOf(2)}, who, "tag: created"))
	must(t, s.SetHead(Head{Commit: idOf(1)}, who, "checkout: detached"))
	must(t, s.DeleteBranch("exp/b", idOf(2), who, "branch: deleted"))
	must(t, s.DeleteTag("v1", who, "tag: deleted"))
	_ = s.MoveBranch("main", idOf(7), idOf(8), who, "must not be logged")
	log, err := s.Log("", 100)
	must(t, err)
	var got strings.Builder
	for _, m := range log {
		fmt.Fprintln(&got, m)
	}
	path := filepath.Join("testdata", "reflog.golden")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	head, err := s.Log("HEAD", 1)
	if err != nil || len(head) != 1 || head[0].Why != "checkout: detached: moving from exp/b to "+idOf(1).String() || head[0].Old != idOf(2) {
		t.Errorf("last move of HEAD: %v, %v", head, err)
	}
}

func TestLogIsBounded(t *testing.T) {
	s, _ := newStore(t)
	s.db.NoSync, s.maxMoves = true, 10
	for i := range 35 {
		must(t, s.MoveBranch("main", lastID(i), idOf(i), "", fmt.Sprint(i)))
	}
	log, err := s.Log("", 1000)
	must(t, err)
	if len(log) != 10 || log[0].Why != "34" || log[9].Why != "25" {
		t.Errorf("%d moves from %s to %s, want 25 to 34", len(log), log[len(log)-1].Why, log[0].Why)
	}
	s.maxMoves = 3 // a smaller bound catches up at the next move
	must(t, s.MoveBranch("main", idOf(34), idOf(35), "", "35"))
	if log, err = s.Log("", 1000); err != nil || len(log) != 3 {
		t.Errorf("%d moves, %v, want 3", len(log), err)
	}
}

func lastID(i int) oid.ID {
	if i == 0 {
		return oid.ID{}
	}
	return idOf(i - 1)
}

func FuzzDecodeValues(f *testing.F) {
	f.Add(encodeMove(Move{Time: time.Unix(5, 6), Ref: "branches/main", Old: idOf(1), New: idOf(2), Who: "me", Why: "snapshot: x"}))
	f.Add(encodeBranch(Ref{ID: idOf(1)}))
	f.Add(encodeTag(Ref{ID: idOf(1), Tag: idOf(2)}))
	f.Add(encodeHead(Head{Branch: "main"}))
	f.Add(encodeHead(Head{Commit: idOf(1)}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func(again []byte, err error) {
			if err == nil && !bytes.Equal(again, b) {
				t.Fatalf("%x decodes, and encodes as %x", b, again)
			}
			if err != nil && !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
				t.Fatalf("error without class: %v", err)
			}
		}
		m, err := decodeMove(b)
		check(encodeMove(m), err)
		r, err := decodeBranch("x", b)
		check(encodeBranch(r), err)
		r, err = decodeTag("x", b)
		check(encodeTag(r), err)
		h, err := decodeHead(b)
		check(encodeHead(h), err)
	})
}
