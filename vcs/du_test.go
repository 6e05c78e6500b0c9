package vcs

import (
	"fmt"
	"testing"

	"coral/internal/errs"
	"coral/internal/oid"
)

func TestUsage(t *testing.T) {
	r := newRepo(t)
	x, y := noise(100_000, 1), noise(50_000, 2)
	c1 := commitOf(t, r, map[string]string{"d/a": x, "d/b": x, "e/c": x, "e/y": y, "small": "abc", "small2": "abc"})
	c2 := commitOf(t, r, map[string]string{"d/a": x, "e/y": y + "z", "small": "abc"}, c1)
	c3 := commitOf(t, r, map[string]string{"d/a": x}, c2)
	root, err := r.rootOf(bg, c1)
	must(t, err)
	list, err := r.UsageOf(bg, root, "", 1)
	must(t, err)
	got := map[string]Usage{}
	for _, u := range list {
		got[u.Path] = u.Usage
	}
	for path, want := range map[string]Usage{
		"": {6, 350_006, 150_003, 0}, "d": {2, 200_000, 100_000, 0}, "e": {2, 150_000, 150_000, 0}, "small": {1, 3, 3, 0}, "small2": {1, 3, 3, 0},
	} {
		u := got[path]
		stored := u.Stored
		if u.Stored = 0; u != want || stored < want.Unique {
			t.Errorf("%q: %+v (stored %d), want %+v", path, u, stored, want)
		}
	}
	if len(list) != 5 || list[4].Path != "" {
		t.Errorf("%d paths, want 5, the top last", len(list))
	}
	if got["d"].Stored+got["e"].Stored < got[""].Stored+100_000-5000 || got[""].Stored > 160_000 {
		t.Errorf("what directories share is not counted once in all: %+v", got)
	}
	one, err := r.UsageOf(bg, root, "e/y", 5)
	if must(t, err); len(one) != 1 || one[0].Usage.Unique != 50_000 {
		t.Errorf("one file: %+v", one)
	}
	_, err = r.UsageOf(bg, root, "nowhere", 1)
	wantErr(t, err, errs.NotFound, "nowhere")

	for _, path := range []string{"", "d"} {
		list, err := r.UsageOfCommits(bg, []oid.ID{c3, c2, c1}, path, nil)
		must(t, err)
		text := ""
		for _, c := range list {
			text += fmt.Sprint(c.Usage.Files, c.Usage.Unique, " +", c.Added.Files, c.Added.Unique > 0, "; ")
		}
		want := map[string]string{"": "1 100000 +0 false; 3 150004 +1 true; 6 150003 +3 true; ", "d": "1 100000 +0 false; 1 100000 +0 false; 2 100000 +1 true; "}[path]
		if text != want {
			t.Errorf("%q: %s, want %s", path, text, want)
		}
		sum, err := r.UsageOf(bg, root, path, 0)
		must(t, err)
		if list[2].Added.Stored != sum[0].Usage.Stored || list[2].Usage != sum[0].Usage {
			t.Errorf("%q: the first commit added %+v, and has %+v", path, list[2], sum[0])
		}
	}
	none, err := r.UsageOfCommits(bg, []oid.ID{c3}, "e", nil)
	if must(t, err); none[0].Usage != (Usage{}) {
		t.Errorf("%+v of a path that is not there", none)
	}
}
