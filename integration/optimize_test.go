package integration

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coral/integration/mounttest"
)

// weights is a safetensors file of one tensor of n floats.
func weights(w []float32) []byte {
	head := fmt.Sprintf(`{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, len(w), 4*len(w))
	head += strings.Repeat(" ", (8-len(head)%8)%8)
	b := append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...)
	for _, x := range w {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

// TestOptimizeKill9 kills `coral optimize` at random moments, alone and in the daemon, each time going on where the last one was killed: after each kill the repository is whole, and at the
// end every version of the file is what it was.
func TestOptimizeKill9(t *testing.T) {
	r := mounttest.New(t)
	rnd := rand.New(rand.NewPCG(4, 2))
	dir := t.TempDir()
	w := make([]float32, 1<<19)
	for i := range w {
		w[i] = float32(rnd.NormFloat64() * 0.02)
	}
	sums := map[string]string{} // commit → sha256
	for k := range 8 {
		b := weights(w)
		put(t, filepath.Join(dir, "m.safetensors"), b)
		r.Coral("add", filepath.Join(dir, "m.safetensors"))
		var snap struct{ Commit string }
		r.JSON(&snap, "snapshot", "-m", fmt.Sprint(k))
		sum := sha256.Sum256(b)
		sums[snap.Commit] = hex.EncodeToString(sum[:])
		for i := range w {
			w[i] += float32(rnd.NormFloat64() * 1e-5)
		}
	}
	sound := func(when string) {
		t.Helper()
		if out, errOut, code := r.Try("fsck", "--full"); code != 0 {
			t.Fatalf("%s: fsck --full: exit %d\n%s%s", when, code, out, errOut)
		}
	}
	// How long it takes, to aim at all of it: on a copy, as it is only done once.
	fresh, timed := filepath.Join(t.TempDir(), "fresh"), filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(fresh, os.DirFS(r.Dir)))
	must(t, os.CopyFS(timed, os.DirFS(r.Dir)))
	start := time.Now()
	if out, errOut, code := mounttest.Run(t, timed, "optimize"); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, errOut)
	}
	span := time.Since(start)
	killed := 0
	for i := range 10 {
		mounted := i%2 == 1
		if mounted {
			r.Mount()
		}
		cmd := exec.Command(mounttest.Bin, "optimize")
		cmd.Env = append(os.Environ(), "CORAL_REPO="+r.Dir)
		must(t, cmd.Start())
		time.Sleep(time.Duration(rnd.Int64N(int64(span)))) // the moment of death is the test's input
		if mounted {
			r.Kill9(r.PID())
		} else {
			must(t, cmd.Process.Kill())
		}
		ended := cmd.Wait() == nil
		sound(fmt.Sprintf("kill %d", i))
		if !ended {
			killed++
			continue
		}
		must(t, os.RemoveAll(r.Dir))
		must(t, os.CopyFS(r.Dir, os.DirFS(fresh)))
	}
	if killed < 3 {
		t.Errorf("optimize was seldom killed in time: %d of 10", killed)
	}
	r.Coral("optimize")
	r.Coral("gc", "--full")
	sound("at the end")
	r.Coral("fsck", "--rebuild-index")
	sound("with the index made again")
	for commit, want := range sums {
		sum := sha256.Sum256([]byte(r.Coral("cat", commit+":m.safetensors")))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("commit %s: sha256 %s, want %s", commit, got, want)
		}
	}
	t.Logf("%d of 10 runs killed", killed)
}
