package similar

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"

	"coral/delta/format/detect"
	"coral/delta/format/dtype"
	simhash "coral/delta/similar"
	"coral/internal/oid"
	"coral/internal/vfs"
)

// TestFamilies measures recall and precision on real weights: CORAL_WEIGHTS is a list of directories of model files, separated by colons
// (each file's directory is its family in the table). Truth is the correlation of up to 16,384 elements of every pair of blobs of equal
// element counts; names are not looked at. `go test ./vcs/similar -run TestFamilies -v`.
func TestFamilies(t *testing.T) {
	dirs := os.Getenv("CORAL_WEIGHTS")
	if dirs == "" {
		t.Skip("CORAL_WEIGHTS is not set")
	}
	var all []blob
	for _, dir := range filepath.SplitList(dirs) {
		all = append(all, loadBlobs(t, dir)...)
	}
	x := Open("/", Options{FS: vfs.NewMem()})
	byID := map[oid.ID]int{}
	for i := range all {
		byID[all[i].id] = i
		x.Add(all[i].id, &all[i].sketch)
	}
	report := map[string]*score{}
	of := func(family string) *score {
		if report[family] == nil {
			report[family] = &score{}
		}
		return report[family]
	}
	within := simhash.MaxDistance(simhash.DefaultThreshold)
	for i := range all {
		a := &all[i]
		got := map[int]int{}
		for _, m := range x.Near(Query{Sketch: &a.sketch, MaxDistance: within, N: len(all)}) {
			got[byID[m.ID]] = m.Distance
		}
		for j := range all {
			if i == j || all[j].sketch.Count != a.sketch.Count {
				continue
			}
			r := correlation(a.x, all[j].x)
			_, found := got[j]
			for _, f := range []string{a.family, "all"} {
				of(f).add(r, found)
			}
		}
		of(a.family).blobs++
		of("all").blobs++
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "family\tblobs\tpairs\tsimilar\tfound\trecall\treturned\tof them ≥ 0.98\t≥ 0.95\t")
	for _, f := range append(families(all), "all") {
		s := report[f]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.4f\t%d\t%.4f\t%.4f\t\n", f, s.blobs, s.pairs, s.similar, s.hit, ratio(s.hit, s.similar), s.returned, ratio(s.hit, s.returned), ratio(s.near, s.returned))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("distance ≤ %d\n%s", within, b.String())
	if s := of("all"); s.similar > 1000 && ratio(s.hit, s.similar) < 0.95 {
		t.Errorf("recall %.4f, want 0.95", ratio(s.hit, s.similar))
	}
}

type score struct{ blobs, pairs, similar, hit, returned, near int }

func (s *score) add(r float64, found bool) {
	s.pairs++
	if r >= simhash.DefaultThreshold {
		s.similar++
	}
	if found {
		s.returned++
		if r >= simhash.DefaultThreshold {
			s.hit++
		}
		if r >= 0.95 {
			s.near++
		}
	}
}

func ratio(a, b int) float64 {
	if b == 0 {
		return math.NaN()
	}
	return float64(a) / float64(b)
}

// blob is an extent as content would cut it.
type blob struct {
	family, name string
	id           oid.ID
	sketch       simhash.Sketch
	x            []float32 // elements at random places
}

func families(all []blob) (out []string) {
	seen := map[string]bool{}
	for i := range all {
		if f := all[i].family; !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

// loadBlobs reads every model file below dir.
func loadBlobs(t *testing.T, dir string) (out []blob) {
	t.Helper()
	seen := map[oid.ID]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		layout, err := detect.Parse(f, info.Size())
		if err != nil {
			return nil // not weights
		}
		for _, p := range layout.Payloads {
			if strings.HasSuffix(p.Name, "exp_avg") {
				continue
			}
			for at := int64(0); at < p.Length; at += extentLen {
				raw := make([]byte, min(extentLen, p.Length-at))
				if _, err := f.ReadAt(raw, p.Offset+at); err != nil {
					return err
				}
				s, ok := simhash.Make(raw, p.DType)
				id := oid.Sum(raw)
				if len(raw) < simhash.MinBytes || !ok || seen[id] {
					continue
				}
				seen[id] = true
				out = append(out, blob{family: filepath.Base(dir), name: p.Name, id: id, sketch: s, x: sample(raw, p.DType, int(s.Count))})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const extentLen = 16 << 20

// sample draws elements at places that are the same for every blob of n elements, and not those of the sketch, and makes their mean 0 and their norm 1.
func sample(raw []byte, dt dtype.Kind, n int) []float32 {
	all := make([]float32, n)
	simhash.Floats(all, raw, dt)
	x := all
	if n > 1<<14 {
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		x = make([]float32, 1<<14)
		for i := range x {
			x[i] = all[rng.IntN(n)]
		}
	}
	var mean, norm float64
	for _, e := range x {
		mean += float64(e) / float64(len(x))
	}
	for _, e := range x {
		norm += (float64(e) - mean) * (float64(e) - mean)
	}
	for i, e := range x {
		x[i] = float32((float64(e) - mean) / math.Sqrt(norm))
	}
	return x
}

func correlation(x, y []float32) float64 {
	var sum [4]float32
	for i := 0; i+4 <= len(x); i += 4 {
		sum[0] += x[i] * y[i]
		sum[1] += x[i+1] * y[i+1]
		sum[2] += x[i+2] * y[i+2]
		sum[3] += x[i+3] * y[i+3]
	}
	return float64(sum[0] + sum[1] + sum[2] + sum[3])
}

// BenchmarkNear asks an index of a million random sketches (CORAL_BENCH_RECORDS) and of families of near copies.
func BenchmarkNear(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("CORAL_BENCH_RECORDS"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			b.Fatal(err)
		}
	}
	for _, perFamily := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("records=%d/copies=%d", n, perFamily), func(b *testing.B) { benchmarkNear(b, n, perFamily) })
	}
}

func benchmarkNear(b *testing.B, n, perFamily int) {
	x := Open(b.TempDir(), Options{})
	defer x.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	var parents []simhash.Sketch
	start := testTime()
	for i := range n {
		if i < n/perFamily {
			parents = append(parents, randomSketch(rng))
		}
		s := parents[i%len(parents)]
		flip(&s, rng, 8)
		var id oid.ID
		binary.LittleEndian.PutUint64(id[:], uint64(i))
		x.Add(id, &s)
	}
	built := float64(testTime()-start) / float64(n)
	found, asked := 0, 0
	cpu := cpuTime(b)
	for b.Loop() {
		asked++
		s := parents[asked%len(parents)]
		flip(&s, rng, 8)
		if len(x.Near(Query{Sketch: &s, MaxDistance: simhash.MaxDistance(simhash.DefaultThreshold), N: 4})) > 0 {
			found++
		}
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(asked), "cpu-ns/op") // on a machine with other load
	b.ReportMetric(built, "ns/add")
	b.ReportMetric(float64(len(x.runs)), "runs")
	b.ReportMetric(float64(found)/float64(asked), "found")
}
