package merge

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"coral/delta/format"
	"coral/internal/errs"
	"coral/internal/oid"
)

// outputBuffer is how much of a file that is made is written at a time.
const outputBuffer = 1 << 20

// write makes a file and ingests it. The temporary file has no name: nothing is left of it whatever happens.
func (m *merger) write(ctx context.Context, p *plan, prev oid.ID) (id oid.ID, size int64, err error) {
	f, err := os.CreateTemp(m.TempDir, "merge-*")
	if err != nil {
		return oid.ID{}, 0, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return oid.ID{}, 0, err
	}
	out := &output{m: m, ctx: ctx, p: p, f: f}
	out.w = bufio.NewWriterSize(&counted{f, func(n int64) { m.progress(p.path, n) }, 0}, outputBuffer)
	if p.relaid {
		size, err = out.relay()
	} else {
		size, err = out.inPlace()
	}
	if err != nil {
		return oid.ID{}, 0, err
	}
	if err := ctx.Err(); err != nil {
		return oid.ID{}, 0, err
	}
	id, stored, err := m.store.Ingest(ctx, f, size, p.path, prev)
	if err != nil {
		return oid.ID{}, 0, err
	}
	m.res.Bytes += p.sides[0].Size // as it was planned
	m.res.Stored += stored
	return id, size, nil
}

// counted tells how much was written.
type counted struct {
	w    io.Writer
	told func(n int64)
	n    int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.told(c.n)
	return n, err
}

// output is a file that is made.
type output struct {
	m   *merger
	ctx context.Context // of the merge that it lives in
	p   *plan
	f   *os.File
	w   *bufio.Writer
}

// inPlace copies ours with other bytes in the places of the tensors that change.
func (o *output) inPlace() (size int64, err error) {
	ours := o.p.sides[0]
	var edits []*action
	for i := range o.p.actions {
		if a := &o.p.actions[i]; a.verb != keep && !a.done && a.out.Length > 0 {
			edits = append(edits, a)
		}
	}
	slices.SortFunc(edits, func(a, b *action) int { return cmp.Compare(a.out.Offset, b.out.Offset) })
	at := int64(0)
	for _, a := range edits {
		if err := o.copy(at, a.out.Offset); err != nil {
			return 0, err
		}
		if err := o.tensor(a, o.w, a.out.Length); err != nil {
			return 0, err
		}
		at = a.out.Offset + a.out.Length
	}
	if err := o.copy(at, ours.Size); err != nil {
		return 0, err
	}
	if err := o.w.Flush(); err != nil {
		return 0, err
	}
	return ours.Size, o.seal(edits)
}

// copy copies a range of ours.
func (o *output) copy(from, to int64) error {
	if from > to {
		return fmt.Errorf("tensors overlap at %d: %w", to, errs.Invalid) // shared has seen to it that they do not
	}
	_, err := io.Copy(o.w, io.NewSectionReader(at{o.ctx, o.p.sides[0]}, from, to-from))
	return err
}

// tensor writes the bytes of one tensor, exactly length.
func (o *output) tensor(a *action, w io.Writer, length int64) error {
	err := format.Exactly(w, length, func(w io.Writer) error {
		if a.verb == compute {
			return o.m.compute(o.ctx, o.p, a, w)
		}
		v := o.p.sides[a.side]
		t := v.get(a.name)
		if a.flat {
			t = flat(t)
		}
		_, err := io.Copy(w, v.Reader(o.ctx, t))
		return err
	})
	if err != nil {
		return fmt.Errorf("tensor %s: %w", a.name, err)
	}
	return nil
}

// at is a version as an io.ReaderAt.
type at struct {
	ctx context.Context
	v   *version
}

func (a at) ReadAt(p []byte, off int64) (int, error) { return a.v.ReadAt(a.ctx, p, off) }
