package main

import (
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/service"
)

func TestSessionShow(t *testing.T) {
	w := newWorld(t)
	w.write("run/model.safetensors", tinySafetensors())
	w.write("run/notes.txt", "first\n")
	w.session("show.golden", []string{
		"init $BASE/models", "add $BASE/run", "snapshot -m 'step 1' -t v1", "show v1:run/model.safetensors --stats", "show a.weight", "show run/model.safetensors a.weight -c v1 --stats", "show v1:run/model.safetensors --heatmap",
		"show v1:run/model.safetensors --against v1", "show v1:run/notes.txt", "ls -l -r v1", "ls -r v1 --json", "show a.weight --json", "show run/model.safetensors nothing", "show nothing", "show v1:run/model.safetensors --sort what",
		"convert v1:run $BASE/out.pt", "convert v1:run $BASE/out.pt", "convert v1:run $BASE/out.pt --force --json", "convert v1:run $BASE/out.npz", "convert $BASE/out.pt $BASE/out.gguf --dtype f16", "show $BASE/out.gguf",
	})
}

// TestShowPicture: pictures are written by the command, from a file of the disk without a repository.
func TestShowPicture(t *testing.T) {
	w := newWorld(t)
	w.write("m.safetensors", tinySafetensors())
	for _, line := range [][]string{{"show", "$BASE/m.safetensors", "--heatmap", "-o", "$BASE/h.png"}, {"show", "$BASE/m.safetensors", "a.weight", "--histogram", "-o", "$BASE/b.svg"}} {
		if out, errOut, code := w.run(line...); code != 0 || out == "" {
			t.Fatalf("%v: exit %d, %s%s", line, code, out, errOut)
		}
	}
	f, err := os.Open(filepath.Join(w.base, "h.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(w.base, "b.svg"))
	if err != nil || !strings.Contains(string(b), ">a.weight<") {
		t.Errorf("%s, %v", b, err)
	}
}

// TestHeatColor: colours only where they are wanted.
func TestHeatColor(t *testing.T) {
	one := service.Float(1)
	h := &service.Heatmap{Of: "rms", Layers: []string{"l"}, Kinds: []string{""}, Values: [][]*service.Float{{&one}}}
	for _, color := range []bool{false, true} {
		var b strings.Builder
		p := (&app{out: &b, now: newApp(nil, os.Stdout, os.Stderr).now}).printer()
		p.heatmap(h, color)
		if err := p.flush(); err != nil || strings.Contains(b.String(), "\x1b[") != color || !strings.Contains(b.String(), "the layer itself") {
			t.Errorf("%q, %v", b.String(), err)
		}
	}
}
