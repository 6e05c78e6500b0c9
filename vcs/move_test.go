package vcs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/ref"
)

// puts writes files (content "" removes) into a live tree.
func puts(t testing.TB, r *Repo, branch string, files map[string]string) {
	t.Helper()
	for path, text := range files {
		if text == "" {
			live, err := r.LiveTree(bg, branch)
			must(t, err)
			dir := live.Root()
			name := path
			if i := strings.LastIndexByte(path, '/'); i >= 0 {
				for part := range strings.SplitSeq(path[:i], "/") {
					a, err := live.Lookup(bg, dir, part)
					must(t, err)
					dir = a.Ino
				}
				name = path[i+1:]
			}
			must(t, live.Unlink(bg, dir, name))
			continue
		}
		src := filepath.Join(t.TempDir(), "f")
		must(t, os.WriteFile(src, []byte(text), 0o644))
		_, _, err := r.Add(bg, branch, src, path, nil)
		must(t, err)
	}
}

// commit commits files on main.
func commit(t testing.TB, r *Repo, message string, files map[string]string) oid.ID {
	t.Helper()
	puts(t, r, "main", files)
	res, err := r.Snapshot(bg, SnapshotOptions{Branch: "main", Message: message})
	must(t, err)
	return res.Commit
}

// contents lists the files of a live tree, or of a commit.
func contents(t testing.TB, r *Repo, branch string, at oid.ID) map[string]string {
	t.Helper()
	root, err := r.rootOf(bg, at)
	must(t, err)
	if branch != "" {
		live, err := r.LiveTree(bg, branch)
		must(t, err)
		frozen, err := live.Snapshot(bg, false, nil)
		must(t, err)
		root = frozen.Root
	}
	out := map[string]string{}
	var walk func(id oid.ID, dir string)
	walk = func(id oid.ID, dir string) {
		tree, err := r.tree(bg, id)
		must(t, err)
		for _, e := range tree.Entries {
			if e.Kind == object.Dir {
				walk(e.ID, join(dir, e.Name))
				continue
			}
			f, err := r.Content.Open(bg, e.ID)
			must(t, err)
			b := make([]byte, f.Size())
			_, err = f.ReadAt(bg, b, 0)
			if len(b) > 0 {
				must(t, err)
			}
			out[join(dir, e.Name)] = string(b)
		}
	}
	walk(root, "")
	return out
}

func headOf(t testing.TB, r *Repo, branch string) oid.ID {
	t.Helper()
	b, err := r.Refs.Branch(branch)
	must(t, err)
	return b.ID
}

func wantFiles(t testing.TB, r *Repo, want map[string]string) {
	t.Helper()
	if got := contents(t, r, "main", oid.ID{}); !maps.Equal(got, want) {
		t.Errorf("live tree %v, want %v", got, want)
	}
}

func TestReset(t *testing.T) {
	r := newRepo(t)
	one := commit(t, r, "one", map[string]string{"a": "1", "d/b": "1"})
	two := commit(t, r, "two", map[string]string{"a": "2", "d/b": "", "c": "2"})
	atOne, atTwo := map[string]string{"a": "1", "d/b": "1"}, map[string]string{"a": "2", "c": "2"}

	res, err := r.Reset(bg, ResetOptions{To: one, Rev: "HEAD~"})
	must(t, err)
	if res.Commit != one || res.Was != two || headOf(t, r, "main") != one {
		t.Errorf("soft: %+v", res)
	}
	wantFiles(t, r, atTwo)
	_, err = r.Reset(bg, ResetOptions{To: one, Hard: true})
	wantErr(t, err, errs.Conflict, "2 changes", "force")
	wantFiles(t, r, atTwo)
	res, err = r.Reset(bg, ResetOptions{To: two, Hard: true}) // the live tree is just that: nothing is lost
	must(t, err)
	if !res.Kept.IsZero() || headOf(t, r, "main") != two {
		t.Errorf("hard to what is there: %+v", res)
	}

	puts(t, r, "main", map[string]string{"a": "uncommitted"})
	_, err = r.Reset(bg, ResetOptions{To: one, Hard: true})
	wantErr(t, err, errs.Conflict, "(a)")
	if headOf(t, r, "main") != two {
		t.Error("a refused reset moved the branch")
	}
	res, err = r.Reset(bg, ResetOptions{To: one, Hard: true, Force: true})
	must(t, err)
	wantFiles(t, r, atOne)
	if got := contents(t, r, "", res.Kept); got["a"] != "uncommitted" || got["c"] != "2" {
		t.Errorf("the kept commit has %v", got)
	}
	log, err := r.Refs.Log("branches/main", 2)
	must(t, err)
	if log[0].Old != res.Kept || log[1].New != res.Kept || log[1].Old != two {
		t.Errorf("log: %v", log)
	}
	// Both head and uncommitted changes come back, and go again.
	for range 2 {
		_, err = r.Undo(bg, UndoOptions{})
		must(t, err)
		if headOf(t, r, "main") != two {
			t.Error("undo did not move the branch")
		}
		wantFiles(t, r, map[string]string{"a": "uncommitted", "c": "2"})
		_, err = r.Undo(bg, UndoOptions{Redo: true})
		must(t, err)
		wantFiles(t, r, atOne)
	}
	_, err = r.Reset(bg, ResetOptions{To: oid.Sum([]byte("no"))})
	wantErr(t, err, errs.NotFound)
	live, err := r.LiveTree(bg, "main")
	must(t, err)
	_, h, err := live.Create(bg, live.Root(), "open", 0o644, 0, 0, os.O_WRONLY)
	must(t, err)
	_, err = r.Reset(bg, ResetOptions{To: two, Hard: true, Force: true})
	wantErr(t, err, errs.Busy, "open")
	must(t, h.Close())
}

func TestPick(t *testing.T) {
	r := newRepo(t)
	one := commit(t, r, "one", map[string]string{"a": "1", "d/b": "1"})
	two := commit(t, r, "two", map[string]string{"a": "2", "n/new": "2"})
	three := commit(t, r, "three", map[string]string{"d/b": "3"})
	res, err := r.Pick(bg, PickOptions{Commits: []oid.ID{two}, Revert: true})
	must(t, err)
	wantFiles(t, r, map[string]string{"a": "1", "d/b": "3"})
	c, err := r.Objects.Commit(bg, res.Commit)
	must(t, err)
	if c.Parents[0] != three || !strings.HasPrefix(c.Message, `Revert "two"`) || c.Labels[LabelReverted] != two.String() || headOf(t, r, "main") != res.Commit {
		t.Errorf("%+v", c)
	}
	_, err = r.Pick(bg, PickOptions{Commits: []oid.ID{two}, Revert: true})
	wantErr(t, err, errs.Invalid, "gone")
	res, err = r.Pick(bg, PickOptions{Commits: []oid.ID{two}})
	must(t, err)
	wantFiles(t, r, map[string]string{"a": "2", "n/new": "2", "d/b": "3"})
	_, err = r.Undo(bg, UndoOptions{})
	must(t, err)
	wantFiles(t, r, map[string]string{"a": "1", "d/b": "3"})

	// A commit that the live tree already is, uncommitted: undo must not take that away.
	before := headOf(t, r, "main")
	_, err = r.Reset(bg, ResetOptions{To: two})
	must(t, err)
	_, err = r.Restore(bg, RestoreOptions{From: two, Paths: []string{"a", "n/new"}, Force: true})
	must(t, err)
	_, err = r.Pick(bg, PickOptions{Commits: []oid.ID{three}})
	must(t, err)
	for _, redo := range []bool{false, true, false} {
		_, err = r.Undo(bg, UndoOptions{Redo: redo})
		must(t, err)
		wantFiles(t, r, map[string]string{"a": "2", "n/new": "2", "d/b": "3"})
	}
	_, err = r.Reset(bg, ResetOptions{To: before, Hard: true, Force: true})
	must(t, err)

	commit(t, r, "four", map[string]string{"a": "4"})
	head := headOf(t, r, "main")
	_, err = r.Pick(bg, PickOptions{Commits: []oid.ID{two}})
	wantErr(t, err, errs.Conflict, "a")
	puts(t, r, "main", map[string]string{"x": "dirty"})
	_, err = r.Pick(bg, PickOptions{Commits: []oid.ID{three}, Revert: true})
	wantErr(t, err, errs.Conflict, "(x)")
	if headOf(t, r, "main") != head {
		t.Error("refused picks moved the branch")
	}
	wantFiles(t, r, map[string]string{"a": "4", "d/b": "3", "x": "dirty"})
	puts(t, r, "main", map[string]string{"x": ""})
	_, err = r.Pick(bg, PickOptions{Commits: []oid.ID{three, one}, Revert: true}) // one conflicts: neither is done
	wantErr(t, err, errs.Conflict, "a")
	if headOf(t, r, "main") != head {
		t.Error("half of a revert was done")
	}
}

func TestRestore(t *testing.T) {
	r := newRepo(t)
	one := commit(t, r, "one", map[string]string{"a": "1", "d/b": "1", "d/c": "1"})
	commit(t, r, "two", map[string]string{"a": "2", "d/b": "2", "e": "2"})
	puts(t, r, "main", map[string]string{"d/new": "dirty", "a": "dirty"})
	restore := func(force bool, paths ...string) (RestoreResult, error) {
		return r.Restore(bg, RestoreOptions{From: one, Paths: paths, Force: force})
	}
	_, err := restore(false, "e", "nowhere")
	wantErr(t, err, errs.NotFound, "nowhere")
	_, err = restore(false, "e", "d")
	wantErr(t, err, errs.Conflict, "d/new")
	wantFiles(t, r, map[string]string{"a": "dirty", "d/b": "2", "d/c": "1", "d/new": "dirty", "e": "2"})
	_, err = restore(false, "e", "d/b")
	must(t, err)
	wantFiles(t, r, map[string]string{"a": "dirty", "d/b": "1", "d/c": "1", "d/new": "dirty"})
	res, err := restore(true, "d")
	must(t, err)
	wantFiles(t, r, map[string]string{"a": "dirty", "d/b": "1", "d/c": "1"})
	if got := contents(t, r, "", res.Kept); got["d/new"] != "dirty" {
		t.Errorf("kept: %v", got)
	}
	_, err = r.Undo(bg, UndoOptions{Force: true})
	must(t, err)
	wantFiles(t, r, map[string]string{"a": "dirty", "d/b": "1", "d/c": "1", "d/new": "dirty"})
}

// TestUndoNames: branches and tags come back as they were, annotation included; live trees go and come with branches.
func TestUndoNames(t *testing.T) {
	r := newRepo(t)
	one := commit(t, r, "one", map[string]string{"a": "1"})
	must(t, r.CreateTag(bg, "v1", one, "the first", "me"))
	tag, err := r.Refs.Tag("v1")
	must(t, err)
	must(t, r.CheckoutNew(bg, "exp/a", one))
	must(t, r.SetHead(bg, ref.Head{Branch: "main"}))
	must(t, r.RenameBranch(bg, "exp/a", "exp/b"))
	must(t, r.DeleteBranch(bg, false, "exp/b"))
	must(t, r.DeleteTag(bg, "v1"))
	_, err = r.GC(bg, keepAll, true, false)
	must(t, err)
	undo := func(want string) {
		t.Helper()
		res, err := r.Undo(bg, UndoOptions{})
		must(t, err)
		if got := res.Moves[len(res.Moves)-1].Ref; got != want {
			t.Fatalf("undo took back a move of %s, want %s", got, want)
		}
	}
	undo("tags/v1")
	if got, err := r.Refs.Tag("v1"); err != nil || got != tag {
		t.Errorf("v1 = %+v, %v, want %+v", got, err, tag)
	}
	if o, err := r.Objects.Tag(bg, tag.Tag); err != nil || o.Message != "the first" {
		t.Errorf("its object: %+v, %v", o, err)
	}
	undo("branches/exp/b")
	puts(t, r, "exp/b", map[string]string{"x": "live"})
	undo("branches/exp/b") // the rename
	if got := contents(t, r, "exp/a", oid.ID{}); got["x"] != "live" {
		t.Errorf("exp/a has %v", got)
	}
	undo("HEAD")
	if h, err := r.Refs.Head(); err != nil || h.Branch != "exp/a" {
		t.Errorf("HEAD %v, %v", h, err)
	}
	_, err = r.Undo(bg, UndoOptions{})
	wantErr(t, err, errs.Conflict, "x", "exp/a")
	_, err = r.Undo(bg, UndoOptions{Force: true})
	must(t, err)
	if h, err := r.Refs.Head(); err != nil || h.Branch != "main" {
		t.Errorf("HEAD %v, %v", h, err)
	}
	_, err = r.Refs.Branch("exp/a")
	wantErr(t, err, errs.NotFound)
	undo("tags/v1")
	undo("branches/main") // the snapshot: its changes are uncommitted again
	wantFiles(t, r, map[string]string{"a": "1"})
	_, err = r.Undo(bg, UndoOptions{})
	wantErr(t, err, errs.NotFound, "nothing to undo")
	for range 3 {
		_, err = r.Undo(bg, UndoOptions{Redo: true})
		must(t, err)
	}
	if h, err := r.Refs.Head(); err != nil || h.Branch != "exp/a" || headOf(t, r, "main") != one {
		t.Errorf("after redo: HEAD %v, %v", h, err)
	}
}

// keepAll keeps all that the ref log names.
const keepAll = 1 << 40

// TestMovesThenUndos: after any commands that move refs and live trees, as many undos restore all names and every live tree.
func TestMovesThenUndos(t *testing.T) {
	if testing.Short() {
		t.Skip("makes some hundred commits")
	}
	runs, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; runs > 40 && !failed { // each step is some fsyncs
			return
		}
		done := false
		defer func() { failed = failed || !done }()
		r := newRepo(t) // its own, so that a finding can be made again and shrunk
		defer func() { must(t, r.Close(bg)) }()
		commits := []oid.ID{commit(t, r, "0", map[string]string{"f0": "0"})}
		for i := range 4 {
			commits = append(commits, commit(t, r, fmt.Sprint(i+1), map[string]string{fmt.Sprint("f", i%3): fmt.Sprint(i + 1)}))
		}
		var states []string
		state := func() string {
			branches, err := r.Refs.Branches()
			must(t, err)
			tags, err := r.Refs.Tags()
			must(t, err)
			head, err := r.Refs.Head()
			must(t, err)
			s := fmt.Sprint(branches, tags, head)
			for _, b := range branches {
				s += fmt.Sprint(contents(t, r, b.Name, oid.ID{}))
			}
			return s
		}
		allowed := func(err error) bool {
			for _, class := range []error{nil, errs.Conflict, errs.Exist, errs.NotFound, errs.Invalid} {
				if errors.Is(err, class) {
					return err == nil
				}
			}
			rt.Fatal(err)
			return false
		}
		names := rapid.SampledFrom([]string{"main", "x", "y"})
		anyOf := rapid.SampledFrom(commits)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			before := state()
			n := names.Draw(rt, "name")
			var err error
			unchanged := false
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1:
				var res ResetResult
				res, err = r.Reset(bg, ResetOptions{Branch: n, To: anyOf.Draw(rt, "to"), Hard: true, Force: true})
				unchanged = res.Unchanged
			case 2:
				var res ResetResult
				res, err = r.Reset(bg, ResetOptions{Branch: n, To: anyOf.Draw(rt, "to")})
				unchanged = res.Unchanged
			case 3:
				_, err = r.Pick(bg, PickOptions{Branch: n, Commits: []oid.ID{anyOf.Draw(rt, "pick")}, Revert: rapid.Bool().Draw(rt, "revert")})
			case 4:
				err = r.CreateBranch(bg, n, anyOf.Draw(rt, "at"))
			case 5:
				err = r.DeleteBranch(bg, false, append([]string{n}, rapid.SliceOfN(names, 0, 1).Draw(rt, "more")...)...)
			case 6:
				err = r.RenameBranch(bg, n, names.Draw(rt, "new"))
			case 7:
				err = r.SetHead(bg, ref.Head{Branch: n})
			case 8:
				err = r.CreateTag(bg, n, anyOf.Draw(rt, "tag"), "text", "")
			case 9:
				err = r.DeleteTag(bg, n)
			}
			if !allowed(err) || unchanged {
				if got := state(); got != before {
					rt.Fatalf("refused (%v), and yet\n%s\nbecame\n%s", err, before, got)
				}
				continue
			}
			states = append(states, before)
		}
		for len(states) > 0 {
			_, err := r.Undo(bg, UndoOptions{})
			if err != nil {
				rt.Fatal(err)
			}
			if got := state(); got != states[len(states)-1] {
				rt.Fatalf("after undo\n%s\nwant\n%s", got, states[len(states)-1])
			}
			states = states[:len(states)-1]
		}
		done = true
	})
}

func TestDescribe(t *testing.T) {
	r := newRepo(t)
	one := commit(t, r, "one", map[string]string{"a": "1"})
	d, err := r.Describe(bg, one, DescribeOptions{})
	must(t, err)
	if d != (Description{Commit: one}) {
		t.Errorf("without tags: %+v", d)
	}
	must(t, r.CreateTag(bg, "v1", one, "", ""))
	must(t, r.CreateTag(bg, CompactTags+"main/x", one, "", ""))
	commit(t, r, "two", map[string]string{"a": "2"})
	three := commit(t, r, "three", map[string]string{"a": "3"})
	for match, want := range map[string]Description{"": {three, "v1", 2}, "v*": {three, "v1", 2}, "nope": {Commit: three}} {
		if d, err := r.Describe(bg, three, DescribeOptions{Match: match}); err != nil || d != want {
			t.Errorf("%q: %+v, %v", match, d, err)
		}
	}
	must(t, r.CreateTag(bg, "v3", three, "", ""))
	if d, err := r.Describe(bg, three, DescribeOptions{}); err != nil || d != (Description{three, "v3", 0}) {
		t.Errorf("at a tag: %+v, %v", d, err)
	}
	_, err = r.Describe(bg, three, DescribeOptions{Match: "["})
	wantErr(t, err, errs.Invalid)
}

func TestBranchSizes(t *testing.T) {
	r := newRepo(t)
	one := commit(t, r, "one", map[string]string{"a": strings.Repeat("common ", 1000)})
	must(t, r.CreateBranch(bg, "x", one))
	commit(t, r, "two", map[string]string{"b": strings.Repeat("of main only ", 3000)})
	sizes, err := r.BranchSizes(bg)
	must(t, err)
	m, x := sizes["main"], sizes["x"]
	if x.Unique != 0 || x.Stored == 0 || m.Unique == 0 || m.Stored != x.Stored+m.Unique {
		t.Errorf("main %+v, x %+v", m, x)
	}
	must(t, r.CreateTag(bg, "v", headOf(t, r, "main"), "", ""))
	if sizes, err = r.BranchSizes(bg); err != nil || sizes["main"].Unique != 0 {
		t.Errorf("with a tag: %+v, %v", sizes, err)
	}
}

// TestOneStep: what one command did to several names is one step of undo and redo.
func TestOneStep(t *testing.T) {
	r := newRepo(t)
	puts(t, r, "main", map[string]string{"a": "1"})
	res, err := r.Snapshot(bg, SnapshotOptions{Message: "one", Tag: "v1"})
	must(t, err)
	undo := func(redo bool, refs ...string) {
		t.Helper()
		res, err := r.Undo(bg, UndoOptions{Redo: redo})
		must(t, err)
		var got []string
		for _, m := range res.Moves {
			got = append(got, m.Ref)
		}
		if !slices.Equal(got, refs) {
			t.Fatalf("moves of %v, want %v", got, refs)
		}
	}
	undo(false, "branches/main", "tags/v1")
	_, err = r.Refs.Tag("v1")
	wantErr(t, err, errs.NotFound)
	wantFiles(t, r, map[string]string{"a": "1"})
	undo(true, "branches/main", "tags/v1")
	if tag, err := r.Refs.Tag("v1"); err != nil || tag.ID != res.Commit {
		t.Errorf("%+v, %v", tag, err)
	}

	must(t, r.CreateBranch(bg, "x", res.Commit))
	must(t, r.CreateBranch(bg, "y", res.Commit))
	puts(t, r, "y", map[string]string{"b": "dirty"})
	wantErr(t, r.DeleteBranch(bg, false, "x", "y"), errs.Conflict, "y", "b")
	wantErr(t, r.DeleteBranch(bg, true, "x", "main"), errs.Conflict, "HEAD")
	wantErr(t, r.DeleteBranch(bg, true, "x", "x"), errs.NotFound, "x")
	if got := contents(t, r, "y", oid.ID{}); got["b"] != "dirty" || len(r.Live.Branches()) != 2 {
		t.Errorf("a refused delete changed live trees: %v, %v", got, r.Live.Branches())
	}
	must(t, r.DeleteBranch(bg, true, "x", "y"))
	if b := r.Live.Branches(); len(b) != 1 {
		t.Errorf("live trees %v", b)
	}
	undo(false, "branches/x", "branches/y")
	if got := contents(t, r, "y", oid.ID{}); !maps.Equal(got, map[string]string{"a": "1"}) {
		t.Errorf("y has %v", got)
	}
	puts(t, r, "x", map[string]string{"b": "dirty"})
	_, err = r.Undo(bg, UndoOptions{Redo: true})
	wantErr(t, err, errs.Conflict, "x", "(b")
	puts(t, r, "x", map[string]string{"b": ""})
	undo(true, "branches/x", "branches/y")
	_, err = r.Refs.Branch("y")
	wantErr(t, err, errs.NotFound)
}
