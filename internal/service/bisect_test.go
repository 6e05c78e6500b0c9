package service

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
)

func TestMetricTest(t *testing.T) {
	for _, c := range []struct {
		text string
		v    float64
		want bool
	}{
		{"loss>0.5", 0.6, true}, {"loss>0.5", 0.5, false}, {"loss >= .5", 0.5, true}, {"a.b<1e-3", 0, true}, {"x<=1", 2, false}, {"x==1", 1, true}, {"x=1", 1, true},
		{"x!=1", 1, false}, {"x==nan", math.NaN(), true}, {"x!=nan", math.NaN(), false}, {"x>1", math.NaN(), false}, {"x<inf", 5, true},
	} {
		m, err := parseMetricTest(c.text)
		if err != nil || m.holds(c.v) != c.want {
			t.Errorf("%s of %v: %+v, %v", c.text, c.v, m, err)
		}
	}
	for _, bad := range []string{"", "loss", ">1", "loss>", "loss>x", "loss>>1"} {
		if _, err := parseMetricTest(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// history makes commits of one file with the given losses; NaN has none.
func history(t *testing.T, s *Service, losses ...float64) (ids []string) {
	t.Helper()
	for i, l := range losses {
		src := files(t, map[string]string{"n.txt": fmt.Sprint(i)})
		do(t, s, "add "+Quote(src+"/n.txt"), nil)
		metric := fmt.Sprintf(" --metric loss=%v", l)
		if math.IsNaN(l) {
			metric = ""
		}
		var snap struct{ Commit string }
		do(t, s, fmt.Sprintf("snapshot -m 'c%d'", i)+metric, &snap)
		ids = append(ids, snap.Commit)
	}
	return ids
}

func TestBisect(t *testing.T) {
	noSettings(t)
	dir := newRepo(t)
	s := open(t, dir, Options{})
	ids := history(t, s, 1, .9, .8, .7, .6, .5, .4, .3)
	var r BisectResult
	say := func(line, state string) {
		t.Helper()
		r = BisectResult{}
		if do(t, s, line, &r); r.State != state {
			t.Fatalf("%s: %+v, want %s", line, r, state)
		}
	}
	say("bisect", "none")
	fails(t, s, "bisect good", errs.NotFound, "no search was started")
	say("bisect start", "waiting")
	say("bisect bad", "waiting")
	say("bisect good HEAD~7", "testing")
	if r.Next.Commit.String() != ids[3] && r.Next.Commit.String() != ids[4] || r.Left != 7 {
		t.Fatalf("%+v", r)
	}
	before, err := os.ReadFile(filepath.Join(dir, bisectName))
	if err != nil {
		t.Fatal(err)
	}
	fails(t, s, "bisect good HEAD", errs.Conflict, "good and bad")
	fails(t, s, "bisect good nowhere", errs.NotFound, "nowhere")
	if after, err := os.ReadFile(filepath.Join(dir, bisectName)); err != nil || string(after) != string(before) {
		t.Errorf("a command that failed changed the search: %v", err)
	}
	first := ids[5] // bad from here on
	for n := 0; r.State == "testing"; n++ {
		word := "bisect good"
		for _, id := range ids[5:] {
			if r.Next.Commit.String() == id {
				word = "bisect bad"
			}
		}
		r = BisectResult{}
		if do(t, s, word, &r); n > 4 {
			t.Fatal("too many tests")
		}
	}
	if r.State != "found" || r.Found.Commit.String() != first {
		t.Errorf("%+v, want %s", r, first)
	}
	fails(t, s, "bisect good", errs.Invalid, "has ended")
	say("bisect log", "found")
	if len(r.Log) < 4 || r.Log[0].Word != "start" {
		t.Errorf("log %+v", r.Log)
	}
	say("bisect reset", "none")
	say("bisect reset", "none")

	say("bisect start HEAD HEAD~3", "testing")
	say("bisect skip HEAD~1 HEAD~2", "inconclusive")
	if len(r.Suspects) != 3 || !r.Failed() {
		t.Errorf("%+v", r)
	}
	for _, line := range []string{"bisect fill", "bisect run x", "bisect bad a b", "bisect good --metric x>1", "bisect start --metric x", "bisect good ''"} {
		fails(t, s, line, control.ErrUsage, "bisect")
	}
	if err := os.WriteFile(filepath.Join(dir, bisectName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, s, "bisect", errs.Corrupt, "reset")
}

func TestBisectMetric(t *testing.T) {
	noSettings(t)
	s := open(t, newRepo(t), Options{})
	none := math.NaN()
	ids := history(t, s, .3, .4, none, .9, .8, none, .9)
	var r BisectResult
	do(t, s, "bisect start --metric loss>0.5", &r)
	if r.State != "inconclusive" || len(r.Suspects) != 2 || r.Suspects[0].String() != ids[3] || r.Suspects[1].String() != ids[2] {
		t.Errorf("%+v, want commits 2 and 3", r)
	}
	r = BisectResult{}
	do(t, s, "bisect start --metric loss>=0.9 HEAD HEAD~2", &r)
	if r.State != "inconclusive" || len(r.Suspects) != 2 {
		t.Errorf("%+v", r)
	}
	r = BisectResult{}
	do(t, s, "bisect start --metric loss>0.85 HEAD~3 HEAD~5", &r)
	if r.State != "inconclusive" {
		t.Errorf("%+v", r)
	}
	fails(t, s, "bisect start --metric loss>1", errs.Invalid, "does not hold")
	fails(t, s, "bisect start --metric acc>1", errs.Invalid, "no metric acc")
	fails(t, s, "bisect start --metric loss>0.1", errs.NotFound, "no ancestor")
	fails(t, s, "bisect start --metric loss>0.5 HEAD HEAD~3", errs.Invalid, "given as good")
}
