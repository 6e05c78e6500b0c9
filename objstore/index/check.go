package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"

	"coral/internal/errs"
)

// What is needed of bbolt's file format, version 2: pages in the byte order of the machine, each with a header
//
//	0 8 page id   8 2 flags   10 2 count   12 4 overflow pages
//
// followed by count elements of 16 bytes: in a branch page (pos u32, ksize u32, child u64), in a leaf page
// (flags u32, pos u32, ksize u32, vsize u32), pos counted from the element. A bucket is a leaf value
// (root page u64, sequence u64); root 0 means that its only page follows in the value.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	boltPageHead = 16
	boltElem     = 16
	boltMetaSize = 64
	boltBranch   = 0x01
	boltLeaf     = 0x02
	boltMetaPage = 0x04
	boltFreelist = 0x10
	boltNoFree   = ^uint64(0)
	maxOverflow  = 1 << 10 // 4 MiB: far more than two hints
	maxDepth     = 32
)

var native = binary.NativeEndian

type boltMeta struct {
	pageSize       int64
	root, freelist uint64
	pages, txid    uint64
}

// decodeBoltMeta reads meta page id.
func decodeBoltMeta(page []byte, id uint64) (m boltMeta, ok bool) {
	if len(page) < boltPageHead+boltMetaSize {
		return m, false
	}
	b := page[boltPageHead : boltPageHead+boltMetaSize]
	h := fnv.New64a()
	_, _ = h.Write(b[:56])
	m = boltMeta{pageSize: int64(native.Uint32(b[8:])), root: native.Uint64(b[16:]), freelist: native.Uint64(b[32:]),
		pages: native.Uint64(b[40:]), txid: native.Uint64(b[48:])}
	return m, native.Uint64(page) == id && native.Uint16(page[8:]) == boltMetaPage && m.txid%2 == id && native.Uint32(b) == boltMagic && native.Uint32(b[4:]) == boltVersion && native.Uint64(b[56:]) == h.Sum64() &&
		m.pageSize >= 1024 && m.pageSize <= 1<<16 && m.pageSize&(m.pageSize-1) == 0
}

// checker walks a database file without trusting it.
type checker struct {
	r                  io.ReaderAt
	size               int64
	meta               boltMeta
	seen               []uint64 // bitmap of the pages visited
	free               []uint64 // pages of the free list, which itself is freePages long
	freePages, freeSum uint64
	leaf               func(bucket, key, value []byte) error
}

func bad(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errs.Corrupt)...)
}

// walk calls leaf for every key of every bucket of the file, in order, with the bucket's name. Anything that bbolt could trip over is errs.Corrupt.
// Slices are valid until leaf returns.
func walk(r io.ReaderAt, size int64, leaf func(bucket, key, value []byte) error) error {
	c := &checker{r: r, size: size, leaf: leaf}
	if err := c.readMeta(); err != nil {
		return err
	}
	if err := c.page(nil, c.meta.root, nil, nil, 0); err != nil {
		return err
	}
	return c.checkFree()
}

// readMeta takes the newer of the two meta pages, and wants both to be valid and of consecutive transactions. bbolt would fall back to
// the older one; but that index may know records which a Collect removed since, and have the store believe that it holds them. A
// meta page is written inside one sector, so a power cut does not tear it.
func (c *checker) readMeta() error {
	first, err := c.readAt(0, boltPageHead+boltMetaSize)
	if err != nil {
		return err
	}
	a, ok := decodeBoltMeta(first, 0)
	if !ok {
		return bad("meta page 0")
	}
	second, err := c.readAt(a.pageSize, boltPageHead+boltMetaSize)
	if err != nil {
		return err
	}
	b, ok := decodeBoltMeta(second, 1)
	if !ok || b.pageSize != a.pageSize || a.txid != b.txid+1 && b.txid != a.txid+1 {
		return bad("meta page 1")
	}
	m := a
	if b.txid > a.txid {
		m = b
	}
	if m.pages < 3 || m.pages > uint64(c.size/m.pageSize) {
		return bad("%d pages of %d bytes in a file of %d", m.pages, m.pageSize, c.size)
	}
	c.meta, c.seen = m, make([]uint64, (m.pages+63)/64)
	return c.readFreelist()
}

func (c *checker) readAt(off, n int64) ([]byte, error) {
	b := make([]byte, n)
	if k, err := c.r.ReadAt(b, off); int64(k) < n {
		if err == io.EOF {
			return nil, bad("the file ends at %d", off+int64(k))
		}
		return nil, err
	}
	return b, nil
}

// visit marks pages [id, id+n) and fails if one is out of bounds or was visited before.
func (c *checker) visit(id, n uint64) error {
	for i := id; i < id+n; i++ {
		if i < 2 || i >= c.meta.pages {
			return bad("page %d of %d", i, c.meta.pages)
		}
		if c.seen[i/64]&(1<<(i%64)) != 0 {
			return bad("page %d is used twice", i)
		}
		c.seen[i/64] |= 1 << (i % 64)
	}
	return nil
}

// page checks the subtree at page id of a bucket (nil: the root, which holds the buckets). Its keys are in [lo, hi).
func (c *checker) page(bucket []byte, id uint64, lo, hi []byte, depth int) error {
	if depth > maxDepth {
		return bad("tree is deeper than %d", maxDepth)
	}
	if err := c.visit(id, 1); err != nil {
		return err
	}
	b, err := c.readAt(int64(id)*c.meta.pageSize, c.meta.pageSize)
	if err != nil {
		return err
	}
	if over := uint64(native.Uint32(b[12:])); over > 0 {
		if over > maxOverflow {
			return bad("page %d has %d overflow pages", id, over)
		}
		if err := c.visit(id+1, over); err != nil {
			return err
		}
		if b, err = c.readAt(int64(id)*c.meta.pageSize, c.meta.pageSize*int64(over+1)); err != nil {
			return err
		}
	}
	if got := native.Uint64(b); got != id {
		return bad("page %d says it is page %d", id, got)
	}
	return c.elements(bucket, b, lo, hi, depth)
}

// elements checks what is on the page b.
func (c *checker) elements(bucket, b, lo, hi []byte, depth int) error {
	flags, count := native.Uint16(b[8:]), int(native.Uint16(b[10:]))
	if flags != boltBranch && flags != boltLeaf || boltPageHead+count*boltElem > len(b) {
		return bad("page %d: type %#x with %d elements", native.Uint64(b), flags, count)
	}
	if flags == boltBranch && count == 0 {
		return bad("page %d: empty branch", native.Uint64(b))
	}
	prev := lo
	for i := range count {
		e, at := b[boltPageHead+i*boltElem:], boltPageHead+i*boltElem
		pos, ksize, vsize := native.Uint32(e), native.Uint32(e[4:]), uint32(0)
		if flags == boltLeaf {
			pos, ksize, vsize = native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
		}
		start := uint64(at) + uint64(pos)
		end := start + uint64(ksize) + uint64(vsize)
		if start < uint64(boltPageHead+count*boltElem) || end > uint64(len(b)) || ksize == 0 {
			return bad("page %d: element %d is out of bounds", native.Uint64(b), i)
		}
		key, value := b[start:start+uint64(ksize)], b[start+uint64(ksize):end]
		if cmp := bytes.Compare(prev, key); prev != nil && (cmp > 0 || cmp == 0 && i > 0) || hi != nil && bytes.Compare(key, hi) >= 0 {
			return bad("page %d: element %d is out of order", native.Uint64(b), i)
		}
		prev = key
		if err := c.element(bucket, b, i, count, key, value, hi, depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) element(bucket, b []byte, i, count int, key, value, hi []byte, depth int) error {
	e := b[boltPageHead+i*boltElem:]
	if native.Uint16(b[8:]) == boltBranch {
		if i+1 < count {
			n := b[boltPageHead+(i+1)*boltElem:]
			start := uint64(boltPageHead+(i+1)*boltElem) + uint64(native.Uint32(n))
			end := start + uint64(native.Uint32(n[4:]))
			if end > uint64(len(b)) {
				return bad("page %d: element %d is out of bounds", native.Uint64(b), i+1)
			}
			hi = b[start:end]
		}
		return c.page(bucket, native.Uint64(e[8:]), key, hi, depth+1)
	}
	switch flags := native.Uint32(e); {
	case bucket != nil && flags == 0:
		return c.leaf(bucket, key, value)
	case bucket == nil && flags == 1:
		return c.bucket(slices.Clone(key), value)
	}
	return bad("page %d: element %d: a bucket where none can be", native.Uint64(b), i)
}

func (c *checker) bucket(name, value []byte) error {
	if len(value) < 16 {
		return bad("bucket %q is cut", name)
	}
	if root := native.Uint64(value); root != 0 {
		return c.page(name, root, nil, nil, 1)
	}
	page := value[16:]
	if len(page) < boltPageHead || native.Uint64(page) != 0 || native.Uint16(page[8:]) != boltLeaf {
		return bad("bucket %q: no page inside", name)
	}
	return c.elements(name, page, nil, nil, 1)
}

// verify walks the database and checks every value and the digest. It returns errs.Unsupported if the layout is of a later version.
func verify(r io.ReaderAt, size int64) error {
	var got digest
	var want *digest
	var firstErr error
	seen := map[string]bool{}
	note := func(err error) {
		if firstErr == nil {
			firstErr = err
		}
	}
	version := uint32(0)
	err := walk(r, size, func(bucket, key, value []byte) error {
		seen[string(bucket)] = true
		switch {
		case bytes.Equal(bucket, bucketRecords):
			_, sum, err := decodeRecord(key, value)
			if err != nil {
				note(err)
			}
			got.records, got.recordSum = got.records+1, got.recordSum+sum
		case bytes.Equal(bucket, bucketPacks):
			_, _, sum, err := decodePack(key, value)
			if err != nil {
				note(err)
			}
			got.packs, got.packSum = got.packs+1, got.packSum+sum
		case bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, metaFormat):
			if v, _, ok := open(key, value); ok && len(v) == 4 {
				version = binary.LittleEndian.Uint32(v)
			}
		case bytes.Equal(bucket, bucketMeta) && bytes.Equal(key, metaDigest):
			d, err := decodeDigest(value)
			if err != nil {
				note(err)
			}
			want = &d
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case version > Version:
		return fmt.Errorf("index version %d, this program knows %d: %w", version, Version, errs.Unsupported)
	case firstErr != nil:
		return firstErr
	case version == 0 || want == nil:
		return bad("no format or digest")
	case *want != got:
		return bad("%d records and %d packs, the digest says %d and %d, or their sums differ", got.records, got.packs, want.records, want.packs)
	}
	return nil
}
