package field

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

func allKinds() (k []dtype.Kind) {
	for kind := range layouts {
		k = append(k, kind)
	}
	slices.Sort(k)
	return k
}

// encode returns the tables as number, length, body each; number 255 is the window.
func encode(m *Model, dt dtype.Kind, raw []byte) (tables, stored []byte, ok bool) {
	l, _ := LayoutOf(dt)
	m.Reset(l, raw)
	m.Sample(raw, 0)
	m.Choose(len(raw) / l.Size)
	m.Count(raw, 0)
	m.Build()
	m.Tables(nil, func(c int, body []byte) {
		tables = append(tables, byte(c))
		tables = binary.LittleEndian.AppendUint16(tables, uint16(len(body)))
		tables = append(tables, body...)
	})
	stored, ok = m.Encode(nil, raw, 0)
	return tables, stored, ok
}

func parse(t *Tables, l *Layout, b []byte) error {
	t.Reset()
	for len(b) >= 3 {
		n := int(binary.LittleEndian.Uint16(b[1:]))
		if n > len(b)-3 {
			return ErrBlock
		}
		var err error
		if b[0] == 255 {
			err = t.ParseWindow(l, b[3:3+n])
		} else {
			err = t.ParseColumn(l, int(b[0]), b[3:3+n])
		}
		if err != nil {
			return err
		}
		b = b[3+n:]
	}
	return nil
}

func TestSuite(t *testing.T) {
	m := NewModel()
	d := new(Decoder)
	var tables Tables
	codectest.Run(t, codectest.Block{
		Encode: func(dt dtype.Kind, raw, _ []byte) ([]byte, []byte, bool) { return encode(m, dt, raw) },
		Decode: func(dt dtype.Kind, tab, dst, stored, _ []byte) error {
			l, _ := LayoutOf(dt)
			if err := parse(&tables, l, tab); err != nil {
				return err
			}
			return d.Decode(l, &tables, dst, stored)
		},
	}, allKinds(), []string{"none"})
}

// TestCutJoin: every struct of every kind comes back whatever its bits are.
func TestCutJoin(t *testing.T) {
	for _, dt := range allKinds() {
		l := layouts[dt]
		if l.window {
			continue
		}
		raw := codectest.Blob("random", dtype.Bytes, 67*l.Size, 1)
		var c columns
		bits := 0
		for i, col := range l.columns {
			c[i] = make([]byte, col.length(67))
			bits += col.per * col.bits
		}
		if bits != 8*l.Size {
			t.Errorf("%v: columns have %d bits, the struct %d", dt, bits, 8*l.Size)
		}
		l.cut(&c, raw, 67)
		for i, col := range l.columns {
			if got := slices.Max(c[i]); int(got)>>col.bits != 0 {
				t.Errorf("%v: a symbol of column %d is %d, of %d bits", dt, i, got, col.bits)
			}
		}
		got := bytes.Repeat([]byte{0xa5}, len(raw))
		if l.join(got, &c, 67); !bytes.Equal(got, raw) {
			t.Errorf("%v: structs do not come back", dt)
		}
	}
}

// plainNumber is number as its comment says it, one element at a time.
func plainNumber(e, s []byte, window uint8) (symbols, rests []byte) {
	rests = make([]byte, (len(e)+group-1)/group*restLen)
	for i, v := range e {
		r := byte(0)
		if int(v) >= int(window) && int(v) < int(window)+windowN {
			r = v - window + 1
		}
		symbols = append(symbols, r<<2|s[i]>>5&3)
		rest, g, j := s[i]>>7<<5|s[i]&31, rests[i/group*restLen:], i%group
		g[j%32] |= rest & 15 << (j / 32 * 4)
		g[32+j%16] |= rest >> 4 << (j / 16 * 2)
	}
	return symbols, rests
}

func TestNumber(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, window := range []uint8{1, 2, 100, maxWindow} {
		for _, n := range []int{0, 1, 63, 64, 65, 128, 200, 1000} {
			e, s := make([]byte, n), make([]byte, n)
			for i := range e {
				s[i] = byte(r.Uint32())
				if e[i] = window + byte(r.IntN(windowN)); i%7 == 0 {
					e[i] = 0
				}
			}
			if n > 3 {
				e[2] = window - 1 // outside, or 0
			}
			symbols, rests := plainNumber(e, s, window)
			got, gotRests := bytes.Clone(e), make([]byte, len(rests))
			out := slices.ContainsFunc(e, func(v byte) bool { return outside(v, window) })
			if ok := number(got, s, gotRests, window); ok == out {
				t.Fatalf("%d elements from %d on: numbered: %v, outside: %v", n, window, ok, out)
			} else if !ok {
				for i, v := range e {
					if got[i] = v; outside(v, window) {
						got[i] = 0
					}
				}
				number(got, s, gotRests, window)
			}
			if !bytes.Equal(got, symbols) || !bytes.Equal(gotRests, rests) {
				t.Fatalf("%d elements from %d on differ from the plain version", n, window)
			}
			check := func() {
				be, bs := make([]byte, n+1), make([]byte, n+1)
				exponents(be[:n], bs[:n], symbols, rests, window)
				for i, v := range e {
					if outside(v, window) {
						v = 0
					}
					if be[i] != v || bs[i] != s[i] {
						t.Fatalf("element %d of %d from %d on: %d %x, want %d %x", i, n, window, be[i], bs[i], v, s[i])
					}
				}
				if be[n] != 0 || bs[n] != 0 {
					t.Fatal("written behind the end")
				}
			}
			check()
			portable(check)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		exps     []uint8
		in, none []uint8
	}{
		{[]uint8{100, 110, 120}, []uint8{90, 100, 120, 125}, []uint8{200}},
		{[]uint8{255, 254}, []uint8{255, 254, 193}, []uint8{1}},
		{[]uint8{1, 2}, []uint8{1, 2, 0}, []uint8{100}},
		{nil, []uint8{0}, nil},
		{[]uint8{1, 100, 101, 102}, []uint8{100, 102}, []uint8{1}},
	} {
		var c [256]uint32
		for _, e := range tt.exps {
			c[e]++
		}
		w := bestWindow(&c)
		if w < 1 || int(w) > maxWindow {
			t.Errorf("%v: window %d", tt.exps, w)
		}
		for _, e := range tt.in {
			if outside(e, w) {
				t.Errorf("%v: %d is outside the window from %d on", tt.exps, e, w)
			}
		}
		for _, e := range tt.none {
			if !outside(e, w) {
				t.Errorf("%v: %d is in the window from %d on", tt.exps, e, w)
			}
		}
	}
}

// TestPhase: structs are found wherever a blob begins.
func TestPhase(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, dt := range allKinds() {
		l := layouts[dt]
		if len(l.marks) == 0 {
			continue
		}
		raw := codectest.Blob("random", dtype.Bytes, 600*l.Size, 1)
		for i := range 600 {
			for _, at := range l.marks {
				raw[i*l.Size+at] = byte(20 + r.IntN(8))
			}
		}
		for _, skip := range []int{0, 1, 5, l.Size - 1} {
			if got, want := findPhase(l, raw[skip:]), (l.Size-skip)%l.Size; got != want {
				t.Errorf("%v without its first %d bytes: phase %d, want %d", dt, skip, got, want)
			}
		}
	}
}

// TestPhasedBlocks: blocks of a blob are coded by structs that lie across them.
func TestPhasedBlocks(t *testing.T) {
	m, d := NewModel(), new(Decoder)
	for _, dt := range []dtype.Kind{dtype.Q6_K, dtype.Q4_0, dtype.Q3_K} {
		l := layouts[dt]
		raw := make([]byte, 200000)
		r := rand.New(rand.NewPCG(2, 2))
		for i := range raw {
			if raw[i] = byte(r.NormFloat64() * 20); i%l.Size == l.marks[0] {
				raw[i] = byte(r.IntN(3))
			}
		}
		raw = raw[11:]
		m.Reset(l, raw)
		var tables Tables
		blocks := func(fn func(b []byte, off int)) {
			for off := 0; off < len(raw); off += maxBlock {
				fn(raw[off:min(off+maxBlock, len(raw))], off)
			}
		}
		blocks(m.Sample)
		m.Choose(len(raw) / l.Size)
		blocks(m.Count)
		m.Build()
		m.Tables(nil, func(c int, body []byte) {
			if err := tables.ParseColumn(l, c, body); err != nil {
				t.Fatal(err)
			}
		})
		blocks(func(b []byte, off int) {
			stored, ok := m.Encode(nil, b, off)
			if !ok {
				t.Fatalf("%v: block at %d not coded", dt, off)
			}
			got := make([]byte, len(b))
			if err := d.Decode(l, &tables, got, stored); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%v: block at %d: %v", dt, off, err)
			}
		})
	}
}

// TestSift: zeros cost next to nothing, in rows and scattered.
func TestSift(t *testing.T) {
	m, d := NewModel(), new(Decoder)
	r := rand.New(rand.NewPCG(1, 1))
	for _, dt := range []dtype.Kind{dtype.F32, dtype.BF16, dtype.I64, dtype.F16} {
		for _, n := range []int{100, 4095, 16384, 65536} {
			full := codectest.Blob("gauss", dt, n, 1)
			w := dt.Width()
			for _, every := range []int{1, 64 * w, 768 * w} {
				raw := bytes.Clone(full)
				for at := 0; at < n; at += every * w {
					if r.IntN(10) > 0 {
						clear(raw[at:min(at+every*w, n)])
					}
				}
				tab, stored, ok := encode(m, dt, raw)
				if !ok {
					continue
				}
				l := layouts[dt]
				var tables Tables
				got := make([]byte, n)
				if err := parse(&tables, l, tab); err != nil {
					t.Fatal(err)
				}
				if err := d.Decode(l, &tables, got, stored); err != nil || !bytes.Equal(got, raw) {
					t.Fatalf("%v, %d bytes, runs of %d: %v", dt, n, every, err)
				}
				if n == 65536 && len(stored) > n/4 {
					t.Errorf("%v, runs of %d: %d bytes of %d", dt, every, len(stored), n)
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	m := NewModel()
	kinds := allKinds()
	for i, dt := range kinds {
		for _, shape := range []string{"gauss", "halfzero", "nan"} {
			tab, stored, ok := encode(m, dt, codectest.Blob(shape, dt, 3000, 1))
			if ok {
				f.Add(uint8(i), uint16(3000), tab, stored)
			}
		}
	}
	d := new(Decoder)
	f.Fuzz(func(t *testing.T, k uint8, n uint16, tab, stored []byte) {
		l := layouts[kinds[int(k)%len(kinds)]]
		var tables Tables
		if parse(&tables, l, tab) == nil {
			_ = d.Decode(l, &tables, make([]byte, n), stored)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	kinds := allKinds()
	for i, dt := range kinds {
		f.Add(uint8(i), codectest.Blob("halfzero", dt, 700, 1))
	}
	m, d := NewModel(), new(Decoder)
	f.Fuzz(func(t *testing.T, k uint8, raw []byte) {
		dt := kinds[int(k)%len(kinds)]
		if len(raw) > maxBlock {
			return
		}
		tab, stored, ok := encode(m, dt, raw)
		if !ok {
			return
		}
		var tables Tables
		got := make([]byte, len(raw))
		if err := parse(&tables, layouts[dt], tab); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(layouts[dt], &tables, got, stored); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("%v: %v", dt, err)
		}
	})
}

func bench(b *testing.B, fn func(b *testing.B, m *Model, l *Layout, t *Tables, raw, stored []byte)) {
	m := NewModel()
	for _, c := range []struct {
		dt    dtype.Kind
		shape string
	}{{dtype.BF16, "gauss"}, {dtype.F16, "gauss"}, {dtype.F32, "gauss"}, {dtype.F32, "halfzero"}, {dtype.F8E4M3, "gauss"}, {dtype.Q8_0, "skewed"}, {dtype.Q6_K, "skewed"}} {
		raw := codectest.Blob(c.shape, c.dt, 1<<16, 1)
		tab, stored, ok := encode(m, c.dt, raw)
		l := layouts[c.dt]
		var t Tables
		if err := parse(&t, l, tab); err != nil || !ok {
			b.Fatal(err, ok)
		}
		b.Run(c.dt.String()+"/"+c.shape, func(b *testing.B) {
			b.SetBytes(1 << 16)
			b.ReportAllocs()
			fn(b, m, l, &t, raw, stored)
			b.ReportMetric(float64(len(stored))/float64(len(raw)), "ratio")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	d := new(Decoder)
	dst := make([]byte, 1<<16)
	bench(b, func(b *testing.B, _ *Model, l *Layout, t *Tables, _, stored []byte) {
		for b.Loop() {
			if err := d.Decode(l, t, dst, stored); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCount(b *testing.B) {
	bench(b, func(b *testing.B, m *Model, _ *Layout, _ *Tables, raw, _ []byte) {
		for b.Loop() {
			m.Count(raw, 0)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	var dst []byte
	bench(b, func(b *testing.B, m *Model, _ *Layout, _ *Tables, raw, _ []byte) {
		for b.Loop() {
			dst, _ = m.Encode(dst[:0], raw, 0)
		}
	})
}

func BenchmarkExponents(b *testing.B) {
	const n = 1 << 15
	e, s, sym, rests := make([]byte, n), make([]byte, n), make([]byte, n), make([]byte, n/group*restLen)
	run := func(b *testing.B) {
		b.SetBytes(2 * n)
		for b.Loop() {
			exponents(e, s, sym, rests, 100)
		}
	}
	b.Run("vector", run)
	b.Run("portable", func(b *testing.B) { portable(func() { run(b) }) })
}
