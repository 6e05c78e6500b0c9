package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"coral/integration/mounttest"
)

// TestConvert converts files that the libraries wrote, and lets them read the results: from the disk without a repository, from a commit by the daemon,
// and through a mount.
func TestConvert(t *testing.T) {
	py := mounttest.Python(t)
	script := filepath.Join(mounttest.Root(), "integration", "python", "convert.py")
	dir := t.TempDir()
	mounttest.Exec(t, py, script, "make", dir)
	r := mounttest.Mounted(t)
	for _, name := range []string{"in.safetensors", "in.pt", "in.npz", "floats.safetensors"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.Live(name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r.Snapshot("inputs")
	at := func(name string) string { return filepath.Join(dir, name) }
	r.Coral("convert", at("in.safetensors"), at("st-st.safetensors"))
	r.Coral("convert", "main:in.pt", at("pt-st.safetensors"))
	r.Coral("convert", ":in.safetensors", at("st-pt.pt"))
	r.Coral("convert", r.Live("in.pt"), at("pt-pt.pt"))
	r.Coral("convert", at("in.npz"), at("npz-npz.npz"))
	for _, kind := range []string{"bfloat16", "float16", "float8_e4m3fn"} {
		r.Coral("convert", "main:in.safetensors", at(kind+".safetensors"), "--dtype", kind)
	}
	for _, kind := range []string{"f32", "f16", "q8_0"} {
		r.Coral("convert", "main:floats.safetensors", at(kind+".gguf"), "--dtype", kind)
	}
	r.Coral("convert", "main:in.safetensors", at("shards")+"/", "--max-shard-size", "4K")
	t.Logf("%s", mounttest.Exec(t, py, script, "check", dir))

	// What is converted into the mount is a file like any other, and the second run has the same bytes.
	r.Coral("convert", at("in.pt"), r.Live("new.safetensors"))
	a, err := os.ReadFile(r.Live("new.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(at("pt-st.safetensors"))
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("converted into the mount: %d bytes, to the disk %d, %v", len(a), len(b), err)
	}
}
