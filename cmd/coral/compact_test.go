package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"coral/internal/service"
)

// matrix is a safetensors file of one F32 matrix, a little different at each step.
func matrix(step int) string {
	const rows, cols = 200, 128
	head := fmt.Sprintf(`{"w":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,%d]}}`, rows, cols, 4*rows*cols)
	for len(head)%8 != 0 {
		head += " "
	}
	b := append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...)
	r, move := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, uint64(step)))
	for range rows * cols {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(0.05*r.NormFloat64()+2e-4*move.NormFloat64())))
	}
	return string(b)
}

func TestCompact(t *testing.T) {
	w := newWorld(t)
	w.write("run/notes.txt", "first\n")
	w.session("compact.golden", []string{
		"init $BASE/models", "compact --lossy int8 --keep-last 1", "add $BASE/run", "snapshot", "compact", "compact --lossy int4 --keep-last 1", "compact --lossy int8", "compact --lossy sparse --keep-last 1",
		"compact --lossy int8 --keep-last 1 --threshold 2", "compact --lossy int8 --keep-last 1 --include [", "compact --lossy int8 --keep-last 1 x", "compact --lossy int8 --keep-last 1", "compact --lossy int8 --keep-last 1 --json",
	})
	for i := range 3 {
		w.write("run/m.safetensors", matrix(i))
		w.run("add", "$BASE/run")
		w.run("snapshot")
	}
	exact, _, _ := w.run("cat", "HEAD~2:run/m.safetensors")
	out, errOut, code := w.run("compact", "--lossy", "int8_quantized", "--keep-last", "1", "--dry-run", "--json")
	var would service.CompactResult
	if err := json.Unmarshal([]byte(out), &would); err != nil || code != 0 || would.Lossy != 2 || len(would.Tensors) != 2 || !would.DryRun || would.Tensors[0].Tensor != "w" {
		t.Fatalf("dry run: exit %d, %s%s%v", code, out, errOut, err)
	}
	if again, _, _ := w.run("cat", "HEAD~2:run/m.safetensors"); again != exact {
		t.Error("a dry run changed something")
	}
	out, errOut, code = w.run("compact", "--lossy", "int8", "--keep-last", "1")
	report, done := strings.Index(out, "relative L2"), strings.Index(out, "done: main is at")
	if code != 0 || report < 0 || done < report || !strings.Contains(out, "m.safetensors:w") || !strings.Contains(out, "coral tag -d compact/main/") {
		t.Errorf("exit %d, %s%s", code, out, errOut)
	}
	if again, _, _ := w.run("cat", "HEAD~2:run/m.safetensors"); again == exact || len(again) != len(exact) {
		t.Error("the old commit is as it was")
	}
	if log, _, _ := w.run("log", "--json"); !strings.Contains(log, `"lossy":"int8"`) || !strings.Contains(log, `"lossy.of"`) {
		t.Errorf("log: %s", log)
	}
	out, _, code = w.run("compact", "--lossy", "int8", "--keep-last", "1")
	if code != 0 || !strings.Contains(out, "nothing to approximate: 1 commit exact, 2 commits approximated before") {
		t.Errorf("again: exit %d, %s", code, out)
	}
	if out, _, code := w.run("fsck", "--full"); code != 0 {
		t.Errorf("fsck: %s", out)
	}
}
