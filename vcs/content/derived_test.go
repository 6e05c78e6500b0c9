package content

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coral/delta"
	"coral/delta/derive"
	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/race"
	"coral/objstore"
)

// matrixOf is a tensor with a shape of its own.
type matrixOf struct {
	tensor
	shape []int64
}

// shaped makes the store see the shapes of tensors, and returns a file of them.
func shaped(s *Store, ts ...matrixOf) []byte {
	var plain []tensor
	shapes := map[string][]int64{}
	for _, t := range ts {
		plain = append(plain, t.tensor)
		shapes[t.name] = t.shape
	}
	data := safetensors(plain...)
	l, err := jsonLayout(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		panic(err)
	}
	for i := range l.Tensors {
		l.Tensors[i].Shape = shapes[l.Tensors[i].Name]
	}
	fixedLayout(s, l)
	return data
}

func mat(name string, dt dtype.Kind, rows, cols int, data []byte) matrixOf {
	return matrixOf{tensor{name, dt, data}, []int64{int64(rows), int64(cols)}}
}

func convert(to, from dtype.Kind, data []byte) []byte {
	out := make([]byte, len(data)/from.Width()*to.Width())
	derive.Convert(out, data, to, from)
	return out
}

func transposed(data []byte, rows, cols, w int) []byte {
	out := make([]byte, 0, len(data))
	for j := range cols {
		for i := range rows {
			out = append(out, data[(i*cols+j)*w:][:w]...)
		}
	}
	return out
}

func sums(mode derive.Mode, coefs []float32, xs ...[]byte) []byte {
	p := derive.Piece{Op: derive.Linear, Mode: mode, Len: int64(len(xs[0]))}
	var ids [][32]byte
	for i := range xs {
		ids = append(ids, [32]byte{byte(i)})
		p.Terms = append(p.Terms, derive.Term{Source: i, DType: dtype.F32, Coef: coefs[i]})
	}
	r, err := derive.New(dtype.F32, ids, []derive.Piece{p})
	if err != nil {
		panic(err)
	}
	out := make([]byte, len(xs[0]))
	if err := r.Eval(out, 0, xs); err != nil {
		panic(err)
	}
	return out
}

// A tensor that can be computed from stored ones costs a hundredth of itself, whatever it is called, and reads back in every way. A few elements that
// differ cost their differences.
func TestDerivations(t *testing.T) {
	const rows, cols = 600, 384
	r := testRand(3)
	w := gauss(r, dtype.F32, rows*cols, 0.02)
	w2 := tuned(r, dtype.F32, w, 1e-4)
	w3 := tuned(r, dtype.F32, w2, 1e-4)
	half := convert(dtype.BF16, dtype.F32, w3)
	f16 := convert(dtype.F16, dtype.F32, w3)
	k, v := gauss(r, dtype.F32, 300*cols, 0.02), gauss(r, dtype.F32, 200*cols, 0.02)
	row := cols * 4
	cut := bytes.Clone(half)
	for i := range half[:len(half)/2] {
		copy(cut[2*i:2*i+2], w3[4*i+2:4*i+4])
	}
	for name, tc := range map[string]struct {
		tensor matrixOf
		same   bool // under the name of the family
	}{
		"BF16":            {tensor: mat("x", dtype.BF16, rows, cols, half)},
		"F16":             {tensor: mat("x", dtype.F16, rows, cols, f16)},
		"truncated":       {tensor: mat("w", dtype.BF16, rows, cols, cut)},
		"F32 by BF16":     {tensor: mat("x", dtype.F32, rows, cols, convert(dtype.F32, dtype.BF16, half))},
		"F32 by F16":      {tensor: mat("x", dtype.F32, rows, cols, convert(dtype.F32, dtype.F16, f16))},
		"F64":             {tensor: mat("x", dtype.F64, rows, cols, convert(dtype.F64, dtype.F32, w3))},
		"F64 by BF16":     {tensor: mat("x", dtype.F64, rows, cols, convert(dtype.F64, dtype.BF16, half))},
		"rows":            {tensor: mat("x", dtype.F32, 400, cols, w3[100*row:500*row])},
		"first rows":      {tensor: mat("x", dtype.F32, 200, cols, w3[:200*row])},
		"concatenation":   {tensor: mat("qkv", dtype.F32, rows+500, cols, slices.Concat(w3, k, v))},
		"parts, moved":    {tensor: mat("x", dtype.F32, 900, cols, slices.Concat(v, w3[100*row:], k[:200*row]))},
		"transpose":       {tensor: mat("x", dtype.F32, cols, rows, transposed(w3, rows, cols, 4))},
		"soup":            {tensor: mat("w", dtype.F32, rows, cols, sums(derive.Sum, []float32{0.3, 0.7}, w, w3))},
		"mean of three":   {tensor: mat("w", dtype.F32, rows, cols, sums(derive.Mean, []float32{3, 0, 0}, w, w2, w3))},
		"moving average":  {tensor: mat("w", dtype.F32, rows, cols, sums(derive.Fused, []float32{0.999, 0.001}, w, w3))},
		"task vector":     {tensor: mat("w", dtype.F32, rows, cols, sums(derive.Task, []float32{0, 0.4, 0}, w2, w3, w))},
		"BF16 of a soup":  {tensor: mat("w", dtype.BF16, rows, cols, convert(dtype.BF16, dtype.F32, sums(derive.Sum, []float32{0.3, 0.7}, w, w3)))},
		"resized in name": {tensor: mat("w", dtype.F32, rows+4, cols, slices.Concat(sparseStep(w3, 1), gauss(r, dtype.F32, 4*cols, 0.02)))},
	} {
		t.Run(name, func(t *testing.T) {
			if race.Enabled && !slices.Contains([]string{"BF16", "parts, moved", "moving average"}, name) {
				t.Skip("of what one goroutine computes, the detector gets three")
			}
			s, b := newStore(t, Options{})
			for i, x := range [][]byte{w, w2, w3} {
				mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, x)), Hint{Path: fmt.Sprint(i)})
			}
			mustIngest(t, s, shaped(s, mat("k", dtype.F32, 300, cols, k), mat("v", dtype.F32, 200, cols, v)), Hint{})
			plain := name == "first rows" || name == "resized in name" // of these a blob is a base as it is
			for _, patched := range []bool{false, true} {
				x := tc.tensor
				if patched {
					x.data = bytes.Clone(x.data)
					for i := 64 << 10; i < len(x.data); i += len(x.data) / 3 {
						x.data[i] ^= 1
					}
				}
				data := shaped(s, x)
				res := mustIngest(t, s, data, Hint{})
				limit := int64(len(data)) / 100
				if patched || name == "resized in name" {
					limit *= 6
				}
				if res.New > limit {
					t.Errorf("patched %v: costs %d bytes of %d", patched, res.New, len(data))
				}
				s.DropCache()
				checkFile(t, s, res.Manifest, data)
				info, err := b.Stat(oid.Sum(x.data))
				if err != nil {
					t.Fatal(err)
				}
				if derived := delta.FrameCodec(info.Codec) == delta.FrameDerived; derived == plain && !patched {
					t.Errorf("frame codec %d", info.Codec)
				}
				checkDepths(t, s, info)
			}
			if got := s.Counters().DerivedStored; (got == 0) != plain {
				t.Errorf("%d derived blobs were counted", got)
			}
		})
	}
}

// checkDepths wants the base to be the deepest reference, and one link above it.
func checkDepths(t *testing.T, s *Store, info objstore.Info) {
	t.Helper()
	ids, err := s.References(t.Context(), info.ID)
	if err != nil || !slices.Contains(ids, info.Base) {
		t.Fatalf("references %v without base %s: %v", ids, info.Base.Short(), err)
	}
	deepest := uint8(0)
	for _, id := range ids {
		ref, err := s.b.Stat(id)
		if err != nil {
			t.Fatal(err)
		}
		deepest = max(deepest, ref.Depth)
	}
	if info.Depth != deepest+1 || int(info.Depth) > delta.MaxDepth {
		t.Errorf("depth %d over references of %d", info.Depth, deepest)
	}
}

// A page of a cast decodes its own block and the two of the source that hold the same elements, of a soup one of each source.
func TestDerivedReadsFewBlocks(t *testing.T) {
	const rows, cols = 1000, 384
	s, b := newStore(t, Options{})
	r := testRand(3)
	w := gauss(r, dtype.F32, rows*cols, 0.02)
	w2 := gauss(r, dtype.F32, rows*cols, 0.02)
	for _, x := range [][]byte{w, w2} {
		mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, x)), Hint{})
	}
	for name, tc := range map[string]struct {
		tensor matrixOf
		blocks int64
	}{
		"cast":  {mat("x", dtype.BF16, rows, cols, convert(dtype.BF16, dtype.F32, w)), 3},
		"soup":  {mat("w", dtype.F32, rows, cols, sums(derive.Sum, []float32{0.5, 0.5}, w, w2)), 3},
		"slice": {mat("x", dtype.F32, 800, cols, w[100*cols*4:900*cols*4]), 3},
	} {
		data := shaped(s, tc.tensor)
		res := mustIngest(t, s, data, Hint{})
		if info, err := b.Stat(oid.Sum(tc.tensor.data)); err != nil || delta.FrameCodec(info.Codec) != delta.FrameDerived {
			t.Fatalf("%s: frame codec %d, %v", name, info.Codec, err)
		}
		s.DropCache()
		f := mustOpen(t, s, res.Manifest)
		p := make([]byte, 4096)
		off := int64(len(data) - len(tc.tensor.data) + 5*delta.BlockSize + 8192)
		before := s.Counters().BlocksDecoded
		if _, err := f.ReadAt(t.Context(), p, off); err != nil || !bytes.Equal(p, data[off:off+4096]) {
			t.Fatalf("%s: %v", name, err)
		}
		if n := s.Counters().BlocksDecoded - before; n != tc.blocks {
			t.Errorf("%s: a page decoded %d blocks, want %d", name, n, tc.blocks)
		}
	}
}

// A transpose needs its whole source for any range; a pass over it still decodes the source about once.
func TestWholeTransposeDecodesItsSourceOnce(t *testing.T) {
	const rows, cols = 2000, 1024
	s, _ := newStore(t, Options{})
	w := gauss(testRand(3), dtype.F32, rows*cols, 0.02)
	mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, w)), Hint{})
	x := mat("x", dtype.F32, cols, rows, transposed(w, rows, cols, 4))
	res := mustIngest(t, s, shaped(s, x), Hint{})
	s.DropCache()
	before := s.Counters()
	materializeTo(t, mustOpen(t, s, res.Manifest), filepath.Join(t.TempDir(), "out"), true)
	after := s.Counters()
	if n, most := after.BytesDecoded-before.BytesDecoded, int64(3*len(w)); after.DerivedStored != 1 || n > most {
		t.Errorf("%d derived blobs; %d bytes decoded for %d", after.DerivedStored, n, len(w))
	}
}

// Extents of 16 MiB: a BF16 extent has two of F32 as sources, and reading it through windows is bounded.
func TestCastOfSeveralExtents(t *testing.T) {
	large(t, "66 MiB")
	s, b := newStore(t, Options{})
	n := 5*extentLen/8 + 12345
	w := make([]byte, 0, 4*n)
	r := testRand(8)
	for range n {
		w = appendFloat(w, dtype.F32, float32(r.Float64()-0.5))
	}
	mustIngest(t, s, shaped(s, mat("w", dtype.F32, n, 1, w)), Hint{})
	half := convert(dtype.BF16, dtype.F32, w)
	data := shaped(s, mat("x", dtype.BF16, n, 1, half))
	res := mustIngest(t, s, data, Hint{})
	if res.New > int64(len(data))/500 {
		t.Errorf("costs %d of %d bytes", res.New, len(data))
	}
	ids, err := s.References(t.Context(), oid.Sum(half[:extentLen]))
	if err != nil || len(ids) != 2 {
		t.Errorf("references %v: %v", ids, err)
	}
	s.DropCache()
	checkFile(t, s, res.Manifest, data)
	_ = b
}

// A source that is missing or damaged is an error that names both blobs, and costs nothing but ratio on the way in.
func TestMissingSource(t *testing.T) {
	const rows, cols = 300, 384
	for _, damage := range []string{"missing", "damaged", "too deep", "too short"} {
		t.Run(damage, func(t *testing.T) {
			s, b := newStore(t, Options{})
			w := gauss(testRand(3), dtype.F32, rows*cols, 0.02)
			source := oid.Sum(w)
			mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, w)), Hint{})
			half := convert(dtype.BF16, dtype.F32, w)
			data := shaped(s, mat("x", dtype.BF16, rows, cols, half))
			res := mustIngest(t, s, data, Hint{})
			switch damage {
			case "missing":
				b.remove(source)
			case "damaged":
				b.change(source, func(r *objstore.Record) { r.Payload[len(r.Payload)/2] ^= 1 })
			case "too deep":
				b.change(source, func(r *objstore.Record) { r.Depth, r.Base = 1, oid.Sum(nil) })
			case "too short":
				short := gauss(testRand(3), dtype.F32, 100, 0.02)
				mustIngest(t, s, safetensors(tensor{"s", dtype.F32, short}), Hint{})
				b.change(source, func(r *objstore.Record) { r.RawSize = 400; r.Payload, r.Codec = short, 0 })
			}
			s.DropCache()
			f := mustOpen(t, s, res.Manifest)
			_, err := f.ReadAt(t.Context(), make([]byte, len(data)), 0)
			if !errors.Is(err, errs.Corrupt) && !errors.Is(err, errs.NotFound) || !strings.Contains(err.Error(), source.String()) || !strings.Contains(err.Error(), oid.Sum(half).String()) {
				t.Errorf("read: %v", err)
			}
			named := false
			err = f.Verify(t.Context(), func(id oid.ID, err error) { named = named || id == oid.Sum(half) })
			if !errors.Is(err, errs.Corrupt) || !named {
				t.Errorf("verify: %v, named %v", err, named)
			}
			again := convert(dtype.F16, dtype.F32, w)
			data = shaped(s, mat("y", dtype.F16, rows, cols, again))
			checkFile(t, s, mustIngest(t, s, data, Hint{}).Manifest, data)
		})
	}
}

// A recipe that was forged cannot make anything but an error.
func TestForgedRecipe(t *testing.T) {
	const rows, cols = 300, 384
	w := gauss(testRand(3), dtype.F32, rows*cols, 0.02)
	half := convert(dtype.BF16, dtype.F32, w)
	id := oid.Sum(half)
	forge := func(t *testing.T, r *derive.Recipe, payload []byte) []byte {
		out, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := derive.Len(payload[:derive.PrefixLen], int64(len(payload)))
		if err != nil {
			t.Fatal(err)
		}
		return append(out, payload[n:]...)
	}
	cast := func(src oid.ID, n, off int64) *derive.Recipe {
		r, err := derive.New(dtype.BF16, [][32]byte{src}, []derive.Piece{{Op: derive.Cast, Len: n, Terms: []derive.Term{{DType: dtype.F32, Off: off}}}})
		if err != nil {
			panic(err)
		}
		return r
	}
	for name, change := range map[string]func(t *testing.T, r *objstore.Record){
		"itself": func(t *testing.T, r *objstore.Record) {
			r.Payload, r.Base = forge(t, cast(id, r.RawSize, 0), r.Payload), id
		},
		"other offset": func(t *testing.T, r *objstore.Record) {
			r.Payload = forge(t, cast(oid.Sum(w), r.RawSize-4, 4), r.Payload)
		},
		"not its base": func(t *testing.T, r *objstore.Record) { r.Base = oid.Sum(nil) },
		"too long": func(t *testing.T, r *objstore.Record) {
			r.Payload = forge(t, cast(oid.Sum(w), r.RawSize+2, 0), r.Payload)
		},
		"too short": func(t *testing.T, r *objstore.Record) {
			r.Payload = forge(t, cast(oid.Sum(w), r.RawSize/2, 0), r.Payload)
		},
		"cut": func(t *testing.T, r *objstore.Record) { r.Payload = r.Payload[:len(r.Payload)-1] },
		"recipe only": func(t *testing.T, r *objstore.Record) {
			n, _ := derive.Len(r.Payload, int64(len(r.Payload)))
			r.Payload = r.Payload[:n]
		},
		"blocks only": func(t *testing.T, r *objstore.Record) {
			n, _ := derive.Len(r.Payload, int64(len(r.Payload)))
			r.Payload = r.Payload[n:]
		},
		"no base": func(t *testing.T, r *objstore.Record) { r.Base, r.Depth = oid.ID{}, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			s, b := newStore(t, Options{})
			mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, w)), Hint{})
			data := shaped(s, mat("x", dtype.BF16, rows, cols, half))
			res := mustIngest(t, s, data, Hint{})
			b.change(id, func(r *objstore.Record) { change(t, r) })
			s.DropCache()
			_, err := mustOpen(t, s, res.Manifest).ReadAt(t.Context(), make([]byte, len(data)), 0)
			wantCorrupt(t, err, id)
			if _, err := s.BlobBytes(t.Context(), id); !errors.Is(err, errs.Corrupt) {
				t.Errorf("whole: %v", err)
			}
		})
	}
}

// References are what a collection must keep.
func TestReferences(t *testing.T) {
	s, b := newStore(t, Options{})
	const rows, cols = 300, 384
	r := testRand(3)
	w := gauss(r, dtype.F32, rows*cols, 0.02)
	w2 := gauss(r, dtype.F32, rows*cols, 0.02)
	soup := sums(derive.Sum, []float32{0.5, 0.5}, w, w2)
	for _, x := range [][]byte{w, w2, soup} {
		mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, x)), Hint{})
	}
	ids, err := s.References(t.Context(), oid.Sum(soup))
	want := []oid.ID{oid.Sum(w), oid.Sum(w2)}
	byID := func(a, b oid.ID) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(ids, byID)
	slices.SortFunc(want, byID)
	if err != nil || !slices.Equal(ids, want) {
		t.Errorf("references %v, want %v: %v", ids, want, err)
	}
	if ids, err := s.References(t.Context(), oid.Sum(w)); err != nil || len(ids) != 0 {
		t.Errorf("references %v of a blob alone: %v", ids, err)
	}
	if _, err := s.References(t.Context(), oid.Sum(nil)); !errors.Is(err, errs.NotFound) {
		t.Errorf("of nothing: %v", err)
	}
	b.change(oid.Sum(soup), func(r *objstore.Record) { r.Payload[40] ^= 1 })
	if _, err := s.References(t.Context(), oid.Sum(soup)); !errors.Is(err, errs.Corrupt) {
		t.Errorf("of a damaged recipe: %v", err)
	}
}

// Where a run ends there may be a row that only begins like a known one: looking for runs goes on behind it.
func TestRowsThatOnlyBeginAlike(t *testing.T) {
	const rows, cols = 600, 384
	const row = cols * 4
	s, _ := newStore(t, Options{})
	r := testRand(3)
	w, k := gauss(r, dtype.F32, rows*cols, 0.02), gauss(r, dtype.F32, rows*cols, 0.02)
	mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, w), mat("k", dtype.F32, rows, cols, k)), Hint{})
	other := gauss(r, dtype.F32, 10*cols, 0.02)
	copy(other, k[:anchorBytes])
	x := slices.Concat(w[:300*row], other, w[300*row:])
	data := shaped(s, mat("x", dtype.F32, rows+10, cols, x))
	res := mustIngest(t, s, data, Hint{})
	if res.New > int64(len(other)+len(data)/50) {
		t.Errorf("costs %d bytes, of which %d are new", res.New, len(other))
	}
	checkFile(t, s, res.Manifest, data)
}

// A family is full of checkpoints and sums of them: the sums go first, so that the next sum of checkpoints is still found.
func TestFamilyKeepsOriginals(t *testing.T) {
	s, b := newStore(t, Options{})
	const rows, cols = 300, 384
	r := testRand(3)
	var steps [][]byte
	put := func(x []byte) {
		t.Helper()
		mustIngest(t, s, shaped(s, mat("w", dtype.F32, rows, cols, x)), Hint{})
	}
	w := gauss(r, dtype.F32, rows*cols, 0.02)
	for range 7 {
		steps = append(steps, w)
		put(w)
		w = tuned(r, dtype.F32, w, 1e-4)
	}
	for i := range 12 {
		c := float32(i+1) / 100
		sum := sums(derive.Sum, []float32{c, 1 - c}, steps[0], steps[6])
		put(sum)
		if info, err := b.Stat(oid.Sum(sum)); err != nil || delta.FrameCodec(info.Codec) != delta.FrameDerived {
			t.Fatalf("sum %d: frame codec %d, %v", i, info.Codec, err)
		}
	}
	key := hintKey("w", dtype.F32, int64(len(w)), 0)
	ms := s.family(key[:])
	if len(ms) == 0 || len(ms) > smallFamily && len(w) < largeMember || len(ms) > maxFamily {
		t.Errorf("%d members", len(ms))
	}
	if !slices.ContainsFunc(ms, func(m member) bool { return m.id == oid.Sum(steps[0]) }) {
		t.Error("the first checkpoint is forgotten")
	}
}

// Adversarial values neither derive wrongly nor fail.
func TestDerivedAdversarial(t *testing.T) {
	n := thinner(200_000, 40_000)
	fill := func(fn func(i int) uint32) []byte {
		out := make([]byte, 4*n)
		for i := range n {
			copy(out[4*i:], []byte{byte(fn(i)), byte(fn(i) >> 8), byte(fn(i) >> 16), byte(fn(i) >> 24)})
		}
		return out
	}
	r := testRand(4)
	for name, w := range map[string][]byte{
		"NaN payloads": fill(func(int) uint32 { return 0x7f800000 | r.Uint32()&0x807fffff }),
		"infinities":   fill(func(i int) uint32 { return 0x7f800000 | uint32(i&1)<<31 }),
		"zeros":        fill(func(i int) uint32 { return uint32(i%3&1) << 31 }),
		"denormals":    fill(func(int) uint32 { return r.Uint32() & 0x807fffff }),
		"constant":     fill(func(int) uint32 { return 0x3f800001 }),
		"one odd":      fill(func(i int) uint32 { return 0x3f800001 + uint32(i/(n-1)) }),
	} {
		s, _ := newStore(t, Options{})
		for i := range 3 {
			x := sparseStep(w, i)
			for _, ts := range [][]matrixOf{
				{mat("w", dtype.F32, n/200, 200, x)}, {mat("x", dtype.BF16, n/200, 200, convert(dtype.BF16, dtype.F32, x))},
				{mat("w", dtype.F16, n/200, 200, convert(dtype.F16, dtype.F32, x))}, {mat("t", dtype.F32, 200, n/200, transposed(x, n/200, 200, 4))},
				{mat("odd", dtype.F32, n/200, 199, x[:n/200*199*4])},
			} {
				data := shaped(s, ts...)
				res := mustIngest(t, s, data, Hint{})
				if res.New > int64(len(data)+len(data)/1000+4096) {
					t.Errorf("%s: %d bytes for %d", name, res.New, len(data))
				}
				checkFile(t, s, res.Manifest, data)
			}
		}
	}
}

// FuzzDerived damages the payload of a derived blob: an error or the same bytes.
func FuzzDerived(f *testing.F) {
	for i := range 8 {
		f.Add(uint32(i*17), byte(1<<i))
	}
	const n = 20_000
	w := gauss(testRand(3), dtype.F32, n, 0.02)
	half := convert(dtype.BF16, dtype.F32, w)
	half[len(half)/2] ^= 1
	f.Fuzz(func(t *testing.T, at uint32, flip byte) {
		s, b := newStore(t, Options{Workers: 1, CacheBytes: 1 << 20})
		mustIngest(t, s, shaped(s, mat("w", dtype.F32, n/100, 100, w)), Hint{})
		data := shaped(s, mat("x", dtype.BF16, n/100, 100, half))
		res := mustIngest(t, s, data, Hint{})
		b.change(oid.Sum(half), func(r *objstore.Record) { r.Payload[int(at)%len(r.Payload)] ^= flip })
		s.DropCache()
		got := make([]byte, len(data))
		_, err := mustOpen(t, s, res.Manifest).ReadAt(t.Context(), got, 0)
		if err == nil && !bytes.Equal(got, data) {
			t.Fatal("other bytes")
		}
	})
}

func TestShapesOf(t *testing.T) {
	l := &format.Layout{
		Payloads: []format.Payload{{Offset: 0, Length: 24, DType: dtype.F32}, {Offset: 24, Length: 24, DType: dtype.F32}, {Offset: 48, Length: 24, DType: dtype.F32}},
		Tensors: []format.Tensor{
			{DType: dtype.F32, Shape: []int64{2, 3}, Offset: 0, Length: 24},
			{DType: dtype.F32, Shape: []int64{3, 2}, Offset: 24, Length: 24, Stride: []int64{1, 3}},
			{DType: dtype.F32, Shape: []int64{5}, Offset: 48, Length: 20},
		},
	}
	got := shapesOf(l)
	if !slices.Equal(got[0], []int64{2, 3}) || got[1] != nil || got[2] != nil {
		t.Errorf("shapes %v", got)
	}
}
