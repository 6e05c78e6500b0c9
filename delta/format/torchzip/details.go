package torchzip

import (
	"errors"
	"io"

	"coral/delta/format"
	"coral/delta/format/pickle"
	"coral/delta/format/scan"
	"coral/delta/format/zipdir"
)

// Details returns what the pickles of a file that Parse has accepted hold beside their tensors, by the names that Parse gives those. Only the directories and the pickles are
// read; those with more than most bytes together are left out, and counted as one value each. A pickle that is damaged has what was found in it.
func Details(r io.ReaderAt, size, most int64) (*pickle.Details, error) {
	if err := zipdir.Want(r, size); err != nil {
		return nil, err
	}
	archives, err := read(r, size)
	if err != nil {
		return nil, err
	}
	out := &pickle.Details{}
	room := pickle.MaxValues
	for i, a := range archives {
		for _, p := range a.index().pickles {
			if p.Packed > most || room <= 0 {
				out.Left++
				continue
			}
			most -= p.Packed
			if err := a.dir.Locate(r, p); err != nil {
				return nil, err
			}
			d, err := pickle.ScanDetails(scan.New(r, p.Data, p.Data+p.Packed))
			if err != nil && !errors.Is(err, format.ErrDamaged) {
				return nil, err
			}
			prefix := a.prefix(i, len(archives), p)
			for j := range d.Values {
				room -= len(d.Values[j].Name) + len(d.Values[j].JSON)
				d.Values[j].Name = format.CleanName(prefix + d.Values[j].Name)
			}
			for j := range d.Quantizers {
				d.Quantizers[j].Name = format.CleanName(prefix + d.Quantizers[j].Name)
			}
			out.Values = append(out.Values, d.Values...)
			out.Quantizers = append(out.Quantizers, d.Quantizers...)
			out.Left += d.Left
		}
	}
	return out, nil
}
