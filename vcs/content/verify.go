package content

import (
	"context"
	"fmt"

	"coral/internal/errs"
	"coral/internal/oid"
)

// Verify reads everything, checks every blob's id and the file's BLAKE3, and reports each damaged blob, once. It returns nil if the file is whole,
// an error of class errs.Corrupt if it is not, and other errors (ctx's) if it could not find out. report is not called concurrently; err names the
// blob whose bytes are bad, which may be a base of the reported one. A missing blob is damage.
func (f *File) Verify(ctx context.Context, report func(blob oid.ID, err error)) error {
	v := verifier{f: f, report: report, file: oid.NewHasher(), blob: oid.NewHasher(), bad: map[oid.ID]bool{}}
	if err := f.pass(ctx, func(*window) error { return nil }, v.see); err != nil {
		return fmt.Errorf("verify manifest %s: %w", f.id, err)
	}
	if len(v.bad) > 0 {
		return &errs.CorruptError{Where: "content of manifest " + f.id.String(), Offset: -1, Detail: fmt.Sprintf("%d damaged blobs, the first: %v", len(v.bad), v.first)}
	}
	return f.checkHash(v.file)
}

// verifier follows a pass in file order.
type verifier struct {
	f      *File
	report func(oid.ID, error)
	file   *oid.Hasher
	blob   *oid.Hasher // of the segment in work
	bad    map[oid.ID]bool
	first  error
}

func (v *verifier) see(w *window) error {
	if _, err := v.file.Write(w.buf); err != nil {
		return err
	}
	for i := range w.parts {
		p := &w.parts[i]
		id := p.seg.Blob
		if id.IsZero() {
			continue
		}
		if p.in == 0 {
			v.blob.Reset()
		}
		if p.err != nil {
			v.damaged(id, p.err)
			continue
		}
		if _, err := v.blob.Write(p.buf); err != nil {
			return err
		}
		if p.in+int64(len(p.buf)) < p.seg.Length || v.bad[id] {
			continue
		}
		if got := v.blob.Sum(); got != id {
			v.damaged(id, corrupt(id, "decoded bytes have id %s", got))
		}
	}
	return nil
}

func (v *verifier) damaged(id oid.ID, err error) {
	if v.bad[id] {
		return
	}
	v.bad[id] = true
	if v.first == nil {
		v.first = err
	}
	v.report(id, err)
}
