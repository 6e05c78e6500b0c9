package vcs

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coral/delta/lossy"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
)

// trained is an F32 matrix of rows × 256 after some steps of a run: every value moves a little each step.
func trained(rows, steps int) []float32 {
	trainings.Lock()
	defer trainings.Unlock()
	run := trainings.run[rows]
	if run == nil {
		run = [][]float32{make([]float32, rows*256)}
		r := rand.New(rand.NewPCG(7, 7))
		for i := range run[0] {
			run[0][i] = float32(r.NormFloat64() * 0.05)
		}
	}
	for s := len(run) - 1; s < steps; s++ {
		w := slices.Clone(run[s])
		r := rand.New(rand.NewPCG(8, uint64(s)))
		for i := range w {
			w[i] += float32(r.NormFloat64() * 2e-4)
		}
		run = append(run, w)
	}
	trainings.run[rows] = run
	return slices.Clone(run[steps])
}

// trainings keeps what trained has computed, by rows and steps: some tests want the same.
var trainings = struct {
	sync.Mutex
	run map[int][][]float32
}{run: map[int][][]float32{}}

func floats(w []float32) string {
	b := make([]byte, 0, 4*len(w))
	for _, f := range w {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return string(b)
}

// weightsFile is a safetensors file of matrices of 256 columns, and a vector of the last one's first row.
func weightsFile(names []string, ws ...[]float32) string {
	head, data := "{", ""
	for i, w := range ws {
		head += fmt.Sprintf(`%q:{"dtype":"F32","shape":[%d,256],"data_offsets":[%d,%d]},`, names[i], len(w)/256, len(data), len(data)+4*len(w))
		data += floats(w)
	}
	bias := ws[len(ws)-1][:256]
	head += fmt.Sprintf(`"bias":{"dtype":"F32","shape":[256],"data_offsets":[%d,%d]}}`, len(data), len(data)+1024)
	for len(head)%8 != 0 {
		head += " "
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) + head + data + floats(bias)
}

// npz is a NumPy archive of one matrix: its entries have checksums.
func npz(t *testing.T, w []float32) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.CreateHeader(&zip.FileHeader{Name: "w.npy", Method: zip.Store})
	must(t, err)
	head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 256), }", len(w)/256)
	for (10+len(head)+1)%64 != 0 {
		head += " "
	}
	_, err = io.WriteString(f, "\x93NUMPY\x01\x00"+string([]byte{byte(len(head) + 1), 0})+head+"\n"+floats(w))
	must(t, err)
	must(t, z.Close())
	return b.String()
}

const runRows = 300 // 300 KiB: five blocks, the last one short

// compactRun is a repository of n commits of a run: a safetensors file, an npz archive and a text.
func compactRun(t *testing.T, n int) (r *Repo, commits []oid.ID, texts []map[string]string) {
	t.Helper()
	r = newRepo(t)
	for i := range n {
		files := map[string]string{
			"run/model.safetensors": weightsFile([]string{"a.weight", "b.weight"}, trained(runRows, i+1), trained(2*runRows, 40+i)),
			"run/arrays.npz":        npz(t, trained(runRows+1, 20+i)),
			"log.txt":               fmt.Sprintf("step %d\n", i),
		}
		add(t, r, files)
		commits, texts = append(commits, snap(t, r, fmt.Sprint("step ", i))), append(texts, files)
	}
	return r, commits, texts
}

// content reads a file of a commit.
func contentOf(t *testing.T, r *Repo, commit oid.ID, path string) string {
	t.Helper()
	c, err := r.Objects.Commit(bg, commit)
	must(t, err)
	e, err := r.Lookup(bg, c.Tree, path)
	must(t, err)
	f, err := r.Content.Open(bg, e.ID)
	must(t, err)
	b := make([]byte, f.Size())
	_, err = f.ReadAt(bg, b, 0)
	must(t, err)
	must(t, f.Verify(bg, func(id oid.ID, err error) { t.Errorf("%s: blob %s: %v", path, id, err) }))
	return string(b)
}

// chain lists a branch's commits, newest first.
func chain(t *testing.T, r *Repo, head oid.ID) (ids []oid.ID, cs []*object.Commit) {
	t.Helper()
	must(t, r.Log(bg, head, false, func(id oid.ID, c *object.Commit) bool { ids, cs = append(ids, id), append(cs, c); return true }))
	return ids, cs
}

func int8Of(keep int) CompactOptions {
	return CompactOptions{Lossy: lossy.Params{Method: lossy.Int8}, KeepLast: keep}
}

func TestCompact(t *testing.T) {
	r, commits, texts := compactRun(t, 5)
	head := commits[4]
	dry := int8Of(2)
	dry.DryRun = true
	would, err := r.Compact(bg, dry)
	must(t, err)
	if b, _ := r.Refs.Branch("main"); b.ID != head || would.NewHead != head || would.Lossy != 3 || would.Kept != 2 || would.Unchanged() {
		t.Errorf("dry run: %+v, main at %s", would, b.ID)
	}
	opts := int8Of(2)
	opts.Head = head
	res, err := r.Compact(bg, opts)
	must(t, err)
	if res.Lossy != 3 || len(res.Tensors) != 9 || res.NewBytes != would.NewBytes || res.RelativeL2 != would.RelativeL2 || res.FreedBytes+res.HeldBytes <= res.NewBytes ||
		res.RelativeL2 <= 0 || res.RelativeL2 > 1e-3 || res.Cosine < 0.99999 || res.MaxAbs <= 0 || res.Left[content.WhyVector] != 3 {
		t.Errorf("compact: %+v", res)
	}
	for i := 1; i < len(res.Tensors); i++ {
		if res.Tensors[i].RelativeL2 > res.Tensors[i-1].RelativeL2 {
			t.Errorf("tensors are not sorted by error: %+v", res.Tensors)
		}
	}
	ids, cs := chain(t, r, res.NewHead)
	if b, _ := r.Refs.Branch("main"); b.ID != res.NewHead || len(ids) != 5 {
		t.Fatalf("main at %s with %d commits", b.ID.Short(), len(ids))
	}
	for k, id := range ids { // newest first
		i := 4 - k
		was, err := r.Objects.Commit(bg, commits[i])
		must(t, err)
		c := cs[k]
		lossy := i < 3
		switch {
		case c.Message != was.Message || !c.Time.Equal(was.Time) || c.Author != was.Author:
			t.Errorf("step %d: commit %+v", i, c)
		case lossy && (c.Labels[LabelLossy] != "int8" || c.Labels[LabelLossyOf] != commits[i].String() || c.Tree == was.Tree):
			t.Errorf("step %d: labels %v", i, c.Labels)
		case !lossy && (c.Labels[LabelLossy] != "" || c.Labels[LabelMovedOf] != commits[i].String() || c.Tree != was.Tree):
			t.Errorf("step %d: labels %v, tree %s for %s", i, c.Labels, c.Tree.Short(), was.Tree.Short())
		}
		for p, text := range texts[i] {
			if got := contentOf(t, r, commits[i], p); got != text {
				t.Errorf("the old commit of step %d has another %s", i, p)
			}
			got := contentOf(t, r, id, p)
			if exact := got == text; exact != (!lossy || p == "log.txt") || len(got) != len(text) {
				t.Errorf("step %d: %s is exact: %v", i, p, exact)
			}
			if p == "run/arrays.npz" {
				checkNPZ(t, got, text)
			}
		}
	}
	// The old head has a tag, and what it reaches outlives a collection.
	tag, err := r.Refs.Tag(res.Backup)
	if err != nil || tag.ID != head || !strings.HasPrefix(res.Backup, "compact/main/") {
		t.Errorf("backup %q: %+v, %v", res.Backup, tag, err)
	}
	if _, err := r.GC(bg, 0, true, false); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		if got := contentOf(t, r, commits[i], "run/model.safetensors"); got != text["run/model.safetensors"] {
			t.Errorf("step %d is gone with the collection", i)
		}
	}
	// Again there is nothing to do, with other methods too.
	for _, m := range []lossy.Params{{Method: lossy.Int8}, {Method: lossy.Int16}, {Method: lossy.Sparse, Threshold: 1}} {
		again, err := r.Compact(bg, CompactOptions{Lossy: m, KeepLast: 2})
		if err != nil || !again.Unchanged() || again.Already != 3 || again.NewHead != res.NewHead || again.Backup != "" {
			t.Errorf("again by %s: %+v, %v", m.Method, again, err)
		}
	}
	// A next commit moves the window: one more commit is approximated, although the tag keeps it.
	add(t, r, map[string]string{"run/model.safetensors": weightsFile([]string{"a.weight", "b.weight"}, trained(runRows, 9), trained(2*runRows, 49))})
	snap(t, r, "step 5")
	next, err := r.Compact(bg, int8Of(2))
	if err != nil || next.Lossy != 1 || next.Already != 3 {
		t.Errorf("after one more commit: %+v, %v", next, err)
	}
	// Without the tags the exact ones go.
	must(t, r.DeleteTag(bg, res.Backup))
	must(t, r.DeleteTag(bg, next.Backup))
	if _, err := r.GC(bg, 0, true, false); err != nil {
		t.Fatal(err)
	}
	_, err = r.Objects.Commit(bg, commits[0])
	wantErr(t, err, errs.NotFound)
	ids, _ = chain(t, r, next.NewHead)
	if got := contentOf(t, r, ids[1], "run/model.safetensors"); len(ids) != 6 || got != texts[4]["run/model.safetensors"] {
		t.Error("what was kept has changed")
	}
}

// TestCompactTagged: what a tag reaches stays stored, so it stays exact; so does what another branch or a live tree has.
func TestCompactTagged(t *testing.T) {
	r, commits, texts := compactRun(t, 5)
	must(t, r.CreateTag(bg, "v1", commits[1], "", ""))
	must(t, r.CreateBranch(bg, "b", commits[0]))
	_, _, err := r.Add(bg, "b", writeTree(t, map[string]string{"copy": texts[3]["run/model.safetensors"]}), "", nil)
	must(t, err)
	must(t, r.Live.Drain(bg, nil))
	res, err := r.Compact(bg, int8Of(1))
	must(t, err)
	ids, cs := chain(t, r, res.NewHead)
	if res.Lossy != 2 || ids[4] != commits[0] || ids[3] != commits[1] || cs[1].Labels[LabelLossy] == "" || res.Left[content.WhyStays] < 6 {
		t.Errorf("%+v", res)
	}
	if got := contentOf(t, r, ids[1], "run/model.safetensors"); got != texts[3]["run/model.safetensors"] {
		t.Error("what a live tree has was approximated")
	}
	if got := contentOf(t, r, ids[1], "run/arrays.npz"); got == texts[3]["run/arrays.npz"] {
		t.Error("what only an old commit has was not approximated")
	}
}

// checkNPZ: archive/zip checks the checksums of what was approximated.
func checkNPZ(t *testing.T, got, exact string) {
	t.Helper()
	z, err := zip.NewReader(strings.NewReader(got), int64(len(got)))
	must(t, err)
	f, err := z.File[0].Open()
	must(t, err)
	b, err := io.ReadAll(f)
	must(t, err)
	at := strings.Index(exact, "NUMPY") + 127
	w := strings.Index(got, "NUMPY") + 127
	if len(b) < 1<<18 || at != w {
		t.Fatalf("%d bytes in the archive", len(b))
	}
	for i := 0; i < 1<<18; i += 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32([]byte(exact[at+i : at+i+4])))
		y := math.Float32frombits(binary.LittleEndian.Uint32([]byte(got[w+i : w+i+4])))
		if math.Abs(float64(x-y)) > 1e-4 {
			t.Fatalf("element %d was %v and is %v", i/4, x, y)
		}
	}
}

// TestCompactMethods: each method, and what it leaves exact.
func TestCompactMethods(t *testing.T) {
	for _, tt := range []struct {
		p       lossy.Params
		l2      float64
		bits    float64 // stored an element
		tensors int
	}{
		{lossy.Params{Method: lossy.Int16}, 1e-6, 15.5, 2},
		{lossy.Params{Method: lossy.Sparse, Threshold: 3e-4}, 0.01, 12, 2},
		{lossy.Params{Method: lossy.PerAxis}, 0.02, 1.3, 2},
	} {
		r := newRepo(t)
		a, b := trained(runRows, 1), trained(runRows, 30)
		bad := trained(runRows, 1)
		bad[7] = float32(math.NaN())
		state := trained(runRows, 3)
		names := []string{"a", "b", "bad", "state.0.exp_avg_sq"}
		add(t, r, map[string]string{"m.safetensors": weightsFile(names, a, b, bad, state), "x.safetensors": weightsFile([]string{"a"}, a)})
		first := snap(t, r, "one")
		add(t, r, map[string]string{"m.safetensors": weightsFile(names, trained(runRows, 3), trained(runRows, 33), trained(runRows, 3), trained(runRows, 5)), "x.safetensors": "none"})
		snap(t, r, "two")
		res, err := r.Compact(bg, CompactOptions{Lossy: tt.p, KeepLast: 1, Include: []string{"m.*"}})
		must(t, err)
		bits := 8 * float64(res.NewBytes) / float64(res.Bytes/4)
		t.Logf("%s: relative L2 %.3g, %.2f bits an element", tt.p.Method, res.RelativeL2, bits)
		if len(res.Tensors) != tt.tensors || res.RelativeL2 > tt.l2 || bits > tt.bits || res.Left[content.WhyState] != 1 || res.Left[content.WhyValues] != 1 {
			t.Errorf("%s: %+v", tt.p.Method, res)
		}
		if len(res.Exact) != 1 || res.Exact[0].Tensor != "bad" || res.Exact[0].Commit != first || res.Exact[0].Path != "m.safetensors" {
			t.Errorf("%s: left exact: %+v", tt.p.Method, res.Exact)
		}
		ids, _ := chain(t, r, res.NewHead)
		if got := contentOf(t, r, ids[1], "x.safetensors"); got != weightsFile([]string{"a"}, a) {
			t.Errorf("%s: a file that is not included has changed", tt.p.Method)
		}
	}
}

// TestCompactIsNoBase: what was approximated is no base of exact tensors, by no way of finding one.
func TestCompactIsNoBase(t *testing.T) {
	r, commits, texts := compactRun(t, 3)
	res, err := r.Compact(bg, int8Of(1))
	must(t, err)
	ids, _ := chain(t, r, res.NewHead)
	lossyText := contentOf(t, r, ids[2], "run/model.safetensors")
	// A branch on the approximated commit, and the approximated file itself stored again, as a user might.
	must(t, r.CreateBranch(bg, "b", ids[2]))
	for i, text := range []string{lossyText, weightsFile([]string{"a.weight", "b.weight"}, trained(runRows, 60), trained(2*runRows, 90)), texts[0]["run/model.safetensors"]} {
		_, _, err := r.Add(bg, "b", writeTree(t, map[string]string{"run/model.safetensors": text}), "", nil)
		must(t, err)
		s, err := r.Snapshot(bg, SnapshotOptions{Branch: "b", Message: fmt.Sprint("after ", i)})
		must(t, err)
		if got := contentOf(t, r, s.Commit, "run/model.safetensors"); got != text {
			t.Errorf("%d: other bytes", i)
		}
		if i != 1 {
			continue
		}
		c, err := r.Objects.Commit(bg, s.Commit)
		must(t, err)
		e, err := r.Lookup(bg, c.Tree, "run/model.safetensors")
		must(t, err)
		m, err := r.Objects.Manifest(bg, e.ID)
		must(t, err)
		for _, seg := range m.Segments {
			if seg.Blob.IsZero() {
				continue
			}
			if r.Content.Approximated(bg, seg.Blob) {
				t.Errorf("an exact blob counts as approximated")
			}
			for info, err := r.Packs.Stat(seg.Blob); !info.Base.IsZero(); info, err = r.Packs.Stat(info.Base) {
				must(t, err)
				if r.Content.Approximated(bg, info.Base) {
					t.Errorf("an exact tensor is a difference to an approximated one")
				}
			}
		}
	}
	if !r.Content.Approximated(bg, firstBlob(t, r, ids[2])) || r.Content.Approximated(bg, firstBlob(t, r, commits[2])) {
		t.Error("approximated blobs are not told from exact ones")
	}
}

func firstBlob(t *testing.T, r *Repo, commit oid.ID) oid.ID {
	t.Helper()
	c, err := r.Objects.Commit(bg, commit)
	must(t, err)
	e, err := r.Lookup(bg, c.Tree, "run/model.safetensors")
	must(t, err)
	m, err := r.Objects.Manifest(bg, e.ID)
	must(t, err)
	for _, seg := range m.Segments {
		if !seg.Blob.IsZero() {
			return seg.Blob
		}
	}
	t.Fatal("no blob")
	return oid.ID{}
}

// TestCompactRefuses, and leaves everything where it was.
func TestCompactRefuses(t *testing.T) {
	r, commits, _ := compactRun(t, 3)
	for _, tt := range []struct {
		opts  CompactOptions
		class error
		text  string
	}{
		{int8Of(0), errs.Invalid, "at least 1"},
		{CompactOptions{Lossy: lossy.Params{Method: lossy.Sparse}, KeepLast: 1}, errs.Invalid, "threshold"},
		{CompactOptions{Lossy: lossy.Params{Method: 77}, KeepLast: 1}, errs.Invalid, "method 77"},
		{CompactOptions{KeepLast: 1, Include: []string{"["}}, errs.Invalid, "pattern"},
		{CompactOptions{KeepLast: 1, Branch: "none"}, errs.NotFound, "none"},
		{CompactOptions{KeepLast: 1, Head: commits[0]}, errs.Conflict, "moved"},
	} {
		_, err := r.Compact(bg, tt.opts)
		wantErr(t, err, tt.class, tt.text)
	}
	must(t, r.CreateTag(bg, "compact", commits[0], "", "")) // takes the place of the directory of backups
	_, err := r.Compact(bg, int8Of(1))
	wantErr(t, err, errs.Conflict, "compact")
	if b, _ := r.Refs.Branch("main"); b.ID != commits[2] {
		t.Error("the branch moved without a backup")
	}
	must(t, r.DeleteTag(bg, "compact"))
	for _, keep := range []int{3, 100} {
		if res, err := r.Compact(bg, int8Of(keep)); err != nil || !res.Unchanged() || res.NewHead != commits[2] {
			t.Errorf("keeping %d: %+v, %v", keep, res, err)
		}
	}
}

// TestCompactStops wherever its context ends, and goes through afterwards.
func TestCompactStops(t *testing.T) {
	r, commits, texts := compactRun(t, 3)
	for steps := 0; ; steps++ {
		ctx, cancel := context.WithCancel(bg)
		n := 0
		opts := int8Of(1)
		opts.Progress = func(int, int, string) {
			if n++; n > steps {
				cancel()
			}
		}
		res, err := r.Compact(ctx, opts)
		cancel()
		if err == nil {
			if steps < 3 || res.Lossy != 2 {
				t.Errorf("through after %d steps: %+v", steps, res)
			}
			break
		}
		if !errors.Is(err, context.Canceled) || steps > 100 {
			t.Fatalf("stopped at step %d: %v", steps, err)
		}
		if b, _ := r.Refs.Branch("main"); b.ID != commits[2] {
			t.Fatalf("the branch moved although it was stopped at step %d", steps)
		}
	}
	if got := contentOf(t, r, commits[0], "run/model.safetensors"); got != texts[0]["run/model.safetensors"] {
		t.Error("the old commit has changed")
	}
}

// TestCompactMerges: history that is no line is made anew in one piece, and labels of any other kind stay.
func TestCompactMerges(t *testing.T) {
	r, commits, _ := compactRun(t, 2)
	base, err := r.Objects.Commit(bg, commits[1])
	must(t, err)
	put := func(c object.Commit) oid.ID {
		id, err := r.Objects.PutCommit(bg, &c)
		must(t, err)
		return id
	}
	at := base.Time
	commit := func(tree oid.ID, parents ...oid.ID) oid.ID {
		at = at.Add(time.Second)
		return put(object.Commit{Tree: tree, Parents: parents, Author: "A <a@b>", Time: at, Labels: map[string]string{"run": "x"}})
	}
	left := commit(base.Tree, commits[1])
	right := commit(base.Tree, commits[0])
	merge := commit(base.Tree, left, right)
	must(t, r.Packs.Sync(bg))
	must(t, r.Refs.MoveBranch("main", commits[1], merge, "t", "t"))
	res, err := r.Compact(bg, int8Of(1))
	must(t, err)
	_, cs := chain(t, r, res.NewHead)
	if len(cs[0].Parents) != 2 || cs[0].Labels["run"] != "x" || res.Lossy != 1 { // the other trees are the kept one's
		t.Errorf("%+v, merge %+v", res, cs[0])
	}
}

// TestCompactUndo: branch and backup are one step of undo, whatever the live tree holds, and what was exact is there as long as the ref log has it.
func TestCompactUndo(t *testing.T) {
	r, commits, texts := compactRun(t, 3)
	puts(t, r, "main", map[string]string{"log.txt": "dirty"})
	res, err := r.Compact(bg, int8Of(1))
	must(t, err)
	check := func(head oid.ID, tagged bool) {
		t.Helper()
		if got := headOf(t, r, "main"); got != head {
			t.Errorf("main is at %s, want %s", got.Short(), head.Short())
		}
		if _, err := r.Refs.Tag(res.Backup); tagged != (err == nil) {
			t.Errorf("backup: %v", err)
		}
		if got := contents(t, r, "main", oid.ID{}); got["log.txt"] != "dirty" {
			t.Errorf("log.txt is %q", got["log.txt"])
		}
	}
	check(res.NewHead, true)
	_, err = r.Undo(bg, UndoOptions{})
	must(t, err)
	check(commits[2], false)
	_, err = r.GC(bg, keepAll, true, false)
	must(t, err)
	if got := contentOf(t, r, commits[0], "log.txt"); got != texts[0]["log.txt"] {
		t.Errorf("log.txt was %q", got)
	}
	_, err = r.Undo(bg, UndoOptions{Redo: true})
	must(t, err)
	check(res.NewHead, true)
	must(t, r.DeleteTag(bg, res.Backup))
	_, err = r.GC(bg, keepAll, true, false)
	must(t, err)
	for range 2 {
		_, err = r.Undo(bg, UndoOptions{})
		must(t, err)
	}
	check(commits[2], false)
	for i, c := range commits {
		if contentOf(t, r, c, "run/model.safetensors") != texts[i]["run/model.safetensors"] {
			t.Errorf("commit %d is not exact", i)
		}
	}
}
