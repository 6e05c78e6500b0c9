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
	for dt, k := range map[dtype.Kind]Kind{dtype.F32: F32, dtype.BF16: BF16, dtype.F16: F16} {
		for _, shape := range codectest.Shapes {
			for _, relation := range []string{"near", "sparse", "rows", "far"} {
				raw := codectest.Blob(shape, dt, 64<<10, 1)
				tab, _, _ := encode(m, k, raw, codectest.Base(relation, raw, dt, 2))
				var table Table
				if tab == nil || table.Parse(k, tab) != nil {
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
					n := k.Width() * groupLen
					if k == F32 {
						group32AVX2(&fast, &table, &got, &base, buf, tmp)
					} else {
						group16AVX2(&fast, &table, (*[2 * groupLen]byte)(got[:]), (*[2 * groupLen]byte)(base[:]), buf, tmp)
					}
					plain.plain(&table, want[:n], base[:n], buf)
					if got != want || fast != plain {
						t.Fatalf("%v %s %s: %x at %v, plain %x at %v", dt, shape, relation, got, fast, want, plain)
					}
				}
			}
		}
	}
}

// TestVectorSymbols compares the symbols of differences of all sizes, to the edges.
func TestVectorSymbols(t *testing.T) {
	if !vector {
		t.Skip("the processor has no AVX2 and BMI2")
	}
	r := rand.New(rand.NewPCG(8, 1))
	fast, plain := NewModel(), NewModel()
	for n := range 5000 {
		zero := uint(n % 5 * 6)
		var raw, base [4 * groupLen]byte
		for i := 0; i < len(raw); i += 4 {
			b := r.Uint32()
			u := b + uint32(int32(r.Uint32())>>(r.Uint32()%33))
			switch r.IntN(40) {
			case 0:
				u, b = 0xffffffff, 0
			case 1:
				u, b = 0x80000000, 0x7fffffff
			case 2:
				u, b = 0, 0x80000000
			}
			le.PutUint32(raw[i:], u>>zero<<zero)
			le.PutUint32(base[i:], b>>zero<<zero)
		}
		fast.zero, plain.zero = zero, zero
		magnitude := uint32(0x7fffffff) &^ (1<<zero - 1)
		fast.fastSymbols32(raw[:], base[:], magnitude)
		plain.plainSymbols32(raw[:], base[:], magnitude)
		if fast.idx != plain.idx || fast.val != plain.val {
			t.Fatalf("%x to %x, %d zeros: symbols %x, want %x; extra bits %x, want %x", raw, base, zero, fast.idx, plain.idx, fast.val, plain.val)
		}
	}
}
