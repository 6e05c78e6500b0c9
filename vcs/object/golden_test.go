package object

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files")

// TestGolden pins the bytes, ids and JSON of one object of each kind. The bytes are for ever: if this test fails, repositories
// in the world cannot be read any more.
func TestGolden(t *testing.T) {
	var out strings.Builder
	for _, v := range []any{sampleManifest(), sampleTree(), sampleCommit(), sampleTag()} {
		kind, b, err := Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s %s\n", kind, Sum(b))
		for h := hex.EncodeToString(b); h != ""; {
			n := min(len(h), 128)
			fmt.Fprintln(&out, h[:n])
			h = h[n:]
		}
		fmt.Fprintf(&out, "%s\n\n", j)
	}
	path := filepath.Join("testdata", "objects.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
