package merge

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sort"

	"coral/delta/format"
	"coral/delta/format/zipdir"
)

// archived reports whether a format keeps tensors in a ZIP archive, which has a CRC-32 of each entry.
func archived(name string) bool { return name == format.TorchZip || name == format.NPZ }

// directory reads the archive's; nil if it cannot be written to: several archives, or one that is not understood.
func directory(r io.ReaderAt, size int64) (*zipdir.Dir, error) {
	dir, err := zipdir.Read(r, size)
	if err != nil {
		return nil, err
	}
	if dir.Begin != 0 {
		return nil, nil
	}
	return dir, dir.Resolve(r)
}

// checkArchive looks whether the checksums of ours can follow.
func (m *merger) checkArchive(ctx context.Context, p *plan) error {
	ours := p.sides[0]
	if !archived(ours.Format) {
		return nil
	}
	r := at{ctx, ours}
	dir, err := directory(r, ours.Size)
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	for i := range p.actions {
		a := &p.actions[i]
		if a.verb == keep || a.done || a.out.Length == 0 {
			continue
		}
		var e *zipdir.Entry
		if err == nil && dir != nil {
			e = entryOf(dir, a.out.Offset, a.out.Length)
		}
		if e != nil {
			_, _, cerr := e.CRCs(r)
			if cerr == nil {
				continue
			}
		}
		m.conflict(p.path, a.name, "the checksum of its entry in the archive cannot be changed")
	}
	return nil
}

// entryOf returns the uncompressed entry that holds a range; nil if there is none. Entries of a resolved directory are in order of place.
func entryOf(dir *zipdir.Dir, off, n int64) *zipdir.Entry {
	i := sort.Search(len(dir.Entries), func(i int) bool { return dir.Entries[i].Data > off }) - 1
	if i < 0 {
		return nil
	}
	if e := &dir.Entries[i]; e.Stored() && off+n <= e.Data+e.Packed {
		return e
	}
	return nil
}

// seal sets the checksums of the entries that edits changed.
func (o *output) seal(edits []*action) error {
	if !archived(o.p.sides[0].Format) || len(edits) == 0 {
		return nil
	}
	dir, err := directory(o.f, o.p.sides[0].Size)
	if err != nil {
		return err
	}
	done := map[*zipdir.Entry]bool{}
	for _, a := range edits {
		e := entryOf(dir, a.out.Offset, a.out.Length)
		if e == nil || done[e] {
			continue // checkArchive has found one for each
		}
		done[e] = true
		places, _, err := e.CRCs(o.f)
		if err != nil {
			return err
		}
		sum := crc32.NewIEEE()
		if _, err := io.Copy(sum, io.NewSectionReader(o.f, e.Data, e.Packed)); err != nil {
			return err
		}
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], sum.Sum32())
		for _, at := range places {
			if _, err := o.f.WriteAt(b[:], at); err != nil {
				return err
			}
		}
	}
	return nil
}
