package solo

import (
	"encoding/binary"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

var kinds = []dtype.Kind{dtype.F64, dtype.F32, dtype.F16, dtype.BF16, dtype.C64, dtype.C128,
	dtype.F8E4M3, dtype.I64, dtype.I32, dtype.I16, dtype.I8, dtype.Bool}

// encode returns the tables as plane, length, body each.
func encode(m *Model, dt dtype.Kind, raw []byte) (tables, stored []byte, ok bool) {
	s, _ := ShapeOf(dt)
	m.Reset(s)
	m.Sample(raw)
	m.Choose(len(raw) / s.Width)
	m.Count(raw)
	m.Build()
	m.Tables(func(p int, body []byte) {
		tables = append(tables, byte(p))
		tables = binary.LittleEndian.AppendUint16(tables, uint16(len(body)))
		tables = append(tables, body...)
	})
	stored, ok = m.Encode(nil, raw)
	return tables, stored, ok
}

func parse(t *Tables, b []byte) error {
	t.Reset()
	for len(b) >= 3 {
		n := int(binary.LittleEndian.Uint16(b[1:]))
		if n > len(b)-3 {
			return ErrBlock
		}
		if err := t.Parse(int(b[0]), b[3:3+n]); err != nil {
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
			if err := parse(&tables, tab); err != nil {
				return err
			}
			s, _ := ShapeOf(dt)
			return d.Decode(s, &tables, dst, stored)
		},
	}, kinds, []string{"none"})
}

// TestRatio keeps what each kind of data must save.
func TestRatio(t *testing.T) {
	m := NewModel()
	for _, tt := range []struct {
		dt    dtype.Kind
		shape string
		most  float64 // stored / raw
	}{
		{dtype.BF16, "gauss", 0.68},
		{dtype.F16, "gauss", 0.87},
		{dtype.F32, "gauss", 0.84},
		{dtype.F64, "gauss", 0.88},
		{dtype.F32, "upcast", 0.34},
		{dtype.C64, "gauss", 0.84},
		{dtype.F32, "denormal", 0.80},
	} {
		raw := codectest.Blob(tt.shape, tt.dt, 1<<16, 1)
		tables, stored, ok := encode(m, tt.dt, raw)
		if got := float64(len(tables)+len(stored)) / float64(len(raw)); !ok || got > tt.most {
			t.Errorf("%v %s: %.3f of raw, want at most %.3f", tt.dt, tt.shape, got, tt.most)
		}
	}
}

func FuzzDecode(f *testing.F) {
	m := NewModel()
	for i, dt := range kinds {
		for _, shape := range []string{"gauss", "upcast", "denormal", "skewed"} {
			raw := codectest.Blob(shape, dt, 600, 1)
			if tab, stored, ok := encode(m, dt, raw); ok {
				f.Add(uint8(i), uint16(len(raw)), tab, stored)
			}
		}
	}
	d := new(Decoder)
	f.Fuzz(func(t *testing.T, k uint8, n uint16, tab, stored []byte) {
		var tables Tables
		if parse(&tables, tab) == nil {
			s, _ := ShapeOf(kinds[int(k)%len(kinds)])
			_ = d.Decode(s, &tables, make([]byte, n), stored)
		}
	})
}

func bench(b *testing.B, fn func(b *testing.B, m *Model, s Shape, t *Tables, raw, stored []byte)) {
	m := NewModel()
	for _, c := range []struct {
		dt    dtype.Kind
		shape string
	}{{dtype.BF16, "gauss"}, {dtype.F16, "gauss"}, {dtype.F32, "gauss"}, {dtype.F32, "upcast"}, {dtype.F64, "gauss"}} {
		raw := codectest.Blob(c.shape, c.dt, 1<<16, 1)
		tab, stored, _ := encode(m, c.dt, raw)
		var t Tables
		if err := parse(&t, tab); err != nil {
			b.Fatal(err)
		}
		s, _ := ShapeOf(c.dt)
		b.Run(c.dt.String()+"/"+c.shape, func(b *testing.B) {
			b.SetBytes(1 << 16)
			b.ReportAllocs()
			m.Reset(s)
			m.Sample(raw)
			m.Choose(len(raw) / s.Width)
			fn(b, m, s, &t, raw, stored)
			b.ReportMetric(float64(len(stored))/float64(len(raw)), "ratio")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	d := new(Decoder)
	dst := make([]byte, 1<<16)
	bench(b, func(b *testing.B, _ *Model, s Shape, t *Tables, _, stored []byte) {
		for b.Loop() {
			if err := d.Decode(s, t, dst, stored); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCount(b *testing.B) {
	bench(b, func(b *testing.B, m *Model, _ Shape, _ *Tables, raw, _ []byte) {
		for b.Loop() {
			m.Count(raw)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	var dst []byte
	bench(b, func(b *testing.B, m *Model, _ Shape, _ *Tables, raw, _ []byte) {
		m.Count(raw)
		m.Build()
		m.Tables(func(int, []byte) {})
		for b.Loop() {
			dst, _ = m.Encode(dst[:0], raw)
		}
	})
}
