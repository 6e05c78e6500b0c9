package delta

import (
	"bytes"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

func FuzzEncode(f *testing.F) {
	for _, dt := range testKinds {
		for _, shape := range codectest.Shapes {
			raw := codectest.Blob(shape, dt, 300, 1)
			f.Add(raw, codectest.Base("near", raw, dt, 2), uint8(dt), uint16(1))
			f.Add(raw, raw[:200], uint8(dt), uint16(300))
		}
	}
	e := NewEncoder()
	f.Fuzz(func(t *testing.T, raw, base []byte, dt uint8, repeat uint16) {
		// Repeated input reaches several blocks; what is repeated differs by a counter.
		whole, under := bytes.Clone(raw), bytes.Clone(base)
		for i := uint16(1); i < repeat && len(whole) < 200<<10 && len(raw) > 0; i++ {
			whole = append(whole, raw...)
			whole[len(whole)-1] += byte(i)
			under = append(under, base...)
		}
		roundTrip(t, e, whole, under, dtype.Kind(dt))
	})
}

func FuzzDecode(f *testing.F) {
	for _, c := range []struct {
		dt              dtype.Kind
		shape, relation string
	}{{dtype.F32, "gauss", "near"}, {dtype.BF16, "gauss", "sparse"}, {dtype.F16, "nan", "near"}, {dtype.F64, "gauss", "none"},
		{dtype.BF16, "gauss", "none"}, {dtype.Bytes, "text", "none"}, {dtype.F32, "constant", "none"}, {dtype.I64, "gauss", "same"}, {dtype.F32, "gauss", "decay"}, {dtype.F64, "nan", "near"}, {dtype.I16, "gauss", "sparse"}, {dtype.BF16, "gauss", "rows"}} {
		p, _, base := samplePayload(f, c.dt, c.shape, c.relation, 2000)
		f.Add(p, base)
	}
	f.Fuzz(func(t *testing.T, payload, base []byte) {
		if len(payload) >= PrefixLen {
			payload = bytes.Clone(payload)
			payload[10], payload[11] = payload[10]&3, 0 // up to 256 KiB decoded: the rest is the same again
		}
		_, _ = decodeAll(payload, base, FrameBlocks)
		if len(payload) >= PrefixLen {
			// With right checksums damage gets further than the first check.
			_, _ = decodeAll(sealed(bytes.Clone(payload)), base, FrameBlocks)
		}
	})
}
