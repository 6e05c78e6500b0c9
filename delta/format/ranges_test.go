package format

import (
	"testing"

	"coral/delta/format/dtype"
)

func TestAddRanges(t *testing.T) {
	r := func(name string, off, n int64) Range {
		return Range{Name: name, DType: dtype.F32, Shape: []int64{n / 4}, Offset: off, Length: n}
	}
	sparse := r("sparse", 300, 8)
	sparse.Sparse, sparse.Shape = true, []int64{100}
	var b Builder
	b.AddRanges([]Range{
		r("b", 160, 8), r("a", 100, 40), r("partly", 120, 40), r("inside", 104, 8), r("begin", 100, 16), r("a", 100, 40), r("tied", 160, 8),
		{Name: "misfit", DType: dtype.F32, Shape: []int64{3}, Offset: 200, Length: 8}, sparse, r("empty", 168, 0),
		{Name: "i4", Packed: 4, Shape: []int64{5}, Offset: 400, Length: 3},
	})
	if err := b.Check(1000); err != nil {
		t.Fatal(err)
	}
	tensors, payloads := "", ""
	for _, x := range b.Tensors {
		tensors += x.Name + " "
	}
	for _, x := range b.Payloads {
		payloads += x.Name + ":" + x.DType.String() + " "
	}
	if tensors != "a begin inside b tied empty i4 " || payloads != "a:F32 b:F32 misfit:BYTES sparse:F32 i4:BYTES " {
		t.Errorf("%s| %s", tensors, payloads)
	}
}

// TestBuilderFull: what no longer fits is left out and the layout is as sound as ever.
func TestBuilderFull(t *testing.T) {
	var b Builder
	name := string(make([]byte, MaxNameBytes))
	for i := range int64(MaxNames/MaxNameBytes + 10) {
		b.AddRanges([]Range{{Name: name, DType: dtype.U8, Shape: []int64{1}, Offset: 2 * i, Length: 1}, {Name: "x", DType: dtype.I8, Shape: []int64{1}, Offset: 2 * i, Length: 1}})
	}
	if err := b.Check(1 << 30); err != nil || !b.Full() {
		t.Errorf("full %v: %v", b.Full(), err)
	}
}
