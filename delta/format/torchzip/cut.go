package torchzip

import (
	"errors"
	"io"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/pickle"
	"coral/delta/format/scan"
	"coral/delta/format/zipdir"
)

// storage is an entry that holds a storage's bytes.
type storage struct {
	entry *zipdir.Entry
	name  string
	named bool // by a tensor
	kind  dtype.Kind
}

// cutter collects the layout of all archives of a file.
type cutter struct {
	r       io.ReaderAt
	layout  *format.Layout
	pickles int64 // bytes of pickles that may still be scanned
	names   int   // bytes of names so far
	dims    int
}

// archive adds the payloads and tensors of archive i of n. The names of all pickles but data.pkl, of which an archive may have several, begin with theirs.
func (c *cutter) archive(a *archive, i, n int) error {
	in := a.index()
	big, err := c.isBig(in.byteorder)
	if err != nil {
		return err
	}
	for _, p := range in.pickles {
		if p.Packed <= c.pickles {
			c.pickles -= p.Packed
			if err := c.pickle(in, p, a.folder(p), a.prefix(i, n, p), big); err != nil {
				return err
			}
		}
	}
	for _, s := range in.order {
		if s.entry.Packed == 0 {
			continue
		}
		if !s.named {
			s.name = format.CleanName(a.prefix(i, n, nil) + s.name)
		}
		c.layout.Payloads = append(c.layout.Payloads, format.Payload{
			Offset: s.entry.Data, Length: s.entry.Packed, DType: s.kind, Name: s.name,
		})
	}
	return nil
}

// isBig reports whether the byteorder entry says that elements are big-endian.
func (c *cutter) isBig(e *zipdir.Entry) (bool, error) {
	if e == nil || e.Packed != 3 {
		return false, nil
	}
	s := scan.New(c.r, e.Data, e.Data+3)
	return string(s.Next(3)) == "big", s.Err()
}

// pickle scans one pickle, names the storages that it refers to, and adds its tensors. Damage in a pickle costs names, never
// payloads.
func (c *cutter) pickle(in *content, p *zipdir.Entry, folder, prefix string, big bool) error {
	res, err := pickle.Scan(scan.New(c.r, p.Data, p.Data+p.Packed))
	if err != nil && !errors.Is(err, format.ErrDamaged) {
		return err
	}
	found := make([]*storage, len(res.Storages))
	for i := range res.Storages {
		if s := in.storage(folder, res.Storages[i].Key); s != nil {
			found[i] = s
			s.describe(&res.Storages[i], prefix, big)
		}
	}
	for i := range res.Tensors {
		t := &res.Tensors[i]
		s := found[t.Storage]
		if s == nil {
			continue
		}
		out, ok := t.Place(s.entry.Data, s.entry.Packed, big)
		if !ok {
			continue
		}
		out.Name = format.CleanName(prefix + t.Name)
		c.names += len(out.Name)
		c.dims += len(out.Shape)
		if len(c.layout.Tensors) >= format.MaxTensors || c.names > format.MaxNames || c.dims > format.MaxAllDims {
			return nil
		}
		c.layout.Tensors = append(c.layout.Tensors, out)
	}
	return nil
}

// describe takes over what a pickle says about the storage; the first pickle that names it counts.
func (s *storage) describe(st *pickle.Storage, prefix string, big bool) {
	if !s.named && st.Name != "" {
		s.name, s.named = format.CleanName(prefix+st.Name), true
	}
	if w := int64(st.Kind.Width()); s.kind == dtype.Bytes && w > 0 && s.entry.Packed%w == 0 && (!big || w == 1) {
		s.kind = st.Kind
	}
}
