package derive

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cespare/xxhash/v2"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

func id(n byte) [32]byte { return [32]byte{n, 1, 2, 3} }

// whole returns all that r computes of the sources.
func whole(t testing.TB, r *Recipe, sources [][]byte) []byte {
	t.Helper()
	return part(t, r, sources, 0, r.Len())
}

// part returns n bytes from off.
func part(t testing.TB, r *Recipe, sources [][]byte, off, n int64) []byte {
	t.Helper()
	var in [][]byte
	for _, need := range r.Needs(nil, off, n) {
		in = append(in, sources[need.Source][need.Off:need.Off+need.Len])
	}
	out := bytes.Repeat([]byte{0xee}, int(n))
	if err := r.Eval(out, off, in); err != nil {
		t.Fatal(err)
	}
	return out
}

func mustNew(t testing.TB, dt dtype.Kind, sources int, pieces ...Piece) *Recipe {
	t.Helper()
	var ids [][32]byte
	for i := range sources {
		ids = append(ids, id(byte(i)))
	}
	r, err := New(dt, ids, pieces)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// mixed is a recipe of every operation over two sources of 8192 bytes.
func mixed(t testing.TB) *Recipe {
	return mustNew(t, dtype.F32, 2,
		Piece{Op: Copy, Len: 1024, Terms: []Term{{Source: 1, Off: 3}}},
		Piece{Op: Gap, Len: 96},
		Piece{Op: Cast, Len: 400, Terms: []Term{{Source: 0, DType: dtype.BF16, Off: 7}}},
		Piece{Op: Linear, Mode: Fused, Len: 800, Terms: []Term{{Source: 0, DType: dtype.F32, Off: 16, Coef: 0.25}, {Source: 1, DType: dtype.F16, Coef: -2}}},
		Piece{Op: Transpose, Len: 4 * 35, Rows: 5, Terms: []Term{{Source: 1, DType: dtype.F32, Off: 8}}},
	)
}

func mixedSources() [][]byte {
	return [][]byte{codectest.Blob("gauss", dtype.F32, 8192, 1), codectest.Blob("nan", dtype.F32, 8192, 2)}
}

func TestStoredForm(t *testing.T) {
	r := mixed(t)
	b, err := r.Append([]byte("before"))
	if err != nil || len(b) != 6+r.Size() {
		t.Fatalf("%d bytes, Size says %d: %v", len(b), r.Size(), err)
	}
	b = b[6:]
	n, err := Len(b[:PrefixLen], int64(len(b)))
	if err != nil || n != int64(len(b)) {
		t.Fatalf("length %d of %d: %v", n, len(b), err)
	}
	got, err := Parse(b)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(r) {
		t.Fatalf("parsed %v\nwant %v: %v", got, r, err)
	}
	src := mixedSources()
	if !bytes.Equal(whole(t, got, src), whole(t, r, src)) {
		t.Error("the parsed recipe computes something else")
	}
	for i := range b { // every byte is checked
		d := bytes.Clone(b)
		d[i] ^= 0x41
		if _, err := Parse(d); !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
			t.Errorf("byte %d damaged: %v", i, err)
		}
	}
	for n := range b {
		if _, err := Parse(b[:n]); !errors.Is(err, errs.Corrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// The stored form is permanent.
func TestGoldenForm(t *testing.T) {
	r := mustNew(t, dtype.BF16, 1, Piece{Op: Cast, Mode: Truncate, Len: 6, Terms: []Term{{DType: dtype.F32, Off: 4}}})
	b, err := r.Append(nil)
	want := "c0de01044c0000000100010000000000" + "0001020300000000000000000000000000000000000000000000000000000000" +
		"020101000600000000000000" + "000002000400000000000000" + "88561589"
	if got := fmt.Sprintf("%x", b); err != nil || got != want {
		t.Errorf("stored form\n%s, want\n%s: %v", got, want, err)
	}
}

// Any part is as the whole has it.
func TestPartsAgree(t *testing.T) {
	r, src := mixed(t), mixedSources()
	all := whole(t, r, src)
	for off := int64(0); off < r.Len(); off += 4 {
		for _, n := range []int64{4, 8, 64, 1200, r.Len() - off} {
			if n = min(n, r.Len()-off); !bytes.Equal(part(t, r, src, off, n), all[off:off+n]) {
				t.Fatalf("%d bytes at %d differ from the whole", n, off)
			}
		}
	}
}

func TestRejects(t *testing.T) {
	f32 := func(n int) []Term { return make([]Term, n, MaxTerms+1) }
	kinds := func(dt dtype.Kind, n int) []Term {
		ts := f32(n)
		for i := range ts {
			ts[i].DType = dt
		}
		return ts
	}
	for name, tc := range map[string]struct {
		dt      dtype.Kind
		sources int
		pieces  []Piece
	}{
		"no source":        {dtype.F32, 0, []Piece{{Op: Gap, Len: 4}}},
		"no piece":         {dtype.F32, 1, nil},
		"unused source":    {dtype.F32, 2, []Piece{{Op: Copy, Len: 4, Terms: f32(1)}}},
		"empty piece":      {dtype.F32, 1, []Piece{{Op: Copy, Terms: f32(1)}}},
		"too long":         {dtype.F32, 1, []Piece{{Op: Copy, Len: MaxBlob, Terms: f32(1)}, {Op: Gap, Len: 4}}},
		"beyond source":    {dtype.F32, 1, []Piece{{Op: Copy, Len: MaxBlob, Terms: []Term{{Off: 1}}}}},
		"negative offset":  {dtype.F32, 1, []Piece{{Op: Copy, Len: 4, Terms: []Term{{Off: -1}}}}},
		"no such source":   {dtype.F32, 1, []Piece{{Op: Copy, Len: 4, Terms: []Term{{Source: 1}}}}},
		"half elements":    {dtype.F32, 1, []Piece{{Op: Cast, Len: 6, Terms: kinds(dtype.BF16, 1)}}},
		"unaligned":        {dtype.F32, 1, []Piece{{Op: Gap, Len: 2}, {Op: Cast, Len: 8, Terms: kinds(dtype.BF16, 1)}}},
		"cast of itself":   {dtype.F32, 1, []Piece{{Op: Cast, Len: 8, Terms: kinds(dtype.F32, 1)}}},
		"cast of integers": {dtype.F32, 1, []Piece{{Op: Cast, Len: 8, Terms: kinds(dtype.I32, 1)}}},
		"truncated F16":    {dtype.F16, 1, []Piece{{Op: Cast, Mode: Truncate, Len: 8, Terms: kinds(dtype.F32, 1)}}},
		"via from BF16":    {dtype.F32, 1, []Piece{{Op: Cast, Mode: ViaF16, Len: 8, Terms: kinds(dtype.BF16, 1)}}},
		"cast mode":        {dtype.BF16, 1, []Piece{{Op: Cast, Mode: 4, Len: 8, Terms: kinds(dtype.F32, 1)}}},
		"nine terms":       {dtype.F32, 1, []Piece{{Op: Linear, Len: 8, Terms: kinds(dtype.F32, 9)}}},
		"sum of F64":       {dtype.F64, 1, []Piece{{Op: Linear, Len: 8, Terms: kinds(dtype.F64, 2)}}},
		"lerp of three":    {dtype.F32, 1, []Piece{{Op: Linear, Mode: Lerp, Len: 8, Terms: kinds(dtype.F32, 3)}}},
		"linear mode":      {dtype.F32, 1, []Piece{{Op: Linear, Mode: 6, Len: 8, Terms: kinds(dtype.F32, 3)}}},
		"rows":             {dtype.F32, 1, []Piece{{Op: Transpose, Len: 40, Rows: 3, Terms: kinds(dtype.F32, 1)}}},
		"no rows":          {dtype.F32, 1, []Piece{{Op: Transpose, Len: 40, Terms: kinds(dtype.F32, 1)}}},
		"rows of a copy":   {dtype.F32, 1, []Piece{{Op: Copy, Len: 40, Rows: 2, Terms: f32(1)}}},
		"packed elements":  {dtype.F4, 1, []Piece{{Op: Transpose, Len: 40, Rows: 2, Terms: kinds(dtype.F4, 1)}}},
		"operation":        {dtype.F32, 1, []Piece{{Op: 5, Len: 40, Terms: f32(1)}}},
	} {
		if r, err := New(tc.dt, make([][32]byte, tc.sources), tc.pieces); !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

func TestEvalRejects(t *testing.T) {
	r := mustNew(t, dtype.F32, 1, Piece{Op: Copy, Len: 10, Terms: []Term{{}}})
	for name, err := range map[string]error{
		"misaligned":  r.Eval(make([]byte, 4), 2, [][]byte{make([]byte, 4)}),
		"half":        r.Eval(make([]byte, 6), 0, [][]byte{make([]byte, 6)}),
		"past end":    r.Eval(make([]byte, 12), 0, [][]byte{make([]byte, 12)}),
		"before":      r.Eval(make([]byte, 4), -4, [][]byte{make([]byte, 4)}),
		"no input":    r.Eval(make([]byte, 4), 0, nil),
		"short input": r.Eval(make([]byte, 4), 0, [][]byte{make([]byte, 3)}),
	} {
		if !errors.Is(err, errs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.Eval(make([]byte, 2), 8, [][]byte{make([]byte, 2)}); err != nil {
		t.Errorf("the tail: %v", err)
	}
}

// FuzzParse wants no panic, and that what parses can be computed and stored again.
func FuzzParse(f *testing.F) {
	b, _ := mixed(f).Append(nil)
	f.Add(b)
	b, _ = mustNew(f, dtype.BF16, 1, Piece{Op: Cast, Len: 64, Terms: []Term{{DType: dtype.F32}}}).Append(nil)
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > sumLen && len(b) < 4096 { // let damage through the length and the checksum
			b = bytes.Clone(b)
			if len(b) >= 8 {
				le.PutUint32(b[4:], uint32(len(b)))
			}
			seal(b)
		}
		r, err := Parse(b)
		if err != nil {
			if !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.Unsupported) {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		again, err := r.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("stored again as %d bytes, not %d: %v", len(again), len(b), err)
		}
		n := min(r.Len(), 4096)
		if w := int64(max(r.DType.Width(), 1)); n < r.Len() {
			n = n / w * w
		}
		var in [][]byte
		total := int64(0)
		for _, need := range r.Needs(nil, 0, n) {
			if total += need.Len; need.Len < 0 || need.Off < 0 || need.Off+need.Len > MaxBlob {
				t.Fatalf("needs %v", need)
			}
			if total > 32<<20 {
				return
			}
			in = append(in, make([]byte, need.Len))
		}
		if err := r.Eval(make([]byte, n), 0, in); err != nil {
			t.Fatal(err)
		}
	})
}

// seal puts the checksum in.
func seal(b []byte) {
	le.PutUint32(b[len(b)-sumLen:], uint32(xxhash.Sum64(b[:len(b)-sumLen])))
}
