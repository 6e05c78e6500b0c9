package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/object"
)

// TestScripts runs testdata/script: one script for each command, through the program, in a process of its own. Besides testscript's own words there are:
//
//	exits N ARGS…           coral ARGS exits with this code; an error is one line
//	weights FILE NAME=X…    writes a safetensors file with an F32 tensor of [128,64] (of "v…": [16]) for each NAME, that X multiplies
//
// Each has a repository of its own in $WORK/repo, see scriptRepo.
func TestScripts(t *testing.T) {
	repo, twin := scriptRepo(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			e.Setenv("CORAL_AUTHOR", "Test <test@localhost>")
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "xdg"))
			e.Setenv("TWIN", twin)
			e.Setenv("GORACE", "atexit_sleep_ms=0") // a program under the race detector takes a second to end otherwise
			return os.CopyFS(filepath.Join(e.WorkDir, "repo"), os.DirFS(repo))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "weights": weights},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: exits N ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("coral", args[1:]...)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("coral %s: exit %d, want %d", strings.Join(args[1:], " "), code, want)
	}
	if errOut := ts.ReadFile("stderr"); want != 0 && (strings.Count(errOut, "\n") > 1 || errOut != "" && !strings.HasPrefix(errOut, "coral: ")) {
		ts.Fatalf("coral %s: not an error of one line: %s", strings.Join(args[1:], " "), errOut)
	}
}

func weights(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: weights FILE NAME=X…")
	}
	b, err := weightsOf(args[1:])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// weightsOf is a safetensors file: see TestScripts.
func weightsOf(tensors []string) ([]byte, error) {
	var head, data []byte
	for _, def := range tensors {
		name, text, _ := strings.Cut(def, "=")
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		shape, n := "[128,64]", 128*64
		if strings.HasPrefix(name, "v") {
			shape, n = "[16]", 16
		}
		from := len(data)
		seed := uint64(name[0])
		for r := rand.New(rand.NewPCG(seed, seed)); n > 0; n-- {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(x*r.NormFloat64())))
		}
		head = fmt.Appendf(head, `,%q:{"dtype":"F32","shape":%s,"data_offsets":[%d,%d]}`, name, shape, from, len(data))
	}
	head[0] = '{'
	head = append(head, '}')
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), data...), nil
}

// scriptRepo makes what every script begins with: main with commits "base" (tag v1, loss 0.9) and "step 2" (loss 0.4), branch side with "on the side" after base. All have
// m.safetensors (tensors a and vec) and config.json; a is 1 times in base, 2 in step 2, 3 on the side, where notes.txt is new. Tag twin is a commit whose id has the first four
// digits of main's, which are returned.
func scriptRepo(t *testing.T) (dir, twin string) {
	w := newWorld(t)
	put := func(x int, more ...string) string {
		b, err := weightsOf([]string{fmt.Sprint("a=", x), "vec=1"})
		if err != nil {
			t.Fatal(err)
		}
		w.write("m.safetensors", string(b))
		w.write("config.json", fmt.Sprintf(`{"lr": %d}`, x))
		w.write("notes.txt", "on the side\n")
		return strings.Join(append([]string{"$BASE/m.safetensors", "$BASE/config.json"}, more...), " ")
	}
	do := func(line string) {
		if out, errOut, code := w.run(words(line)...); code != 0 {
			t.Fatalf("%s: %s%s", line, out, errOut)
		}
	}
	do("init $BASE/models")
	do("add " + put(1))
	do("snapshot -m base -t v1 --metric loss=0.9")
	do("branch side")
	do("add -b side " + put(3, "$BASE/notes.txt"))
	do("snapshot -b side -m 'on the side'")
	do("add " + put(2))
	do("snapshot -m 'step 2' --metric loss=0.4")
	do("cache drop") // a copy's spool files have other times, and would count as changed
	dir = filepath.Join(w.base, "models")
	t.Setenv("CORAL_REPO", "") // of the program's own processes
	return dir, makeTwin(t, filepath.Join(dir, vcs.DirName))
}

// makeTwin tags a commit as twin whose id begins as main's does.
func makeTwin(t *testing.T, dir string) string {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	r, err := vcs.Open(ctx, dir, vcs.Options{})
	check(err)
	defer func() { check(r.Close(ctx)) }()
	main, err := r.Refs.Branch("main")
	check(err)
	c, err := r.Objects.Commit(ctx, main.ID)
	check(err)
	prefix := main.ID.String()[:4]
	for i := range 10_000_000 {
		n := &object.Commit{Tree: c.Tree, Author: "Test <test@localhost>", Time: time.Unix(1.7e9, int64(i)).UTC(), Message: "twin"}
		_, b, err := object.Encode(n)
		check(err)
		if !strings.HasPrefix(object.Sum(b).String(), prefix) {
			continue
		}
		var id oid.ID
		id, err = r.Objects.PutCommit(ctx, n)
		check(err)
		check(r.CreateTag(ctx, "twin", id, "", ""))
		return prefix
	}
	t.Fatal("no twin found")
	return ""
}
