package detect

import (
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkParse is how fast files are cut, in bytes of the file: of those that $CORAL_BENCH_FILES matches, or of the fixtures. A parser reads headers only, so
// that the rate grows with the size of tensors; the time for each file is what is paid.
func BenchmarkParse(b *testing.B) {
	var files []string
	if pattern := os.Getenv("CORAL_BENCH_FILES"); pattern != "" {
		var err error
		if files, err = filepath.Glob(pattern); err != nil || len(files) == 0 {
			b.Fatalf("no files %s: %v", pattern, err)
		}
	} else {
		for f := range fixtures(b) {
			files = append(files, f)
		}
	}
	for _, path := range files {
		b.Run(filepath.Base(path), func(b *testing.B) {
			f, err := os.Open(path)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			st, err := f.Stat()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(st.Size())
			b.ReportAllocs()
			for b.Loop() {
				l, err := Parse(f, st.Size())
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(l.Tensors)), "tensors")
			}
		})
	}
}
