package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSessionBisect(t *testing.T) {
	w := newWorld(t)
	lines := []string{"init $BASE/models"}
	for i, loss := range strings.Fields("0.1 0.2 0.6 0.7 0.8") {
		w.write("n"+loss, loss)
		lines = append(lines, "add $BASE/n"+loss, "snapshot -m 'step "+string(rune('1'+i))+"' --metric loss="+loss)
	}
	for _, l := range lines {
		if _, errOut, code := w.run(words(l)...); code != 0 {
			t.Fatalf("%s: %s", l, errOut)
		}
	}
	w.session("bisect.golden", []string{
		"bisect", "bisect start", "bisect bad", "bisect good HEAD~4", "bisect skip HEAD~1", "bisect log", "bisect good HEAD", "bisect run true", "bisect", "bisect reset", "bisect good",
		"bisect run", "bisect run x", "bisect start --metric loss>0.5", "bisect start --metric loss>0.5 --json", "bisect start --metric loss", "bisect fill", "bisect reset --json", "bisect --help",
	})
}

func TestProtectCommand(t *testing.T) {
	for in, want := range map[string]string{
		"bisect run a -b": "bisect run -- a -b", "-R x --json bisect run a --json": "-R x --json bisect run -- a --json", "bisect run -- a": "bisect run -- a",
		"bisect run": "bisect run", "bisect start": "bisect start", "snapshot -m bisect run x": "snapshot -m bisect run x", "": "", "-R": "-R",
	} {
		if got := protectCommand(strings.Fields(in)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q", in, got)
		}
	}
}
