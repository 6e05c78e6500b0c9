package sparse

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// changed returns a block and its base, of n bytes of which each element of w bytes changed with probability p.
func changed(n, w int, p float64, seed uint64) (raw, base []byte) {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	base = make([]byte, n)
	for i := range base {
		base[i] = byte(r.Uint32())
	}
	raw = bytes.Clone(base)
	for i := 0; i+w <= n; i += w {
		if r.Float64() < p {
			raw[i+r.IntN(w)] ^= byte(1 + r.IntN(255))
		}
	}
	return raw, base
}

func TestRoundTrip(t *testing.T) {
	var enc, dec Coder
	for _, w := range []int{1, 2, 4, 8} {
		for _, n := range []int{1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 1000, 4096, 65535, 65536} {
			for _, p := range []float64{0, 0.0001, 0.002, 0.03, 0.2, 1} {
				raw, base := changed(n, w, p, uint64(w))
				r, b, ok := enc.Gather(raw, base, w, n)
				if !ok {
					continue // 65536 elements
				}
				if len(r) != len(b) || len(r) != w*enc.Changed() {
					t.Fatalf("%d bytes and %d of %d elements", len(r), len(b), enc.Changed())
				}
				stored, ok := enc.Append([]byte("head"))
				if !ok {
					if enc.Changed() != 0 {
						t.Fatalf("%d of %d not stored", enc.Changed(), n/w)
					}
					continue
				}
				rest, err := dec.Parse(append(stored, "rest"...)[4:], n/w)
				if err != nil || string(rest) != "rest" {
					t.Fatalf("w %d, %d bytes, %v: %v, then %q", w, n, p, err, rest)
				}
				if !bytes.Equal(dec.Take(base, w), b) {
					t.Fatalf("w %d, %d bytes, %v: other elements of the base", w, n, p)
				}
				copy(dec.Room(w), r)
				got := bytes.Clone(base)
				dec.Put(got, dec.raw, w)
				if !bytes.Equal(got, raw) {
					t.Fatalf("w %d, %d bytes, %v: other bytes", w, n, p)
				}
			}
		}
	}
}

// TestSize: places take little more than their entropy.
func TestSize(t *testing.T) {
	var c Coder
	for p, most := range map[float64]float64{0.001: 0.0135, 0.01: 0.091, 0.05: 0.31, 0.1: 0.50} {
		raw, base := changed(1<<16, 4, p, 1)
		c.Gather(raw, base, 4, 1<<16)
		stored, _ := c.Append(nil)
		if got := 8 * float64(len(stored)) / (1 << 14); got > most {
			t.Errorf("%v: %.4f bits an element, want %.4f", p, got, most)
		}
	}
}

func TestLimit(t *testing.T) {
	var c Coder
	raw, base := changed(1<<12, 4, 0.5, 1)
	if _, _, ok := c.Gather(raw, base, 4, 100); ok {
		t.Error("more than the limit were gathered")
	}
}

func TestMalformed(t *testing.T) {
	var c Coder
	for name, b := range map[string][]byte{
		"empty":           {},
		"no head":         {1, 0, 0, 1},
		"none changed":    {0, 0, 0, 0, 0},
		"more than there": {9, 0, 0, 2, 0, 0, 0},
		"r 16":            {1, 0, 16, 3, 0, 0, 0, 0},
		"cut":             {1, 0, 0, 2, 0, 0},
		"past the end":    {1, 0, 0, 2, 0, 0xff, 1},
		"ones only":       {1, 0, 0, 2, 0, 0xff, 0xff},
		"a byte too many": {1, 0, 0, 2, 0, 0, 0},
		"bits left":       {1, 0, 0, 1, 0, 0x80},
	} {
		if _, err := c.Parse(b, 8); err == nil {
			t.Errorf("%s: %x was taken", name, b)
		}
	}
}

func FuzzParse(f *testing.F) {
	var enc Coder
	for _, p := range []float64{0.01, 0.3} {
		raw, base := changed(500, 2, p, 3)
		enc.Gather(raw, base, 2, 500)
		b, _ := enc.Append(nil)
		f.Add(b, uint16(250))
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint16) {
		var c Coder
		rest, err := c.Parse(b, int(n))
		if err != nil {
			return
		}
		for i, at := range c.at {
			if at >= uint32(n) || i > 0 && at <= c.at[i-1] {
				t.Fatalf("place %d of %d after %v", at, n, c.at[:i])
			}
		}
		if len(rest) > len(b)-headLen {
			t.Fatal("more rest than there was")
		}
	})
}
