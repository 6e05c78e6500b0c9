package integration

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"coral/integration/mounttest"
)

// soupResult is what `merge --strategy greedy-soup --json` says.
type soupResult struct {
	Commit, Head string
	UpToDate     bool `json:"up_to_date"`
	Recipe       struct {
		Soup struct {
			Candidates []struct {
				Name   string
				Score  float64
				Chosen bool
			}
			Trials []struct{ Kept bool }
			Final  float64
		}
	}
}

func (r *soupResult) chosen() (names []string) {
	for _, c := range r.Recipe.Soup.Candidates {
		if c.Chosen {
			names = append(names, c.Name)
		}
	}
	return names
}

// TestGreedySoup has a program score directories, in a mount and out of it, and compares the soup with one made in NumPy by the paper's recipe.
func TestGreedySoup(t *testing.T) {
	py := mounttest.Python(t)
	script := filepath.Join(mounttest.Root(), "integration", "python", "soup_score.py")
	dir := t.TempDir()
	mounttest.Exec(t, py, script, "make", dir)
	var want struct {
		Chosen []string
		Score  float64
	}
	if err := json.Unmarshal([]byte(mounttest.Exec(t, py, script, "greedy", dir, filepath.Join(dir, "soup"))), &want); err != nil {
		t.Fatal(err)
	}
	soup, err := os.ReadFile(filepath.Join(dir, "soup"))
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Chosen) < 2 || len(want.Chosen) > 3 {
		t.Fatalf("chosen are %v: this tests nothing", want.Chosen)
	}
	r := mounttest.New(t)
	names := []string{"main", "a", "b", "c"}
	for _, name := range names {
		if name != "main" {
			r.Coral("branch", name, "main")
		}
		b, err := os.ReadFile(filepath.Join(dir, name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		src := filepath.Join(t.TempDir(), "m.safetensors")
		if err := os.WriteFile(src, b, 0o644); err != nil {
			t.Fatal(err)
		}
		r.Coral("add", "-b", name, src)
		r.Coral("snapshot", "-b", name, "-m", name)
	}
	score := py + " " + script + " score " + filepath.Join(dir, "data.npz")
	r.Mount()
	r.Coral("branch", "soup", "main")
	var got soupResult
	r.JSON(&got, "merge", "-b", "soup", "-s", "greedy-soup", "--score", score, "a", "b", "c", "main")
	chosen := got.chosen()
	if i := slices.Index(chosen, "soup"); i >= 0 { // the same commit as main
		chosen[i] = "main"
	}
	if !slices.Equal(chosen, want.Chosen) || len(got.Recipe.Soup.Candidates) != len(names) || len(got.Recipe.Soup.Trials) != len(names)-1 {
		t.Errorf("chosen %v, want %v: %+v", chosen, want.Chosen, got)
	}
	if d := got.Recipe.Soup.Final - want.Score; d > 1e-12 || d < -1e-12 {
		t.Errorf("score %v, want %v", got.Recipe.Soup.Final, want.Score)
	}
	if merged := r.Coral("cat", "soup:m.safetensors"); merged != string(soup) {
		t.Errorf("the soup is not the average of %v", want.Chosen)
	}
	noScratch(t, r)
}

// noScratch wants nothing left of temporary files.
func noScratch(t *testing.T, r *mounttest.Repo) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(r.Dir, ".coral", "tmp", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestGreedySoupFails: whatever goes wrong while candidates are scored, the branch stays, the reason is one line, and nothing is left behind.
func TestGreedySoupFails(t *testing.T) {
	r := mounttest.New(t)
	src := t.TempDir()
	commit := func(branch string, v float32) {
		t.Helper()
		must(t, os.WriteFile(filepath.Join(src, "m.safetensors"), tinyWeights(v), 0o644))
		r.Coral("add", "-b", branch, filepath.Join(src, "m.safetensors"))
		r.Coral("snapshot", "-b", branch, "-m", branch)
	}
	commit("main", 1)
	for i, b := range []string{"b", "c"} {
		r.Coral("branch", b, "main")
		commit(b, float32(i)+2)
	}
	head := r.Coral("describe", "--always", "main")
	for name, c := range map[string]struct {
		score, part string
	}{
		"fails":        {"false", "exit status 1"},
		"killed":       {"kill -9 $$", "signal: killed"},
		"says nothing": {"true", "no line of its output is a number"},
		"NaN":          {"echo 1; echo nan #", "nan, no finite number"},
		"second fails": {`[ -n "$CORAL_COMMIT" ] && echo 1 #`, "a soup of 2"},
	} {
		out, errOut, code := r.Try("merge", "b", "c", "-s", "greedy-soup", "--score", c.score)
		if code != 1 || !strings.Contains(errOut, c.part) || !strings.Contains(errOut, "nothing was changed") || out != "" {
			t.Errorf("%s: exit %d, %q, %s", name, code, out, errOut)
		}
		if got := r.Coral("describe", "--always", "main"); got != head {
			t.Errorf("%s: main is at %s", name, got)
		}
		noScratch(t, r)
	}

	// Without a mount, of losses, which are the value itself here: 1 is the best, and no soup is better.
	var got soupResult
	r.JSON(&got, "merge", "b", "c", "-s", "greedy-soup", "--lower-is-better", "--score", `od -An -tf4 -j72 -N4 "$CORAL_DIR/m.safetensors" #`)
	if !got.UpToDate || got.Commit != got.Head || !slices.Equal(got.chosen(), []string{"main"}) || got.Recipe.Soup.Final != 1 {
		t.Errorf("of losses: %+v", got)
	}
	r.Coral("branch", "low", "main")
	r.JSON(&got, "merge", "-b", "low", "b", "c", "-s", "greedy-soup", "--score", `od -An -tf4 -j72 -N4 "$CORAL_DIR/m.safetensors" #`)
	if got.Commit == got.Head || !slices.Equal(got.chosen(), []string{"c"}) || r.Coral("cat", "low:m.safetensors") != string(tinyWeights(3)) {
		t.Errorf("of scores: %+v", got)
	}

	// A command that commits to the branch itself: what it did stays.
	again := filepath.Join(src, "again.sh")
	must(t, os.WriteFile(again, []byte("#!/bin/sh\n[ -e \"$0.done\" ] || { touch \"$0.done\"; echo x > \"$0.txt\"; "+mounttest.Bin+" add \"$0.txt\" && "+mounttest.Bin+" snapshot -m meanwhile; } >&2\necho 1\n"), 0o755))
	if _, errOut, code := r.Try("merge", "b", "c", "-s", "greedy-soup", "--score", again); code != 3 || !strings.Contains(errOut, "has moved") {
		t.Errorf("moved meanwhile: exit %d, %s", code, errOut)
	}
	if got := r.Coral("log", "-n", "1"); !strings.Contains(got, "meanwhile") {
		t.Errorf("main is at %s", got)
	}
	noScratch(t, r)

	// Killed while a candidate is scored: the next command that opens the repository sweeps.
	ready := filepath.Join(src, "ready")
	must(t, syscall.Mkfifo(ready, 0o600))
	cmd := exec.Command(mounttest.Bin, "-R", r.Dir, "merge", "b", "c", "-s", "greedy-soup", "--score", "echo $$ > "+ready+"; exec sleep 600; echo")
	must(t, cmd.Start())
	pid, err := os.ReadFile(ready) // waits for the command
	must(t, err)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if left, err := filepath.Glob(filepath.Join(r.Dir, ".coral", "tmp", "*", "*", "m.safetensors")); err != nil || len(left) != 1 {
		t.Errorf("before it is swept: %v, %v", left, err)
	}
	r.Coral("gc")
	noScratch(t, r)
	sleeper, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	must(t, err)
	must(t, syscall.Kill(sleeper, syscall.SIGKILL))
}

// tinyWeights is a safetensors file of one F32 tensor of 300 equal values.
func tinyWeights(v float32) []byte {
	head := fmt.Sprintf("%-64s", `{"w":{"dtype":"F32","shape":[300],"data_offsets":[0,1200]}}`)
	out := append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...)
	for range 300 {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}
