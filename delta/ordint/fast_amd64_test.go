//go:build !purego

package ordint

import (
	"math/rand/v2"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

// TestPortable runs the tests of blocks again without vector instructions.
func TestPortable(t *testing.T) {
	if !vector {
		t.Skip("the processor has no AVX2 and BMI2: the portable loop ran already")
	}
	defer func() { vector = true }()
	vector = false
	t.Run("suite", TestSuite)
	t.Run("random", TestRandomBits)
}

// TestVectorEqualsPlain decodes random bits, so that every symbol of a table comes up, with tables of all shapes.
func TestVectorEqualsPlain(t *testing.T) {
	if !vector {
		t.Skip("the processor has no AVX2 and BMI2")
	}
	r := rand.New(rand.NewPCG(3, 1))
	m := NewModel()
	buf, tmp := new([bufMask + 9]byte), new(scratch32)
	for _, shape := range codectest.Shapes {
		for _, relation := range []string{"near", "sparse", "rows", "far"} {
			raw := codectest.Blob(shape, dtype.F32, 64<<10, 1)
			tab, _, _ := encode(m, F32, raw, codectest.Base(relation, raw, dtype.F32, 2))
			var table Table
			if tab == nil || table.Parse(F32, tab) != nil {
				continue
			}
			for range 50 {
				for i := range 600 {
					buf[i] = byte(r.Uint32())
				}
				var base, got, want [4 * groupLen]byte
				for i := 0; i < len(base); i += 4 {
					le.PutUint32(base[i:], r.Uint32()>>table.zero<<table.zero)
				}
				fast := lanes{uint(r.IntN(64)), uint(r.IntN(64)), uint(r.IntN(64)), uint(r.IntN(64))}
				plain := fast
				group32AVX2(&fast, &table, &got, &base, buf, tmp)
				plain.plain(&table, want[:], base[:], buf)
				if got != want || fast != plain {
					t.Fatalf("%s %s: %x at %v, plain %x at %v", shape, relation, got, fast, want, plain)
				}
			}
		}
	}
}
