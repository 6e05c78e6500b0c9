package pack

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
)

// scanWindow is what a scan reads at a time: large enough for the disk, small enough for a page of memory.
const scanWindow = 256 << 10

// Scan finds the frames in [from, to), in order, and calls frame for each: intact says that its payload has the right checksum (always true
// without verify: payloads are then not read). Where no frame header is, it looks for the next one and
// calls gap for the bytes between; the end of a torn pack is a gap too. gap may be nil. from is where a frame begins.
// Memory does not depend on the pack.
func (r *Reader) Scan(ctx context.Context, from, to int64, verify bool, frame func(e Entry, intact bool) error, gap func(off, length int64) error) error {
	w := &window{r: r, end: to}
	for off := from; off < to; {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, ok, err := w.frame(off)
		if err != nil {
			return err
		}
		if !ok {
			next, err := w.resync(ctx, off+1)
			if err != nil {
				return err
			}
			if gap != nil {
				if err := gap(off, next-off); err != nil {
					return err
				}
			}
			off = next
			continue
		}
		intact := true
		if verify {
			sum, err := w.sum(ctx, off+HeaderSize, int64(f.Length))
			if err != nil {
				return err
			}
			intact = sum == f.Sum
		}
		if err := frame(Entry{Frame: f, Offset: off}, intact); err != nil {
			return err
		}
		off += f.Size()
	}
	return nil
}

// window is a buffer over [.., end) of a pack.
type window struct {
	r   *Reader
	end int64
	buf []byte
	at  int64 // offset of buf
	mem []byte
}

// peek returns the bytes at off that are in the buffer, at least atLeast of them unless the pack ends before. It reads only
// when it must. They are valid until the next call.
func (w *window) peek(off int64, atLeast int) ([]byte, error) {
	need := min(int64(atLeast), w.end-off)
	if off < w.at || off+need > w.at+int64(len(w.buf)) {
		if w.mem == nil {
			w.mem = make([]byte, min(scanWindow, w.end-off)) // what is left only gets less
		}
		want := min(int64(scanWindow), w.end-off)
		k, err := w.r.f.ReadAt(w.mem[:want], off)
		if int64(k) < want && err != io.EOF {
			w.buf = nil
			return nil, fmt.Errorf("read pack %s at %d: %w", w.r.name, off, err)
		}
		w.buf, w.at = w.mem[:k], off
	}
	return w.buf[min(off-w.at, int64(len(w.buf))):], nil
}

// frame decodes the header at off; ok is false if there is none or its payload passes the end.
func (w *window) frame(off int64) (Frame, bool, error) {
	b, err := w.peek(off, HeaderSize)
	if err != nil {
		return Frame{}, false, err
	}
	f, ok := decodeFrame(b, w.r.salt, off)
	return f, ok && off+f.Size() <= w.end, nil
}

// resync returns where the next frame at or after off begins, or the end.
func (w *window) resync(ctx context.Context, off int64) (int64, error) {
	for off < w.end {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b, err := w.peek(off, HeaderSize)
		if err != nil {
			return 0, err
		}
		if len(b) < HeaderSize {
			return w.end, nil
		}
		i := bytes.Index(b, frameMagic)
		if i < 0 {
			off += int64(len(b) - len(frameMagic) + 1)
			continue
		}
		off += int64(i)
		if _, ok, err := w.frame(off); err != nil || ok {
			return off, err
		}
		off++
	}
	return w.end, nil
}

// sum returns the checksum of n bytes at off, or of what there is of them.
func (w *window) sum(ctx context.Context, off, n int64) (uint64, error) {
	d := xxhash.New()
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		b, err := w.peek(off, 1)
		if err != nil {
			return 0, err
		}
		if len(b) == 0 {
			break
		}
		b = b[:min(int64(len(b)), n)]
		_, _ = d.Write(b)
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return d.Sum64(), nil
}
