package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coral/internal/bench"
)

// TestBench runs the command on a few files, without other tools.
func TestBench(t *testing.T) {
	w := newWorld(t)
	w.write("run/a.safetensors", tinySafetensors())
	w.write("run/notes.txt", strings.Repeat("loss 0.5\n", 1000))
	dir := filepath.Join(w.base, "run")
	out, errOut, code := w.run("bench", dir, "--no-peers", "--dir", w.base, "--cores", "1")
	if code != 0 || errOut != "" || !strings.HasPrefix(out, "2 files, 8.94 KiB; 1 processor of ") || strings.Count(out, " yes\n") != len(bench.Codecs) {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	out, errOut, code = w.run("bench", dir, "--no-peers", "--dir", w.base, "--codecs", "auto", "--json")
	var r bench.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Files != 2 || len(r.Rows) != 1 || r.Rows[0].Exact == nil || r.Rows[0].Exact.Files != 2 {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	left, err := filepath.Glob(filepath.Join(w.base, "coral-bench-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, args := range [][]string{
		{"bench"}, {"bench", dir, "--codecs", "none"}, {"bench", dir, "--peers", "none"}, {"bench", dir, "--cores", "-1"}, {"bench", dir, "--no-peers", "--peers", "zstd"},
	} {
		if out, errOut, code := w.run(args...); code != 2 || out != "" || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%q: exit %d, %s%s", args, code, out, errOut)
		}
	}
	if _, errOut, code := w.run("bench", filepath.Join(w.base, "nowhere"), "--no-peers"); code != 1 || strings.Count(errOut, "\n") != 1 {
		t.Errorf("nowhere: exit %d, %s", code, errOut)
	}
}

// TestBenchText compares the table with a golden file.
func TestBenchText(t *testing.T) {
	r := &bench.Report{Files: 5, Bytes: 454_500_000, Cores: 2, CPU: "some\x1b processor", System: "linux/amd64", Rows: []*bench.Row{
		{Name: "auto", What: "with bases", Ratio: 0.4418, EncodeMBps: 400.4, DecodeMBps: 1939.6, WriteMBps: 1200, Exact: &bench.Exactness{Files: 5}},
		{Name: "zstd", Peer: true, What: "all files as one", Version: "1.5.4", Ratio: 0.9, EncodeMBps: 300, WriteMBps: 20.04, Exact: &bench.Exactness{Files: 5}},
		{Name: "one", Peer: true, What: "tensors", Ratio: 0.67, EncodeMBps: 7, WriteMBps: 20, Note: "only tensors", Exact: &bench.Exactness{Tensors: 516, TensorsDiffer: 258, NotFiles: true}},
		{Name: "two", Peer: true, What: "tensors", Ratio: 0.67, EncodeMBps: 7, WriteMBps: 20, Exact: &bench.Exactness{Tensors: 516, NotFiles: true}},
		{Name: "three", Peer: true, What: "files", Ratio: 0.67, EncodeMBps: 7, WriteMBps: 20, Exact: &bench.Exactness{Files: 5, FilesDiffer: 5, Tensors: 1, TensorsDiffer: 0}},
		{Name: "four", Peer: true, What: "files", Ratio: 0.67, EncodeMBps: 7, WriteMBps: 20, Exact: &bench.Exactness{Files: 5, FilesDiffer: 1}},
		{Name: "five", Peer: true, What: "files", Ratio: 0.67, EncodeMBps: 7, WriteMBps: 20, Exact: &bench.Exactness{Files: 5, FilesDiffer: 2, FilesMissing: 1}},
		{Name: "six", Peer: true, What: "files", Failed: "encode: ended after 30m0s"},
		{Name: "seven", Peer: true, What: "files", Missing: "pip install seven"},
	}}
	var out bytes.Buffer
	p := (&app{out: &out, now: time.Now, loc: time.UTC}).printer()
	printBench(p, r, 2)
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "bench.golden")
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("%s differs:\n%s", path, firstDifference(out.String(), string(want)))
	}
}
