package content

import (
	"context"
	"io"
	"os"
	"sync"

	"coral/internal/oid"
)

// Reopener is what a reader given to Ingest may also be: a file that will probably stay as it is for a while. The bytes of its blobs are then read from it when a
// later file is compared with them, instead of being decoded: a page cache is faster than a chain of deltas. They are compared with their id; a file that has
// changed or gone costs a look.
type Reopener interface {
	io.ReaderAt
	Reopen() (*os.File, error)
}

// maxPlains bounds how many blobs are known to lie in plain files: 100 bytes each.
const maxPlains = 1 << 15

// plains knows in which files blobs lie as they are. Safe for concurrent use.
type plains struct {
	mu    sync.Mutex
	refs  map[oid.ID]plainRef
	order []oid.ID // a ring: the oldest is replaced
	next  int
}

// plainRef is where a blob lies.
type plainRef struct {
	file Reopener
	off  int64
}

func (p *plains) put(id oid.ID, r plainRef) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refs == nil {
		p.refs = map[oid.ID]plainRef{}
	}
	if _, known := p.refs[id]; !known {
		if len(p.order) < maxPlains {
			p.order = append(p.order, id)
		} else {
			delete(p.refs, p.order[p.next])
			p.order[p.next] = id
			p.next = (p.next + 1) % maxPlains
		}
	}
	p.refs[id] = r
}

func (p *plains) get(id oid.ID) (plainRef, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.refs[id]
	return r, ok
}

// plainReader keeps the file that a slot read last open.
type plainReader struct {
	from Reopener
	file *os.File
}

// read fills dst from off of the plain file that a blob lies in. What it reads is to be compared with the blob's id, or to be no more than a hint.
func (r *plainReader) read(ref plainRef, dst []byte, off int64) bool {
	if r.from != ref.file {
		r.close()
		f, err := ref.file.Reopen()
		if err != nil {
			return false
		}
		r.from, r.file = ref.file, f
	}
	_, err := r.file.ReadAt(dst, ref.off+off)
	return err == nil
}

func (r *plainReader) close() {
	if r.file != nil {
		_ = r.file.Close() // it was only read from
	}
	*r = plainReader{}
}

// wholeBlob fills dst, as long as the blob, with its bytes: from a plain file if there is one, else by decoding.
func (s *Store) wholeBlob(ctx context.Context, sl *slot, id oid.ID, dst []byte) error {
	if ref, ok := s.plains.get(id); ok && sl.plain.read(ref, dst, 0) && oid.Sum(dst) == id {
		s.count.plainRead.Add(int64(len(dst)))
		return nil
	}
	return s.decodeBlob(ctx, id, dst)
}
