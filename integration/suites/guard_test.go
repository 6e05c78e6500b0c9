package suites

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// guard shows that commits never change: while a suite works on the live tree it rehashes all of them, over and over, and makes more.
type guard struct {
	t     *testing.T
	r     *mounttest.Repo
	stop  chan struct{}
	done  sync.WaitGroup
	pause time.Duration
	snaps bool

	commits map[string]string // id → digest of everything in it
	order   []string
	rounds  int
}

// watch starts a guard. With snapshots it takes one about every pause. It is stopped, and all is checked once more, after a remount, when the test ends.
func watch(t *testing.T, r *mounttest.Repo, snapshots bool, pause time.Duration) *guard {
	t.Helper()
	g := &guard{t: t, r: r, stop: make(chan struct{}), pause: pause, snaps: snapshots, commits: map[string]string{}}
	g.seed()
	g.done.Go(g.run)
	t.Cleanup(g.finish)
	return g
}

// seed makes the commits that are there before the suite begins: two steps of a model, text, a sparse and an empty file.
func (g *guard) seed() {
	g.t.Helper()
	w := weights(nil)
	for step := range 2 {
		g.r.Write("old/model.safetensors", safetensors(w))
		g.r.Write("old/notes.txt", []byte(strings.Repeat(fmt.Sprintf("step %d\n", step), 5000)))
		g.r.Write("old/empty", nil)
		g.r.Write(fmt.Sprintf("old/noise-%d", step), noise(uint64(step), 300_000))
		must(g.t, os.Truncate(g.r.Live("old/empty"), int64(step)<<20))
		want := g.digest(g.r.Live())
		id := g.r.Snapshot(fmt.Sprintf("step %d", step))
		g.add(id, want)
		w = weights(w)
	}
	if got := g.digest(g.r.Commit(g.order[1])); got != g.commits[g.order[1]] {
		g.t.Fatal("the commit made before the suite is not the live tree it was made of")
	}
}

func (g *guard) add(id, digest string) {
	if _, ok := g.commits[id]; !ok {
		g.order = append(g.order, id)
	}
	g.commits[id] = digest
}

// run rehashes until it is told to stop. It says what is wrong by t.Error: a suite that goes on finds more.
func (g *guard) run() {
	for {
		select {
		case <-g.stop:
			return
		case <-time.After(g.pause): // a pace, not a wait for anything
		}
		if g.snaps {
			g.snapshot()
		}
		if id := g.order[rand.IntN(len(g.order))]; !g.check(id) {
			return
		}
		g.rounds++
		if g.rounds%5 == 0 { // from the packs, not from a cache
			g.r.Try("cache", "drop")
		}
	}
}

// snapshot commits whatever the suite has made of the live tree by now.
func (g *guard) snapshot() {
	out, errOut, code := g.r.Try("snapshot", "-m", "while a suite runs", "--allow-empty", "--json")
	var s struct {
		Commit string `json:"commit"`
	}
	if code != 0 || json.Unmarshal([]byte(out), &s) != nil {
		g.t.Errorf("snapshot while a suite runs: exit %d\n%s%s", code, out, errOut)
		return
	}
	g.add(s.Commit, g.digest(g.r.Commit(s.Commit)))
}

func (g *guard) check(id string) bool {
	if got := g.digest(g.r.Commit(id)); got != g.commits[id] {
		g.t.Errorf("commit %s has changed", id)
		return false
	}
	return true
}

// finish stops the guard and checks every commit once more: as it is mounted, then after a remount, then in the store.
func (g *guard) finish() {
	close(g.stop)
	g.done.Wait()
	if g.t.Failed() {
		return
	}
	for _, how := range []string{"mounted", "remounted"} {
		if how == "remounted" {
			g.r.Unmount()
			g.r.Mount()
		}
		for _, id := range g.order {
			if !g.check(id) {
				g.t.Errorf("(at the end, %s)", how)
				return
			}
		}
	}
	if out, errOut, code := g.r.Try("fsck", "--full"); code != 0 {
		g.t.Errorf("fsck --full after the suite: exit %d\n%s%s", code, out, errOut)
	}
	g.t.Logf("guard: %d commits rehashed in %d rounds, none changed", len(g.order), g.rounds)
}

// digest hashes names, kinds, modes, sizes, link targets and contents of everything below dir. Permissions to write, which commits do not show,
// and kinds that they do not hold are left out.
func (g *guard) digest(dir string) string {
	h := sha256.New()
	root, err := os.OpenRoot(dir)
	if err == nil {
		err = hashDir(h, root)
	}
	if err != nil {
		g.t.Errorf("hash %s: %.300v", dir, err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hashDir goes from directory to directory by descriptor: suites make paths that are longer than PATH_MAX. It closes root.
func hashDir(h io.Writer, root *os.Root) error {
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := hashEntry(h, root, e); err != nil {
			return fmt.Errorf("%.40s: %w", e.Name(), err)
		}
	}
	return nil
}

func hashEntry(h io.Writer, root *os.Root, e fs.DirEntry) error {
	switch {
	case e.Type()&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeDevice) != 0:
		return nil
	case e.Type()&fs.ModeSymlink != 0:
		to, err := root.Readlink(e.Name())
		fmt.Fprintf(h, "link %q %q\n", e.Name(), to)
		return err
	case e.IsDir():
		sub, err := root.OpenRoot(e.Name())
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "dir %q\n", e.Name())
		if err := hashDir(h, sub); err != nil {
			return err
		}
		_, err = fmt.Fprintf(h, "end %q\n", e.Name())
		return err
	}
	st, err := root.Lstat(e.Name())
	if err != nil {
		return err
	}
	f, err := root.Open(e.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintf(h, "file %q %o %d\n", e.Name(), st.Mode().Perm()&0o555, st.Size())
	_, err = io.Copy(h, f)
	return err
}

// weights returns float32 weights, moved a little from those given.
func weights(from []float32) []float32 {
	rnd := rand.New(rand.NewPCG(uint64(len(from)), 7))
	out := make([]float32, 200_000)
	for i := range out {
		if from == nil {
			out[i] = float32(rnd.NormFloat64() * 0.02)
		} else {
			out[i] = from[i] + float32(rnd.NormFloat64()*1e-5)
		}
	}
	return out
}

// safetensors returns a model file of one tensor.
func safetensors(w []float32) []byte {
	head := fmt.Sprintf(`{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, len(w), 4*len(w))
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(head)))
	b = append(b, head...)
	for _, v := range w {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}
