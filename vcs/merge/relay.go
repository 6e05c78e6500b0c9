package merge

import (
	"io"

	"coral/delta/format"
	"coral/delta/format/safetensors"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// relay lays a safetensors file out anew, as the library does: the widest kinds first, then by name. Its __metadata__ is ours'.
func (o *output) relay() (size int64, err error) {
	w, kept, err := o.p.layout(at{o.ctx, o.p.sides[0]})
	if err != nil {
		return 0, err
	}
	err = w.Write(o.w, func(i int, dst io.Writer) error { return o.tensor(kept[i], dst, tensor.Bytes(kept[i].out)) })
	if err != nil {
		return 0, err
	}
	return w.Size(), o.w.Flush()
}

// layout returns what writes the file, and the tensors in the order of its items.
func (p *plan) layout(ours io.ReaderAt) (*safetensors.Writer, []*action, error) {
	meta, err := safetensors.Metadata(ours, p.sides[0].Size)
	if err != nil {
		return nil, nil, err
	}
	var kept []*action
	for i := range p.actions {
		if a := &p.actions[i]; a.verb != drop {
			kept = append(kept, a)
		}
	}
	w, err := safetensors.NewWriter(items(kept), meta)
	return w, kept, err
}

// items are the tensors of a file as a writer wants them.
func items(kept []*action) []format.Item {
	out := make([]format.Item, len(kept))
	for i, a := range kept {
		out[i] = item(a.out)
	}
	return out
}

func item(t *object.Tensor) format.Item {
	return format.Item{Name: t.Name, DType: t.DType, Shape: t.Shape, Length: tensor.Bytes(t)}
}
