package huff

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

func histograms() map[string][]uint32 {
	r := rand.New(rand.NewPCG(1, 2))
	h := map[string][]uint32{
		"one":    {0, 0, 9},
		"two":    {1, 1},
		"skewed": {1 << 30, 1, 1, 1},
		"flat":   make([]uint32, 256),
		"gaps":   make([]uint32, 256),
		"geom":   make([]uint32, 256),
		"fib":    make([]uint32, 40),
		"random": make([]uint32, 256),
	}
	for i := range 256 {
		h["flat"][i] = 5
		h["geom"][i] = uint32(math.Exp(20 - float64(i)/10))
		h["random"][i] = r.Uint32() >> (r.Uint32() & 31)
		if i%37 == 3 {
			h["gaps"][i] = uint32(i)
		}
	}
	a, b := uint32(1), uint32(1)
	for i := range h["fib"] {
		h["fib"][i] = a
		a, b = b, a+b
	}
	return h
}

func TestBuildIsCompleteAndStored(t *testing.T) {
	var b Builder
	for name, counts := range histograms() {
		var c Code
		if !b.Build(&c, counts) {
			t.Fatalf("%s: no code", name)
		}
		sum, used := 0, 0
		for s, n := range c.Len {
			if n > MaxBits {
				t.Errorf("%s: symbol %d has %d bits", name, s, n)
			}
			if n > 0 {
				sum += 1 << (MaxBits - n)
				used++
			}
			if has := s < len(counts) && counts[s] > 0; has != (n > 0) && !c.Single {
				t.Errorf("%s: symbol %d: counted %v, coded %v", name, s, has, n > 0)
			}
		}
		if !c.Single && sum != 1<<MaxBits {
			t.Errorf("%s: Kraft sum %d/2048", name, sum)
		}
		stored := c.Append(nil)
		var d Code
		rest, err := d.Parse(append(stored, 0xaa))
		if err != nil || !bytes.Equal(rest, []byte{0xaa}) || c != d {
			t.Errorf("%s: parse of %d stored bytes: rest %x, %v", name, len(stored), rest, err)
		}
		checkTable(t, name, &c)
	}
	if b.Build(new(Code), make([]uint32, 256)) {
		t.Error("an empty histogram has a code")
	}
}

func checkTable(t *testing.T, name string, c *Code) {
	t.Helper()
	var tab [TableSize]uint16
	c.Fill(&tab)
	for i, e := range tab {
		s, n := e>>8, e&0xff
		if c.Single {
			if n != 0 || uint8(s) != c.Symbol {
				t.Fatalf("%s: entry %d is %x", name, i, e)
			}
			continue
		}
		if uint8(n) != c.Len[s] || uint16(i)&(1<<n-1) != c.Bits[s] {
			t.Fatalf("%s: entry %d is symbol %d of %d bits", name, i, s, n)
		}
	}
}

// TestNearEntropy keeps the length limit from costing more than 4 % on smooth counts.
func TestNearEntropy(t *testing.T) {
	var b Builder
	var c Code
	for _, name := range []string{"geom", "flat", "gaps"} {
		counts := histograms()[name]
		b.Build(&c, counts)
		var bits, ideal, total float64
		for _, n := range counts {
			total += float64(n)
		}
		for s, n := range counts {
			if n > 0 {
				bits += float64(n) * float64(c.Len[s])
				ideal += float64(n) * math.Log2(total/float64(n))
			}
		}
		if bits > 1.04*ideal {
			t.Errorf("%s: %.0f bits, entropy %.0f", name, bits, ideal)
		}
	}
}

func FuzzParse(f *testing.F) {
	var b Builder
	var c Code
	for _, counts := range histograms() {
		b.Build(&c, counts)
		f.Add(c.Append(nil))
	}
	f.Add([]byte{0, 255, 0xcc})
	f.Fuzz(func(t *testing.T, in []byte) {
		var c, d Code
		if _, err := c.Parse(in); err != nil {
			return
		}
		if _, err := d.Parse(c.Append(nil)); err != nil || c != d {
			t.Fatalf("a parsed code does not survive being stored: %v", err)
		}
		checkTable(t, "fuzz", &c)
	})
}

func BenchmarkBuild(b *testing.B) {
	counts := histograms()["geom"]
	var bd Builder
	var c Code
	b.ReportAllocs()
	for b.Loop() {
		bd.Build(&c, counts)
	}
}
