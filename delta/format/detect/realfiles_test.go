package detect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"coral/delta/format"
)

// cutFile cuts a file of the disk, by its companion if it has one.
func cutFile(path string) (l *format.Layout, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if name := Companion(filepath.Base(path)); name != "" {
		if l, err := byCompanion(path, name, st.Size()); err == nil {
			return l, st.Size(), nil
		}
	}
	l, err = Parse(f, st.Size())
	return l, st.Size(), err
}

func byCompanion(path, companion string, size int64) (*format.Layout, error) {
	c, err := os.Open(filepath.Join(filepath.Dir(path), companion))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	st, err := c.Stat()
	if err != nil {
		return nil, err
	}
	return ParseData(filepath.Base(path), size, c, st.Size())
}

// realFiles lists the files under $CORAL_FORMATS, which integration/bench/formats.py sets.
func realFiles(t testing.TB) []string {
	t.Helper()
	dir := os.Getenv("CORAL_FORMATS")
	if dir == "" {
		t.Skip("CORAL_FORMATS names no directory")
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRealFiles cuts every real file and prints a line of tab-separated fields for each: what it is taken for, size, tensors, bytes in payloads,
// microseconds of the parser (the best of three, the file in the page cache), what is wrong, and the path.
func TestRealFiles(t *testing.T) {
	for _, path := range realFiles(t) {
		took := time.Hour
		var l *format.Layout
		var size int64
		var err error
		for range 3 {
			start := time.Now()
			l, size, err = cutFile(path)
			took = min(took, time.Since(start))
		}
		if l == nil {
			t.Fatal(err)
		}
		if bad := l.Check(size); bad != nil {
			t.Errorf("%s: %v", path, bad)
		}
		if errors.Is(err, format.ErrUnknown) {
			err = nil
		}
		cut := int64(0)
		for _, p := range l.Payloads {
			cut += p.Length
		}
		fmt.Printf("FILE\t%s\t%d\t%d\t%d\t%d\t%v\t%s\n", l.Format, size, len(l.Tensors), cut, took.Microseconds(), err, path)
	}
}

// BenchmarkRealFiles opens and cuts all files of a format, in the page cache. Payloads are not read, so that it is the size of the headers that tells.
func BenchmarkRealFiles(b *testing.B) {
	byFormat, bytes := map[string][]string{}, map[string]int64{}
	for _, path := range realFiles(b) {
		l, size, err := cutFile(path)
		if l == nil {
			b.Fatal(err)
		}
		byFormat[l.Format] = append(byFormat[l.Format], path)
		bytes[l.Format] += size
	}
	var names []string
	for name := range byFormat {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(bytes[name])
			b.ReportAllocs()
			for range b.N {
				for _, path := range byFormat[name] {
					if l, _, err := cutFile(path); l == nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(byFormat[name])), "µs/file")
		})
	}
}
