package ordint

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

var kinds = map[dtype.Kind]Kind{dtype.BF16: BF16, dtype.F16: F16, dtype.F32: F32, dtype.F64: F64, dtype.I8: Int8, dtype.I16: Int16, dtype.U32: Int32, dtype.I64: Int64, dtype.F8E4M3: F8}

func encode(m *Model, k Kind, raw, base []byte) (table, stored []byte, ok bool) {
	zero := CommonZeros(CommonZeros(32, raw), base)
	m.Reset(k, zero)
	m.Count(raw, base)
	if _, ok := m.Build(); !ok {
		return nil, nil, false
	}
	stored, ok = m.Encode(nil, raw, base)
	return m.AppendTable(nil), stored, ok
}

func TestSuite(t *testing.T) {
	suite(t, []dtype.Kind{dtype.BF16, dtype.F16, dtype.F32}, []string{"near", "sparse", "rows", "far"})
}

func TestWideSuite(t *testing.T) {
	suite(t, []dtype.Kind{dtype.F64, dtype.F8E4M3}, []string{"near", "far"})
	suite(t, []dtype.Kind{dtype.I8, dtype.I16, dtype.U32, dtype.I64}, []string{"rows"})
}

func suite(t *testing.T, dts []dtype.Kind, relations []string) {
	t.Helper()
	m := NewModel()
	var d Decoder
	table := new(Table)
	codectest.Run(t, codectest.Block{
		Encode: func(dt dtype.Kind, raw, base []byte) ([]byte, []byte, bool) {
			return encode(m, kinds[dt], raw, base)
		},
		Decode: func(dt dtype.Kind, tab, dst, stored, base []byte) error {
			if err := table.Parse(kinds[dt], tab); err != nil {
				return err
			}
			return d.Decode(table, dst, stored, base)
		},
	}, dts, relations)
}

// TestSymbols proves that intervals tile the differences: classify and interval agree on all
// 16-bit differences and on the edges of 32-bit ones.
func TestSymbols(t *testing.T) {
	check := func(d int32, w int) {
		s, x, v := classify(d)
		low, extra := interval(s)
		if low+int32(v) != d || extra != x || v>>x != 0 {
			t.Fatalf("%d: symbol %d, %d extra bits %d; its interval begins at %d with %d", d, s, x, v, low, extra)
		}
		if c := int(s) - zeroSymbol; max(c, -c) > maxClass(w) {
			t.Fatalf("%d: class %d is above %d", d, c, maxClass(w))
		}
	}
	for d := math.MinInt16; d <= math.MaxInt16; d++ {
		check(int32(d), 16)
	}
	for k := range 32 {
		for e := int64(-9); e < 10; e++ {
			for _, v := range []int64{1<<k + e, -(1 << k) + e} {
				if v >= math.MinInt32 && v <= math.MaxInt32 {
					check(int32(v), 32)
				}
			}
		}
	}
}

// TestWideSymbols does the same for the kinds of wide.go, and that differences undo.
func TestWideSymbols(t *testing.T) {
	check := func(k Kind, d int64) {
		s, x, v := classify64(d, k.fine())
		low, extra := interval64(s, k.fine())
		if low+int64(v) != d || extra != x || x < 63 && v>>x != 0 {
			t.Fatalf("%d: symbol %d, %d extra bits %d; its interval begins at %d with %d", d, s, x, v, low, extra)
		}
		if c := int(s) - zeroSymbol; max(c, -c) > k.wideClass() {
			t.Fatalf("%d: class %d is above %d", d, c, k.wideClass())
		}
	}
	r := rand.New(rand.NewPCG(1, 3))
	for k := F64; k <= F8; k++ {
		bits := 8 * k.Width()
		for e := range bits {
			for i := int64(-9); i < 10; i++ {
				for _, d := range []int64{1<<e + i, -(1 << e) + i} {
					check(k, d<<(64-bits)>>(64-bits))
				}
			}
		}
		for range 1 << 14 {
			u, b := r.Uint64()>>(64-bits), r.Uint64()>>(64-bits)
			if r.IntN(2) == 0 {
				b = u ^ uint64(r.IntN(4))
			}
			d := k.difference(u, b)
			check(k, d)
			if got := k.apply(d, b) << (64 - bits) >> (64 - bits); got != u {
				t.Fatalf("kind %d: %x to %x: %x", k, u, b, got)
			}
		}
	}
}

func TestDifferencesAreInverse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	edges := []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x7f80, 0xff80}
	for i := range 1 << 18 {
		u, b := r.Uint32(), r.Uint32()
		if i < 64 {
			u, b = edges[i/8], edges[i%8]
		}
		u16, b16 := uint16(u), uint16(b)
		if got := undiff16(uint16(diff16(u16, b16)), b16); got != u16 {
			t.Fatalf("%x to %x: %x", u16, b16, got)
		}
		d4 := uint64(uint16(diff16(u16, b16))) * 0x0001000100010001
		if got, want := undiff16x4(d4, uint64(b16)*0x0001000100010001), uint64(u16)*0x0001000100010001; got != want {
			t.Fatalf("%x to %x, four at once: %x", u16, b16, got)
		}
		for _, z := range []uint{0, 1, 13, 16, 24} {
			u, b := u<<16>>z<<z|u>>z<<z, b>>z<<z
			mag := uint32(0x7fffffff) &^ (1<<z - 1)
			if got := undiff32(uint32(diff32(u, b, mag, z))<<z, b, mag); got != u {
				t.Fatalf("%x to %x, %d zeros: %x", u, b, z, got)
			}
		}
	}
}

// TestFastEqualsPlain decodes each group both ways.
func TestFastEqualsPlain(t *testing.T) {
	m := NewModel()
	for dt, k := range kinds {
		if k.wide() {
			continue // one loop only
		}
		for _, shape := range codectest.Shapes {
			raw := codectest.Blob(shape, dt, 4096, 1)
			base := codectest.Base("near", raw, dt, 2)
			tab, stored, ok := encode(m, k, raw, base)
			if !ok {
				continue
			}
			var table Table
			if err := table.parse(k, tab, false); err != nil {
				t.Fatal(err)
			}
			want, got := make([]byte, 4*groupLen), make([]byte, 4*groupLen)
			buf := new([bufMask + 9]byte)
			copy(buf[:], stored[headLen:])
			fast, plain := lanes{0, 9, 17, 30}, lanes{0, 9, 17, 30}
			w := k.Width() * groupLen
			plain.plain(&table, want[:w], base[:w], buf)
			if k == F32 {
				fast.group32(&table, (*[4 * groupLen]byte)(got), (*[4 * groupLen]byte)(base), buf)
			} else {
				fast.group16(&table, (*[2 * groupLen]byte)(got), (*[2 * groupLen]byte)(base), buf)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%v %s: fast and plain loops differ", dt, shape)
			}
			if fast != plain {
				t.Errorf("%v %s: fast loops end at %v, plain at %v", dt, shape, fast, plain)
			}
		}
	}
}

// TestRandomBits codes bits without any structure, so that all sizes of differences and all lengths of blocks come up.
func TestRandomBits(t *testing.T) {
	m := NewModel()
	var d Decoder
	r := rand.New(rand.NewPCG(9, 2))
	for _, k := range []Kind{BF16, F16, F32, F64, Int8, Int16, Int32, Int64, F8} {
		for n := range 400 {
			raw, base := make([]byte, n*11%3000), make([]byte, n*11%3000)
			for i := range raw {
				base[i] = byte(r.Uint32())
				if raw[i] = base[i]; n%4 == 0 || r.IntN(8) == 0 {
					raw[i] = byte(r.Uint32() >> (n % 9))
				}
			}
			tab, stored, ok := encode(m, k, raw, base)
			if !ok {
				continue
			}
			var table Table
			if err := table.Parse(k, tab); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(raw))
			if err := d.Decode(&table, got, stored, base); err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("kind %d, %d bytes: %v", k, len(raw), err)
			}
		}
	}
}

func TestCommonZeros(t *testing.T) {
	b := make([]byte, 4*1001)
	if got := CommonZeros(32, b); got != 32 {
		t.Fatalf("zeros: %d", got)
	}
	for _, at := range []int{0, 500, 999, 1000} {
		c := bytes.Clone(b)
		le.PutUint32(c[4*at:], 0x80010000)
		if got := CommonZeros(32, c); got != 16 {
			t.Fatalf("a bit 16 in element %d: %d", at, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	m := NewModel()
	for dt, k := range kinds {
		for _, shape := range []string{"gauss", "nan", "upcast"} {
			raw := codectest.Blob(shape, dt, 600, 1)
			base := codectest.Base("sparse", raw, dt, 2)
			if tab, stored, ok := encode(m, k, raw, base); ok {
				f.Add(uint8(k), tab, stored, base)
			}
		}
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, k uint8, tab, stored, base []byte) {
		var table Table
		if table.Parse(Kind(k%9), tab) == nil {
			_ = d.Decode(&table, make([]byte, len(base)), stored, base)
		}
	})
}

func bench(b *testing.B, fn func(b *testing.B, m *Model, t *Table, stored, raw, base []byte)) {
	m := NewModel()
	for dt, k := range kinds {
		for _, relation := range []string{"near", "sparse"} {
			raw := codectest.Blob("gauss", dt, 64<<10, 1)
			base := codectest.Base(relation, raw, dt, 2)
			tab, stored, _ := encode(m, k, raw, base)
			var t Table
			if err := t.Parse(k, tab); err != nil {
				b.Fatal(err)
			}
			b.Run(dt.String()+"/"+relation, func(b *testing.B) {
				b.SetBytes(64 << 10)
				b.ReportAllocs()
				fn(b, m, &t, stored, raw, base)
				b.ReportMetric(float64(len(stored))/float64(len(raw)), "ratio")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	var d Decoder
	dst := make([]byte, 64<<10)
	bench(b, func(b *testing.B, _ *Model, t *Table, stored, raw, base []byte) {
		for b.Loop() {
			if err := d.Decode(t, dst, stored, base); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCount(b *testing.B) {
	bench(b, func(b *testing.B, m *Model, t *Table, stored, raw, base []byte) {
		m.Reset(t.kind, 0)
		for b.Loop() {
			m.Count(raw, base)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	bench(b, func(b *testing.B, m *Model, t *Table, stored, raw, base []byte) {
		m.Reset(t.kind, 0)
		m.Count(raw, base)
		m.Build()
		dst := make([]byte, 0, 128<<10)
		for b.Loop() {
			dst, _ = m.Encode(dst[:0], raw, base)
		}
	})
}
