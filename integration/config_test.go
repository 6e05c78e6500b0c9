package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/integration/mounttest"
)

// TestConfigMount wants settings to act on a mount, flags to be stronger, and a broken file not to keep one from unmounting.
func TestConfigMount(t *testing.T) {
	r := mounttest.New(t)
	r.Coral("config", "set", "cache.size", "3G")
	r.Coral("config", "set", "mount.read_only", "true")
	r.Coral("config", "set", "core.codec", "exponent_mantissa")
	r.Mount()
	var cache struct{ Limit int64 }
	if r.JSON(&cache, "cache"); cache.Limit != 3<<30 {
		t.Errorf("the cache's limit is %d, want 3 GiB", cache.Limit)
	}
	if err := os.WriteFile(r.Live("x"), nil, 0o644); err == nil {
		t.Error("a read-only mount was written to")
	}
	r.Unmount()
	r.Mount("--ro=false", "--cache-size", "2G")
	if r.JSON(&cache, "cache"); cache.Limit != 2<<30 {
		t.Errorf("the cache's limit is %d, want 2 GiB", cache.Limit)
	}
	r.Write("x", []byte("1"))
	if err := os.WriteFile(filepath.Join(r.Dir, ".coral/config.toml"), []byte("[core\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut, code := r.Try("status"); code != 1 || !strings.Contains(errOut, ".coral/config.toml:1: ") {
		t.Errorf("status: exit %d, %s", code, errOut)
	}
	r.Coral("unmount", r.Mnt)
	if err := os.Remove(filepath.Join(r.Dir, ".coral/config.toml")); err != nil {
		t.Fatal(err)
	}
}
