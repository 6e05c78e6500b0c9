package similar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	simhash "coral/delta/similar"
	"coral/internal/errs"
	"coral/internal/vfs"
)

// runWriter writes a run front to back. The first error is kept, and returned by seal.
type runWriter struct {
	f   vfs.File
	buf []byte
	at  int64 // of buf, in the file
	err error

	trailer
	table  int // being written
	fences []byte
}

const writeBuffer = 256 << 10

func (w *runWriter) write(b []byte) {
	if w.buf = append(w.buf, b...); len(w.buf) >= writeBuffer {
		w.flush()
	}
}

func (w *runWriter) flush() {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.f.WritevAt([][]byte{w.buf}, w.at)
	}
	w.at += int64(len(w.buf))
	w.buf = w.buf[:0]
}

// record appends a record; all come before the first posting.
func (w *runWriter) record(r *record) {
	w.records++
	w.write(r[:])
}

// posting appends one to the table that is being written. They come sorted.
func (w *runWriter) posting(e posting) {
	if w.postings[w.table]%fenceEvery == 0 {
		w.fences = binary.LittleEndian.AppendUint32(w.fences, e.key)
	}
	w.postings[w.table]++
	w.buf = binary.LittleEndian.AppendUint32(w.buf, e.key)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, e.number)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, e.extra)
	if len(w.buf) >= writeBuffer {
		w.flush()
	}
}

// bucket appends the newest maxBucket of the postings of one key.
func (w *runWriter) bucket(list []posting) {
	for _, e := range list[max(0, len(list)-maxBucket):] {
		w.posting(e)
	}
}

// end writes fences and trailer and makes the content durable.
func (w *runWriter) end() error {
	w.write(w.fences)
	w.write(w.encode(w.fences))
	w.flush()
	if w.err != nil {
		return w.err
	}
	return w.f.Sync()
}

const newSuffix = ".new"

// writeRun makes the run file name by fill, whole or not at all, and opens it.
func writeRun(fs vfs.FS, dir, name string, number uint64, fill func(*runWriter) error) (*run, error) {
	tmp := name + newSuffix
	f, err := fs.OpenFile(tmp, vfs.ReadWrite|vfs.Create, 0o600)
	if err != nil {
		return nil, err
	}
	w := &runWriter{f: f}
	err = f.Truncate(0) // what a killed process left
	if err == nil {
		err = fill(w)
	}
	if err == nil {
		err = w.end()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, name)
	}
	if err != nil {
		if rerr := fs.Remove(tmp); rerr != nil && !errors.Is(rerr, errs.NotFound) {
			err = errors.Join(err, rerr)
		}
		return nil, fmt.Errorf("write run %s: %w", name, err)
	}
	if err := fs.SyncDir(dir); err != nil {
		return nil, err
	}
	return openRun(fs, name, number)
}

// sealed fills a run with records from memory.
func sealed(recs []record) func(*runWriter) error {
	return func(w *runWriter) error {
		for i := range recs {
			w.record(&recs[i])
		}
		keys := make([][simhash.Tables]uint32, len(recs))
		for i := range recs {
			s := recs[i].sketch()
			keys[i] = s.Keys()
		}
		list := make([]uint64, len(recs))
		var group []posting
		for w.table = range simhash.Tables {
			for i := range keys {
				list[i] = uint64(keys[i][w.table])<<32 | uint64(i)
			}
			slices.Sort(list)
			for i := 0; i < len(list); {
				key := uint32(list[i] >> 32)
				group = group[:0]
				for ; i < len(list) && uint32(list[i]>>32) == key; i++ {
					n := uint32(list[i])
					group = append(group, posting{key, n, extra(recs[n].fingerprint(), w.table)})
				}
				w.bucket(group)
			}
		}
		return nil
	}
}
