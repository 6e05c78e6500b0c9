package daemon

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestLogTurnsOver(t *testing.T) {
	dir := t.TempDir()
	var copied bytes.Buffer
	w, err := openLog(dir, &copied, false)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1<<20-10) + " %08d\n"
	for i := range 25 {
		fmt.Fprintf(w, line, i)
	}
	fmt.Fprintln(w, "the end")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, p := range []string{LogPath(dir), LogPath(dir) + ".1"} {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Size() > logMax {
			t.Errorf("%s has %d bytes", p, fi.Size())
		}
		total += fi.Size()
	}
	if total < 10<<20 || copied.Len() < 24<<20 {
		t.Errorf("kept %d bytes, copied %d", total, copied.Len())
	}
	got, err := RecentLog(dir, 2)
	if err != nil || len(got) != 2 || got[1] != "the end" || !strings.HasSuffix(got[0], "00000024") {
		t.Errorf("RecentLog: %d lines, %v", len(got), err)
	}
	if ring := w.Lines(); len(ring) > ringMax || !bytes.HasSuffix(ring, []byte("the end\n")) {
		t.Errorf("ring of %d bytes", len(ring))
	}
	if _, err := w.Write([]byte("after close\n")); err != nil {
		t.Error(err)
	}
	if got, err := RecentLog(t.TempDir(), 5); err != nil || len(got) != 0 {
		t.Errorf("no log: %v, %v", got, err)
	}
}

func TestRingBeginsWithWholeLine(t *testing.T) {
	w := &logWriter{}
	for i := range 10_000 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	ring := w.Lines()
	if len(ring) > ringMax || !bytes.HasPrefix(ring, []byte("line ")) {
		t.Errorf("ring of %d bytes begins with %.20q", len(ring), ring)
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	if s := readState(dir); s.PID != 0 {
		t.Errorf("no file: %+v", s)
	}
	if err := writeState(dir, State{PID: 7, Version: "v"}); err != nil {
		t.Fatal(err)
	}
	if s := readState(dir); s.PID != 7 || s.Version != "v" {
		t.Errorf("read back: %+v", s)
	}
}
