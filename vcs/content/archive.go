package content

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/zipdir"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// checksums are the entries of a ZIP archive with payloads, in order of place, and where their CRC-32 stand. A nil one is a file that has none.
type checksums struct {
	entries []checksummed
}

type checksummed struct {
	from, to int64 // data
	places   []int64
	crc      uint32
}

// settable reports whether a payload may change: its entry's checksum is known, or there is none.
func (c *checksums) settable(p *format.Payload) bool {
	return c == nil || slices.ContainsFunc(c.entries, func(e checksummed) bool { return e.from <= p.Offset && p.Offset+p.Length <= e.to })
}

// archive finds the checksums of a file. Archives that cannot be understood have no entries.
func (a *Approximator) archive(ctx context.Context, f *File, l *format.Layout) (*checksums, error) {
	if l.Format != format.TorchZip && l.Format != format.NPZ && l.Format != format.Keras {
		return nil, nil
	}
	sums, r := &checksums{}, readerAt{ctx, f}
	dir, err := zipdir.Read(r, f.Size())
	if err == nil && dir.Begin == 0 { // else there are several archives
		err = dir.Resolve(r)
	}
	if err != nil || dir.Begin != 0 {
		return sums, ctx.Err()
	}
	next := 0
	for i := range dir.Entries { // in order of place, as payloads are
		e := &dir.Entries[i]
		for next < len(l.Payloads) && l.Payloads[next].Offset < e.Data {
			next++
		}
		if next == len(l.Payloads) || l.Payloads[next].Offset >= e.Data+e.Packed || !e.Stored() {
			continue
		}
		places, crc, err := e.CRCs(r)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			sums.entries = append(sums.entries, checksummed{from: e.Data, to: e.Data + e.Packed, places: places, crc: crc})
		}
	}
	return sums, nil
}

// setChecksums computes those of g, the file f with other payloads, and changes its literals: what is not a blob of its own yet is stored.
func (a *Approximator) setChecksums(ctx context.Context, g, f *File, sums *checksums) error {
	now := make([]uint32, len(sums.entries))
	i := 0
	err := g.pass(ctx, decoded, func(w *window) error {
		for end := w.off + int64(len(w.buf)); i < len(now) && sums.entries[i].from < end; i++ {
			e := &sums.entries[i]
			part := w.buf[max(e.from-w.off, 0):min(e.to-w.off, int64(len(w.buf)))]
			now[i] = crc32.Update(now[i], crc32.IEEETable, part)
			if e.to > end {
				break // it goes on in the next window
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	edits := map[int]map[int64]byte{} // of segments: offset in it → byte
	for i, e := range sums.entries {
		if now[i] == e.crc {
			continue
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], now[i])
		for _, at := range e.places {
			for j, v := range b {
				seg, start := f.segment(at + int64(j))
				if edits[seg] == nil {
					edits[seg] = map[int64]byte{}
				}
				edits[seg][at+int64(j)-start] = v
			}
		}
	}
	for seg, bytes := range edits {
		if err := a.edit(ctx, &g.m.Segments[seg], bytes); err != nil {
			return err
		}
	}
	return nil
}

// edit changes bytes of a literal segment.
func (a *Approximator) edit(ctx context.Context, seg *object.Segment, edits map[int64]byte) error {
	if seg.Blob.IsZero() {
		seg.Inline = bytes.Clone(seg.Inline)
		for at, v := range edits {
			seg.Inline[at] = v
		}
		return nil
	}
	raw, err := a.s.BlobBytes(ctx, seg.Blob)
	if err != nil {
		return err
	}
	for at, v := range edits {
		raw[at] = v
	}
	id := oid.Sum(raw)
	if !a.s.b.Has(id) {
		payload, res, err := a.enc.Encode(nil, raw, nil, dtype.Bytes)
		if err != nil {
			return err
		}
		rec := objstore.Record{Kind: objstore.Blob, ID: id, Codec: uint16(res.Codec), DType: uint8(dtype.Bytes), RawSize: int64(len(raw)), Payload: payload}
		if err := a.s.b.Put(ctx, rec); err != nil {
			return err
		}
	}
	seg.Blob = id
	return nil
}
