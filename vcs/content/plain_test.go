package content

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"coral/delta/format/dtype"
)

// plainFile is a file on disk that says that it can be opened again.
type plainFile struct{ *os.File }

func (f plainFile) Reopen() (*os.File, error) { return os.Open(f.Name()) }

// TestPlainBase stores a tensor against one that still lies in a plain file: it is read there; where the file was written to or is gone meanwhile, it is
// decoded, and the bytes that come back are right either way.
func TestPlainBase(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"as it was": func(string) error { return nil },
		"changed": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt(bytes.Repeat([]byte{1}, 4096), 100_000)
			return err
		},
		"shorter": func(path string) error { return os.Truncate(path, 1000) },
		"gone":    os.Remove,
	} {
		t.Run(what, func(t *testing.T) {
			s, _ := newStore(t, Options{})
			dir := t.TempDir()
			r := testRand(3)
			first := gauss(r, dtype.F32, 200_000, 0.02)
			second := tuned(r, dtype.F32, first, 1e-5)
			ingest := func(name string, data []byte) IngestResult {
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, safetensors(tensor{name: "w", dt: dtype.F32, data: data}), 0o600); err != nil {
					t.Fatal(err)
				}
				f, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				st, err := f.Stat()
				if err != nil {
					t.Fatal(err)
				}
				res, err := s.Ingest(t.Context(), plainFile{f}, st.Size(), Hint{Path: name})
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			ingest("a.safetensors", first)
			if err := spoil(filepath.Join(dir, "a.safetensors")); err != nil {
				t.Fatal(err)
			}
			before := s.Counters()
			res := ingest("b.safetensors", second)
			c := s.Counters()
			if c.DeltasStored == before.DeltasStored {
				t.Fatal("no delta was stored")
			}
			if read := c.PlainRead - before.PlainRead; (read > 0) != (what == "as it was") {
				t.Fatalf("%d bytes of bases read from the plain file", read)
			}
			checkFile(t, s, res.Manifest, safetensors(tensor{name: "w", dt: dtype.F32, data: second}))
		})
	}
}
