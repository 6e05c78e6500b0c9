package delta

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// sealed returns the payload with the header's checksum set again after a change.
func sealed(p []byte) []byte {
	n := le.Uint32(p[12:])
	if n >= sumLen && int(n) <= len(p) {
		le.PutUint32(p[n-sumLen:], checksum(p[:n-sumLen]))
	}
	return p
}

func samplePayload(t testing.TB, dt dtype.Kind, shape, relation string, n int) (payload, raw, base []byte) {
	t.Helper()
	raw = codectest.Blob(shape, dt, n, 1)
	base = codectest.Base(relation, raw, dt, 2)
	payload, res, err := NewEncoder().Encode(nil, raw, base, dt)
	if err != nil || res.Codec != FrameBlocks {
		t.Fatalf("sample: codec %d, %v", res.Codec, err)
	}
	return payload, raw, base
}

func TestHeaderErrors(t *testing.T) {
	good, _, _ := samplePayload(t, dtype.F32, "gauss", "near", 200<<10)
	size := int(le.Uint32(good[12:]))
	for _, tt := range []struct {
		name   string
		class  error
		damage func(p []byte) []byte
	}{
		{"magic", errs.Corrupt, func(p []byte) []byte { p[0]++; return p }},
		{"version", errs.Unsupported, func(p []byte) []byte { p[2] = 2; return p }},
		{"flags", errs.Unsupported, func(p []byte) []byte { p[6] = 1; return p }},
		{"block length 0", errs.Corrupt, func(p []byte) []byte { p[4] = 0; return p }},
		{"block length 2^63", errs.Corrupt, func(p []byte) []byte { p[4] = 63; return p }},
		{"other block length", errs.Corrupt, func(p []byte) []byte { p[4] = 15; return p }},
		{"raw size 0", errs.Corrupt, func(p []byte) []byte { le.PutUint32(p[8:], 0); return p }},
		{"raw size 4 GiB", errs.Corrupt, func(p []byte) []byte { le.PutUint32(p[8:], 1<<32-1); return p }},
		{"raw size one more", errs.Corrupt, func(p []byte) []byte { p[8]++; p[10]++; return p }},
		{"header 4 GiB", errs.Corrupt, func(p []byte) []byte { le.PutUint32(p[12:], 1<<32-1); return p }},
		{"header too short", errs.Corrupt, func(p []byte) []byte { le.PutUint32(p[12:], 20); return p }},
		{"header one more", errs.Corrupt, func(p []byte) []byte { le.PutUint32(p[12:], uint32(size+1)); return p }},
		{"codec", errs.Unsupported, func(p []byte) []byte { p[16] = 250; return p }},
		{"stored length", errs.Corrupt, func(p []byte) []byte { p[17]++; return p }},
		{"same with bytes", errs.Corrupt, func(p []byte) []byte { p[16] = byte(codecSame); return p }},
		{"raw of another length", errs.Corrupt, func(p []byte) []byte { p[16] = byte(codecRaw); return p }},
		{"tables", errs.Corrupt, func(p []byte) []byte { p[5]++; return p }},
		{"no tables", errs.Corrupt, func(p []byte) []byte { p[5] = 0; return p }},
		{"table kind", errs.Unsupported, func(p []byte) []byte { p[16+8*4] = 99; return p }},
		{"table number", errs.Corrupt, func(p []byte) []byte { p[16+8*4+1] = 1; return p }},
		{"table length", errs.Corrupt, func(p []byte) []byte { p[16+8*4+3] = 0xff; return p }},
		{"element kind", errs.Corrupt, func(p []byte) []byte { p[3] = byte(dtype.F64); return p }},
		{"no blocks", errs.Corrupt, func(p []byte) []byte { return p[:size] }},
		{"last block short", errs.Corrupt, func(p []byte) []byte { return p[:len(p)-1] }},
		{"bytes after", errs.Corrupt, func(p []byte) []byte { return append(p, 0) }},
	} {
		if _, err := decodeAll(sealed(tt.damage(bytes.Clone(good))), nil, FrameBlocks); !errors.Is(err, tt.class) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.class)
		}
	}
	for i := range size {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := decodeAll(bad, nil, FrameBlocks); err == nil {
			t.Fatalf("byte %d of the header changed, and no error", i)
		}
	}
	for n := range size {
		if _, err := ParseHeader(good[:n], int64(len(good))); err == nil {
			t.Fatalf("header cut to %d bytes, and no error", n)
		}
	}
}

func TestDecodeBlockArguments(t *testing.T) {
	payload, raw, base := samplePayload(t, dtype.F32, "gauss", "near", 100<<10)
	h, err := ParseHeader(payload[:le.Uint32(payload[12:])], int64(len(payload)))
	if err != nil {
		t.Fatal(err)
	}
	d := NewDecoder()
	b := h.Block(0)
	stored := payload[b.Offset : b.Offset+int64(b.Stored)]
	dst := make([]byte, b.Raw)
	for _, tt := range []struct {
		name              string
		i                 int
		dst, stored, base []byte
		class             error
	}{
		{"good", 0, dst, stored, base[:b.Raw], nil},
		{"block -1", -1, dst, stored, base[:b.Raw], errs.Invalid},
		{"block 2", 2, dst, stored, base[:b.Raw], errs.Invalid},
		{"short dst", 0, dst[1:], stored, base[:b.Raw], errs.Invalid},
		{"short stored", 0, dst, stored[1:], base[:b.Raw], errs.Corrupt},
		{"no base", 0, dst, stored, nil, errs.Corrupt},
		{"other base", 0, dst, stored, raw[:b.Raw], errs.Corrupt},
	} {
		if err := d.DecodeBlock(h, tt.i, tt.dst, tt.stored, tt.base); !errors.Is(err, tt.class) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.class)
		}
	}
}

// TestDamageIsNoticed flips bits anywhere: an error, or the same bytes where the bit had no meaning.
func TestDamageIsNoticed(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, c := range []struct {
		dt              dtype.Kind
		shape, relation string
	}{{dtype.F32, "gauss", "near"}, {dtype.BF16, "nan", "rows"}, {dtype.F16, "halfzero", "none"}, {dtype.Bytes, "text", "none"}, {dtype.F32, "upcast", "none"}} {
		payload, raw, base := samplePayload(t, c.dt, c.shape, c.relation, 90<<10)
		for range 200 {
			bad := bytes.Clone(payload)
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			got, err := decodeAll(bad, base, FrameBlocks)
			if err == nil && !bytes.Equal(got, raw) {
				t.Fatalf("%v %s: wrong bytes and no error", c.dt, c.shape)
			}
			if err != nil && !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
				t.Fatalf("%v %s: %v", c.dt, c.shape, err)
			}
		}
	}
}

// TestSharedHeader decodes with one header from several goroutines.
func TestSharedHeader(t *testing.T) {
	for _, relation := range []string{"none", "near"} {
		payload, raw, base := samplePayload(t, dtype.BF16, "gauss", relation, 300<<10)
		h, err := ParseHeader(payload[:le.Uint32(payload[12:])], int64(len(payload)))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got, err := decodeBlocks(h, payload, base); err != nil || !bytes.Equal(got, raw) {
					t.Errorf("%s: %v", relation, err)
				}
			})
		}
		wg.Wait()
	}
}

// TestSameAgain: an encoder with a history gives the bytes of a new one.
func TestSameAgain(t *testing.T) {
	old := NewEncoder()
	for _, dt := range testKinds {
		for _, relation := range []string{"none", "near", "rows"} {
			raw := codectest.Blob("gauss", dt, 150<<10, 1)
			base := codectest.Base(relation, raw, dt, 2)
			a, _, _ := old.Encode(nil, raw, base, dt)
			b, _, _ := NewEncoder().Encode(nil, raw, base, dt)
			if !bytes.Equal(a, b) {
				t.Errorf("%v %s: the history of an encoder shows in its output", dt, relation)
			}
		}
	}
}
