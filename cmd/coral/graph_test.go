package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"coral/internal/oid"
)

// drawn draws a history: for each commit, newest first, the numbers of its parents.
func drawn(order []int, parents map[int][]int) string {
	id := func(n int) oid.ID { return oid.Sum(fmt.Append(nil, n)) }
	var g graph
	var b strings.Builder
	for _, n := range order {
		var ids []oid.ID
		for _, p := range parents[n] {
			ids = append(ids, id(p))
		}
		g.next(id(n), ids)
		for first := true; first || !g.done(); first = false {
			for {
				row, commit := g.row()
				if commit {
					row += fmt.Sprint(n)
				}
				b.WriteString(strings.TrimRight(row, " ") + "\n")
				if commit || g.done() {
					break
				}
			}
		}
	}
	return b.String()
}

func TestGraphMerge(t *testing.T) {
	got := drawn([]int{5, 4, 3, 2, 1}, map[int][]int{5: {3, 4}, 4: {2}, 3: {2}, 2: {1}})
	want := "*   5\n|\\\n| * 4\n* | 3\n|/\n* 2\n* 1\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestGraphAsGit draws random histories, with merges of up to five parents and several roots, and compares with git.
func TestGraphAsGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed: nothing to compare with")
	}
	dir := t.TempDir()
	git := func(in string, args ...string) string {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		cmd.Stdin = strings.NewReader(in)
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		if err := cmd.Run(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, errOut.String())
		}
		return out.String()
	}
	git("", "init", "-q", ".")
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		n := 4 + rng.IntN(24)
		parents := map[int][]int{}
		var b strings.Builder
		for i := 1; i <= n; i++ {
			// One commit a branch, so that any shape can be made; times rise.
			fmt.Fprintf(&b, "reset refs/heads/s%d/c%d\ncommit refs/heads/s%d/c%d\nmark :%d\ncommitter a <a@b> %d +0000\ndata %d\n%d\n", seed, i, seed, i, i, 1e9+i, len(fmt.Sprint(i)), i)
			count := 1
			switch rng.IntN(10) {
			case 0, 1, 2:
				count = 2
			case 3:
				count = 3 + rng.IntN(3)
			}
			for _, k := range rng.Perm(min(i-1, 7)) {
				if p := i - 1 - k; len(parents[i]) < count && p >= 1 && (rng.IntN(12) > 0 || i < 3) {
					if len(parents[i]) == 0 {
						fmt.Fprintf(&b, "from :%d\n", p)
					} else {
						fmt.Fprintf(&b, "merge :%d\n", p)
					}
					parents[i] = append(parents[i], p)
				}
			}
			b.WriteString("\n")
		}
		git(b.String(), "fast-import", "--quiet", "--force")
		want := git("", "log", "--graph", "--topo-order", "--format=%s", fmt.Sprintf("--glob=refs/heads/s%d/*", seed))
		var order []int
		var lines []string
		for l := range strings.Lines(want) {
			l = strings.TrimRight(l, " \n")
			lines = append(lines, l)
			if i := strings.IndexByte(l, '*'); i >= 0 {
				k := 0
				if _, err := fmt.Sscan(strings.TrimLeft(l[i+1:], `-.|\/_ `), &k); err != nil {
					t.Fatalf("%q: %v", l, err)
				}
				order = append(order, k)
			}
		}
		if got := drawn(order, parents); got != strings.Join(lines, "\n")+"\n" {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, strings.Join(lines, "\n"))
		}
	}
}
