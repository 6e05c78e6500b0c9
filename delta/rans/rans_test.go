package rans

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// symbols returns n symbols of a shape of distribution.
func symbols(shape string, n int) []byte {
	r := rand.New(rand.NewPCG(3, uint64(n)))
	b := make([]byte, n)
	for i := range b {
		switch shape {
		case "exponents":
			b[i] = byte(120 + math.Log2(math.Abs(r.NormFloat64())+1e-9))
		case "flat":
			b[i] = byte(r.Uint32())
		case "skewed":
			if r.IntN(500) == 0 {
				b[i] = byte(r.IntN(3)) + 7
			}
		case "two":
			b[i] = byte(r.IntN(2)) * 255
		case "geometric":
			b[i] = byte(r.ExpFloat64() * 20)
		}
	}
	return b
}

var shapes = []string{"exponents", "flat", "skewed", "two", "geometric"}

func count(b []byte) (c [256]uint32) {
	for _, s := range b {
		c[s]++
	}
	return c
}

func TestRoundTrip(t *testing.T) {
	var f, g Freqs
	var e Encoder
	var tab Table
	for _, shape := range shapes {
		all := symbols(shape, 70000)
		counts := count(all)
		if !f.Normalize(&counts) {
			t.Fatalf("%s: no frequencies", shape)
		}
		stored := f.Append(nil)
		if err := g.Parse(stored); err != nil || g != f {
			t.Fatalf("%s: frequencies do not survive being stored: %v", shape, err)
		}
		e.Init(&f)
		tab.Init(&g)
		for _, n := range []int{0, 1, 2, 3, 4, 5, 63, 64, 1000, 4095, 4096, 4097, 4111, 4112, 32768, 65536, 70000} {
			out, ok := e.Encode([]byte("x"), all[:n])
			if !ok {
				t.Fatalf("%s: %d symbols not coded", shape, n)
			}
			got := make([]byte, n)
			if err := tab.Decode(got, out[1:]); err != nil || !bytes.Equal(got, all[:n]) {
				t.Fatalf("%s: %d symbols decode to others: %v", shape, n, err)
			}
			part := count(all[:n])
			ideal := f.Bits(&part)/8 + float64(StateBytes(n))
			if float64(len(out)-1) > ideal*1.001+2 {
				t.Errorf("%s: %d symbols in %d bytes, want %.0f", shape, n, len(out)-1, ideal)
			}
			damage(&tab, got, out[1:])
		}
	}
}

// damage decodes damaged streams, for the panics they could cause.
func damage(tab *Table, dst, stream []byte) {
	r := rand.New(rand.NewPCG(uint64(len(stream)), 1))
	for range 5 {
		bad := bytes.Clone(stream)
		bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		_ = tab.Decode(dst, bad)
		_ = tab.Decode(dst, stream[:r.IntN(len(stream))])
		_ = tab.Decode(dst, append(bad, 0, 0))
	}
}

func TestPortableIsTheSame(t *testing.T) {
	portable(t, func() { t.Run("round trip", TestRoundTrip) })
}

func TestNearEntropy(t *testing.T) {
	var f Freqs
	for _, shape := range shapes {
		c := count(symbols(shape, 65536))
		f.Normalize(&c)
		var h float64
		for _, n := range c {
			if n > 0 {
				h -= float64(n) * math.Log2(float64(n)/65536)
			}
		}
		if got := f.Bits(&c); got > 1.01*h+100 {
			t.Errorf("%s: %.0f bits, entropy %.0f", shape, got, h)
		}
	}
}

func TestNormalizeExtremes(t *testing.T) {
	var f Freqs
	if f.Normalize(&[256]uint32{7: 9}) || f.Normalize(&[256]uint32{}) {
		t.Error("fewer than two symbols have frequencies")
	}
	all := [256]uint32{}
	for i := range all {
		all[i] = 1
	}
	all[3] = math.MaxUint32
	for _, c := range [][256]uint32{{0: math.MaxUint32, 255: 1}, {1, 1}, all} {
		if !f.Normalize(&c) {
			t.Fatal("no frequencies")
		}
		sum := 0
		for s, n := range f {
			sum += int(n)
			if (n > 0) != (c[s] > 0) {
				t.Errorf("symbol %d occurs %d times and has frequency %d", s, c[s], n)
			}
		}
		var g Freqs
		if err := g.Parse(f.Append(nil)); sum != probSum || err != nil || g != f {
			t.Errorf("sum %d, parsed again: %v", sum, err)
		}
	}
}

func TestUnknownSymbol(t *testing.T) {
	var f Freqs
	var e Encoder
	f.Normalize(&[256]uint32{1, 1})
	e.Init(&f)
	if _, ok := e.Encode(nil, []byte{0, 1, 2}); ok {
		t.Error("a symbol that does not occur was coded")
	}
}

func FuzzDecode(f *testing.F) {
	var fr Freqs
	var e Encoder
	for _, shape := range shapes {
		b := symbols(shape, 5000)
		c := count(b)
		fr.Normalize(&c)
		e.Init(&fr)
		for _, n := range []int{200, 4200} {
			out, _ := e.Encode(nil, b[:n])
			f.Add(fr.Append(nil), out, uint16(n))
		}
	}
	f.Fuzz(func(t *testing.T, freqs, stream []byte, n uint16) {
		var fr Freqs
		if fr.Parse(freqs) != nil {
			return
		}
		var again Freqs
		if err := again.Parse(fr.Append(nil)); err != nil || again != fr {
			t.Fatalf("parsed frequencies do not survive being stored: %v", err)
		}
		var tab Table
		tab.Init(&fr)
		dst, plain := make([]byte, n), make([]byte, n)
		err := tab.Decode(dst, stream)
		var plainErr error
		portable(t, func() { plainErr = tab.Decode(plain, stream) })
		if (err == nil) != (plainErr == nil) || err == nil && !bytes.Equal(dst, plain) {
			t.Fatalf("vector and portable loops differ: %v, %v", err, plainErr)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	bench(b, func(b *testing.B, _ *Encoder, t *Table, src, stream []byte) {
		dst := make([]byte, len(src))
		for b.Loop() {
			if err := t.Decode(dst, stream); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodePortable(b *testing.B) { portable(b, func() { BenchmarkDecode(b) }) }

func BenchmarkEncode(b *testing.B) {
	var out []byte
	bench(b, func(b *testing.B, e *Encoder, _ *Table, src, _ []byte) {
		for b.Loop() {
			out, _ = e.Encode(out[:0], src)
		}
	})
}

func bench(b *testing.B, fn func(b *testing.B, e *Encoder, t *Table, src, stream []byte)) {
	for _, shape := range []string{"exponents", "flat", "skewed"} {
		b.Run(fmt.Sprint(shape), func(b *testing.B) {
			src := symbols(shape, 32768)
			c := count(src)
			var f Freqs
			var e Encoder
			var t Table
			f.Normalize(&c)
			e.Init(&f)
			t.Init(&f)
			stream, _ := e.Encode(nil, src)
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			fn(b, &e, &t, src, stream)
		})
	}
}
