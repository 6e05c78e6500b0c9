package diff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"coral/delta/format/dtype"
	"coral/delta/format/values"
	"coral/internal/errs"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

const (
	valuesPerRead = 1 << 16 // 256 KiB of F32: what a tensor.Reader reads without a copy
	valuesPerStep = 1 << 13 // decoded at once: two of 64 KiB stay in the second-level cache
)

// measured is what reading a pair gave.
type measured struct {
	sums
	numbers bool // sums were made; else only bytes were compared
	ulp     bool // distances were counted
	median  uint64
	ulpMax  uint64
	cast    castKind
	rank    rankGuess
	other   bool // blocks differ in bytes; their values may not
}

// castKind says how the narrower of two dtypes follows from the wider.
type castKind uint8

const (
	castNone  castKind = iota
	castExact          // every element is the nearest one of the narrower kind
	castNear           // every element is at most one ulp from that: it was cut off, or rounded twice
)

// worker measures pairs, one at a time. Its buffers are reused.
type worker struct {
	ctx    context.Context
	report func(bytes int64)
	rawA   []byte
	rawB   []byte
	a, b   []float64
	cast   []byte
	plain  []byte // dequantised F32
	hist   ulps
	sample sample
	finder finder
}

func newWorker(ctx context.Context, report func(bytes int64)) *worker {
	return &worker{ctx: ctx, report: report, a: make([]float64, valuesPerStep), b: make([]float64, valuesPerStep)}
}

// operand is one tensor with the file that it is in.
type operand struct {
	f *tensor.File
	t *object.Tensor
}

func (o operand) reader(ctx context.Context) *tensor.Reader { return o.f.Reader(ctx, o.t) }

// pair compares the first n values of a and b; for kinds without plain numbers, all bytes of two tensors of the same kind and length. matrix
// is the shape of n values whose difference may be of low rank, or nil.
func (w *worker) pair(a, b operand, n int64, matrix []int64) (measured, error) {
	if n == 0 && tensor.Bytes(a.t) > 0 {
		return w.bytesOnly(a, b)
	}
	m, err := w.run(a, b, n, matrix, 1)
	if err != nil || !m.outOfRange() {
		return m, err
	}
	// Squares left the range of float64. Again with all elements scaled by a power of two, which is exact but for what is too
	// small to count: all ratios stay as they are.
	scale := 0x1p560
	if m.overflow || m.aa+m.bb+m.dd > 1 || m.aa+m.bb+m.dd != m.aa+m.bb+m.dd {
		scale = 0x1p-560
	}
	again, err := w.run(a, b, n, nil, scale)
	m.aa, m.bb, m.ab, m.dd = again.aa, again.bb, again.ab, again.dd
	m.finite = again.finite
	if m.overflow {
		m.max, m.maxAt = math.Inf(1), -1
	}
	return m, err
}

func (w *worker) grow(buf *[]byte, n int) []byte {
	if len(*buf) < n {
		*buf = make([]byte, n)
	}
	return (*buf)[:n]
}

// run streams a pair once.
func (w *worker) run(a, b operand, n int64, matrix []int64, scale float64) (measured, error) {
	ka, kb := a.t.DType, b.t.DType
	m := measured{sums: sums{maxAt: -1}, numbers: true}
	narrow := narrower(ka, kb)
	fb, isFloat := floats[narrow]
	m.ulp = isFloat && floatKind(ka) && floatKind(kb)
	w.hist.reset()
	w.sample.begin(matrix, kb)
	ra, rb := a.reader(w.ctx), b.reader(w.ctx)
	for at := int64(0); at < n; {
		count := int(min(n-at, valuesPerRead))
		rawA, rawB := w.grow(&w.rawA, sizeOf(ka, count)), w.grow(&w.rawB, sizeOf(kb, count))
		if err := readBoth(ra, rb, rawA, rawB); err != nil {
			return m, err
		}
		w.report(int64(len(rawA) + len(rawB)))
		for done := 0; done < count; {
			step := min(count-done, valuesPerStep)
			pa, pb := rawA[sizeOf(ka, done):][:sizeOf(ka, step)], rawB[sizeOf(kb, done):][:sizeOf(kb, step)]
			va, vb := w.a[:step], w.b[:step]
			if err := errors.Join(w.decode(va, pa, ka), w.decode(vb, pb, kb)); err != nil {
				return m, err
			}
			if scale == 1 {
				m.changed += w.distances(&m, ka, kb, narrow, fb, pa, pb, va, vb)
				w.sample.take(va, vb, at+int64(done))
			} else {
				scaled(va, scale)
				scaled(vb, scale)
			}
			m.add(va, vb, at+int64(done))
			done += step
		}
		at += int64(count)
	}
	m.median, m.ulpMax = w.hist.median(), w.hist.max
	if ka != kb && m.ulp && m.finite > 0 {
		switch {
		case w.hist.max == 0 && m.nanA == m.nanB:
			m.cast = castExact
		case w.hist.max <= 1 && m.nanA == m.nanB:
			m.cast = castNear
		}
	}
	if matrix != nil && scale == 1 && m.nanA+m.nanB+m.infA+m.infB == 0 {
		m.rank = w.sample.guess()
	}
	return m, nil
}

// distances counts ulps, and returns how many values changed.
func (w *worker) distances(m *measured, ka, kb, narrow dtype.Kind, fb floatBits, pa, pb []byte, va, vb []float64) (changed int64) {
	switch {
	case ka == kb && m.ulp:
		return w.hist.addAll(fb, pa, pb)
	case ka == kb && values.Supported(ka):
		return differing(pa, pb, values.Width(ka))
	case ka == kb:
		m.other = m.other || string(pa) != string(pb)
	}
	for i, x := range va {
		if y := vb[i]; math.Float64bits(x) != math.Float64bits(y) && (x == x || y == y) {
			changed++
		}
	}
	if !m.ulp {
		return changed
	}
	cast := w.grow(&w.cast, len(va)*values.Width(narrow))
	if narrow == kb {
		values.Encode(cast, va, narrow)
		w.hist.addAll(fb, cast, pb)
	} else {
		values.Encode(cast, vb, narrow)
		w.hist.addAll(fb, pa, cast)
	}
	return changed
}

func scaled(v []float64, by float64) {
	for i := range v {
		v[i] *= by
	}
}

// floatKind reports kinds that are numbers with a fraction.
func floatKind(k dtype.Kind) bool { _, ok := floats[k]; return ok }

// narrower is the kind of fewer bytes, of two equal ones that of the new side: the one that distances are counted in.
func narrower(a, b dtype.Kind) dtype.Kind {
	if values.Width(a) < values.Width(b) {
		return a
	}
	return b
}

func readBoth(ra, rb io.Reader, pa, pb []byte) error {
	if _, err := io.ReadFull(ra, pa); err != nil {
		return endError(err)
	}
	if _, err := io.ReadFull(rb, pb); err != nil {
		return endError(err)
	}
	return nil
}

// endError keeps the end of a tensor, which its shape denied, from looking like success to who waits for io.EOF.
func endError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("a tensor ends before its shape says: %w", errs.Corrupt)
	}
	return err
}

// bytesOnly compares tensors of packed kinds: all that can be said is how many of their bytes differ.
func (w *worker) bytesOnly(a, b operand) (measured, error) {
	m := measured{sums: sums{maxAt: -1}}
	n := min(tensor.Bytes(a.t), tensor.Bytes(b.t))
	ra, rb := a.reader(w.ctx), b.reader(w.ctx)
	for at := int64(0); at < n; {
		count := int(min(n-at, 4*valuesPerRead))
		rawA, rawB := w.grow(&w.rawA, count), w.grow(&w.rawB, count)
		if err := readBoth(ra, rb, rawA, rawB); err != nil {
			return m, err
		}
		w.report(int64(2 * count))
		m.changed += differing(rawA, rawB, 1)
		at += int64(count)
	}
	m.n = n
	return m, nil
}

// single measures one tensor alone: the figures are those of a pair of it with itself.
func (w *worker) single(o operand) (measured, error) {
	n := valuesOf(o.t)
	k := o.t.DType
	m := measured{sums: sums{maxAt: -1}, numbers: true}
	r := o.reader(w.ctx)
	for at := int64(0); at < n; {
		count := int(min(n-at, valuesPerRead))
		raw := w.grow(&w.rawA, sizeOf(k, count))
		if _, err := io.ReadFull(r, raw); err != nil {
			return m, endError(err)
		}
		w.report(int64(len(raw)))
		for done := 0; done < count; {
			step := min(count-done, valuesPerStep)
			v := w.a[:step]
			if err := w.decode(v, raw[sizeOf(k, done):][:sizeOf(k, step)], k); err != nil {
				return m, err
			}
			m.add(v, v, at+int64(done))
			done += step
		}
		at += int64(count)
	}
	return m, nil
}
