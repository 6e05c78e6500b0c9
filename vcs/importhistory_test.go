package vcs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/vcs/ref"
)

func TestImportHistory(t *testing.T) {
	r := newRepo(t)
	dir := writeTree(t, map[string]string{"1": noise(100_000, 1), "2": noise(100_000, 2), "3": "three"})
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	mk := func(key, file string, parents ...string) HistoryCommit {
		return HistoryCommit{Key: key, Parents: parents, Author: "A <a@b>", Time: at, Message: "m " + key, Metrics: map[string]float64{"loss": 1}, Files: map[string]string{"w": filepath.Join(dir, file)}}
	}
	commits := []HistoryCommit{mk("a", "1"), mk("b", "2", "a"), mk("c", "3", "a"), mk("d", "1", "b", "c")}
	branches := map[string]string{"main": "d", "exp/x": "c"}
	tags := []HistoryTag{{Name: "v1", Key: "b", Message: "best", Tagger: "T <t@t>"}, {Name: "light", Key: "a"}}
	refs := func() string {
		list, err := r.Refs.Branches()
		must(t, err)
		text := ""
		for _, b := range list {
			text += b.Name + "=" + b.ID.Short() + " "
		}
		tl, err := r.Refs.Tags()
		must(t, err)
		for _, b := range tl {
			text += b.Name + "=" + b.ID.Short() + " "
		}
		return text
	}
	before := refs()
	for name, c := range map[string]struct {
		commits  []HistoryCommit
		branches map[string]string
		tags     []HistoryTag
		class    error
		says     string
	}{
		"parent later":   {[]HistoryCommit{commits[1], commits[0]}, nil, nil, errs.Invalid, "parent a"},
		"no such commit": {commits[:1], branches, nil, errs.Invalid, "not given"},
		"no such tag's":  {commits[:1], map[string]string{"main": "a"}, tags, errs.Invalid, `tag "v1"`},
		"no file":        {[]HistoryCommit{mk("a", "nowhere")}, nil, nil, os.ErrNotExist, "nowhere"},
		"a directory":    {[]HistoryCommit{mk("a", ".")}, nil, nil, errs.Invalid, "no regular file"},
	} {
		_, err := r.ImportHistory(bg, c.commits, c.branches, c.tags, nil)
		t.Log(name)
		wantErr(t, err, c.class, c.says)
	}
	live, err := r.LiveTree(bg, "main")
	must(t, err)
	write(t, live, "mine", "x")
	_, err = r.ImportHistory(bg, commits, branches, tags, nil)
	wantErr(t, err, errs.Conflict, `branch "main"`)
	if refs() != before {
		t.Fatalf("a failed import changed refs: %s", refs())
	}
	must(t, live.Unlink(bg, live.Root(), "mine"))

	n, bytes := 0, int64(0)
	ids, err := r.ImportHistory(bg, commits, branches, tags, func(k int, b int64) { n, bytes = k, b })
	must(t, err)
	if n != 4 || bytes != 300_005 {
		t.Errorf("told of %d commits, %d bytes", n, bytes)
	}
	d, err := r.Objects.Commit(bg, ids["d"])
	must(t, err)
	if len(d.Parents) != 2 || d.Parents[0] != ids["b"] || d.Parents[1] != ids["c"] || !d.Time.Equal(at) || d.Author != "A <a@b>" || d.Metrics["loss"] != 1 {
		t.Errorf("%+v", d)
	}
	if got := contentAt(t, r, "main"); got != noise(100_000, 1) {
		t.Error("main has other bytes")
	}
	if live, err = r.LiveTree(bg, "main"); err != nil {
		t.Fatal(err)
	}
	if changes, err := live.Status(bg, d.Tree); err != nil || len(changes) > 0 {
		t.Errorf("live tree: %v, %v", changes, err)
	}
	after := refs()
	again, err := r.ImportHistory(bg, commits, branches, tags, nil)
	if must(t, err); again["d"] != ids["d"] || refs() != after {
		t.Errorf("the second time: %s, was %s", refs(), after)
	}
	tag, err := r.Refs.Tag("v1")
	must(t, err)
	if o, err := r.Objects.Tag(bg, tag.Tag); err != nil || o.Message != "best" || tag.ID != ids["b"] {
		t.Errorf("%+v, %v", tag, err)
	}
	// It is one step: undone, branches and tags are as before, and main's live tree is empty again.
	_, err = r.Undo(bg, UndoOptions{})
	must(t, err)
	if refs() != before || len(r.Live.Branches()) != 1 {
		t.Errorf("after undo: %s, was %s; live trees %v", refs(), before, r.Live.Branches())
	}
	wantFiles(t, r, map[string]string{})
	write(t, live, "mine", "x")
	_, err = r.Undo(bg, UndoOptions{Redo: true})
	wantErr(t, err, errs.Conflict, "mine")
	must(t, live.Unlink(bg, live.Root(), "mine"))
	_, err = r.Undo(bg, UndoOptions{Redo: true})
	must(t, err)
	if got := contentAt(t, r, "main"); got != noise(100_000, 1) || refs() != after {
		t.Errorf("after redo: %s", refs())
	}
	wantFiles(t, r, map[string]string{"w": noise(100_000, 1)})
	// What is there already, and is something else.
	add(t, r, map[string]string{"more": "1"})
	snap(t, r, "more")
	_, err = r.ImportHistory(bg, commits, branches, nil, nil)
	wantErr(t, err, errs.Conflict, `branch "main"`)
	must(t, r.Refs.CreateTag(ref.Ref{Name: "other", ID: ids["a"]}, "t", "t"))
	_, err = r.ImportHistory(bg, commits, nil, []HistoryTag{{Name: "other", Key: "b"}}, nil)
	wantErr(t, err, errs.Conflict, `tag "other"`)
}

// contentAt returns the file w of a revision.
func contentAt(t *testing.T, r *Repo, rev string) string {
	t.Helper()
	id, err := r.Resolve(bg, rev)
	must(t, err)
	return contentOf(t, r, id, "w")
}
