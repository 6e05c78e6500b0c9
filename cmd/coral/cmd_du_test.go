package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"coral/internal/service"
)

func TestDu(t *testing.T) {
	w := newWorld(t)
	w.write("one/model.safetensors", twoTensors("w", "bias", 0))
	w.write("one/copy/model.safetensors", twoTensors("w", "bias", 0))
	w.write("two/notes.txt", "1")
	for _, l := range []string{"init $BASE/models", "add $BASE/one", "snapshot -m 'step 1'", "add $BASE/two", "snapshot -m 'step 2'"} {
		if _, errOut, code := w.run(words(l)...); code != 0 {
			t.Fatalf("%s: %s", l, errOut)
		}
	}
	out, _, _ := w.run("du", "--json")
	var r service.DuResult
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Paths) != 3 || r.Paths[0].Path != "one" || r.Paths[0].Kind != "dir" || r.Paths[2].Path != "" {
		t.Fatalf("%v: %s", err, out)
	}
	if one := r.Paths[0]; one.Files != 2 || one.Logical != 2*one.Unique || one.Stored <= 0 || r.Paths[2].Unique != one.Unique+1 {
		t.Errorf("%+v", r.Paths)
	}
	out, _, _ = w.run("du", "--commits", "--json")
	r = service.DuResult{}
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Commits) != 2 || r.Commits[0].Subject != "step 2" || r.Commits[0].Added.Unique != 1 || r.Commits[0].Added.Files != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	for line, want := range map[string]string{
		"du":                    `(?s)logical +unique +stored +path\n.*50.* KiB +25.* KiB +[0-9.]+ KiB +one/\n.*two/\n.*\(all of [0-9a-f]{12}\)\n`,
		"du HEAD:one -d 0":      `(?m)^ *50.* one/$`,
		"du --commits -n 1":     `(?s)logical +unique +added +stored +commit\n.*\+.*step 2\n$`,
		"du HEAD:two/notes.txt": `1 B +1 B +[0-9.]+ B +two/notes.txt`,
	} {
		if out, errOut, code := w.run(strings.Fields(line)...); code != 0 || !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s: exit %d\n%s%s", line, code, out, errOut)
		}
	}
	for line, want := range map[string]int{"du nowhere": 1, "du HEAD:nowhere": 1, "du :one": 1, "du a b": 2, "du -d -1": 2, "du -n 2": 2} {
		if _, errOut, code := w.run(strings.Fields(line)...); code != want || !strings.Contains(errOut, "du") {
			t.Errorf("%s: exit %d, %s", line, code, errOut)
		}
	}
}
