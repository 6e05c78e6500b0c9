package delta

import (
	"bytes"
	"fmt"
	"slices"

	"coral/delta/coralml"
	"coral/delta/field"
	"coral/delta/format/dtype"
	"coral/delta/lit"
	"coral/delta/lossy"
	"coral/delta/ordint"
	"coral/delta/palette"
	"coral/delta/predict"
	"coral/delta/same"
	"coral/delta/solo"
	"coral/delta/sparse"
	"coral/internal/errs"
)

// encoderState is the scratch memory of encoding, about 2 MiB once all codecs were used, and zstd's. What grows with the
// blob is in dst only.
type encoderState struct {
	p        plan
	solo     *solo.Model
	ord      *ordint.Model
	cols     *field.Model
	pal      *palette.Coder
	lit      lit.Coder
	coral    *coralml.Coder
	lossy    *lossy.Coder
	strategy Strategy
	ordTable []byte
	pred     *predict.Predictor // found for the blob, if plan.hasPred
	fit      predict.Fitter
	few      sparse.Coder
	under    []byte // a block that was predicted
	tmp      []byte // a sample compressed
	piece    []byte // a sample

	dec   Decoder
	hdr   Header
	block [1 << bytesBlockLog]byte // decoded again

	damage  func(c codecID, stored []byte) // tests break blocks here, between coding and verification
	refused int                            // blocks that verification made raw: none, or a codec is wrong
}

const (
	minBlocks = 64        // shorter blobs are stored raw: a header is 28 bytes at least
	maxRaw    = 256 << 10 // longer ones always get blocks, for the checksums: a reader wants a part
	maxHead   = 64        // a payload is at most this and a thousandth longer than the blob
	minGain   = 128       // zstd must save this part of a block
)

func newEncoder(opts []Option) *Encoder {
	e := new(Encoder)
	for _, o := range opts {
		o(e)
	}
	return e
}

func (e *encoderState) encode(dst, raw, base []byte, dt dtype.Kind) ([]byte, Result, error) {
	if len(raw) > MaxBlob {
		return dst, Result{}, fmt.Errorf("encode blob of %d bytes, at most %d: %w", len(raw), MaxBlob, errs.Invalid)
	}
	start := len(dst)
	if len(raw) < minBlocks {
		return append(dst, raw...), Result{Codec: FrameRaw}, nil
	}
	e.plan(raw, base, dt)
	defer func() { e.p.raw, e.p.base = nil, nil }()
	for {
		dst = e.write(dst[:start])
		size := len(dst) - start
		if size >= len(raw) && len(raw) <= maxRaw {
			return append(dst[:start], raw...), Result{Codec: FrameRaw}, nil
		}
		ok, err := e.verify(dst[start:])
		if ok && size > len(raw)+len(raw)/1000+maxHead {
			ok, err = e.p.retreat(errs.TooLarge) // tables that no block made up for
		}
		if err != nil {
			return dst[:start], Result{}, err
		}
		if ok {
			return dst, Result{Codec: FrameBlocks, UsesBase: e.p.usesBase()}, nil
		}
	}
}

// write appends the payload: header with an empty index, blocks, then the index. A block that its codec
// does not shrink becomes raw in the plan.
func (e *encoderState) write(dst []byte) []byte {
	p := &e.p
	start := len(dst)
	head := prefix{dtype: p.dtype, blockLog: p.log, rawSize: int64(len(p.raw))}
	dst = head.append(dst)
	index := len(dst)
	for range p.codec {
		dst = appendEntry(dst, entry{})
	}
	dst, head.tables = e.writeTables(dst)
	head.headerLen = int64(len(dst) + sumLen - start)
	dst = append(dst, 0, 0, 0, 0)
	for i := range p.codec {
		at := len(dst)
		b := p.blockRaw(i)
		dst = e.writeBlock(dst, i)
		if n := len(dst) - at; n > len(b) || n == len(b) && !p.codec[i].storesNothing() && p.codec[i] != codecFloat32Raw {
			dst, p.codec[i] = append(dst[:at], b...), codecRaw
		}
		if e.damage != nil {
			e.damage(p.codec[i], dst[at:])
		}
		appendEntry(dst[:index+i*entryLen], entry{codec: p.codec[i], stored: uint32(len(dst) - at), sum: checksum(b)})
	}
	head.append(dst[:start])
	header := dst[start : start+int(head.headerLen)]
	le.PutUint32(header[len(header)-sumLen:], checksum(header[:len(header)-sumLen]))
	return dst
}

// writeTables appends the tables that the plan needs.
func (e *encoderState) writeTables(dst []byte) ([]byte, int) {
	n := 0
	if e.p.hasOrd {
		k, _ := ordKind(e.p.dtype)
		_, kind := diffCodec(k)
		dst = appendTable(dst, kind, 0, e.ordTable)
		n++
	}
	if e.p.hasPred {
		e.tmp = e.pred.Append(e.tmp[:0])
		dst = appendTable(dst, tablePredict, 0, e.tmp)
		n++
	}
	if e.p.needsSplit() {
		e.solo.Tables(func(plane int, body []byte) {
			dst = appendTable(dst, tableHuff0, plane, body)
			n++
		})
	}
	if e.p.needsColumns() {
		e.tmp = e.cols.Tables(e.tmp, func(column int, body []byte) {
			if n++; column < 0 {
				dst = appendTable(dst, tableWindow, 0, body)
			} else {
				dst = appendTable(dst, tableColumn, column, body)
			}
		})
	}
	return dst, n
}

func (p *plan) usesBase() bool { return slices.ContainsFunc(p.codec, codecID.needsBase) }

func (p *plan) needsSplit() bool   { return slices.Contains(p.codec, codecSplit) }
func (p *plan) needsColumns() bool { return slices.Contains(p.codec, codecColumns) }

// writeBlock appends block i by the plan's codec. What it appends for a block that cannot be coded
// is at least as long as the block.
func (e *encoderState) writeBlock(dst []byte, i int) []byte {
	p := &e.p
	b := p.blockRaw(i)
	switch p.codec[i] {
	case codecZero, codecSame, codecPredicted:
		return dst
	case codecConst:
		w, _ := same.Pattern(b)
		return append(dst, w...)
	case codecZstd:
		if out := e.lit.Compress(dst, b); len(out)-len(dst) < len(b)-len(b)/minGain {
			return out
		}
	case codecSplit:
		if out, ok := e.solo.Encode(dst, b); ok {
			return out
		}
	case codecOrdint, codecPredOrdint, codecWide:
		if out, ok := e.ord.Encode(dst, b, e.blockUnder(i)); ok {
			return out
		}
	case codecSparse:
		if out, ok := e.writeSparse(dst, b, p.blockBase(i)); ok {
			return out
		}
	case codecColumns:
		if out, ok := e.cols.Encode(dst, b, i<<p.log); ok {
			return out
		}
		p.codec[i] = codecZstd // too many exponents that are seldom elsewhere in the blob
		return e.writeBlock(dst, i)
	case codecPalette:
		w, _ := palette.Width(p.dtype)
		if out, ok := e.pal.Encode(dst, b, w); ok {
			return out
		}
	case codecFloat32Raw, codecCompressed, codecXorFloat32, codecXorBFloat16, codecFields, codecFieldsBase:
		if out, ok := e.coral.Encode(coralCodec(p.codec[i]), p.dtype, dst, b, p.blockBase(i)); ok {
			return out
		}
	case codecQuant8, codecQuant16, codecQuant8Base, codecQuant16Base, codecAxis:
		if out, ok := e.lossy.Encode(lossyCodec(p.codec[i]), p.dtype, dst, b, p.blockBase(i)); ok {
			return out
		}
	}
	return append(dst, b...)
}

// verify decodes the payload as a reader would and compares it with the raw bytes. Blocks that differ become
// raw in the plan and false is returned: the payload must be written again. An error means that not even
// raw blocks come back.
func (e *encoderState) verify(payload []byte) (bool, error) {
	p := &e.p
	n := int64(len(payload))
	size, err := headerLen(payload[:PrefixLen], n)
	if err == nil {
		err = e.hdr.parse(payload[:size], n)
	}
	if err != nil {
		return p.retreat(err)
	}
	ok := true
	for i := range p.codec {
		blk := e.hdr.block(i)
		raw, dst := p.blockRaw(i), e.block[:blk.Raw]
		stored := payload[blk.Offset : blk.Offset+int64(blk.Stored)]
		err := e.dec.decodeBlock(&e.hdr, i, dst, stored, p.blockBase(i))
		if err == nil && bytes.Equal(dst, raw) {
			continue
		}
		if p.codec[i] == codecRaw {
			return false, fmt.Errorf("verify raw block %d of %s: %w", i, p.dtype, errs.Corrupt)
		}
		p.codec[i], ok = codecRaw, false
		e.refused++
	}
	return ok, nil
}

// retreat makes all blocks raw and drops the tables, after a header that could not be read back.
func (p *plan) retreat(cause error) (bool, error) {
	if !p.hasOrd && !p.hasPred && !p.needsSplit() && !p.needsColumns() {
		return false, fmt.Errorf("verify header of %s: %w", p.dtype, cause)
	}
	p.hasOrd, p.hasPred = false, false
	for i := range p.codec {
		p.codec[i] = codecRaw
	}
	return false, nil
}
