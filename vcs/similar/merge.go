package similar

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	simhash "coral/delta/similar"
	"coral/internal/errs"
	"coral/internal/oid"
)

// dropped is the new number of a record that is left out.
const dropped = ^uint32(0)

const readBuffer = 64 << 10

// merged fills a run with the records of others, oldest run first: those that keep wants (nil: all) and that are whole.
func merged(from []*run, keep func(oid.ID) bool) func(*runWriter) error {
	return func(w *runWriter) error {
		renumber := make([][]uint32, len(from))
		for i, r := range from {
			var err error
			if renumber[i], err = w.copyRecords(r, keep); err != nil {
				return err
			}
		}
		for w.table = range simhash.Tables {
			if err := w.mergeTable(from, renumber); err != nil {
				return err
			}
		}
		return w.err
	}
}

// copyRecords appends the records of r, and returns their new numbers.
func (w *runWriter) copyRecords(r *run, keep func(oid.ID) bool) ([]uint32, error) {
	in := bufio.NewReaderSize(io.NewSectionReader(r.f, 0, int64(r.records)*recordSize), readBuffer)
	numbers := make([]uint32, r.records)
	for i := range numbers {
		var rec record
		if _, err := io.ReadFull(in, rec[:]); err != nil {
			return nil, fmt.Errorf("run %s: record %d: %w", r.name, i, err)
		}
		numbers[i] = dropped
		if rec.whole() && (keep == nil || keep(rec.id())) {
			numbers[i] = w.records
			w.record(&rec)
		}
	}
	return numbers, w.err
}

// postings reads those of one table of a run, with new numbers.
type postings struct {
	r        *run
	in       *bufio.Reader
	left     uint32
	renumber []uint32

	ok          bool
	key, number uint32
}

// next goes to the next posting that is not of a dropped record; ok is false after the last.
func (p *postings) next() error {
	for p.ok = false; p.left > 0 && !p.ok; p.left-- {
		var b [postingSize]byte
		if _, err := io.ReadFull(p.in, b[:]); err != nil {
			return fmt.Errorf("run %s: postings: %w", p.r.name, err)
		}
		key, number := binary.LittleEndian.Uint32(b[:]), binary.LittleEndian.Uint32(b[4:])
		if number >= uint32(len(p.renumber)) || key < p.key {
			return fmt.Errorf("run %s: posting of record %d of %d, key %x after %x: %w", p.r.name, number, len(p.renumber), key, p.key, errs.Corrupt)
		}
		p.key, p.number = key, p.renumber[number]
		p.ok = p.number != dropped
	}
	return nil
}

// mergeTable writes one table of all runs.
func (w *runWriter) mergeTable(from []*run, renumber [][]uint32) error {
	in := make([]postings, len(from))
	for i, r := range from {
		n := r.trailer.postings[w.table]
		section := io.NewSectionReader(r.f, r.at[w.table], int64(n)*postingSize)
		in[i] = postings{r: r, in: bufio.NewReaderSize(section, readBuffer), left: n, renumber: renumber[i]}
		if err := in[i].next(); err != nil {
			return err
		}
	}
	var group []uint32
	for {
		key, any := uint32(0), false
		for i := range in {
			if in[i].ok && (!any || in[i].key < key) {
				key, any = in[i].key, true
			}
		}
		if !any {
			return w.err
		}
		group = group[:0] // at most maxBucket of each run, unless a file was tampered with; oldest first, as runs are
		for i := range in {
			for in[i].ok && in[i].key == key {
				if len(group) == 2*maxBucket {
					group = group[:copy(group, group[maxBucket:])]
				}
				group = append(group, in[i].number)
				if err := in[i].next(); err != nil {
					return err
				}
			}
		}
		w.bucket(key, group)
	}
}
