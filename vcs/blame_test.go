package vcs

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
)

// commitOf makes a commit of files (at most one directory deep) without a live tree. Its time is that of the latest parent and a second.
func commitOf(t *testing.T, r *Repo, files map[string]string, parents ...oid.ID) oid.ID {
	t.Helper()
	dirs := map[string]*object.Tree{"": {}}
	for name, text := range files {
		in, err := r.Content.Ingest(bg, strings.NewReader(text), int64(len(text)), content.Hint{Path: name})
		must(t, err)
		dir, base := path.Split(name)
		dir = strings.Trim(dir, "/")
		if dirs[dir] == nil {
			dirs[dir] = &object.Tree{}
		}
		dirs[dir].Entries = append(dirs[dir].Entries, object.Entry{Name: base, Kind: object.File, Mode: 0o644, MTime: time.Unix(1, 0), Size: int64(len(text)), ID: in.Manifest})
	}
	put := func(tr *object.Tree) oid.ID {
		slices.SortFunc(tr.Entries, func(a, b object.Entry) int { return strings.Compare(a.Name, b.Name) })
		id, err := r.Objects.PutTree(bg, tr)
		must(t, err)
		return id
	}
	for name, tr := range dirs {
		if name != "" {
			dirs[""].Entries = append(dirs[""].Entries, object.Entry{Name: name, Kind: object.Dir, Mode: 0o755, ID: put(tr)})
		}
	}
	at := time.Unix(1000, 0)
	for _, p := range parents {
		c, err := r.Objects.Commit(bg, p)
		must(t, err)
		if !c.Time.Before(at) {
			at = c.Time.Add(time.Second)
		}
	}
	id, err := r.Objects.PutCommit(bg, &object.Commit{Tree: put(dirs[""]), Parents: parents, Author: "t <t@t>", Time: at, Message: fmt.Sprint(at.Unix())})
	must(t, err)
	return id
}

// tensorFile is a safetensors file of F32 vectors of given seeds: "a=1 b=2:100" has a of 1000 elements and b of 100. Seed 0 is all zeros.
func tensorFile(spec string) string {
	head, data := []string{}, []byte{}
	for f := range strings.FieldsSeq(spec) {
		seed, n := uint64(0), 1000
		name, rest, _ := strings.Cut(f, "=")
		if _, err := fmt.Sscanf(rest, "%d:%d", &seed, &n); err != nil {
			n = 1000
		}
		from := len(data)
		rnd := rand.New(rand.NewPCG(seed, 7))
		for range n {
			v := rnd.Uint32()
			if seed == 0 {
				v = 0
			}
			data = binary.LittleEndian.AppendUint32(data, v)
		}
		head = append(head, fmt.Sprintf(`%q:{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}`, name, n, from, len(data)))
	}
	h := "{" + strings.Join(head, ",") + "}"
	for len(h)%8 != 0 {
		h += " "
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(h)))) + h + string(data)
}

func TestBlame(t *testing.T) {
	r := newRepo(t)
	m := func(spec string) map[string]string { return map[string]string{"m": tensorFile(spec), "x": "y"} }
	// Small tensors lie in one literal run with the header, so that each change of one changes the run of all.
	c1 := commitOf(t, r, m("a=1 b=2 s=3:10 z=4:0 u=5:10"))
	c2 := commitOf(t, r, m("a=1 b=9 s=3:10 z=4:0 u=6:10"), c1)
	c3 := commitOf(t, r, m("a=1 b=9 s=3:10 z=4:0 u=6:10 n=7"), c2)
	// Renamed file, renamed tensor, another order; one changed.
	c4 := commitOf(t, r, map[string]string{"d/new": tensorFile("s=8:10 b2=9 a=1 n=7"), "x": "y"}, c3)
	// A merge: a from one side, b from the other, s from both (the first counts), n made new by the merge.
	left := commitOf(t, r, m("a=20 b=2 s=30:10 n=1"), c1)
	right := commitOf(t, r, m("a=1 b=21 s=30:10 n=2"), c1)
	merge := commitOf(t, r, m("a=20 b=21 s=30:10 n=3"), left, right)
	// Back to what it was is a change.
	back := commitOf(t, r, m("a=1 b=2 s=3:10 z=4:0 u=5:10"), c2)
	// A copy beside what stayed.
	copied := commitOf(t, r, map[string]string{"m": tensorFile("a=1 b=2 s=3:10 z=4:0 u=5:10"), "m2": tensorFile("a=1 b=50"), "x": "y"}, c1)

	for name, c := range map[string]struct {
		at     oid.ID
		path   string
		copies bool
		want   string // tensor: commit; "*" is the file
	}{
		"one commit":     {c1, "m", false, "*=c1 a=c1 b=c1 s=c1 z=c1 u=c1"},
		"changed":        {c2, "m", false, "*=c2 a=c1 b=c2 s=c1 z=c1 u=c2"},
		"added":          {c3, "m", false, "*=c3 a=c1 b=c2 s=c1 z=c1 u=c2 n=c3"},
		"renamed":        {c4, "d/new", false, "*=c4 s=c4 b2=c2 a=c1 n=c3"},
		"merge":          {merge, "m", false, "*=merge a=left b=right s=left n=merge"},
		"back":           {back, "m", false, "*=back a=c1 b=back s=c1 z=c1 u=back"},
		"no copies":      {copied, "m2", false, "*=copied a=copied b=copied"},
		"copies":         {copied, "m2", true, "*=copied a=c1 b=copied"},
		"not a tensor's": {merge, "x", false, "*=c1"},
	} {
		names := map[oid.ID]string{c1: "c1", c2: "c2", c3: "c3", c4: "c4", left: "left", right: "right", merge: "merge", back: "back", copied: "copied"}
		file, tensors, err := r.Blame(bg, c.at, c.path, BlameOptions{Copies: c.copies})
		must(t, err)
		got := "*=" + names[file.Commit]
		for _, b := range tensors {
			got += " " + b.Tensor.Name + "=" + names[b.Commit]
			if want := map[bool]string{true: "d/new", false: "m"}[b.Commit == c4]; b.Path != want && b.Commit != copied {
				t.Errorf("%s: %s is in %q, want %q", name, b.Tensor.Name, b.Path, want)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	_, _, err := r.Blame(bg, c4, "d", BlameOptions{})
	wantErr(t, err, errs.IsDir, "blame d")
	_, _, err = r.Blame(bg, c4, "m", BlameOptions{})
	wantErr(t, err, errs.NotFound, "blame m")
}

// TestBlameClocks has a parent that is younger than its child.
func TestBlameClocks(t *testing.T) {
	r := newRepo(t)
	c1 := commitOf(t, r, map[string]string{"m": tensorFile("a=1 b=2")})
	late, err := r.Objects.Commit(bg, c1)
	must(t, err)
	mid := *late
	mid.Parents, mid.Time = []oid.ID{c1}, time.Unix(1e6, 0)
	slow, err := r.Objects.PutCommit(bg, &mid)
	must(t, err)
	tip := mid
	tip.Parents, tip.Time = []oid.ID{slow, c1}, time.Unix(5, 0)
	id, err := r.Objects.PutCommit(bg, &tip)
	must(t, err)
	file, tensors, err := r.Blame(bg, id, "m", BlameOptions{})
	must(t, err)
	if file.Commit != c1 || len(tensors) != 2 || tensors[0].Commit != c1 {
		t.Errorf("%+v %+v", file, tensors)
	}
}
