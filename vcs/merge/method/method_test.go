package method

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coral/internal/errs"
)

// memory is a tensor in memory, given in windows of `step` elements.
type memory struct {
	name   string
	base   []float64
	sides  [][]float64
	step   int
	passes int
}

func (m *memory) Name() string { return m.name }
func (m *memory) Len() int64   { return int64(len(m.sides[0])) }
func (m *memory) Sides() int   { return len(m.sides) }

func (m *memory) Windows(fn func(w Window) error) error {
	m.passes++
	n := len(m.sides[0])
	for at := 0; at < n; at += m.step {
		end := min(n, at+m.step)
		w := Window{At: int64(at), Sides: make([][]float64, len(m.sides))}
		for i, s := range m.sides {
			w.Sides[i] = s[at:end]
		}
		if m.base != nil {
			w.Base = m.base[at:end]
		}
		if err := fn(w); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) run(t testing.TB, spec string) []float64 {
	t.Helper()
	s, err := Parse(spec)
	if err == nil {
		err = s.Check(len(m.sides))
	}
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Prepare(m)
	if err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	out := make([]float64, len(m.sides[0]))
	err = m.Windows(func(w Window) error {
		k.Apply(out[w.At:int(w.At)+len(w.Sides[0])], w)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func near(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool {
		return x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= 1e-12*max(1, math.Abs(x), math.Abs(y))
	})
}

// TestKnown: results that can be computed by hand.
func TestKnown(t *testing.T) {
	base := []float64{0, 0, 0, 0}
	a, b := []float64{1, -2, 3, 0.5}, []float64{3, 4, -1, 0}
	for _, c := range []struct {
		spec string
		want []float64
	}{
		{"average", []float64{2, 1, 1, 0.25}},
		{"weighted:alpha=0.25", []float64{2.5, 2.5, 0, 0.125}},
		{"linear:weights=1/3", []float64{2.5, 2.5, 0, 0.125}},
		{"linear:weights=1/3,normalize=false", []float64{10, 10, 0, 0.5}},
		{"task-arithmetic", []float64{4, 2, 2, 0.5}},
		{"task_arithmetic:weights=0.5,lambda=2", []float64{4, 2, 2, 0.5}},
		{"task-arithmetic:weights=1/3,normalize=true", []float64{2.5, 2.5, 0, 0.125}},
		// Of each the two largest: -2 and 3; 3 and 4. Sums 3, 2, 3, 0: all elect plus, 0 elects plus and has no voters.
		{"ties:density=0.5", []float64{3, 4, 3, 0}},
		{"ties:density=1", []float64{2, 4, 3, 0.5}},
		{"ties:density=1,lambda=0.5", []float64{1, 2, 1.5, 0.25}},
		// A quarter of the largest is dropped, two of four are kept: 1 and -2; 3 and -1.
		{"breadcrumbs:density=0.5,gamma=0.25", []float64{4, -2, -1, 0}},
		{"breadcrumbs-ties:density=0.5,gamma=0.25", []float64{4, -2, -1, 0}},
		{"dare-linear:density=1", []float64{4, 2, 2, 0.5}},
	} {
		m := &memory{name: "w", base: base, sides: [][]float64{a, b}, step: 3}
		if got := m.run(t, c.spec); !near(got, c.want) {
			t.Errorf("%s: %v, want %v", c.spec, got, c.want)
		}
	}
	m := &memory{sides: [][]float64{{1, 0}, {0, 1}}, step: 1}
	h := math.Sqrt(0.5)
	if got := m.run(t, "slerp"); !near(got, []float64{h, h}) {
		t.Errorf("slerp: %v", got)
	}
	m = &memory{sides: [][]float64{{1, 1}, {2, 2}}, step: 2}
	if got := m.run(t, "slerp:t=0.25"); !near(got, []float64{1.25, 1.25}) {
		t.Errorf("slerp of parallel vectors: %v", got)
	}
	// The changes are at right angles: cos 0, so t is 0 and the base stays. Parallel ones: t is 1, the mean.
	m = &memory{base: []float64{1, 1}, sides: [][]float64{{2, 1}, {1, 2}}, step: 2}
	if got := m.run(t, "model-stock"); !near(got, []float64{1, 1}) {
		t.Errorf("model-stock: %v", got)
	}
	m = &memory{base: []float64{1, 1}, sides: [][]float64{{2, 2}, {4, 4}}, step: 2}
	if got := m.run(t, "model-stock"); !near(got, []float64{3, 3}) {
		t.Errorf("model-stock of parallel changes: %v", got)
	}
}

// TestAdversarial: numbers of all kinds, and tensors of 0 and 1 elements, give what they must and never a panic.
func TestAdversarial(t *testing.T) {
	nan, inf, tiny := math.NaN(), math.Inf(1), math.SmallestNonzeroFloat64
	sides := [][]float64{{nan, inf, -inf, math.Copysign(0, -1), tiny, 1, 1}, {1, 1, inf, 0, tiny, 1, 1}}
	base := []float64{1, 1, 1, 0, 0, 1, 1}
	for _, name := range Names() {
		s, err := New(name)
		if err != nil || !s.Computes() {
			continue
		}
		for _, n := range []int{0, 1, 7} {
			m := &memory{name: name, base: base[:n], sides: [][]float64{sides[0][:n], sides[1][:n]}, step: 2}
			k, err := s.Prepare(m)
			if errors.Is(err, ErrNotFinite) && n > 0 {
				continue
			}
			if err != nil {
				t.Fatalf("%s of %d: %v", name, n, err)
			}
			out := make([]float64, n)
			_ = m.Windows(func(w Window) error { k.Apply(out[w.At:int(w.At)+len(w.Sides[0])], w); return nil })
			if n == 7 && (out[5] != 1 || out[6] != 1) {
				t.Errorf("%s: equal numbers become %v", name, out)
			}
		}
	}
	m := &memory{sides: [][]float64{{nan, 1}, {1, 1}}, step: 2}
	if _, err := (Spec{Method: Slerp, T: 0.5}).Prepare(m); !errors.Is(err, ErrNotFinite) || !errors.Is(err, errs.Conflict) {
		t.Errorf("slerp of NaN: %v", err)
	}
}

// TestSelect: cuts divide as sorting does, however large the pool is and however many magnitudes are equal.
func TestSelect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		values := rapid.SampledFrom([]float64{0, 1, -1, 1.5, 2, 1e-300, math.Inf(1), 3}).Draw
		side, base := make([]float64, n), make([]float64, n)
		for i := range side {
			if rapid.Bool().Draw(t, "any") {
				side[i] = rapid.Float64().Draw(t, "x")
			} else {
				side[i] = values(t, "v")
			}
		}
		rank := rapid.Int64Range(0, int64(n)).Draw(t, "rank")
		c := &cut{rank: rank, count: int64(n)}
		c.all = rank == int64(n)
		limit := rapid.Int64Range(1, 400).Draw(t, "limit")
		for done := c.all; !done; {
			c.prepare(limit)
			for i := range side {
				c.see(math.Float64bits(math.Abs(side[i] - base[i])))
			}
			done = c.narrow()
		}
		order := make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int {
			a, b := math.Float64bits(math.Abs(side[i])), math.Float64bits(math.Abs(side[j]))
			return int(min(max(int64(a-b), -1), 1)) * boolInt(a != b)
		})
		want := make([]bool, n)
		for _, i := range order[:rank] {
			want[i] = true
		}
		for i := range side {
			if got := c.below(math.Float64bits(math.Abs(side[i]))); got != want[i] {
				t.Fatalf("element %d (%v) below rank %d: %v", i, side[i], rank, got)
			}
		}
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestPasses: a large tensor needs few passes, and memory that does not grow with it.
func TestPasses(t *testing.T) {
	n := 3 * poolLimit / 2
	m := &memory{name: "w", base: make([]float64, n), sides: [][]float64{make([]float64, n), make([]float64, n)}, step: 1 << 14}
	for i := range n {
		m.sides[0][i] = math.Sin(float64(i)) * 0.02
		m.sides[1][i] = float64(int8(i)) // 256 values: thousands of each
	}
	out := m.run(t, "ties:density=0.25,normalize=false")
	if m.passes > 5+1 {
		t.Errorf("%d passes", m.passes)
	}
	kept := 0
	for i := range out {
		if math.Abs(m.sides[1][i]) > 112 && out[i] != 0 {
			kept++
		}
	}
	if kept < n/10 {
		t.Errorf("of the largest changes only %d of %d are kept", kept, n)
	}
}

// TestRandom: what is recorded with merges relies on these masks.
func TestRandom(t *testing.T) {
	r := newRandom(7, "encoder.weight", 1, 0.5)
	var got strings.Builder
	for i := range int64(32) {
		if r.keep(i, 1) {
			got.WriteByte('1')
		} else {
			got.WriteByte('0')
		}
	}
	if want := "11100011100100011000101011001111"; got.String() != want {
		t.Errorf("mask %s, want %s", got.String(), want)
	}
	n := 0
	for i := range int64(100_000) {
		if newRandomAt(r, i) {
			n++
		}
	}
	if n < 49_000 || n > 51_000 {
		t.Errorf("%d of 100,000 are kept at density 0.5", n)
	}
	base := make([]float64, 1000)
	m := &memory{name: "w", base: base, sides: [][]float64{slices.Repeat([]float64{2}, 1000), slices.Repeat([]float64{2}, 1000)}, step: 100}
	total := 0.0
	for _, v := range m.run(t, "dare-linear:density=0.25,seed=3") { // rescaled to the sum of magnitudes
		total += v
	}
	if math.Abs(total-4000) > 1e-9 {
		t.Errorf("after rescaling the changes sum to %v, want 4000", total)
	}
	for _, v := range m.run(t, "dare-linear:density=0.25,seed=3,rescale=density") {
		if v != 0 && v != 8 && v != 16 {
			t.Fatalf("divided by the density: %v", v)
		}
	}
}

func newRandomAt(r *random, i int64) bool { return r.keep(i, 0) }

func TestParse(t *testing.T) {
	for text, part := range map[string]string{
		"": "want one of", "mean": "want one of", "slerp:t": "parameter=value", "slerp:t=x": "t=x", "slerp:x=1": "it has t", "average:t=1": "it has none", "ties:density=0.5/x": "density",
		"slerp:t=nan": "t=nan", "dare:seed=-1": "seed", "ties:rescale=l3": "rescale",
	} {
		if _, err := Parse(text); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", text, err, part)
		}
	}
	for text, sides := range map[string]int{
		"slerp": 3, "weighted": 3, "theirs": 3, "model-stock": 1, "linear:weights=1/2": 3, "linear:weights=1/-1": 2, "ties:density=0": 2, "ties:density=1.5": 2, "breadcrumbs:gamma=1": 2, "average": 65,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if err := s.Check(sides); !errors.Is(err, errs.Invalid) {
			t.Errorf("%q of %d: %v", text, sides, err)
		}
	}
	s, err := Parse("DARE_TIES:density=0.3/0.4, weight=1 ,seed=18446744073709551615,normalize=True,rescale=false")
	if err != nil || s.Method != DareTies || !slices.Equal(s.Density, []float64{0.3, 0.4}) || s.Seed != math.MaxUint64 || !s.Normalize || s.Rescale != RescaleNone {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := Parse("dare"); err != nil || s.Method != DareLinear {
		t.Errorf("dare: %+v, %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"average", "slerp:t=0.3", "ties:density=0.2/0.5,weights=1", "dare:seed=9", ":", "x:y=z,"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			if !errors.Is(err, errs.Invalid) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		_ = s.Check(2)
	})
}
