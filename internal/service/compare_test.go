package service

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
)

func TestDiffSides(t *testing.T) {
	dir := newRepo(t)
	s := open(t, dir, Options{})
	src := files(t, map[string]string{"m/model.safetensors": weightsFile("w", 300, 0), "next/model.safetensors": weightsFile("w", 300, 0.01), "m/text": "hello"})
	diff := func(line string) (r DiffResult) {
		t.Helper()
		do(t, s, line, &r)
		return r
	}
	if r := diff("diff"); len(r.Files) != 0 || r.To.Branch != "main" || !r.From.Commit.IsZero() {
		t.Errorf("an empty repository: %+v", r)
	}
	do(t, s, "add "+src+"/m", nil)
	if r := diff("diff"); len(r.Files) != 2 || r.Files[0].Kind != "added" || len(r.Tensors) != 1 || r.Tensors[0].Kind != "added" {
		t.Errorf("against no commit: %+v", r)
	}
	do(t, s, "snapshot -m one -t v1", nil)
	do(t, s, "branch other", nil)
	do(t, s, "add "+src+"/next/model.safetensors --to m", nil)
	do(t, s, "sync", nil)
	r := diff("diff")
	if len(r.Tensors) != 1 || r.Tensors[0].Kind != "changed" || r.Read != 2*300*256 || math.Abs(float64(r.Tensors[0].Figures.RelL2)-0.01) > 0.001 {
		t.Errorf("live: %+v", r)
	}
	for _, line := range []string{"diff v1", "diff v1 :", "diff v1:m branches/main:m", "diff branches/other branches/main", "diff v1:m/model.safetensors " + src + "/next/model.safetensors", "compare v1:m/model.safetensors :m/model.safetensors"} {
		if got := diff(line); len(got.Tensors) != 1 || *got.Tensors[0].Figures != *r.Tensors[0].Figures && got.Tensors[0].Figures.RelL2 != r.Tensors[0].Figures.RelL2 {
			t.Errorf("%s: %+v", line, got.Tensors)
		}
	}
	for _, line := range []string{"diff v1 other", "diff v1:m branches/other:m", "diff v1 branches/other --fail-on changed>=0"} { // the same tree by other names: nothing is read
		if got := diff(line); len(got.Tensors) != 0 || len(got.Files) != 0 || got.Read != 0 {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if got := diff("compare v1 other"); got.Shared.SharedShare != 1 || got.Shared.EqualShare != 1 || got.Total.Figures.Cosine != 1 || got.Read != 300*256 {
		t.Errorf("compare: %+v, %+v", got, got.Shared)
	}
	if got := diff("diff v1 : --fail-on rel_l2>0.001 -n 0"); got.Failed != 1 || !errors.Is(got.Violated(), errs.Conflict) || !strings.Contains(got.Violated().Error(), "w (rel_l2>0.001)") {
		t.Errorf("fail-on: %+v, %v", got, got.Violated())
	}
	do(t, s, "snapshot -m two", nil)
	if got := diff("diff v1 HEAD --soup"); len(got.Soup.Parts) != 0 || got.Soup.Elements == 0 {
		t.Errorf("soup: %+v", got.Soup)
	}
	do(t, s, "checkout v1", nil) // HEAD is a commit: there is no live tree to compare with
	if got := diff("diff"); len(got.Files) != 0 || got.To.Branch != "" {
		t.Errorf("detached: %+v", got)
	}
	fails(t, s, "diff v1 v1:m/text", errs.Invalid, "one side is a directory, the other a file")
	fails(t, s, "diff nope", errs.NotFound, `revision "nope"`)
	fails(t, s, "diff :nope", errs.Invalid, "HEAD is detached")
	fails(t, s, "diff v1 "+src+"/nope", os.ErrNotExist, "nope")
	fails(t, s, "compare", control.ErrUsage, "name a commit")
	fails(t, s, "diff --fail-on x", control.ErrUsage, "condition")
	fails(t, s, "diff --tensor [", control.ErrUsage, "glob")
}

// A name goes before a path of the disk; ./ means the latter.
func TestSideOrder(t *testing.T) {
	dir := newRepo(t)
	s := open(t, dir, Options{})
	src := files(t, map[string]string{"main/f": "disk", "only/f": "disk"})
	do(t, s, "add "+filepath.Join(src, "main", "f"), nil)
	do(t, s, "snapshot -m one", nil)
	t.Chdir(src)
	for text, disk := range map[string]bool{"main": false, "./main": true, "only": true, "../" + filepath.Base(src) + "/main": true} {
		d := Side{Text: control.Text(text)}
		if err := d.localize(); err != nil {
			t.Fatal(err)
		}
		_, info, err := s.side(t.Context(), "diff", d)
		if err != nil || (info.Disk != "") != disk {
			t.Errorf("%s: %+v, %v", text, info, err)
		}
	}
	d := Side{Text: "./nowhere"}
	if err := d.localize(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
