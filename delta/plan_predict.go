package delta

import (
	"bytes"

	"coral/delta/ordint"
	"coral/delta/predict"
)

const (
	fitRuns = 16 // of 16 elements, looked at in a block
)

// findPredictor looks for a predictor that is of use in the n parts of a blob, which are F32 and have full mantissas.
func (e *encoderState) findPredictor(n, runs int, part func(i int) (raw, base []byte)) bool {
	e.fit.Reset()
	for i := range n {
		raw, base := part(i)
		e.fit.Sample(raw, base, runs)
	}
	for i := 0; i < n && e.fit.Wants(); i++ {
		e.fit.Learn(part(scatter(i, n)))
	}
	if e.pred == nil {
		e.pred = new(predict.Predictor)
	}
	return e.fit.Done(e.pred)
}

// scatter is a permutation of the numbers below n that makes the first few be from all over.
func scatter(i, n int) int {
	for _, prime := range [...]int{37, 41, 43} {
		if n%prime != 0 {
			return i * prime % n
		}
	}
	return i // n is 65231 at least: a blob has no such number of parts
}

// predicted returns what the base of block i predicts, in memory that the next call uses again.
func (e *encoderState) predicted(base []byte) []byte {
	e.under = append(e.under[:0], base...)
	e.pred.Apply(e.under, base)
	return e.under
}

// blockUnder returns what block i is coded as the difference to.
func (e *encoderState) blockUnder(i int) []byte {
	base := e.p.blockBase(i)
	if e.p.codec[i] == codecPredOrdint {
		return e.predicted(base)
	}
	return base
}

// closer reports whether pred is the better prediction of raw than base: by the groups that it hits, or else by the size of
// the differences.
func (e *encoderState) closer(raw, base, pred []byte) bool {
	if b, p := matches(raw, base, 4*ordint.Group), matches(raw, pred, 4*ordint.Group); b != p {
		return p > b
	}
	return e.ord.Gate(raw, pred)+gateBit/2 < e.ord.Gate(raw, base)
}

const gateBit = 256 // of ordint.Model.Gate

// matches returns how many groups of size bytes are equal in a and b.
func matches(a, b []byte, size int) int {
	n := 0
	for at := 0; at+size <= len(a); at += size {
		if bytes.Equal(a[at:at+size], b[at:at+size]) {
			n++
		}
	}
	return n
}

// predictable reports whether predictors are looked for.
func predictable(k ordint.Kind, zeros int) bool { return k == ordint.F32 && zeros == 0 }
