package diff

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

const f32 = dtype.F32

func TestKindsOfTensors(t *testing.T) {
	v := normal(64, 1, 1)
	moved := slices.Clone(v)
	moved[5]++
	grown := append(slices.Clone(v), normal(8, 2, 1)...)
	for _, c := range []struct {
		name string
		a, b []spec
		want string
	}{
		{"equal", []spec{vec("x", f32, v...)}, []spec{vec("x", f32, v...)}, ""},
		{"changed", []spec{vec("x", f32, v...), vec("y", f32, v...)}, []spec{vec("x", f32, moved...), vec("y", f32, v...)}, "modified m.safetensors, changed x"},
		{"added and removed", []spec{vec("x", f32, v...)}, []spec{vec("y", f32, grown...)}, "modified m.safetensors, removed x, added y"},
		{"renamed", []spec{vec("x", f32, v...)}, []spec{vec("y", f32, v...)}, "modified m.safetensors, renamed y<x"},
		{"scalars are not renamed", []spec{vec("x", f32, 1)}, []spec{vec("y", f32, 1)}, "modified m.safetensors, removed x, added y"},
		{"recast", []spec{vec("x", f32, v...)}, []spec{vec("x", dtype.BF16, v...)}, "modified m.safetensors, recast x"},
		{"reshaped", []spec{matrix("x", f32, 8, 8, v)}, []spec{matrix("x", f32, 4, 16, v)}, "modified m.safetensors, reshaped x"},
		{"grown", []spec{matrix("x", f32, 8, 8, v)}, []spec{matrix("x", f32, 9, 8, grown)}, "modified m.safetensors, reshaped x"},
		{"incomparable", []spec{matrix("x", f32, 8, 8, v)}, []spec{matrix("x", f32, 8, 9, grown)}, "modified m.safetensors, reshaped x"},
		{"only moved in the file", []spec{vec("x", f32, v...), vec("y", f32, moved...)}, []spec{vec("y", f32, moved...), vec("x", f32, v...)}, "modified m.safetensors"},
		{"most changed first", []spec{vec("x", f32, 1, 1), vec("y", f32, 1, 1), vec("z", f32, 1, 1)}, []spec{vec("x", f32, 1, 1.5), vec("y", f32, 1, 9), vec("z", f32, 1, math.NaN())}, "modified m.safetensors, changed z, changed y, changed x"},
	} {
		r := compare(t, model(t, c.a...), model(t, c.b...))
		if got := summary(r); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if _, err := json.Marshal(r.Total.Figures); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestGrownRows(t *testing.T) {
	v := normal(64, 1, 1)
	r := compare(t, model(t, matrix("x", f32, 8, 8, v)), model(t, matrix("x", f32, 9, 8, append(slices.Clone(v), normal(8, 2, 1)...))))
	x := r.Tensors[0]
	if !x.Part || x.Figures == nil || x.Figures.Elements != 64 || x.Figures.Changed != 0 || strings.Join(x.Notes, "") != "the rows that both have are equal" {
		t.Errorf("%+v %+v", x, x.Figures)
	}
}

func TestKindsOfFiles(t *testing.T) {
	m := safetensors(vec("x", f32, normal(64, 1, 1)...))
	a := dir(t, map[string][]byte{"same": []byte("1"), "changed": []byte("1"), "gone": []byte("22"), "old/m.safetensors": m, "d/deep": []byte("x")})
	b := dir(t, map[string][]byte{"same": []byte("1"), "changed": []byte("2"), "come": []byte("333"), "new/n.safetensors": m, "d": []byte("x!")})
	for _, side := range []struct{ d, name string }{{a.path, "one"}, {b.path, "other"}} {
		if err := os.Symlink(side.name, filepath.Join(side.d, "link")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(b.path, "same"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := "modified changed, added come, added d, deleted d/deep, deleted gone, modified link, renamed new/n.safetensors<old/m.safetensors, mode same"
	if got := summary(compare(t, a, b)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	only := func(o *Options) { o.Paths = []string{"*/m.safetensors", "come"} }
	if got := summary(compare(t, a, b, only)); got != "added come, deleted old/m.safetensors, removed x" {
		t.Errorf("of a path: %q", got)
	}
	if got := summary(compare(t, a, a)); got != "" {
		t.Errorf("of itself: %q", got)
	}
	if got := summary(compare(t, Empty{}, a)); !strings.HasPrefix(got, "added changed, added d/deep, added gone, added link, added old/m.safetensors") {
		t.Errorf("of nothing: %q", got)
	}
}

// Shards that were cut elsewhere hold the same tensors.
func TestAcrossFiles(t *testing.T) {
	v, w := normal(64, 1, 1), normal(32, 2, 1)
	moved := slices.Clone(w)
	moved[0]++
	a := dir(t, map[string][]byte{"all.safetensors": safetensors(vec("x", f32, v...), vec("y", f32, w...))})
	b := dir(t, map[string][]byte{"1.safetensors": safetensors(vec("x", f32, v...)), "2.safetensors": safetensors(vec("y", f32, moved...))})
	r := compare(t, a, b)
	if got := summary(r); got != "added 1.safetensors, added 2.safetensors, deleted all.safetensors, changed y" {
		t.Errorf("%q", got)
	}
	if y := r.Tensors[0]; y.OldPath != "all.safetensors" || y.Path != "2.safetensors" || y.Figures.Changed != 1.0/32 {
		t.Errorf("%+v", y)
	}
}

func TestTwoFilesOfAnyName(t *testing.T) {
	v := normal(64, 1, 1)
	d := dir(t, map[string][]byte{"a.safetensors": safetensors(vec("x", f32, v...)), "b.safetensors": safetensors(vec("x", dtype.F16, v...))})
	side := func(name string) *Disk {
		s, err := OpenDisk(filepath.Join(d.path, name))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	r := compare(t, side("a.safetensors"), side("b.safetensors"))
	if got := summary(r); got != "modified b.safetensors<a.safetensors, recast x" || r.Tensors[0].OldPath != "" {
		t.Errorf("%q, %+v", got, r.Tensors)
	}
	if _, err := Run(bg, Options{Old: d, New: side("a.safetensors")}); !errors.Is(err, errs.Invalid) {
		t.Errorf("a file and a directory: %v", err)
	}
}

func TestTotals(t *testing.T) {
	a := model(t, vec("h.0.w", f32, 3, 0), vec("h.1.w", f32, 0, 4), vec("h.10.w", f32, 1, 2), vec("h.2.w", f32, 5), vec("opt.state.0.exp_avg", f32, 1), vec("opt.state.1.exp_avg", f32, 1))
	b := model(t, vec("h.0.w", f32, 3, 1), vec("h.1.w", f32, 0, 3), vec("h.10.w", f32, 1, 2), vec("h.2.w", f32, 7), vec("opt.state.0.exp_avg", f32, 100), vec("opt.state.1.exp_avg", f32, 100))
	r := compare(t, a, b)
	var names []string
	for _, l := range r.Layers {
		names = append(names, l.Name)
	}
	if got := strings.Join(names, " "); got != "h.0 h.1 h.2 h.10 opt.state.*.exp_avg" {
		t.Errorf("layers %s", got)
	}
	if f := r.Total.Figures; r.StateTensors != 2 || f.Elements != 7 || !near(float64(f.RelL2), math.Sqrt(1+1+4)/math.Sqrt(9+16+25), 1e-12) || !near(float64(f.Changed), 3.0/7, 1e-12) {
		t.Errorf("%d states, total %+v", r.StateTensors, f) // h.10.w, which is equal, was read, since a file of the disk has no ids
	}
	if f := compare(t, a, b, func(o *Options) { o.Whole = true }).Total.Figures; f.Elements != 7 || !near(float64(f.RelL2), math.Sqrt(1+1+4)/math.Sqrt(9+16+25+5), 1e-12) {
		t.Errorf("of everything %+v", f)
	}
	if c := r.Files[0].Total.Counts; c != (Counts{Tensors: 6, Equal: 1, Changed: 5}) {
		t.Errorf("of the file: %+v", c)
	}
}

func TestFailOn(t *testing.T) {
	a := model(t, vec("x", f32, 1, 0), vec("y", f32, 1, 1))
	b := model(t, vec("x", f32, 0, 1), vec("y", f32, 1, 1), vec("new", f32, math.NaN(), math.Inf(1), 2))
	for text, want := range map[string]int{"cos<0.9": 1, "cos<=0": 1, "cos<0": 0, "rel_l2>1": 1, "max_abs>=1": 1, "changed>50%": 1, "changed>100%": 0, "nan>0": 1, "inf>=1": 1, "ulp>1e3": 1} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		r := compare(t, a, b, func(o *Options) { o.FailOn, o.Single = []Condition{c}, c.Metric == "nan" || c.Metric == "inf" })
		if r.Failed != want {
			t.Errorf("%s: %d, want %d", text, r.Failed, want)
		}
	}
	for _, bad := range []string{"", "cos", "cos<", "cos=1", "nope>1", "cos<nan", "<1", "cos<1%%"} {
		if _, err := ParseCondition(bad); !errors.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	allNaN := &Figures{Cosine: NoNumber()}
	if c := (Condition{"cos", "<", -5}); !c.Holds(allNaN) {
		t.Error("a cosine that does not exist passes")
	}
}

func FuzzParseCondition(f *testing.F) {
	for _, s := range []string{"cos<0.9", "changed >= 1e-3 %", "nan>0", "ulp<=-Inf", "<>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCondition(s); err == nil {
			if again, err := ParseCondition(c.String()); err != nil || again != c {
				t.Errorf("%q is %+v, and that %+v, %v", s, c, again, err)
			}
		}
	})
}

func TestNumberJSON(t *testing.T) {
	for _, v := range []float64{0, 1.5, -1e-300, math.Inf(1), math.Inf(-1), math.NaN()} {
		b, err := json.Marshal(struct{ N Number }{Number(v)})
		if err != nil {
			t.Fatal(err)
		}
		got := struct{ N Number }{7}
		if err := json.Unmarshal(b, &got); err != nil || !near(float64(got.N), v, 0) {
			t.Errorf("%v is %s, and that %v, %v", v, b, got.N, err)
		}
	}
}

func TestLayerOf(t *testing.T) {
	for name, want := range map[string]string{
		"encoder.layer.3.attention.self.query.weight": "encoder.layer.3", "blk.10.attn_q.weight": "blk.10", "embeddings.word.weight": "embeddings.word", "w": "w", "0.weight": "0", "": "",
		"state.3.exp_avg": "state.*.exp_avg", "a.state.12.step": "a.state.*.step", "conv1.weight": "conv1", "a..b": "a.",
	} {
		if got := layerOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A file that is replaced while it is compared ends the comparison: figures of two versions mixed would be worse.
func TestChangesUnderTheReader(t *testing.T) {
	a := model(t, vec("x", f32, 1, 2, 3))
	root, err := a.List(bg, a.root)
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Open(bg, root[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.path, "m.safetensors"), []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadAt(bg, make([]byte, 4), 0); !errors.Is(err, errs.Busy) {
		t.Errorf("%v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	v := normal(1000, 1, 1)
	if _, err := Run(ctx, Options{Old: model(t, vec("x", f32, v...)), New: model(t, vec("x", f32, v[1:]...))}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// The same files give the same figures, bit for bit, on any number of workers.
func TestDeterministic(t *testing.T) {
	var as, bs []spec
	for i := range 40 {
		name := "h." + strings.Repeat("x", i%7) + "." + string(rune('a'+i%26)) + strings.Repeat("z", i/26)
		as = append(as, vec(name, f32, normal(300+i, uint64(i), 1)...))
		bs = append(bs, vec(name, f32, normal(300+i, uint64(i)+99, 1)...))
	}
	slices.Reverse(bs)
	a, b := model(t, as...), model(t, bs...)
	var want []byte
	for workers := 1; workers < 5; workers++ {
		r := compare(t, a, b, func(o *Options) { o.Workers = workers })
		got, err := json.Marshal([]any{r.Tensors, r.Layers, r.Total.Figures})
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if string(got) != string(want) {
			t.Fatalf("%d workers differ", workers)
		}
	}
}
