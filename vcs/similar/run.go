package similar

import (
	"encoding/binary"
	"fmt"
	"math"
	mathbits "math/bits"
	"slices"
	"sort"
	"sync/atomic"

	simhash "coral/delta/similar"
	"coral/internal/errs"
	"coral/internal/vfs"
)

// run is an open run file. Whoever uses one holds a reference.
type run struct {
	name   string
	number uint64
	f      vfs.File
	trailer
	at    [simhash.Tables]int64 // where postings begin
	fence [simhash.Tables][]uint32
	refs  atomic.Int64 // 1 is the index's
}

// openRun opens the run file name and checks its trailer and fences.
func openRun(fs vfs.FS, name string, number uint64) (*run, error) {
	f, err := fs.OpenFile(name, vfs.ReadOnly, 0)
	if err != nil {
		return nil, err
	}
	r := &run{name: name, number: number, f: f}
	r.refs.Store(1)
	if err := r.load(); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	return r, nil
}

func (r *run) load() error {
	size, err := r.f.Size()
	if err != nil {
		return err
	}
	if size < trailerSize {
		return fmt.Errorf("%d bytes: %w", size, errs.Corrupt)
	}
	b := make([]byte, trailerSize)
	if _, err := r.f.ReadAt(b, size-trailerSize); err != nil {
		return err
	}
	if r.trailer, err = decodeTrailer(b, size); err != nil {
		return err
	}
	// The file has as many bytes as the trailer says, so this is bounded by what is there.
	raw := make([]byte, 4*r.fenceCount())
	if _, err := r.f.ReadAt(raw, r.start(simhash.Tables)); err != nil && len(raw) > 0 {
		return err
	}
	if trailerSum(raw, b) != binary.LittleEndian.Uint64(b[88:]) {
		return fmt.Errorf("checksum: %w", errs.Corrupt)
	}
	for t := range r.fence {
		r.at[t] = r.start(t)
		r.fence[t] = make([]uint32, fences(r.postings[t]))
		for i := range r.fence[t] {
			r.fence[t][i] = binary.LittleEndian.Uint32(raw)
			raw = raw[4:]
		}
	}
	return nil
}

// release gives a reference back; the last one closes the file.
func (r *run) release() {
	if r.refs.Add(-1) == 0 {
		_ = r.f.Close() // nothing was written to it
	}
}

// probe is a query as runs see it.
type probe struct {
	fingerprint *simhash.Fingerprint
	keys        [simhash.Tables]uint32
	close       int // most of the bits beside a posting that may differ
	buf         [fenceEvery * postingSize]byte
}

// newProbe makes the probe of a query. Of the 32 bits beside a posting an eighth of the distance differ, with a standard deviation that is at most the root of that: three of these are allowed.
func newProbe(q *Query) *probe {
	mean := float64(q.MaxDistance) * 32 / simhash.Bits
	return &probe{fingerprint: &q.Sketch.Fingerprint, keys: q.Sketch.Keys(), close: int(mean + 3*math.Sqrt(mean) + 1)}
}

// find appends to dst the numbers of at most maxFound records that have the probe's key in the table and are not far from it, the newest ones.
func (r *run) find(dst []uint32, table int, p *probe) ([]uint32, error) {
	key, bits := p.keys[table], extra(p.fingerprint, table)
	fence := r.fence[table]
	block := sort.Search(len(fence), func(i int) bool { return fence[i] > key }) - 1
	for limit := maxFound; block >= 0 && limit > 0; block-- {
		first := block * fenceEvery
		n := min(fenceEvery, int(r.postings[table])-first)
		b := p.buf[:n*postingSize]
		if _, err := r.f.ReadAt(b, r.at[table]+int64(first)*postingSize); err != nil {
			return dst, fmt.Errorf("run %s: postings: %w", r.name, err)
		}
		for i := n - 1; i >= 0 && limit > 0; i-- {
			e := decodePosting(b[i*postingSize:])
			if e.key > key {
				continue
			}
			if e.key < key {
				return dst, nil
			}
			if e.number >= r.records {
				return dst, fmt.Errorf("run %s: posting of record %d of %d: %w", r.name, e.number, r.records, errs.Corrupt)
			}
			if mathbits.OnesCount32(e.extra^bits) <= p.close {
				dst = append(dst, e.number)
				limit--
			}
		}
		if fence[block] < key {
			break
		}
	}
	return dst, nil
}

// record reads one record; ok is false if it is damaged.
func (r *run) record(number uint32, rec *record) (ok bool, err error) {
	if _, err := r.f.ReadAt(rec[:], int64(number)*recordSize); err != nil {
		return false, fmt.Errorf("run %s: record %d: %w", r.name, number, err)
	}
	return rec.whole(), nil
}

// examine appends to numbers those of the records that share a key with the probe, sorted, each once, at most limit.
func (r *run) examine(numbers []uint32, p *probe, limit int) ([]uint32, error) {
	var err error
	for t := range simhash.Tables {
		if numbers, err = r.find(numbers, t, p); err != nil {
			return numbers, err
		}
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	return numbers[max(0, len(numbers)-limit):], nil
}
