package delta

import (
	"fmt"

	"coral/delta/field"
	"coral/delta/lossy"
	"coral/delta/ordint"
	"coral/delta/palette"
	"coral/delta/predict"
	"coral/delta/same"
	"coral/delta/solo"
	"coral/internal/errs"
)

// headerState is a parsed header with its decoding tables: 16 bytes a block, about 20 KiB for each Huffman
// table (one for most float blobs), 33 KiB for the table of differences and 16 KiB for a predictor.
type headerState struct {
	prefix
	entries []entry
	shape   solo.Shape
	split   solo.Tables
	layout  *field.Layout // nil if codecColumns does not code the kind
	columns field.Tables
	ord     *ordint.Table      // nil if there is none
	diff    codecID            // that ord is of
	ordMem  *ordint.Table      // kept for the next parse
	pred    *predict.Predictor // nil if there is none
	predMem *predict.Predictor
}

func parseHeader(b []byte, payloadLen int64) (*Header, error) {
	h := new(Header)
	if err := h.parse(b, payloadLen); err != nil {
		return nil, err
	}
	return h, nil
}

// parse makes h the header in b; it may hold another, whose memory is used again.
func (h *headerState) parse(b []byte, payloadLen int64) error {
	p, err := parsePrefix(b, payloadLen)
	if err != nil {
		return err
	}
	if int64(len(b)) != p.headerLen {
		return corrupt("block header", "%d bytes, want %d", len(b), p.headerLen)
	}
	body := b[:len(b)-sumLen]
	if got, want := checksum(body), le.Uint32(b[len(body):]); got != want {
		return corrupt("block header", "checksum %08x, want %08x", got, want)
	}
	h.prefix = p
	h.shape, _ = shapeOf(p.dtype)
	h.layout, _ = field.LayoutOf(p.dtype)
	if err := h.parseTables(body[PrefixLen+entryLen*p.blocks():]); err != nil {
		return err
	}
	return h.parseIndex(body[PrefixLen:], payloadLen)
}

func (h *headerState) parseTables(b []byte) error {
	h.split.Reset()
	h.columns.Reset()
	h.ord, h.pred = nil, nil
	for range h.tables {
		if len(b) < tableHeadLen || len(b)-tableHeadLen < int(le.Uint16(b[2:])) {
			return corrupt("block header", "tables end early")
		}
		kind, number, body := tableKind(b[0]), int(b[1]), b[tableHeadLen:tableHeadLen+int(le.Uint16(b[2:]))]
		b = b[tableHeadLen+len(body):]
		if err := h.parseTable(kind, number, body); err != nil {
			return err
		}
	}
	if len(b) != 0 {
		return corrupt("block header", "%d bytes after the tables", len(b))
	}
	return nil
}

func (h *headerState) parseTable(kind tableKind, number int, body []byte) error {
	switch kind {
	case tableHuff0:
		if number >= h.shape.Planes() {
			return corrupt("block header", "table of plane %d of %s", number, h.dtype)
		}
		if err := h.split.Parse(number, body); err != nil {
			return corrupt("block header", "%v", err)
		}
	case tableOrdint, tableWide:
		k, ok := ordKind(h.dtype)
		if _, want := diffCodec(k); !ok || kind != want || number != 0 || h.ord != nil {
			return corrupt("block header", "difference table %d of %s", number, h.dtype)
		}
		if h.ordMem == nil {
			h.ordMem = new(ordint.Table)
		}
		if err := h.ordMem.Parse(k, body); err != nil {
			return corrupt("block header", "difference table: %v", err)
		}
		h.ord = h.ordMem
		h.diff, _ = diffCodec(k)
	case tablePredict:
		if k, ok := ordKind(h.dtype); !ok || k != ordint.F32 || number != 0 || h.pred != nil {
			return corrupt("block header", "predictor %d of %s", number, h.dtype)
		}
		if h.predMem == nil {
			h.predMem = new(predict.Predictor)
		}
		if err := h.predMem.Parse(body); err != nil {
			return corrupt("block header", "%v", err)
		}
		h.pred = h.predMem
	case tableColumn, tableWindow:
		return h.parseColumn(kind, number, body)
	default:
		return fmt.Errorf("block header: table of kind %d: %w", kind, errs.Unsupported)
	}
	return nil
}

func (h *headerState) parseColumn(kind tableKind, number int, body []byte) error {
	if h.layout == nil || kind == tableWindow && number != 0 {
		return corrupt("block header", "table %d of kind %d of %s", number, kind, h.dtype)
	}
	var err error
	if kind == tableWindow {
		err = h.columns.ParseWindow(h.layout, body)
	} else {
		err = h.columns.ParseColumn(h.layout, number, body)
	}
	if err != nil {
		return corrupt("block header", "%v", err)
	}
	return nil
}

func (h *headerState) parseIndex(b []byte, payloadLen int64) error {
	n := h.blocks()
	h.entries = append(h.entries[:0], make([]entry, n)...)
	at := h.headerLen
	for i := range n {
		e := parseEntry(b[i*entryLen:])
		e.offset = uint32(at) // payloads are at most 2^24 bytes and a bit: checked below
		if at += int64(e.stored); at > payloadLen {
			return corrupt("block header", "block %d ends at %d of %d", i, at, payloadLen)
		}
		if err := h.check(i, e); err != nil {
			return err
		}
		h.entries[i] = e
	}
	if at != payloadLen {
		return corrupt("block header", "blocks end at %d of %d", at, payloadLen)
	}
	return nil
}

// check compares an index entry with what its codec stores.
func (h *headerState) check(i int, e entry) error {
	raw := h.rawLen(i)
	ok := true
	switch e.codec {
	case codecRaw:
		ok = int(e.stored) == raw
	case codecZero, codecSame:
		ok = e.stored == 0
	case codecConst:
		ok = same.ValidPattern(int(e.stored))
	case codecZstd:
		ok = int(e.stored) <= raw
	case codecSplit:
		ok = int(e.stored) <= raw && h.shape.Width > 0
	case codecOrdint, codecWide:
		ok = int(e.stored) <= raw && h.ord != nil && h.diff == e.codec
	case codecColumns:
		ok = int(e.stored) <= raw && raw <= 1<<typedBlockLog && h.layout != nil && h.columns.Complete(h.layout)
	case codecPalette:
		_, ok = palette.Width(h.dtype)
		ok = ok && int(e.stored) <= raw && raw <= 1<<typedBlockLog
	case codecFloat32Raw:
		ok = int(e.stored) == raw && coralCodec(e.codec).Codes(h.dtype)
	case codecCompressed, codecXorFloat32, codecXorBFloat16, codecFields, codecFieldsBase:
		ok = int(e.stored) <= raw && coralCodec(e.codec).Codes(h.dtype)
	case codecSparse:
		ok = int(e.stored) <= raw && h.ord != nil
	case codecPredOrdint:
		ok = int(e.stored) <= raw && h.ord != nil && h.pred != nil
	case codecPredicted:
		ok = e.stored == 0 && h.pred != nil
	case codecQuant8, codecQuant16, codecQuant8Base, codecQuant16Base, codecAxis:
		ok = int(e.stored) <= raw && lossy.Codes(h.dtype)
	default:
		return fmt.Errorf("block %d: %v: %w", i, e.codec, errs.Unsupported)
	}
	if !ok {
		return corrupt("block header", "block %d of %d raw bytes is %v in %d", i, raw, e.codec, e.stored)
	}
	return nil
}

// rawLen returns the raw length of block i.
func (h *headerState) rawLen(i int) int {
	return int(min(h.prefix.rawSize-int64(i)<<h.blockLog, 1<<h.blockLog))
}

func (h *Header) rawSize() int64  { return h.prefix.rawSize }
func (h *Header) blockLen() int64 { return 1 << h.blockLog }
func (h *Header) blocks() int     { return len(h.entries) }
func (h *Header) block(i int) Block {
	e := h.entries[i]
	return Block{Offset: int64(e.offset), Stored: int(e.stored), Raw: h.rawLen(i), NeedsBase: e.codec.needsBase()}
}

// Approximated reports whether a block is coded as an approximation: the blob is what `coral compact --lossy` made of
// another one, and worth less as a base.
func (h *Header) Approximated() bool {
	for i := range h.entries {
		if h.entries[i].codec.isApproximation() {
			return true
		}
	}
	return false
}

// Codec returns the name of block i's codec, for people.
func (h *Header) Codec(i int) string { return h.entries[i].codec.String() }
