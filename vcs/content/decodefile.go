package content

import (
	"context"
	"fmt"
)

// Decode calls fn for every run of the file with its offset, from several goroutines at once and in any order: the fastest way to have all of it once. The block
// checksums are verified. p is fn's only until it returns. The first error, of fn or of decoding, ends Decode.
func (f *File) Decode(ctx context.Context, fn func(off int64, p []byte) error) error {
	each := func(w *window) error {
		for i := range w.parts {
			if err := w.parts[i].err; err != nil {
				return err
			}
		}
		return fn(w.off, w.buf)
	}
	if err := f.pass(ctx, each, nil); err != nil {
		return fmt.Errorf("decode manifest %s: %w", f.id, err)
	}
	return nil
}
