package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// makeCoralML makes a repository with the real package: a branch, a merge, versions. It prints the commits' names, and writes what the package gives back.
const makeCoralML = `
import sys, os, numpy as np
from coral.version_control.repository import Repository
from coral.core.weight_tensor import WeightTensor, WeightMetadata
root, want = sys.argv[1:]
os.mkdir(root)
repo = Repository(root, init=True)
rng = np.random.default_rng(1)
def commit(message, **arrays):
    repo.stage_weights({k: WeightTensor(data=a, metadata=WeightMetadata(name=k, shape=a.shape, dtype=a.dtype)) for k, a in arrays.items()})
    c = repo.commit(message, author="Ada", email="ada@example.org", tags=["t1", "t2"])
    print(c.commit_hash)
    return c
a, b = rng.standard_normal((64, 300)).astype(np.float32), rng.standard_normal(7)
one = commit("first\n\nwith a body", a=a, b=b, n=np.arange(5))
repo.create_branch("exp")
two = commit("second", a=a + np.float32(1e-3), b=b)
repo.checkout("exp")
three = commit("on exp é", a=a, b=b * 2, c=rng.standard_normal((3, 4)).astype(np.float16))
repo.checkout("main")
four = repo.merge("exp")
print(four.commit_hash)
repo.tag_version("v1", "the best", {"loss": 0.25}, two.commit_hash)
for c in (one, two, three, four):
    np.savez(os.path.join(want, c.commit_hash + ".npz"), **{k: w.data for k, w in repo.get_all_weights(c.commit_hash).items()})
`

// compareCoralML compares a .safetensors with an .npz, bit by bit.
const compareCoralML = `
import sys, numpy as np
from safetensors.numpy import load_file
got, want = load_file(sys.argv[1]), np.load(sys.argv[2])
assert sorted(got) == sorted(want.files), (sorted(got), want.files)
for k in want.files:
    assert got[k].dtype == want[k].dtype and got[k].shape == want[k].shape and got[k].tobytes() == want[k].tobytes(), k
`

func TestImportCoralML(t *testing.T) {
	python := mounttest.Python(t)
	peer := filepath.Join(mounttest.Root(), ".cache", "peers", "coral-ml")
	if _, err := os.Stat(filepath.Join(peer, "coral")); err != nil {
		t.Skipf("CANNOT RUN: coral-ml is not installed (make peers): %v", err)
	}
	r := mounttest.New(t)
	base, tmp := t.TempDir(), t.TempDir()
	old := filepath.Join(base, "old")
	t.Setenv("PYTHONPATH", peer)
	keys := strings.Fields(mounttest.Exec(t, python, "-c", makeCoralML, old, base))
	if len(keys) != 4 {
		t.Fatalf("commits %q", keys)
	}
	t.Setenv("TMPDIR", tmp)
	r.Coral("import", "--coral-ml", old, "--python", python)
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	type commit struct {
		Commit  string
		Parents []string
		Author  string
		Message string
		Metrics map[string]float64
		Labels  map[string]string
		Refs    []string
	}
	var log []commit
	r.JSON(&log, "log", "--all")
	by := map[string]commit{}
	for _, c := range log {
		by[c.Labels["coral-ml"]] = c
	}
	if len(log) != 4 || len(by) != 4 {
		t.Fatalf("%d commits, want 4", len(log))
	}
	one, two, three, four := by[keys[0]], by[keys[1]], by[keys[2]], by[keys[3]]
	if one.Author != "Ada <ada@example.org>" || one.Message != "first\n\nwith a body" || three.Message != "on exp é" || one.Labels["coral-ml.tags"] != "t1,t2" || len(one.Parents) != 0 {
		t.Errorf("%+v", one)
	}
	if len(two.Parents) != 1 || two.Parents[0] != one.Commit || two.Metrics["loss"] != 0.25 || three.Parents[0] != one.Commit {
		t.Errorf("%+v", two)
	}
	refs := func(c commit) string { return strings.Join(c.Refs, " ") }
	if refs(four) != "HEAD branches/main" || refs(two) != "tags/v1" || refs(three) != "branches/exp" {
		t.Errorf("refs %q %q %q", refs(four), refs(two), refs(three))
	}
	if !strings.Contains(r.Coral("tag"), "v1") || len(four.Parents) < 1 {
		t.Errorf("%+v", four)
	}
	for key, c := range by {
		file := filepath.Join(base, key+".safetensors")
		if err := os.WriteFile(file, []byte(r.Coral("cat", c.Commit+":model.safetensors")), 0o644); err != nil {
			t.Fatal(err)
		}
		mounttest.Exec(t, python, "-c", compareCoralML, file, filepath.Join(base, key+".npz"))
	}
	var st struct{ Dirty []any }
	if r.JSON(&st, "status"); len(st.Dirty) > 0 {
		t.Errorf("the live tree has changes: %v", st.Dirty)
	}
	// Again, with a daemon: the same, and nothing moves.
	r.Mount()
	before := r.Coral("log", "--all", "--json")
	r.Coral("import", "--coral-ml", old, "--python", python)
	if after := r.Coral("log", "--all", "--json"); after != before {
		t.Errorf("a second import changed history:\n%s%s", before, after)
	}
	if got, err := os.ReadFile(r.Live("model.safetensors")); err != nil || string(got) != r.Coral("cat", four.Commit+":model.safetensors") {
		t.Errorf("main in the mount: %d bytes, %v", len(got), err)
	}
	r.Write("mine", []byte("1"))
	r.Snapshot("mine")
	if _, errOut, code := r.Try("import", "--coral-ml", old, "--python", python); code != 3 || !strings.Contains(errOut, `branch "main"`) {
		t.Errorf("over a branch that went on: exit %d, %s", code, errOut)
	}
	if _, errOut, code := r.Try("import", "--coral-ml", base, "--python", python); code != 1 || !strings.Contains(errOut, "no repository of coral-ml") {
		t.Errorf("what is no repository: exit %d, %s", code, errOut)
	}
	r.Coral("fsck", "--full")
}
