package vcs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coral/internal/oid"
	"coral/objstore"
	"coral/objstore/pack"
	"coral/vcs/object"
	"coral/vcs/ref"
)

// flip changes one byte in the payload of a record.
func flip(t *testing.T, r *Repo, info objstore.Info) (undo func()) {
	t.Helper()
	path := filepath.Join(r.Dir, "packs", pack.Name(info.Pack))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	at := info.Offset + info.Stored/2
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	must(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b, at)
	must(t, err)
	return func() { flip(t, r, info) }
}

func fsckOf(t *testing.T, r *Repo, full bool) FsckReport {
	t.Helper()
	rep, err := r.Fsck(bg, FsckOptions{Full: full})
	must(t, err)
	return rep
}

func TestFsckNamesDamage(t *testing.T) {
	r := newRepo(t)
	add(t, r, map[string]string{"sub/weights": noise(500_000, 1), "sub/copy": noise(500_000, 1), "other": noise(50_000, 2)})
	c1 := snap(t, r, "one")
	add(t, r, map[string]string{"more": "x"})
	c2 := snap(t, r, "two")
	add(t, r, map[string]string{"sub/weights": noise(100_000, 5), "sub/copy": noise(100_000, 5), "only": "text"})
	c3 := snap(t, r, "three")
	for _, full := range []bool{false, true} {
		if rep := fsckOf(t, r, full); len(rep.Damage)+len(rep.Damaged) > 0 || rep.Files != 5 || rep.Packs != 1 {
			t.Fatalf("full %v: %+v", full, rep)
		}
	}
	c, err := r.Objects.Commit(bg, c1)
	must(t, err)
	e, err := r.Lookup(bg, c.Tree, "sub/weights")
	must(t, err)
	m, err := r.Objects.Manifest(bg, e.ID)
	must(t, err)
	blob, err := r.Packs.Stat(m.Segments[len(m.Segments)/2].Blob)
	must(t, err)

	undo := flip(t, r, blob)
	for _, full := range []bool{false, true} {
		rep := fsckOf(t, r, full)
		var got []string
		for _, d := range rep.Damaged {
			if d.Commit != c2 || !strings.Contains(d.Why, "1 older commits") {
				t.Errorf("full %v: %+v, want it in %s and one older", full, d, c2.Short())
			}
			got = append(got, d.Path)
		}
		if !slices.Equal(got, []string{"sub/copy", "sub/weights"}) {
			t.Errorf("full %v: damaged %q", full, got)
		}
		if len(rep.Damage) == 0 || !strings.Contains(strings.Join(rep.Damage, "\n"), blob.ID.Short()) {
			t.Errorf("full %v: damage %q does not name the blob", full, rep.Damage)
		}
	}
	undo()

	tree, err := r.Packs.Stat(c.Tree)
	must(t, err)
	undo = flip(t, r, tree)
	rep := fsckOf(t, r, true)
	if len(rep.Damaged) != 1 || rep.Damaged[0].Path != "." || rep.Damaged[0].Commit != c1 {
		t.Errorf("a damaged root: %+v", rep)
	}
	undo()

	commit, err := r.Packs.Stat(c2)
	must(t, err)
	flip(t, r, commit)
	rep = fsckOf(t, r, false)
	if !strings.Contains(strings.Join(rep.Damage, "\n"), "commit "+c2.Short()+", a parent") {
		t.Errorf("a damaged commit: %+v", rep)
	}
	// The rest can be used all the same: the head, and its live tree.
	if _, err := r.LiveTree(bg, "main"); err != nil {
		t.Error(err)
	}
	must(t, r.Export(bg, c3, "", t.TempDir(), nil))
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := r.Fsck(ctx, FsckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFsckMissingObjects(t *testing.T) {
	r := newRepo(t)
	missing := oid.Sum([]byte("missing"))
	hollow, err := r.Objects.PutManifest(bg, &object.Manifest{Size: 5, Segments: []object.Segment{{Length: 5, Blob: missing}}})
	must(t, err)
	tiny, err := r.Objects.PutManifest(bg, &object.Manifest{Size: 1, Hash: oid.Sum([]byte("x")), Segments: []object.Segment{{Length: 1, Inline: []byte("x")}}})
	must(t, err)
	tree, err := r.Objects.PutTree(bg, &object.Tree{Entries: []object.Entry{
		{Name: "dir", Kind: object.Dir, ID: missing}, {Name: "hollow", Kind: object.File, Size: 5, ID: hollow},
		{Name: "honest", Kind: object.File, Size: 1, ID: tiny}, {Name: "lies", Kind: object.File, Size: 6, ID: tiny}, {Name: "none", Kind: object.File, Size: 1, ID: missing},
	}})
	must(t, err)
	id, err := r.Objects.PutCommit(bg, &object.Commit{Tree: tree, Parents: []oid.ID{missing}})
	must(t, err)
	must(t, r.Refs.MoveBranch("main", oid.ID{}, id, "", ""))
	must(t, r.Refs.CreateBranch("gone", missing, "", ""))
	tags := []string{}
	for name, tag := range map[string]oid.ID{"annotated": missing, "wrong": tree} {
		must(t, r.Refs.CreateTag(ref.Ref{Name: name, ID: id, Tag: tag}, "", ""))
		tags = append(tags, name)
	}
	rep := fsckOf(t, r, true)
	all := strings.Join(rep.Damage, "\n")
	for _, want := range append(tags, "branch gone") {
		if !strings.Contains(all, want) {
			t.Errorf("damage does not mention %q:\n%s", want, all)
		}
	}
	var paths []string
	for _, d := range rep.Damaged {
		paths = append(paths, d.Path)
	}
	if !slices.Equal(paths, []string{"dir", "hollow", "lies", "none"}) {
		t.Errorf("damaged %+v", rep.Damaged)
	}
}

func TestFsckProgress(t *testing.T) {
	r := newRepo(t)
	add(t, r, sampleFiles())
	snap(t, r, "x")
	var last, total int64
	rep, err := r.Fsck(bg, FsckOptions{Full: true, Progress: func(done, all int64, what string) {
		if done < last {
			t.Errorf("progress goes back from %d to %d", last, done)
		}
		last, total = done, all
	}})
	if err != nil || last != rep.Bytes || total != rep.Bytes {
		t.Errorf("ended at %d of %d, want %d (%v)", last, total, rep.Bytes, err)
	}
}

// What fsck found damaged becomes whole when the same content is added again, and collected.
func TestAddHeals(t *testing.T) {
	r := newRepo(t)
	files := map[string]string{"weights": noise(500_000, 1)}
	add(t, r, files)
	snap(t, r, "one")
	must(t, r.Packs.Sync(bg))
	var victim objstore.Info
	must(t, r.Packs.ForEach(bg, objstore.Blob, func(i objstore.Info) error {
		if i.Stored > victim.Stored {
			victim = i
		}
		return nil
	}))
	flip(t, r, victim)
	if rep := fsckOf(t, r, true); len(rep.Damaged) != 1 {
		t.Fatalf("%+v", rep)
	}
	r = reopen(t, r)
	_, _, err := r.Add(bg, "main", writeTree(t, map[string]string{"again": files["weights"]}), "", nil)
	must(t, err)
	snap(t, r, "two")
	if rep := fsckOf(t, r, true); len(rep.Damage)+len(rep.Damaged) > 0 {
		t.Fatalf("%+v", rep)
	}
}
