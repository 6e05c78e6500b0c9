// Package derive computes a tensor's likely bytes from tensors that are stored: casts, concatenations of ranges, linear combinations,
// transposes. A Recipe says how; what it computes is a virtual base that a blob is coded against, so a guess that is wrong in some
// elements costs their difference, never bytes.
//
// Vocabulary. A recipe has sources, which are blobs, and pieces, which follow one another in the output. A piece has an operation and
// terms, each a range of a source. The package is pure: Needs says which ranges of the sources some output needs, whoever has the
// blobs reads them, and Eval computes. Arithmetic is defined bit for bit, so every platform computes the same (linear.go).
//
// A Recipe is immutable and may be shared by goroutines.
package derive

import (
	"fmt"

	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// Op is the operation of a piece. Permanent; docs/format-codecs.md.
type Op uint8

// The operations.
const (
	Gap       Op = 0 // zeros: nothing is known of these bytes. No term
	Copy      Op = 1 // the bytes of one term
	Cast      Op = 2 // the elements of one term, in the recipe's dtype
	Linear    Op = 3 // a linear combination of 1 to MaxTerms terms
	Transpose Op = 4 // one term is a matrix, row after row; the output is its columns

	ops = 5 // ids below are known
)

// Mode says how a piece rounds or in which order it computes. Permanent.
type Mode uint8

// Modes of Cast.
const (
	Nearest  Mode = 0 // ties to even
	Truncate Mode = 1 // F32 to BF16 only: the low bits are dropped
	ViaBF16  Mode = 2 // F32 and F64 to F32 and F64: rounded to BF16 on the way, as a checkpoint is that was saved in it once
	ViaF16   Mode = 3 // the same by way of F16
)

// Modes of Linear; x are the terms and c their coefficients. After each operation the result is rounded to binary32, at the end to the recipe's dtype.
const (
	Sum   Mode = 0 // c0·x0 + c1·x1 + …, from the left
	Fused Mode = 1 // c0·x0, then acc = cᵢ·xᵢ + acc with one rounding (a first coefficient of 1 is no product)
	Mean  Mode = 2 // (x0 + x1 + …) / c0
	Lerp  Mode = 3 // two terms, w = c1: w < 0.5: w·(x1−x0) + x0, else (w−1)·(x1−x0) + x1, the product fused with the sum
	Task  Mode = 4 // three terms: x0 + c1·(x1−x2)
	TaskF Mode = 5 // the same, the product fused with the sum

	// Stepwise is added to the modes above: each operation is rounded to the recipe's dtype too, as programs do that compute in it.
	Stepwise Mode = 128
)

// Bounds on recipes.
const (
	MaxTerms  = 8       // of a piece
	MaxBlob   = 1 << 24 // bytes of output and of each source
	MaxLen    = 192 << 10
	maxSource = 1024
	maxPiece  = 4096
)

// Term is a range of a source, as long as its piece asks.
type Term struct {
	Source int        // index in Recipe.Sources
	DType  dtype.Kind // of its elements; 0 for Copy
	Off    int64      // in bytes
	Coef   float32    // of Linear, else 0
}

// Piece is a run of the output.
type Piece struct {
	Op    Op
	Mode  Mode
	Len   int64 // bytes of output
	Rows  int   // of the source matrix of a Transpose, else 0
	Terms []Term
}

// Recipe is a list of pieces. Make one with New or Parse.
type Recipe struct {
	DType   dtype.Kind // of the output
	Sources [][32]byte // ids of the blobs, each used by some term
	Pieces  []Piece
	starts  []int64 // of the pieces, and the end of the last
}

// New returns the recipe of pieces, which it keeps, or errs.Invalid.
func New(dt dtype.Kind, sources [][32]byte, pieces []Piece) (*Recipe, error) {
	r := &Recipe{DType: dt, Sources: sources, Pieces: pieces}
	if why := r.check(); why != "" {
		return nil, fmt.Errorf("recipe: %s: %w", why, errs.Invalid)
	}
	return r, nil
}

// Len returns the length of the output in bytes.
func (r *Recipe) Len() int64 { return r.starts[len(r.starts)-1] }

// Copies reports whether the output has nothing but bytes of the sources, and gaps.
func (r *Recipe) Copies() bool {
	for i := range r.Pieces {
		if r.Pieces[i].Op > Copy {
			return false
		}
	}
	return true
}

// check fills in starts and returns what is wrong, or "".
func (r *Recipe) check() string {
	if len(r.Sources) < 1 || len(r.Sources) > maxSource || len(r.Pieces) < 1 || len(r.Pieces) > maxPiece {
		return fmt.Sprintf("%d sources, %d pieces", len(r.Sources), len(r.Pieces))
	}
	used := make([]bool, len(r.Sources))
	r.starts = make([]int64, 1, len(r.Pieces)+1)
	at := int64(0)
	for i := range r.Pieces {
		p := &r.Pieces[i]
		if why := r.checkPiece(p, at); why != "" {
			return fmt.Sprintf("piece %d: %s", i, why)
		}
		for j := range p.Terms {
			used[p.Terms[j].Source] = true
		}
		at += p.Len
		r.starts = append(r.starts, at)
	}
	for i, u := range used {
		if !u {
			return fmt.Sprintf("source %d is not used", i)
		}
	}
	return ""
}

func (r *Recipe) checkPiece(p *Piece, at int64) string {
	if p.Len < 1 || p.Len > MaxBlob-at {
		return fmt.Sprintf("%d bytes at %d", p.Len, at)
	}
	if why := r.checkOp(p); why != "" {
		return why
	}
	width := int64(r.DType.Width())
	if p.Op >= Cast && (width == 0 || at%width != 0 || p.Len%width != 0) {
		return fmt.Sprintf("%d bytes at %d are no elements of %s", p.Len, at, r.DType)
	}
	if p.Op != Transpose && p.Rows != 0 || p.Op == Transpose && (p.Rows < 1 || p.Len/width%int64(p.Rows) != 0) {
		return fmt.Sprintf("%d rows", p.Rows)
	}
	for i := range p.Terms {
		t := &p.Terms[i]
		if t.Source < 0 || t.Source >= len(r.Sources) {
			return fmt.Sprintf("source %d of %d", t.Source, len(r.Sources))
		}
		if n := r.termLen(p, t, p.Len); t.Off < 0 || t.Off > MaxBlob-n {
			return fmt.Sprintf("%d bytes at %d of a source", n, t.Off)
		}
	}
	return ""
}

// checkOp checks operation, mode, and number and kinds of the terms.
func (r *Recipe) checkOp(p *Piece) string {
	kinds, ok := true, false
	for i := range p.Terms {
		dt := p.Terms[i].DType
		switch p.Op {
		case Copy:
			kinds = kinds && dt == dtype.Bytes
		case Transpose:
			kinds = kinds && dt == r.DType
		case Cast:
			kinds = kinds && float(dt) && float(r.DType) && (dt != r.DType || p.Mode >= ViaBF16)
		case Linear:
			kinds = kinds && single(dt) && single(r.DType)
		}
	}
	n := len(p.Terms)
	switch p.Op {
	case Gap:
		ok = n == 0 && p.Mode == 0
	case Copy, Transpose:
		ok = n == 1 && p.Mode == 0
	case Cast:
		ok = n == 1 && castMode(p.Mode, r.DType, p.Terms[0].DType)
	case Linear:
		switch p.Mode &^ Stepwise {
		case Sum, Fused, Mean:
			ok = n >= 1 && n <= MaxTerms
		case Lerp:
			ok = n == 2
		case Task, TaskF:
			ok = n == 3
		}
	}
	if !ok || !kinds {
		return fmt.Sprintf("operation %d in mode %d with %d terms for %s", p.Op, p.Mode, n, r.DType)
	}
	return ""
}

// castMode reports whether a mode is for a cast from one kind to another.
func castMode(m Mode, to, from dtype.Kind) bool {
	wide := func(dt dtype.Kind) bool { return dt == dtype.F32 || dt == dtype.F64 }
	switch m {
	case Nearest:
		return true
	case Truncate:
		return to == dtype.BF16 && from == dtype.F32
	case ViaBF16, ViaF16:
		return wide(to) && wide(from)
	}
	return false
}

// termLen returns how many bytes of a term n bytes of its piece's output stand for.
func (r *Recipe) termLen(p *Piece, t *Term, n int64) int64 {
	if p.Op == Cast || p.Op == Linear {
		return n / int64(r.DType.Width()) * int64(t.DType.Width())
	}
	return n
}

// single reports whether elements of dt are exact in binary32.
func single(dt dtype.Kind) bool { return dt == dtype.F32 || dt == dtype.BF16 || dt == dtype.F16 }

// float reports whether Cast knows dt.
func float(dt dtype.Kind) bool { return single(dt) || dt == dtype.F64 }
