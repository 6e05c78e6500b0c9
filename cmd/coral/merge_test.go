package main

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
)

// model is a safetensors file of two tensors.
func model(a, b float32) string {
	var data []byte
	for _, v := range []float32{a, b} {
		for i := range 256 {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v*float32(i+1)))
		}
	}
	head := `{"a":{"dtype":"F32","shape":[256],"data_offsets":[0,1024]},"b":{"dtype":"F32","shape":[16,16],"data_offsets":[1024,2048]}}`
	head += strings.Repeat(" ", 7-(len(head)+7)%8)
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) + head + string(data)
}

// TestMergeGolden shows what people see of merges.
func TestMergeGolden(t *testing.T) {
	w := newWorld(t)
	w.write("base/m.safetensors", model(1, 1))
	w.write("base/config.json", `{"lr": 1}`)
	w.write("a/m.safetensors", model(3, 1))
	w.write("a/config.json", `{"lr": 2}`)
	w.write("b/m.safetensors", model(5, 2))
	w.write("b/config.json", `{"lr": 3}`)
	w.write("ties.yaml", "merge_method: ties\nbase_model: base\nmodels:\n  - model: base\n  - model: b\n    parameters: {weight: 1, density: 0.5}\n  - model: main\n    parameters: {weight: 0.5, density: 0.5}\ndtype: bfloat16\n")
	w.write("wrong.yaml", "merge_method: slerp\nbase_model: b\nmodels:\n  - model: main\n  - model: b\nparameters:\n  t:\n    - filter: mlp\n      value: [0, yes]\n    - value: {a: 1}\n")
	w.session("merge.golden", []string{
		"init $BASE/models", "add $BASE/base/m.safetensors $BASE/base/config.json", "snapshot -m base", "tag base", "branch b", "branch c",
		"add $BASE/a/m.safetensors $BASE/a/config.json", "snapshot -m a", "add -b b $BASE/b/m.safetensors $BASE/b/config.json", "snapshot -b b -m b",
		"merge b", "merge b --json", "merge b --strategy average", "merge b -s average --ours-for *.json -n", "merge b -s average --ours-for *.json --no-ff -m 'the mean'",
		"log -n 1", "merge b", "merge -b c main", "merge b --all -s slerp:t=0.25 --json", "merge --recipe $BASE/ties.yaml", "merge --recipe $BASE/wrong.yaml", "merge --recipe $BASE/none.yaml",
		"merge", "merge nowhere", "merge b -s mean", "merge b base -s slerp", "merge b -s slerp:t=x", "merge b --alpha 0.5 -s slerp", "merge b --ours-for '['",
		"merge b -s greedy-soup", "merge b --score x", "merge main -s greedy-soup --score x", "merge b -s greedy-soup --score x --no-ff", "merge b base -s greedy-soup --score x --strategy *.json=theirs",
		"merge b base -s greedy-soup --score x -n", "merge b base -s greedy-soup --score 'echo 7 #' --fallback ours -n", "merge b base -s greedy-soup --score 'echo 7; exit 4 #' --fallback ours",
		"merge b base -s greedy-soup --score 'test $CORAL_COMMIT || echo 8; echo 7; echo done #' --fallback ours", "log -n 1", "merge b -s greedy-soup --lower-is-better --score 'test $CORAL_COMMIT || echo 9; test -z $CORAL_COMMIT || echo 7 #' --fallback ours --json",
		"merge --help",
		"add $BASE/a/config.json", "merge base --no-ff", "snapshot -m again",
	})
}
