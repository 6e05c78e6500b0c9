package delta

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// codecsOf counts the blocks of a payload by codec.
func codecsOf(t *testing.T, payload []byte) map[string]int {
	t.Helper()
	h, err := ParseHeader(payload[:le.Uint32(payload[12:])], int64(len(payload)))
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for i := range h.Blocks() {
		n[h.Codec(i)]++
	}
	return n
}

// TestStrategies: every kind, shape and relation comes back under every name, and the name's own codec is used where it can be.
func TestStrategies(t *testing.T) {
	for s := Auto + 1; s < strategies; s++ {
		e := NewEncoder(WithStrategy(s))
		for _, dt := range []dtype.Kind{dtype.F32, dtype.BF16, dtype.F16, dtype.F64, dtype.C64, dtype.I64, dtype.Bytes} {
			for _, shape := range codectest.Shapes {
				whole := codectest.Blob(shape, dt, 2<<blockLog(dt)+1, 9)
				for _, relation := range []string{"none", "near", "sparse", "shorter"} {
					for _, n := range []int{0, 1, 65, 258, 4096, 2<<blockLog(dt) + 1} {
						raw := whole[:n]
						if n > 4096 && skip(fmt.Sprint(s, dt, shape, relation)) || codectest.Thin(s, dt, shape, relation, n) {
							continue
						}
						roundTrip(t, e, raw, codectest.Base(relation, raw, dt, 6), dt)
					}
				}
			}
		}
	}
	for _, tt := range []struct {
		s               Strategy
		dt              dtype.Kind
		shape, relation string
		codec           string
		most            float64
	}{
		{Float32Raw, dtype.F32, "constant", "near", "constant", 0.01},
		{Compressed, dtype.BF16, "gauss", "sparse", "compressed", 0.15},
		{Compressed, dtype.F32, "gauss", "sparse", "compressed", 0.15},
		{Compressed, dtype.F32, "gauss", "far", "columns", 0.83},
		{XorFloat32, dtype.F32, "gauss", "near", "xor_float32", 0.80},
		{XorFloat32, dtype.BF16, "gauss", "near", "xor_float32", 0.57},
		{XorBFloat16, dtype.BF16, "gauss", "near", "xor_bfloat16", 0.57},
		{XorBFloat16, dtype.F32, "gauss", "near", "xor_bfloat16", 0.80},
		{XorFloat32, dtype.F32, "gauss", "none", "columns", 0.83},
		{ExponentMantissa, dtype.F32, "gauss", "none", "exponent_mantissa", 0.885},
		{ExponentMantissa, dtype.F32, "gauss", "near", "exponent_mantissa-base", 0.80},
		{ExponentMantissa, dtype.I64, "gauss", "near", "palette", 0.30},
		{Raw, dtype.F32, "gauss", "near", "raw", 1.001},
		{Zstd, dtype.I64, "gauss", "near", "zstd", 0.30},
	} {
		raw := codectest.Blob(tt.shape, tt.dt, 512<<10, 1)
		payload, res := roundTrip(t, NewEncoder(WithStrategy(tt.s)), raw, codectest.Base(tt.relation, raw, tt.dt, 2), tt.dt)
		if res.Codec != FrameBlocks {
			t.Errorf("%s of %s %s %s: frame codec %d", tt.s, tt.dt, tt.shape, tt.relation, res.Codec)
			continue
		}
		got, ratio := codecsOf(t, payload), float64(len(payload))/float64(len(raw))
		t.Logf("%s of %s %s %s: %.3f, %v", tt.s, tt.dt, tt.shape, tt.relation, ratio, got)
		if got[tt.codec] != 8 || ratio > tt.most {
			t.Errorf("%s of %s %s %s: %.3f of raw by %v, want %s in at most %.3f", tt.s, tt.dt, tt.shape, tt.relation, ratio, got, tt.codec, tt.most)
		}
	}
}

// TestFloat32Raw: the differences are stored where they give every bit back, and only there.
func TestFloat32Raw(t *testing.T) {
	raw := codectest.Blob("upcast", dtype.F32, 512<<10, 1) // 8 bits of mantissa: differences are exact
	base := codectest.Base("sparse", raw, dtype.F32, 2)
	for i := 0; i < len(base); i += 4 { // of the same bits as the block
		base[i], base[i+1] = 0, 0
	}
	copy(raw[1<<16:], []byte{0, 0, 0, 0x80}) // −0: not the sum of anything but zeros
	payload, res := roundTrip(t, NewEncoder(WithStrategy(Float32Raw)), raw, base, dtype.F32)
	got := codecsOf(t, payload)
	if !res.UsesBase || got["float32_raw"] != 7 || got["split"]+got["columns"]+got["zstd"] != 1 {
		t.Errorf("blocks: %v", got)
	}
}

// TestApproximatedStrategies: approximations are found and take their bits; all else is coded as ever; other strategies and
// Auto code approximations too.
func TestApproximatedStrategies(t *testing.T) {
	for _, tt := range []struct {
		s        Strategy
		dt       dtype.Kind
		relation string
		codec    string
		most     float64
	}{
		{Quantised8, dtype.F32, "near", "quant8-base", 0.24},
		{Quantised8, dtype.F32, "none", "quant8", 0.24},
		{Quantised16, dtype.F32, "near", "quant16-base", 0.475},
		{Quantised16, dtype.F32, "none", "quant16", 0.48},
		{AxisScaled, dtype.F32, "near", "axis", 0.05},
		{AxisScaled, dtype.BF16, "near", "axis", 0.10},
	} {
		raw := codectest.Blob("gauss", tt.dt, 512<<10+6, 1)
		base := codectest.Base(tt.relation, raw, tt.dt, 2)
		approximate(t, tt.s, raw, base, tt.dt)
		payload, _ := roundTrip(t, NewEncoder(WithStrategy(tt.s)), raw, base, tt.dt)
		got, ratio := codecsOf(t, payload), float64(len(payload))/float64(len(raw))
		if got[tt.codec] < 8 || ratio > tt.most {
			t.Errorf("%s against %s: %.3f of raw by %v, want %s in at most %.3f", tt.s, tt.relation, ratio, got, tt.codec, tt.most)
		}
		h, err := ParseHeader(payload[:le.Uint32(payload[12:])], int64(len(payload)))
		if err != nil || !h.Approximated() {
			t.Errorf("%s: not seen to be approximated, %v", tt.s, err)
		}
		for s := range strategies {
			roundTrip(t, NewEncoder(WithStrategy(s)), raw, base, tt.dt)
		}
	}
	for s := strategies; s <= AxisScaled; s++ {
		for _, relation := range codectest.Relations {
			raw := codectest.Blob("gauss", dtype.F32, 200<<10, 1)
			auto, _ := roundTrip(t, NewEncoder(), raw, codectest.Base(relation, raw, dtype.F32, 2), dtype.F32)
			got, _ := roundTrip(t, NewEncoder(WithStrategy(s)), raw, codectest.Base(relation, raw, dtype.F32, 2), dtype.F32)
			if !bytes.Equal(got, auto) {
				t.Errorf("%s changes how an exact tensor with base %s is coded", s, relation)
			}
		}
	}
}

func TestStrategyNames(t *testing.T) {
	for s := range strategies {
		if got, err := ParseStrategy(s.String()); got != s || err != nil {
			t.Errorf("%s parsed as %s, %v", s, got, err)
		}
	}
	if s, err := ParseStrategy(""); s != Auto || err != nil {
		t.Errorf("no name: %s, %v", s, err)
	}
	for name, want := range map[string]string{"zip": "xor_bfloat16", "AUTO": "one of auto", "int8_quantized": "coral compact --lossy", "sparse": "coral compact", " ": "one of"} {
		if _, err := ParseStrategy(name); !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestStrategiesAny draws bytes, bases and a strategy that changes between blobs of one Encoder.
func TestStrategiesAny(t *testing.T) {
	e := NewEncoder()
	rapid.Check(t, func(rt *rapid.T) {
		e.SetStrategy(Strategy(rapid.IntRange(0, int(strategies)-1).Draw(rt, "strategy")))
		dt := rapid.SampledFrom(testKinds).Draw(rt, "kind")
		raw := codectest.Blob(rapid.SampledFrom(codectest.Shapes).Draw(rt, "shape"), dt, rapid.IntRange(0, 3000).Draw(rt, "length"), rapid.Uint64().Draw(rt, "seed"))
		base := codectest.Base(rapid.SampledFrom(codectest.Relations).Draw(rt, "relation"), raw, dt, 3)
		for range rapid.IntRange(0, 5).Draw(rt, "changes") {
			if len(raw) > 0 {
				raw[rapid.IntRange(0, len(raw)-1).Draw(rt, "at")] = rapid.Byte().Draw(rt, "byte")
			}
		}
		roundTrip(t, e, raw, base, dt)
	})
}
