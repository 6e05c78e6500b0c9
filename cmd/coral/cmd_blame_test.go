package main

import "testing"

func TestSessionBlame(t *testing.T) {
	w := newWorld(t)
	w.write("one/model.safetensors", twoTensors("w", "bias", 0))
	w.write("one/notes.txt", "1")
	w.write("two/model.safetensors", twoTensors("w", "bias2", 0))
	w.session("blame.golden", []string{
		"init $BASE/models", "blame x", "add $BASE/one", "snapshot -m 'step 1'", "add $BASE/two/model.safetensors --to one", "snapshot -m 'step 2'", "blame one/model.safetensors",
		"blame one/model.safetensors HEAD~1", "blame HEAD:one/notes.txt", "blame one/model.safetensors --json", "blame one", "blame nowhere", "blame", "blame a b c", "blame :one/notes.txt", "blame --help",
	})
}
