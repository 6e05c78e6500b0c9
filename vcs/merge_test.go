package vcs

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coral/delta/format/detect"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/merge"
	"coral/vcs/merge/method"
)

// mergeWeights makes a safetensors file of F32 tensors, in order of their names.
func mergeWeights(tensors map[string][]float32) string {
	var names []string
	for n := range tensors {
		names = append(names, n)
	}
	slices.Sort(names)
	var head strings.Builder
	var data []byte
	head.WriteString(`{"__metadata__":{"format":"pt"}`)
	for _, n := range names {
		at := len(data)
		for _, v := range tensors[n] {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		fmt.Fprintf(&head, `,%q:{"dtype":"F32","shape":[%d],"data_offsets":[%d,%d]}`, n, len(tensors[n]), at, len(data))
	}
	head.WriteString("}")
	for head.Len()%8 != 0 {
		head.WriteByte(' ')
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(head.Len()))) + head.String() + string(data)
}

// ramp is a tensor that is stored as a blob of its own.
func ramp(n int, slope float32) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = slope * float32(i+1)
	}
	return v
}

// fork makes main with files, and branches that each change some of them.
func fork(t *testing.T, r *Repo, base map[string]string, branches map[string]map[string]string) {
	t.Helper()
	add(t, r, base)
	at := snap(t, r, "base")
	for name, files := range branches {
		if name != "main" {
			must(t, r.CreateBranch(bg, name, at))
		}
		put(t, r, name, files)
	}
}

// put commits files to a branch.
func put(t *testing.T, r *Repo, branch string, files map[string]string) {
	t.Helper()
	live, err := r.LiveTree(bg, branch)
	must(t, err)
	for name, text := range files {
		if text == "" {
			must(t, live.Unlink(bg, live.Root(), name))
			delete(files, name)
		}
	}
	if len(files) > 0 {
		_, _, err := r.Add(bg, branch, writeTree(t, files), "", nil)
		must(t, err)
	}
	_, err = r.Snapshot(bg, SnapshotOptions{Branch: branch, Message: branch})
	must(t, err)
}

func strategy(t testing.TB, text string) method.Spec {
	t.Helper()
	s, err := method.Parse(text)
	must(t, err)
	return s
}

// content returns a file of a commit.
func fileOf(t *testing.T, r *Repo, rev, path string) string {
	t.Helper()
	id, err := r.Resolve(bg, rev)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "out")
	must(t, r.Export(bg, id, path, dir, nil))
	b, err := os.ReadFile(filepath.Join(dir, filepath.Base(path)))
	must(t, err)
	return string(b)
}

// TestMergeFiles: each way in which the sides of a file can differ.
func TestMergeFiles(t *testing.T) {
	r := newRepo(t)
	base := map[string]string{"same": "1", "ours": "1", "theirs": "1", "both": "1", "clash": "1", "gone": "1", "goneA": "1", "goneB": "1", "edit": "1", "d/x": "1", "e/x": "1"}
	fork(t, r, base, map[string]map[string]string{
		"main": {"ours": "2", "both": "2", "clash": "2", "goneA": "", "new": "2", "newBoth": "2", "edit": "", "e/y": "2"},
		"b":    {"theirs": "3", "both": "2", "clash": "3", "goneB": "", "newB": "3", "newBoth": "2", "edit": "3", "d/x": "3", "f/z": "3"},
	})
	head := snapHead(t, r, "main")
	res, err := r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "fail")})
	must(t, err)
	wantErr(t, res.Err(), errs.Conflict, "clash", "and 1 more")
	want := []merge.Conflict{{Path: "clash", Why: "changed on several sides, and not a file of tensors on all"}, {Path: "edit", Why: "deleted on one side and changed on another"}}
	if !slices.Equal(res.Conflicts, want) || snapHead(t, r, "main") != head || !res.Commit.IsZero() {
		t.Errorf("%+v", res)
	}
	res, err = r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "ours"), Rules: []merge.Rule{{Glob: "ed*", Spec: strategy(t, "theirs")}}})
	must(t, err)
	must(t, res.Err())
	got := map[string]string{}
	dir := filepath.Join(t.TempDir(), "out")
	must(t, r.Export(bg, res.Commit, "", dir, nil))
	must(t, filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		got[strings.TrimPrefix(p, dir+"/")] = string(b)
		return err
	}))
	wantFiles := map[string]string{"same": "1", "ours": "2", "theirs": "3", "both": "2", "clash": "2", "gone": "1", "edit": "3", "new": "2", "newB": "3", "newBoth": "2", "d/x": "3", "e/x": "1", "e/y": "2", "f/z": "3"}
	if fmt.Sprint(got) != fmt.Sprint(wantFiles) {
		t.Errorf("%v\nwant %v", got, wantFiles)
	}
	c, err := r.Objects.Commit(bg, res.Commit)
	must(t, err)
	if len(c.Parents) != 2 || c.Parents[0] != head || c.Message != "merge b into main" || !json.Valid([]byte(c.Labels[LabelMerge])) {
		t.Errorf("%+v", c)
	}
	// The live tree followed, and is clean.
	live, err := r.LiveTree(bg, "main")
	must(t, err)
	if changes, err := live.Status(bg, c.Tree); err != nil || len(changes) > 0 {
		t.Errorf("%v, %v", changes, err)
	}
	if _, err := live.Lookup(bg, live.Root(), "newB"); err != nil {
		t.Error(err)
	}
	if res, err = r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "fail")}); err != nil || !res.UpToDate {
		t.Errorf("again: %+v, %v", res, err)
	}
}

func snapHead(t *testing.T, r *Repo, branch string) oid.ID {
	t.Helper()
	b, err := r.Refs.Branch(branch)
	must(t, err)
	return b.ID
}

// TestMergeTensors: what one side changed is taken, what both did is computed, and nothing else changes.
func TestMergeTensors(t *testing.T) {
	r := newRepo(t)
	base := map[string][]float32{"a": ramp(1000, 1), "b": ramp(1000, 2), "c": ramp(3, 1), "d": ramp(1000, 4), "tiny": {1}}
	ours, theirs := cloneTensors(base), cloneTensors(base)
	ours["a"], ours["c"], ours["d"] = ramp(1000, 3), ramp(3, 2), ramp(1000, 5)
	theirs["b"], theirs["c"], theirs["d"], theirs["tiny"] = ramp(1000, 6), ramp(3, 4), ramp(1000, 5), []float32{7}
	fork(t, r, map[string]string{"m.safetensors": mergeWeights(base)}, map[string]map[string]string{"main": {"m.safetensors": mergeWeights(ours)}, "b": {"m.safetensors": mergeWeights(theirs)}})
	res, err := r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "fail")})
	must(t, err)
	if want := []merge.Conflict{{Path: "m.safetensors", Tensor: "c", Why: "changed on several sides"}}; !slices.Equal(res.Conflicts, want) {
		t.Errorf("%+v", res.Conflicts)
	}
	res, err = r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "average"), DryRun: true})
	must(t, err)
	if res.Computed != 1 || res.Taken != 2 || !res.Commit.IsZero() || len(res.Conflicts) > 0 {
		t.Errorf("dry run: %+v", res)
	}
	res, err = r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "average")})
	must(t, err)
	want := cloneTensors(ours)
	want["b"], want["c"], want["tiny"] = theirs["b"], ramp(3, 3), theirs["tiny"]
	if got := fileOf(t, r, "main", "m.safetensors"); got != mergeWeights(want) {
		t.Error("the file is another")
	}
	if res.Taken != 2 || res.Computed != 1 {
		t.Errorf("%+v", res)
	}
}

// TestMergeAnew: tensors of safetensors files come, go and change shape, and the file is what the library would write.
func TestMergeAnew(t *testing.T) {
	r := newRepo(t)
	base := map[string][]float32{"b": ramp(300, 1), "c": ramp(300, 2), "d": ramp(300, 3), "e": ramp(300, 4)}
	ours, theirs := cloneTensors(base), cloneTensors(base)
	ours["x"], ours["e"] = ramp(10, 1), ramp(300, 5)
	delete(ours, "b")
	theirs["a"], theirs["d"], theirs["e"], theirs["x"] = ramp(20, 1), ramp(200, 3), ramp(300, 7), ramp(10, 3)
	delete(theirs, "c")
	fork(t, r, map[string]string{"m.safetensors": mergeWeights(base)}, map[string]map[string]string{"main": {"m.safetensors": mergeWeights(ours)}, "b": {"m.safetensors": mergeWeights(theirs)}})
	res, err := r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "average")})
	must(t, err)
	must(t, res.Err())
	want := map[string][]float32{"a": theirs["a"], "d": theirs["d"], "e": ramp(300, 6), "x": ramp(10, 2)}
	if got := fileOf(t, r, "main", "m.safetensors"); got != mergeWeights(want) {
		t.Error("the file is another")
	}
	if f := res.Files[0]; f.Added != 1 || f.Removed != 1 || f.Taken != 1 || f.Computed != 2 {
		t.Errorf("%+v", f)
	}
	put(t, r, "b", map[string]string{"m.safetensors": mergeWeights(map[string][]float32{"a": theirs["a"], "e": ramp(5, 1)})})
	put(t, r, "main", map[string]string{"m.safetensors": mergeWeights(map[string][]float32{"a": theirs["a"], "d": ramp(6, 2)})})
	res, err = r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "average")})
	must(t, err)
	if len(res.Conflicts) != 2 || res.Conflicts[0].Why != "deleted on one side and changed on another" {
		t.Errorf("%+v", res.Conflicts)
	}
}

func cloneTensors(m map[string][]float32) map[string][]float32 {
	out := map[string][]float32{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// TestMergeSoup: with All everything that differs is computed, whoever changed it, also of ancestors.
func TestMergeSoup(t *testing.T) {
	r := newRepo(t)
	files := func(slope float32) map[string]string {
		return map[string]string{"m.safetensors": mergeWeights(map[string][]float32{"w": ramp(500, slope), "same": ramp(500, 9)})}
	}
	add(t, r, files(1))
	snap(t, r, "1")
	add(t, r, files(2))
	snap(t, r, "2")
	add(t, r, files(6))
	snap(t, r, "3")
	if res, err := r.Merge(bg, MergeOptions{With: []string{"main~1"}, Strategy: strategy(t, "average")}); err != nil || !res.UpToDate {
		t.Errorf("%+v, %v", res, err)
	}
	res, err := r.Merge(bg, MergeOptions{With: []string{"main~1", "main~2"}, Strategy: strategy(t, "average"), All: true})
	must(t, err)
	if got := fileOf(t, r, "main", "m.safetensors"); got != files(3)["m.safetensors"] || res.Computed != 1 {
		t.Errorf("%+v", res)
	}
	// By a recipe whose models are not HEAD.
	res, err = r.Merge(bg, MergeOptions{Models: []string{"main~3", "main~2"}, Base: "main~3", Strategy: strategy(t, "task-arithmetic:weights=1/2")})
	must(t, err)
	if got := fileOf(t, r, "main", "m.safetensors"); got != files(3)["m.safetensors"] {
		t.Errorf("%+v", res)
	}
}

// TestMergeRefuses: nothing changes when something is in the way.
func TestMergeRefuses(t *testing.T) {
	r := newRepo(t)
	shape := func(n int) map[string]string {
		return map[string]string{"m.safetensors": mergeWeights(map[string][]float32{"w": ramp(n, float32(n))})}
	}
	fork(t, r, shape(300), map[string]map[string]string{"main": shape(301), "b": shape(302)})
	head := snapHead(t, r, "main")
	merges := func(o MergeOptions) (MergeResult, error) {
		t.Helper()
		if o.With == nil {
			o.With = []string{"b"}
		}
		res, err := r.Merge(bg, o)
		if snapHead(t, r, "main") != head {
			t.Fatalf("main has moved: %+v", res)
		}
		return res, err
	}
	_, err := merges(MergeOptions{With: []string{"nowhere"}, Strategy: strategy(t, "ours")})
	wantErr(t, err, errs.NotFound, "nowhere")
	res, err := merges(MergeOptions{Strategy: strategy(t, "average")})
	must(t, err)
	wantErr(t, res.Err(), errs.Conflict, "the shapes differ: [301] and [302]")
	_, err = merges(MergeOptions{Strategy: strategy(t, "slerp"), With: []string{"b", "b"}})
	wantErr(t, err, errs.Invalid, "exactly two sides")
	_, err = merges(MergeOptions{Strategy: strategy(t, "ours"), Rules: []merge.Rule{{Glob: "[", Spec: strategy(t, "ours")}}})
	wantErr(t, err, errs.Invalid, "pattern")
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := r.Merge(ctx, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "ours")}); err == nil {
		t.Error("a cancelled merge succeeds")
	}
	add(t, r, map[string]string{"new": "1"})
	_, err = merges(MergeOptions{Strategy: strategy(t, "ours")})
	wantErr(t, err, errs.Conflict, "new", "snapshot")
}

// TestMergeBase: unrelated histories, criss-cross ones, and octopuses.
func TestMergeBase(t *testing.T) {
	r := newRepo(t)
	fork(t, r, map[string]string{"f": "0"}, map[string]map[string]string{"main": {"a": "1"}, "b": {"b": "1"}})
	base := snapHead(t, r, "main~1"[:4])
	root, err := r.Resolve(bg, "main~1")
	must(t, err)
	if ids, err := r.MergeBases(bg, base, snapHead(t, r, "b")); err != nil || !slices.Equal(ids, []oid.ID{root}) {
		t.Errorf("%v, %v", ids, err)
	}
	// Criss-cross: each takes the other's old head.
	oldMain, oldB := snapHead(t, r, "main"), snapHead(t, r, "b")
	must2(t)(r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "fail")}))
	must2(t)(r.Merge(bg, MergeOptions{Branch: "b", With: []string{oldMain.String()}, Strategy: strategy(t, "fail")}))
	ids, err := r.MergeBases(bg, snapHead(t, r, "main"), snapHead(t, r, "b"))
	must(t, err)
	if len(ids) != 2 || !slices.Contains(ids, oldMain) || !slices.Contains(ids, oldB) {
		t.Errorf("criss-cross: %v", ids)
	}
	put(t, r, "b", map[string]string{"c": "1"})
	res, err := r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "fail")})
	must(t, err)
	if res.Bases != 2 || res.Commit.IsZero() {
		t.Errorf("%+v", res)
	}
	// A branch without history in common.
	must(t, r.CreateBranch(bg, "other", oid.ID{}))
	put(t, r, "other", map[string]string{"z": "1"})
	_, err = r.Merge(bg, MergeOptions{With: []string{"other"}, Strategy: strategy(t, "fail")})
	wantErr(t, err, errs.Invalid, "no commit in common")
	must2(t)(r.Merge(bg, MergeOptions{With: []string{"other"}, Strategy: strategy(t, "fail"), Unrelated: true}))
	if got := fileOf(t, r, "main", "z"); got != "1" {
		t.Error(got)
	}
	// Fast forward, or not.
	must(t, r.CreateBranch(bg, "ff", root))
	if res, err := r.Merge(bg, MergeOptions{Branch: "ff", With: []string{"main"}, Strategy: strategy(t, "fail")}); err != nil || !res.FastForward || snapHead(t, r, "ff") != snapHead(t, r, "main") {
		t.Errorf("%+v, %v", res, err)
	}
	must(t, r.CreateBranch(bg, "noff", root))
	if res, err := r.Merge(bg, MergeOptions{Branch: "noff", With: []string{"main"}, Strategy: strategy(t, "fail"), NoFF: true}); err != nil || res.FastForward || res.Tree.IsZero() {
		t.Errorf("%+v, %v", res, err)
	}
}

func must2(t *testing.T) func(MergeResult, error) {
	return func(res MergeResult, err error) {
		t.Helper()
		must(t, err)
		must(t, res.Err())
	}
}

// TestMergeArchive: in a file of torch.save the checksums follow, and tied tensors stay tied.
func TestMergeArchive(t *testing.T) {
	for _, name := range []string{"plain.pt", "tied.pt"} {
		t.Run(name, func(t *testing.T) { mergeArchive(t, name) })
	}
}

func mergeArchive(t *testing.T, name string) {
	raw, err := os.ReadFile("../delta/format/torchzip/testdata/" + name)
	must(t, err)
	l, err := detect.Parse(bytes.NewReader(raw), int64(len(raw)))
	must(t, err)
	change := func(seed byte) string {
		b := slices.Clone(raw)
		for _, p := range l.Payloads {
			for i := p.Offset; i < p.Offset+p.Length; i++ {
				b[i] = byte(i)*seed&0x3f | 1 // no NaN in any kind of float
			}
		}
		return fixCRCs(t, b)
	}
	r := newRepo(t)
	fork(t, r, map[string]string{"m.pt": string(raw)}, map[string]map[string]string{"main": {"m.pt": change(3)}, "b": {"m.pt": change(5)}})
	res, err := r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "average"), Fallback: method.Theirs})
	must(t, err)
	must(t, res.Err())
	if res.Computed == 0 {
		t.Errorf("%+v", res)
	}
	got := fileOf(t, r, "main", "m.pt")
	if got == change(3) || len(got) != len(raw) || got != fixCRCs(t, []byte(got)) {
		t.Error("the archive's checksums are wrong, or nothing changed")
	}
}

// fixCRCs sets the checksums of a ZIP archive as archive/zip reads it.
func fixCRCs(t *testing.T, b []byte) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	for _, f := range z.File {
		at, err := f.DataOffset()
		must(t, err)
		var old, sum [4]byte
		binary.LittleEndian.PutUint32(old[:], f.CRC32)
		binary.LittleEndian.PutUint32(sum[:], crc32.ChecksumIEEE(b[at:at+int64(f.CompressedSize64)]))
		if f.Method == zip.Store && f.CRC32 != 0 {
			copy(b, bytes.ReplaceAll(b, old[:], sum[:]))
		}
	}
	return string(b)
}

// TestMergeLateChange: a change of the live tree that comes while a merge computes is not lost.
func TestMergeLateChange(t *testing.T) {
	r := newRepo(t)
	file := func(slope float32) map[string]string {
		return map[string]string{"m.safetensors": mergeWeights(map[string][]float32{"w": ramp(500, slope)})}
	}
	fork(t, r, file(1), map[string]map[string]string{"main": file(2), "b": file(4)})
	head, late := snapHead(t, r, "main"), false
	_, err := r.Merge(bg, MergeOptions{With: []string{"b"}, Strategy: strategy(t, "average"), Progress: func(string, int64, int64) {
		if !late {
			late = true
			add(t, r, map[string]string{"late": "1"})
		}
	}})
	wantErr(t, err, errs.Conflict, "late")
	live, lerr := r.LiveTree(bg, "main")
	must(t, lerr)
	if _, err := live.Lookup(bg, live.Root(), "late"); err != nil || !late || snapHead(t, r, "main") != head {
		t.Errorf("the change is lost: %v", err)
	}
	add(t, r, map[string]string{"later": "1"}) // it takes changes again
}
