package convert

import (
	"context"
	"errors"
	"io"
	"math"

	"coral/delta/format/dtype"
	"coral/delta/format/gguf"
	"coral/delta/format/values"
)

// batch is how many values are cast at a time: whole blocks of any kind.
const batch = 32 << 10

// fill writes a tensor's bytes to w, cast if it has to be.
func (p *Plan) fill(ctx context.Context, it *item, w io.Writer) error {
	if p.bytes == nil {
		p.bytes = make([]byte, batch*8)
	}
	r := it.file.Reader(ctx, it.t)
	if it.out.DType == it.t.DType {
		_, err := io.CopyBuffer(w, onlyReader{r}, p.bytes)
		return err
	}
	if p.floats == nil {
		p.floats = make([]float64, batch)
	}
	for {
		n, err := r.Floats(p.floats)
		if n > 0 {
			b, eerr := p.encode(p.floats[:n], it.out.DType)
			if eerr != nil {
				return eerr
			}
			if _, werr := w.Write(b); werr != nil {
				return werr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// onlyReader hides other methods from io.CopyBuffer, so that the buffer is used.
type onlyReader struct{ io.Reader }

// encode returns values in kind k, in p's buffer.
func (p *Plan) encode(v []float64, k dtype.Kind) ([]byte, error) {
	if k == dtype.Q8_0 {
		b := p.bytes[:len(v)/gguf.QuantBlock*gguf.QuantBytes]
		return b, gguf.EncodeQ8_0(b, v)
	}
	limit := tooLarge(k)
	for _, x := range v {
		if a := math.Abs(x); a >= limit && a <= math.MaxFloat64 {
			p.Overflowed++
		}
	}
	b := p.bytes[:len(v)*k.Width()]
	values.Encode(b, v, k)
	return b, nil
}

// tooLarge returns the least magnitude that a kind does not hold: half a unit in the last place above its largest number, which rounds up.
func tooLarge(k dtype.Kind) float64 {
	switch k {
	case dtype.F32:
		return math.Ldexp(2-math.Ldexp(1, -24), 127)
	case dtype.BF16:
		return math.Ldexp(2-math.Ldexp(1, -8), 127)
	case dtype.F16:
		return math.Ldexp(2-math.Ldexp(1, -11), 15)
	case dtype.F8E5M2:
		return math.Ldexp(2-math.Ldexp(1, -3), 15)
	case dtype.F8E4M3:
		return math.Nextafter(464, 500) // 464 rounds down, to 448
	}
	return math.Inf(1)
}
