package delta

import (
	"fmt"
	"slices"

	"coral/delta/coralml"
	"coral/delta/field"
	"coral/delta/lit"
	"coral/delta/lossy"
	"coral/delta/ordint"
	"coral/delta/palette"
	"coral/delta/same"
	"coral/delta/solo"
	"coral/delta/sparse"
	"coral/internal/errs"
)

// decoderState holds the decoders of single codecs; each is made when first needed: 256 KiB for split
// blocks, 128 KiB for differences.
type decoderState struct {
	lit  lit.Coder
	solo *solo.Decoder
	ord  *ordint.Decoder
	cols *field.Decoder
	pal  *palette.Coder
	cml  *coralml.Coder
	few  sparse.Coder
	pred []byte // what the base predicts: a block, 1 MiB at most
	loss *lossy.Coder
}

func newDecoder() *Decoder { return new(Decoder) }

func (d *Decoder) decodeBlock(h *Header, i int, dst, stored, base []byte) error {
	if i < 0 || i >= h.blocks() {
		return fmt.Errorf("decode block %d of %d: %w", i, h.blocks(), errs.Invalid)
	}
	e := h.entries[i]
	where := func() string { return fmt.Sprintf("block %d of %d (%v)", i, h.blocks(), e.codec) }
	if len(dst) != h.rawLen(i) {
		return fmt.Errorf("decode %s: %d raw bytes into %d: %w", where(), h.rawLen(i), len(dst), errs.Invalid)
	}
	if len(stored) != int(e.stored) {
		return corrupt(where(), "%d stored bytes, want %d", len(stored), e.stored)
	}
	if e.codec.needsBase() && len(base) != len(dst) {
		return corrupt(where(), "%d bytes of the base, want %d", len(base), len(dst))
	}
	if err := d.decode(h, e.codec, dst, stored, base); err != nil {
		return corrupt(where(), "%v", err)
	}
	if got := checksum(dst); got != e.sum {
		return corrupt(where(), "checksum %08x, want %08x", got, e.sum)
	}
	return nil
}

// decode decodes a block whose lengths have been checked.
func (d *decoderState) decode(h *Header, c codecID, dst, stored, base []byte) error {
	switch c {
	case codecRaw:
		copy(dst, stored)
	case codecZero:
		clear(dst)
	case codecConst:
		same.Fill(dst, stored)
	case codecZstd:
		return d.lit.Decompress(dst, stored)
	case codecSame:
		copy(dst, base)
	case codecSplit:
		if d.solo == nil {
			d.solo = new(solo.Decoder)
		}
		return d.solo.Decode(h.shape, &h.split, dst, stored)
	case codecOrdint, codecWide:
		return d.difference(h, dst, stored, base)
	case codecSparse:
		return d.places(h, dst, stored, base)
	case codecPredOrdint:
		d.pred = slices.Grow(d.pred[:0], len(base))[:len(base)]
		h.pred.Apply(d.pred, base)
		return d.difference(h, dst, stored, d.pred)
	case codecPredicted:
		h.pred.Apply(dst, base)
	case codecColumns:
		if d.cols == nil {
			d.cols = new(field.Decoder)
		}
		return d.cols.Decode(h.layout, &h.columns, dst, stored)
	case codecPalette:
		if d.pal == nil {
			d.pal = new(palette.Coder)
		}
		w, _ := palette.Width(h.dtype)
		return d.pal.Decode(dst, stored, w)
	case codecFloat32Raw, codecCompressed, codecXorFloat32, codecXorBFloat16, codecFields, codecFieldsBase:
		if d.cml == nil {
			d.cml = new(coralml.Coder)
		}
		return d.cml.Decode(coralCodec(c), h.dtype, dst, stored, base)
	case codecQuant8, codecQuant16, codecQuant8Base, codecQuant16Base, codecAxis:
		if d.loss == nil {
			d.loss = new(lossy.Coder)
		}
		return d.loss.Decode(lossyCodec(c), h.dtype, dst, stored, base)
	default:
		return errs.Unsupported
	}
	return nil
}

// difference decodes a difference to base.
func (d *decoderState) difference(h *Header, dst, stored, base []byte) error {
	if d.ord == nil {
		d.ord = new(ordint.Decoder)
	}
	return d.ord.Decode(h.ord, dst, stored, base)
}

// places decodes a block of which a few elements are not as in the base.
func (d *decoderState) places(h *Header, dst, stored, base []byte) error {
	k, _ := ordKind(h.dtype)
	w := k.Width()
	copy(dst, base)
	tail := len(dst) % w
	rest, err := d.few.Parse(stored, len(dst)/w)
	if err != nil {
		return err
	}
	if len(rest) < tail {
		return sparse.ErrPlaces
	}
	copy(dst[len(dst)-tail:], rest[len(rest)-tail:])
	changed := d.few.Room(w)
	if err := d.difference(h, changed, rest[:len(rest)-tail], d.few.Take(base, w)); err != nil {
		return err
	}
	d.few.Put(dst, changed, w)
	return nil
}
