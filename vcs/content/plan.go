package content

import (
	"coral/delta"
	"coral/delta/format"
	"coral/vcs/object"
)

// Where a file is cut. These numbers decide what two files share: changing one makes new files share nothing
// with those stored before, so they are fixed.
const (
	extentLen  = delta.MaxBlob // payloads are cut here, from the payload's start
	minPayload = 512           // shorter payloads count as literal: 100,000 scalars must not be 100,000 blobs
	maxLiteral = 1 << 20       // longer literal runs are cut by content, like a file without tensors
)

// Bounds on the manifest: a plan that would exceed one is made coarser.
const (
	maxPieces      = 1 << 18
	maxInlineBytes = 16 << 20
)

type pieceKind uint8

const (
	inlinePiece  pieceKind = iota // bytes in the manifest
	literalPiece                  // one blob of dtype Bytes
	extentPiece                   // one blob: an extent of a payload
	chunkedPiece                  // cut by content into blobs of dtype Bytes
)

// piece is a range of the file and what becomes of it. Pieces of a plan cover the file in order.
type piece struct {
	kind    pieceKind
	off, n  int64
	payload int // of an extent: index in Layout.Payloads
	extent  int // of an extent: which one of its payload
}

// planFile cuts a file of size bytes. layout is nil if nothing is known of what is inside.
func planFile(layout *format.Layout, size int64) []piece {
	p := planner{size: size, minPayload: minPayload, maxInline: object.MaxInline}
	if layout != nil {
		p.payloads = layout.Payloads
	}
	for {
		pieces, ok := p.plan()
		if ok {
			return pieces
		}
		// Absurd files only: more literals become blobs, more payloads literals, until it fits. The
		// last step is one literal run.
		p.maxInline /= 4
		p.minPayload *= 4
	}
}

type planner struct {
	payloads   []format.Payload
	size       int64
	minPayload int64
	maxInline  int64

	pieces      []piece
	inlineBytes int64
}

// plan returns the pieces, or false if a manifest of them would be too large.
func (p *planner) plan() ([]piece, bool) {
	p.pieces, p.inlineBytes = nil, 0
	at := int64(0)
	for i, pl := range p.payloads {
		if pl.Length < p.minPayload {
			continue
		}
		p.literal(at, pl.Offset)
		p.extents(i, pl)
		at = pl.Offset + pl.Length
		if len(p.pieces) > maxPieces+int(p.size/extentLen) || p.inlineBytes > maxInlineBytes {
			return nil, false
		}
	}
	p.literal(at, p.size)
	return p.pieces, true
}

// literal adds the bytes of [from, to).
func (p *planner) literal(from, to int64) {
	n := to - from
	switch {
	case n <= 0:
	case n <= p.maxInline:
		p.inlineBytes += n
		p.pieces = append(p.pieces, piece{kind: inlinePiece, off: from, n: n})
	case n <= maxLiteral && len(p.payloads) > 0:
		p.pieces = append(p.pieces, piece{kind: literalPiece, off: from, n: n})
	default:
		p.pieces = append(p.pieces, piece{kind: chunkedPiece, off: from, n: n})
	}
}

// extents adds the extents of payload i.
func (p *planner) extents(i int, pl format.Payload) {
	for k, at := 0, int64(0); at < pl.Length; k, at = k+1, at+extentLen {
		n := min(extentLen, pl.Length-at)
		p.pieces = append(p.pieces, piece{kind: extentPiece, off: pl.Offset + at, n: n, payload: i, extent: k})
	}
}
