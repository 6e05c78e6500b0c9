package tensor

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"coral/delta/format/dequant"
	"coral/delta/format/dtype"
	"coral/delta/format/values"
	"coral/internal/errs"
)

// Numbers reports whether Reader.Floats can read elements of kind k: plain numbers, and the block-quantised kinds that dequant knows.
func Numbers(k dtype.Kind) bool {
	_, _, ok := dequant.Block(k)
	return ok || values.Supported(k)
}

// quantBlocks is how many blocks are dequantised at a time: 64 KiB of the largest.
const quantBlocks = 224

// quant is the state of a Reader that dequantises.
type quant struct {
	in, out []byte // blocks, and their elements as float32
	ready   []byte // part of out
}

// dequantise is Floats for block-quantised kinds.
func (r *Reader) dequantise(dst []float64) (int, error) {
	elements, size, _ := dequant.Block(r.t.DType)
	if r.walk != nil || len(r.ready) > 0 || r.left%int64(size) != 0 {
		return 0, r.error(fmt.Errorf("blocks of %s that are not whole or in order: %w", r.t.DType, errs.Invalid))
	}
	if r.quant == nil {
		r.quant = &quant{in: make([]byte, quantBlocks*size), out: make([]byte, quantBlocks*elements*4)}
	}
	q := r.quant
	for done := 0; ; {
		n := min(len(dst)-done, len(q.ready)/4)
		for i := range n {
			dst[done+i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(q.ready[4*i:])))
		}
		done, q.ready = done+n, q.ready[4*n:]
		switch {
		case done == len(dst):
			return done, nil
		case r.left == 0:
			return done, io.EOF
		}
		in := q.in[:min(int64(len(q.in)), r.left)]
		if err := readFull(r.ctx, r.src, in, r.off); err != nil {
			return done, r.error(err)
		}
		r.off, r.left = r.off+int64(len(in)), r.left-int64(len(in))
		q.ready = q.out[:len(in)/size*elements*4]
		if err := dequant.Decode(q.ready, in, r.t.DType); err != nil {
			return done, r.error(err)
		}
	}
}
