package similar

import (
	"errors"
	"fmt"
	"slices"

	"coral/internal/errs"
	"coral/internal/oid"
)

// stopped reports that nothing is written any more.
func (x *Index) stopped() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.broken
}

// seal makes a run of what is in memory, and merges. The caller holds writer.
func (x *Index) seal() {
	x.mu.Lock()
	enough := len(x.mem) > 0 && !x.broken
	x.mu.Unlock()
	if !enough {
		return
	}
	t, err := x.newTail()
	if err != nil {
		x.fail("start a tail", err)
		return
	}
	x.mu.Lock()
	old := x.tail
	x.tail, x.sealing, x.mem = t, x.mem, nil
	recs := x.sealing
	x.mu.Unlock()
	if old != nil {
		_ = old.f.Close() // a record that comes late for it is among recs
	}
	number := x.next
	x.next++
	r, err := writeRun(x.fs, x.dir, x.path(fileName(number, runSuffix)), number, sealed(recs))
	if err != nil {
		x.fail("seal the tail", err) // its file stays, and is sealed by the next process
		return
	}
	x.mu.Lock()
	x.runs = append(slices.Clip(x.runs), r)
	x.sealing = nil
	x.mu.Unlock()
	if old != nil {
		if err := x.remove(old.name); err != nil {
			x.fail("remove the sealed tail", err)
		}
	}
	x.mergeLast()
}

// mergeLast merges the last runs, as many as there are of which each is less than twice as large as all after it together: so runs double in size from the last to the first, and
// several that have to be merged are in one go. The caller holds writer.
func (x *Index) mergeLast() {
	_, runs, release := x.acquire()
	defer release()
	first, sum := len(runs), int64(0)
	for i := len(runs) - 1; i >= 0; i-- {
		n := int64(runs[i].records)
		if first < len(runs) && n >= 2*sum || sum+n > maxRecords {
			break
		}
		first, sum = i, sum+n
	}
	if len(runs)-first >= 2 {
		_ = x.replace(runs[first:], nil) // it has said so
	}
}

// replace puts one run, of the records that keep wants, in the place of neighbouring ones. The caller holds writer, and references to the runs.
func (x *Index) replace(old []*run, keep func(oid.ID) bool) error {
	number := old[len(old)-1].number
	r, err := writeRun(x.fs, x.dir, x.path(fileName(number, runSuffix)), number, merged(old, keep))
	if errors.Is(err, errs.Corrupt) { // which of them it is does not matter: all are made again
		for _, o := range old {
			x.drop(o, err)
		}
		return err
	}
	if err != nil {
		x.fail("merge runs", err)
		return err
	}
	x.mu.Lock()
	was := x.runs
	x.runs = nil
	for _, o := range was {
		if !slices.Contains(old, o) {
			x.runs = append(x.runs, o)
		}
	}
	at, _ := slices.BinarySearchFunc(x.runs, number, func(o *run, n uint64) int { return int(int64(o.number) - int64(n)) })
	x.runs = slices.Insert(x.runs, at, r)
	x.mu.Unlock()
	for _, o := range old[:len(old)-1] {
		if err := x.remove(o.name); err != nil {
			x.fail("remove a merged run", err)
		}
	}
	for _, o := range was {
		if slices.Contains(old, o) { // else a query has found damage in it, and dropped it
			o.release()
		}
	}
	return nil
}

// drop takes a run that is damaged out of use. Its file stays until the index is made again.
func (x *Index) drop(r *run, err error) {
	x.mu.Lock()
	at := slices.Index(x.runs, r)
	if at >= 0 {
		x.runs = slices.Delete(slices.Clone(x.runs), at, at+1)
	}
	x.mu.Unlock()
	if at >= 0 {
		x.lose(r.name, err)
		r.release()
	}
}

// Compact drops the records of blobs that keep does not want, after a collection. It reads and writes the whole index.
func (x *Index) Compact(keep func(oid.ID) bool) error {
	if x.readOnly {
		return fmt.Errorf("compact the index of similar tensors: %w", errs.ReadOnly)
	}
	x.writer.Lock()
	defer x.writer.Unlock()
	x.seal()
	_, runs, release := x.acquire()
	defer release()
	if len(runs) == 0 {
		return nil
	}
	if err := x.replace(runs, keep); err != nil {
		return fmt.Errorf("compact the index of similar tensors: %w", err)
	}
	return nil
}

// Reset empties the index, which is Incomplete until Complete is called: the beginning of making it again.
func (x *Index) Reset() error {
	if x.readOnly {
		return fmt.Errorf("reset the index of similar tensors: %w", errs.ReadOnly)
	}
	x.writer.Lock()
	defer x.writer.Unlock()
	if err := x.reset(); err != nil {
		return fmt.Errorf("reset the index of similar tensors: %w", err)
	}
	return nil
}

func (x *Index) reset() error {
	if err := x.mark(); err != nil {
		return err
	}
	names, err := x.fs.ReadDir(x.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == incompleteName {
			continue
		}
		if err := x.remove(x.path(name)); err != nil {
			return err
		}
	}
	x.mu.Lock()
	runs, t := x.runs, x.tail
	x.runs, x.sealing, x.mem, x.tail = nil, nil, nil, nil
	x.incomplete, x.broken = true, false
	x.mu.Unlock()
	for _, r := range runs {
		r.release()
	}
	if t != nil {
		_ = t.f.Close() // it is removed
	}
	return nil
}

// Complete says that every blob that belongs in the index has been added.
func (x *Index) Complete() error {
	x.mu.Lock()
	whole := !x.broken
	x.mu.Unlock()
	if !whole {
		return fmt.Errorf("complete the index of similar tensors: writing it failed: %w", errs.Invalid)
	}
	if err := x.remove(x.path(incompleteName)); err != nil {
		return fmt.Errorf("complete the index of similar tensors: %w", err)
	}
	x.mu.Lock()
	x.incomplete = false
	x.mu.Unlock()
	return nil
}
