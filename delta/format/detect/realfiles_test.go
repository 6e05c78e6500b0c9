package detect

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"coral/delta/format"
)

// TestRealFiles cuts every file under $CORAL_FORMATS, which integration/bench/formats.py sets, and prints a line of tab-separated fields for each: what it
// is taken for, size, tensors, bytes in payloads, microseconds of the parser with the file in memory, what is wrong, and the path.
func TestRealFiles(t *testing.T) {
	dir := os.Getenv("CORAL_FORMATS")
	if dir == "" {
		t.Skip("CORAL_FORMATS names no directory")
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		size := int64(len(b))
		start := time.Now()
		l, err := Parse(bytes.NewReader(b), size)
		took := time.Since(start)
		if bad := l.Check(size); bad != nil {
			t.Errorf("%s: %v", path, bad)
		}
		if err == format.ErrUnknown {
			err = nil
		}
		cut := int64(0)
		for _, p := range l.Payloads {
			cut += p.Length
		}
		fmt.Printf("FILE\t%s\t%d\t%d\t%d\t%d\t%v\t%s\n", l.Format, size, len(l.Tensors), cut, took.Microseconds(), err, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
