package content

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"coral/internal/errs"
	"coral/internal/oid"
)

// Materialize writes the whole content to dst, which it truncates, with parallel decoding. Long runs of zeros become
// holes. The block checksums are verified; with verify, the file's BLAKE3 too. After an error dst holds part of the content.
// dst need not be readable and is not synced.
func (f *File) Materialize(ctx context.Context, dst *os.File, verify bool) error {
	if err := f.materialize(ctx, dst, verify); err != nil {
		return fmt.Errorf("materialize %s: %w", dst.Name(), err)
	}
	return nil
}

func (f *File) materialize(ctx context.Context, dst *os.File, verify bool) error {
	// To nothing first: what was there must not show through the holes.
	if err := dst.Truncate(0); err != nil {
		return err
	}
	if err := dst.Truncate(f.m.Size); err != nil {
		return err
	}
	write := func(w *window) error {
		for i := range w.parts {
			if err := w.parts[i].err; err != nil {
				return err
			}
		}
		if isZero(w.buf) {
			return nil
		}
		_, err := dst.WriteAt(w.buf, w.off)
		return err
	}
	if !verify {
		return f.pass(ctx, write, nil)
	}
	hash := oid.NewHasher()
	sum := func(w *window) error {
		_, err := hash.Write(w.buf)
		return err
	}
	if err := f.pass(ctx, write, sum); err != nil {
		return err
	}
	return f.checkHash(hash)
}

// checkHash compares the whole file's BLAKE3 with the manifest.
func (f *File) checkHash(h *oid.Hasher) error {
	if got := h.Sum(); got != f.m.Hash {
		return &errs.CorruptError{Where: "content of manifest " + f.id.String(), Offset: -1, Detail: fmt.Sprintf("BLAKE3 is %s, recorded %s", got, f.m.Hash)}
	}
	return nil
}

// isZero reports whether b is all zeros: it begins with one, and equals itself moved by one byte.
func isZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[1:], b[:len(b)-1])
}
