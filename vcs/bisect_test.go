package vcs

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
)

// TestBisectFinds searches, in random histories with merges, for each commit that could be the first bad one, and counts the tests.
func TestBisectFinds(t *testing.T) {
	r := newRepo(t)
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		ids := []oid.ID{commitOf(t, r, map[string]string{"x": fmt.Sprint(seed)})}
		for i := 1; i < 40; i++ {
			parents := []oid.ID{ids[max(0, i-1-rnd.IntN(3))]}
			if other := ids[rnd.IntN(i)]; rnd.IntN(3) == 0 && other != parents[0] {
				parents = append(parents, other)
			}
			ids = append(ids, commitOf(t, r, map[string]string{"x": fmt.Sprint(seed, i)}, parents...))
		}
		tip := ids[len(ids)-1]
		above, err := r.ancestors(bg, []oid.ID{tip}, nil)
		must(t, err)
		if above[0] != tip || above[len(above)-1] != ids[0] {
			t.Fatal("ancestors are not in order")
		}
		for _, first := range above[:len(above)-1] {
			// Bad is what has the first bad commit among its ancestors.
			isBad := map[oid.ID]bool{}
			for _, id := range above {
				list, err := r.ancestors(bg, []oid.ID{id}, nil)
				must(t, err)
				for _, a := range list {
					isBad[id] = isBad[id] || a == first
				}
			}
			bad, good, tests := tip, []oid.ID{ids[0]}, 0
			step, err := r.Bisect(bg, bad, good, nil)
			for ; err == nil && !step.Next.IsZero(); step, err = r.Bisect(bg, bad, good, nil) {
				if tests++; isBad[step.Next] {
					bad = step.Next
				} else {
					good = append(good, step.Next)
				}
			}
			must(t, err)
			if len(step.Suspects) != 1 || step.Suspects[0] != first {
				t.Fatalf("seed %d: found %v, want %s", seed, step.Suspects, first.Short())
			}
			if tests > 14 {
				t.Errorf("seed %d: %d tests among %d commits", seed, tests, len(above))
			}
		}
	}
}

func TestBisectLine(t *testing.T) {
	r := newRepo(t)
	var ids []oid.ID
	for i := range 9 {
		var parents []oid.ID
		if i > 0 {
			parents = ids[i-1:]
		}
		ids = append(ids, commitOf(t, r, map[string]string{"x": fmt.Sprint(i)}, parents...))
	}
	step, err := r.Bisect(bg, ids[8], ids[:1], nil)
	must(t, err)
	if step.Next != ids[4] || step.Left != 8 || step.Steps() != 3 {
		t.Errorf("%+v, want the middle of 8", step)
	}
	// What cannot be tested is passed over, and suspected at the end.
	skip := map[oid.ID]bool{ids[4]: true, ids[5]: true}
	step, err = r.Bisect(bg, ids[6], []oid.ID{ids[3]}, skip)
	must(t, err)
	if !step.Next.IsZero() || len(step.Suspects) != 3 || step.Suspects[0] != ids[6] {
		t.Errorf("%+v, want three suspects", step)
	}
	if step, err = r.Bisect(bg, ids[8], ids[:1], map[oid.ID]bool{ids[4]: true}); err != nil || step.Next != ids[3] && step.Next != ids[5] {
		t.Errorf("%+v, %v", step, err)
	}
	_, err = r.Bisect(bg, ids[3], []oid.ID{ids[5]}, nil)
	wantErr(t, err, errs.Conflict, "an ancestor of a good commit")
	// Good on another branch: where it parted comes first.
	side := commitOf(t, r, map[string]string{"x": "side"}, ids[2])
	if step, err = r.Bisect(bg, ids[8], []oid.ID{side}, nil); err != nil || step.Next != ids[2] || step.Left != 6 {
		t.Errorf("%+v, %v", step, err)
	}
	if step, err = r.Bisect(bg, ids[8], []oid.ID{side, ids[2]}, nil); err != nil || step.Next != ids[5] {
		t.Errorf("%+v, %v", step, err)
	}
	_, err = r.Bisect(bg, ids[2], []oid.ID{side}, nil)
	wantErr(t, err, errs.Conflict, "an ancestor of a good commit")
	_, err = r.Bisect(bg, ids[3], []oid.ID{ids[3]}, nil)
	wantErr(t, err, errs.Conflict, "good and bad")
}
