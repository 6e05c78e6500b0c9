package delta

import (
	"fmt"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

// benchCases are dtype × relation; sizes are of one extent, cut down for a small machine.
func benchCases(b *testing.B, fn func(b *testing.B, dt dtype.Kind, raw, base []byte)) {
	const size = 4 << 20
	for _, c := range []struct {
		dt        dtype.Kind
		shape     string
		relations []string
	}{
		{dtype.F32, "gauss", []string{"none", "near", "sparse", "rows", "far", "same"}},
		{dtype.BF16, "gauss", []string{"none", "near", "sparse", "rows"}},
		{dtype.F16, "gauss", []string{"none", "near"}},
		{dtype.F64, "gauss", []string{"none"}},
		{dtype.F32, "upcast", []string{"none"}},
		{dtype.I64, "gauss", []string{"none"}},
		{dtype.Bytes, "text", []string{"none"}},
		{dtype.Bytes, "random", []string{"none"}},
	} {
		raw := codectest.Blob(c.shape, c.dt, size, 1)
		for _, relation := range c.relations {
			base := codectest.Base(relation, raw, c.dt, 2)
			b.Run(fmt.Sprintf("%v-%s/%s", c.dt, c.shape, relation), func(b *testing.B) {
				b.SetBytes(size)
				b.ReportAllocs()
				fn(b, c.dt, raw, base)
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := NewEncoder()
	var dst []byte
	benchCases(b, func(b *testing.B, dt dtype.Kind, raw, base []byte) {
		for b.Loop() {
			dst, _, _ = e.Encode(dst[:0], raw, base, dt)
		}
		b.ReportMetric(float64(len(dst))/float64(len(raw)), "ratio")
	})
}

func BenchmarkDecode(b *testing.B) {
	d := NewDecoder()
	dst := make([]byte, 1<<bytesBlockLog)
	benchCases(b, func(b *testing.B, dt dtype.Kind, raw, base []byte) {
		payload, _, err := NewEncoder().Encode(nil, raw, base, dt)
		if err != nil {
			b.Fatal(err)
		}
		h, err := ParseHeader(payload[:le.Uint32(payload[12:])], int64(len(payload)))
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for i := range h.Blocks() {
				blk := h.Block(i)
				var under []byte
				if from := i * int(h.BlockLen()); blk.NeedsBase {
					under = base[from : from+blk.Raw]
				}
				if err := d.DecodeBlock(h, i, dst[:blk.Raw], payload[blk.Offset:blk.Offset+int64(blk.Stored)], under); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(len(payload))/float64(len(raw)), "ratio")
	})
}

// BenchmarkSmall is a bias of 768 elements: mostly the cost of tables and headers.
func BenchmarkSmall(b *testing.B) {
	e := NewEncoder()
	raw := codectest.Blob("gauss", dtype.F32, 3072, 1)
	var dst []byte
	for _, relation := range []string{"none", "near"} {
		base := codectest.Base(relation, raw, dtype.F32, 2)
		b.Run(relation, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				dst, _, _ = e.Encode(dst[:0], raw, base, dtype.F32)
			}
			b.ReportMetric(float64(len(dst))/float64(len(raw)), "ratio")
		})
	}
}

func BenchmarkEstimate(b *testing.B) {
	e := NewEncoder()
	raw := codectest.Blob("gauss", dtype.F32, 4<<20, 1)
	base := codectest.Base("near", raw, dtype.F32, 2)
	b.ReportAllocs()
	for b.Loop() {
		e.Estimate(raw, base, dtype.F32)
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for _, relation := range []string{"none", "near"} {
		payload, _, _ := samplePayload(b, dtype.F32, "gauss", relation, 4<<20)
		b.Run(relation, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseHeader(payload[:le.Uint32(payload[12:])], int64(len(payload))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
