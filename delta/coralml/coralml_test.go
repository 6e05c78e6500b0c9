package coralml

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

var (
	kinds  = []dtype.Kind{dtype.F32, dtype.BF16, dtype.F16, dtype.C64, dtype.F64, dtype.C128}
	codecs = []Codec{Float32Raw, Compressed, XorFloat32, XorBFloat16, Fields, FieldsBase}
)

func suite(c Codec) codectest.Block {
	m := new(Coder)
	return codectest.Block{
		Encode: func(dt dtype.Kind, raw, base []byte) ([]byte, []byte, bool) {
			if len(base) > len(raw) {
				base = base[:len(raw)]
			}
			if !c.needsBase() {
				base = nil
			}
			out, ok := m.Encode(c, dt, nil, raw, base)
			return nil, out, ok
		},
		Decode: func(dt dtype.Kind, _, dst, stored, base []byte) error {
			if len(base) > len(dst) {
				base = base[:len(dst)]
			}
			return m.Decode(c, dt, dst, stored, base)
		},
	}
}

func TestSuite(t *testing.T) {
	for _, c := range codecs {
		relations := []string{"near", "far"}
		if !c.needsBase() {
			relations = []string{"none"}
		}
		codectest.Run(t, suite(c), []dtype.Kind{dtype.F32, dtype.BF16, dtype.F64}, relations)
	}
}

// TestRefuses lists what each codec leaves to others.
func TestRefuses(t *testing.T) {
	m := new(Coder)
	f32 := func(vals ...float32) (b []byte) {
		for _, v := range vals {
			b = le.AppendUint32(b, math.Float32bits(v))
		}
		return b
	}
	for _, tt := range []struct {
		name      string
		c         Codec
		dt        dtype.Kind
		raw, base []byte
	}{
		{"difference that rounds", Float32Raw, dtype.F32, f32(1e-8), f32(1)},
		{"negative zero", Float32Raw, dtype.F32, f32(float32(math.Copysign(0, -1))), f32(1)},
		{"NaN", Float32Raw, dtype.F32, f32(float32(math.NaN())), f32(1)},
		{"infinite base", Float32Raw, dtype.F32, f32(1), f32(float32(math.Inf(1)))},
		{"difference that overflows", Float32Raw, dtype.F32, f32(math.MaxFloat32), f32(-math.MaxFloat32)},
		{"too many exceptions", Compressed, dtype.F32, f32(1e-8, 1, 1, 1), f32(1, 1, 1, 1)},
		{"F64 by float32", Compressed, dtype.F64, make([]byte, 64), make([]byte, 64)},
		{"integers", XorFloat32, dtype.I32, make([]byte, 64), make([]byte, 64)},
		{"base too short", XorFloat32, dtype.F32, make([]byte, 64), make([]byte, 60)},
		{"no base", FieldsBase, dtype.F32, make([]byte, 64), nil},
		{"too long", Fields, dtype.F32, make([]byte, MaxBlock+4), nil},
	} {
		if out, ok := m.Encode(tt.c, tt.dt, nil, tt.raw, tt.base); ok || len(out) != 0 {
			t.Errorf("%s: coded", tt.name)
		}
	}
}

// TestRoundTripAny: any bytes come back, whatever they are as floats.
func TestRoundTripAny(t *testing.T) {
	m := new(Coder)
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 0, 400).Draw(t, "raw")
		base := bytes.Clone(raw)
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			if len(base) > 0 {
				base[rapid.IntRange(0, len(base)-1).Draw(t, "at")] ^= byte(rapid.IntRange(0, 255).Draw(t, "x"))
			}
		}
		dt := rapid.SampledFrom(kinds).Draw(t, "kind")
		c := rapid.SampledFrom(codecs).Draw(t, "codec")
		if !c.needsBase() {
			base = nil
		}
		out, ok := m.Encode(c, dt, []byte("x"), raw, base)
		if !ok {
			if c > Compressed && c.Codes(dt) {
				t.Fatalf("codec %d refuses %d bytes of %s", c, len(raw), dt)
			}
			return
		}
		got := make([]byte, len(raw))
		if err := m.Decode(c, dt, got, out[1:], base); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("codec %d, %s: %v", c, dt, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	m := new(Coder)
	for _, c := range codecs {
		for i, dt := range kinds {
			raw := codectest.Blob("gauss", dt, 403, 1)
			base := codectest.Base("near", raw, dt, 2)
			if !c.needsBase() {
				base = nil
			}
			if out, ok := m.Encode(c, dt, nil, raw, base); ok {
				f.Add(uint8(c), uint8(i), uint16(len(raw)), out, base)
			}
		}
	}
	f.Fuzz(func(t *testing.T, c, k uint8, n uint16, stored, base []byte) {
		dst := make([]byte, n)
		base = append(base, make([]byte, max(0, int(n)-len(base)))...)[:n]
		if !Codec(c % 6).needsBase() {
			base = nil
		}
		_ = m.Decode(Codec(c%6), kinds[int(k)%len(kinds)], dst, stored, base)
	})
}

func BenchmarkCode(b *testing.B) {
	m := new(Coder)
	for _, dt := range []dtype.Kind{dtype.F32, dtype.BF16} {
		raw := codectest.Blob("gauss", dt, 1<<16, 1)
		base := codectest.Base("near", raw, dt, 2)
		for _, c := range codecs {
			under := base
			if !c.needsBase() {
				under = nil
			}
			out, ok := m.Encode(c, dt, nil, raw, under)
			if !ok {
				continue
			}
			name := dt.String() + "/" + string('0'+rune(c))
			b.Run("encode/"+name, func(b *testing.B) {
				b.SetBytes(1 << 16)
				b.ReportAllocs()
				for b.Loop() {
					out, _ = m.Encode(c, dt, out[:0], raw, under)
				}
				b.ReportMetric(float64(len(out))/float64(len(raw)), "ratio")
			})
			dst := make([]byte, len(raw))
			b.Run("decode/"+name, func(b *testing.B) {
				b.SetBytes(1 << 16)
				b.ReportAllocs()
				for b.Loop() {
					if err := m.Decode(c, dt, dst, out, under); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
