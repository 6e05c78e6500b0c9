package similar

import (
	"bufio"
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
		mem := make([][]byte, len(from))
		for i := range mem {
			mem[i] = make([]byte, readBuffer/postingSize*postingSize)
		}
		for w.table = range simhash.Tables {
			if err := w.mergeTable(from, renumber, mem); err != nil {
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

// tableReader reads the postings of one table of a run, with new numbers.
type tableReader struct {
	r        *run
	table    int
	read     uint32 // postings so far
	renumber []uint32
	buf      []byte // read and not yet looked at
	mem      []byte

	ok bool
	at posting
}

// next goes to the next posting that is not of a dropped record; ok is false after the last.
func (p *tableReader) next() error {
	for {
		if len(p.buf) == 0 {
			if p.ok = false; p.read == p.r.postings[p.table] {
				return nil
			}
			if err := p.fill(); err != nil {
				return err
			}
		}
		e := decodePosting(p.buf)
		p.buf = p.buf[postingSize:]
		if e.number >= uint32(len(p.renumber)) || e.key < p.at.key {
			return fmt.Errorf("run %s: posting of record %d of %d, key %x after %x: %w", p.r.name, e.number, len(p.renumber), e.key, p.at.key, errs.Corrupt)
		}
		p.at = posting{e.key, p.renumber[e.number], e.extra}
		if p.ok = p.at.number != dropped; p.ok {
			return nil
		}
	}
}

func (p *tableReader) fill() error {
	n := min(uint32(len(p.mem)/postingSize), p.r.postings[p.table]-p.read)
	p.buf = p.mem[:n*postingSize]
	if _, err := p.r.f.ReadAt(p.buf, p.r.at[p.table]+int64(p.read)*postingSize); err != nil {
		return fmt.Errorf("run %s: postings: %w", p.r.name, err)
	}
	p.read += n
	return nil
}

// mergeTable writes one table of all runs.
func (w *runWriter) mergeTable(from []*run, renumber [][]uint32, mem [][]byte) error {
	in := make([]tableReader, len(from))
	for i, r := range from {
		in[i] = tableReader{r: r, table: w.table, renumber: renumber[i], mem: mem[i]}
		if err := in[i].next(); err != nil {
			return err
		}
	}
	var group []posting
	for {
		key, any := uint32(0), false
		for i := range in {
			if in[i].ok && (!any || in[i].at.key < key) {
				key, any = in[i].at.key, true
			}
		}
		if !any {
			return w.err
		}
		group = group[:0] // at most maxBucket of each run, unless a file was tampered with; oldest first, as runs are
		for i := range in {
			for in[i].ok && in[i].at.key == key {
				if len(group) == 2*maxBucket {
					group = group[:copy(group, group[maxBucket:])]
				}
				group = append(group, in[i].at)
				if err := in[i].next(); err != nil {
					return err
				}
			}
		}
		w.bucket(group)
	}
}
