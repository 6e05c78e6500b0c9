package convert

import (
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/gguf"
	"coral/delta/format/npy"
	"coral/delta/format/safetensors"
	"coral/delta/format/torchzip"
	"coral/internal/errs"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// Input is a file whose tensors are converted.
type Input struct {
	Name     string // for errors
	File     *tensor.File
	Metadata map[string]string // of a safetensors file
	GGUF     []gguf.Entry      // the metadata of a GGUF file
}

// Options say what is made.
type Options struct {
	To           string     // format.Safetensors, TorchZip, NPZ or GGUF
	Cast         bool       // floats become DType; else they stay what they are
	DType        dtype.Kind // F64, F32, BF16, F16, F8E4M3, F8E5M2; of GGUF also Q8_0
	Include      []string   // globs of names (path.Match); empty: all
	Exclude      []string
	MaxShard     int64  // bytes of tensors in one output of safetensors; 0: no limit
	Architecture string // general.architecture of GGUF; "": that of the input, else "unknown"
}

// Output is one file to write.
type Output struct {
	Shard, Shards int // 1 of 1 for a single file
	Tensors       int
	Bytes         int64 // of tensors
	items         []int
	w             writer
}

// writer is one of the writers of delta/format.
type writer interface {
	Write(dst io.Writer, fill format.Fill) error
}

// Plan is what will be written.
type Plan struct {
	Outputs    []*Output
	Cast       int      // tensors whose kind changes
	LeftOut    int      // tensors that Include and Exclude leave out
	Notes      []string // what a user should know of the result
	Overflowed int64    // finite values that were too large for their new kind; known when all is written

	opts   Options
	gguf   []gguf.Entry // of the input
	items  []item
	floats []float64
	bytes  []byte
}

// item is a tensor of the result.
type item struct {
	out  format.Item
	file *tensor.File
	t    *object.Tensor
}

// New plans the conversion of all tensors of the inputs. What the container cannot hold is errs.Invalid and names the tensor.
func New(inputs []Input, opts Options) (*Plan, error) {
	p := &Plan{opts: opts}
	from := map[string]string{}
	for i := range inputs {
		if err := p.add(&inputs[i], from); err != nil {
			return nil, err
		}
	}
	if len(p.items) == 0 {
		if p.LeftOut > 0 {
			return nil, fmt.Errorf("all %d tensors are left out: %w", p.LeftOut, errs.Invalid)
		}
		return nil, fmt.Errorf("there are no tensors in it that can be read: %w", errs.Invalid)
	}
	if len(inputs) == 1 {
		p.gguf = inputs[0].GGUF
	}
	if err := p.outputs(metadata(inputs)); err != nil {
		return nil, err
	}
	return p, nil
}

// add plans the tensors of one input; from has the input of each name.
func (p *Plan) add(in *Input, from map[string]string) error {
	type place struct{ off, length int64 }
	places := map[place][]int{}
	for i := range in.File.Tensors {
		t := &in.File.Tensors[i]
		ok, err := p.wanted(t.Name)
		if err != nil {
			return err
		}
		if !ok {
			p.LeftOut++
			continue
		}
		if was, ok := from[t.Name]; ok {
			return fmt.Errorf("tensor %q: it is in %s and in %s; leave one out: %w", t.Name, was, in.Name, errs.Invalid)
		}
		from[t.Name] = in.Name
		it, err := p.item(in.File, t)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if t.Stride == nil && t.Length > 0 { // the same bytes of the same file as the same thing
			at := place{t.Offset, t.Length}
			for _, k := range places[at] {
				if o := p.items[k].t; o.DType == t.DType && slices.Equal(o.Shape, t.Shape) {
					it.out.TiedTo = k + 1
					break
				}
			}
			if it.out.TiedTo == 0 {
				places[at] = append(places[at], len(p.items))
			}
		}
		p.items = append(p.items, it)
	}
	return nil
}

// wanted applies Include and Exclude.
func (p *Plan) wanted(name string) (bool, error) {
	in, err := matches(p.opts.Include, name)
	if err != nil {
		return false, err
	}
	out, err := matches(p.opts.Exclude, name)
	return (in || len(p.opts.Include) == 0) && !out, err
}

func matches(globs []string, name string) (bool, error) {
	for _, g := range globs {
		if ok, err := path.Match(g, name); ok || err != nil {
			if err != nil {
				err = fmt.Errorf("glob %q: %v: %w", g, err, errs.Invalid)
			}
			return ok, err
		}
	}
	return false, nil
}

// item decides what a tensor becomes.
func (p *Plan) item(f *tensor.File, t *object.Tensor) (item, error) {
	kind := p.kind(t)
	it := item{file: f, t: t, out: format.Item{Name: t.Name, DType: kind, Shape: t.Shape, Length: tensor.Bytes(t)}}
	if kind == t.DType {
		return it, nil
	}
	n, ok := format.Elements(t.Shape)
	switch {
	case !ok || n > 1<<59:
		return it, fmt.Errorf("shape %v: %w", t.Shape, errs.Invalid)
	case kind == dtype.Q8_0:
		it.out.Length = n / gguf.QuantBlock * gguf.QuantBytes
	default:
		it.out.Length = n * int64(kind.Width())
	}
	p.Cast++
	return it, nil
}

// float reports whether k is a kind that casts change. Integers, flags, complex numbers and scales (F8_E8M0) stay as they are.
func float(k dtype.Kind) bool {
	switch k {
	case dtype.F64, dtype.F32, dtype.BF16, dtype.F16, dtype.F8E4M3, dtype.F8E5M2:
		return true
	}
	return false
}

// quantised reports whether k is a block-quantised kind, which other containers hold as F32, or as what the floats are cast to.
func quantised(k dtype.Kind) bool { return k.Width() == 0 && tensor.Numbers(k) }

// kind returns what the elements of t become. In a GGUF file, as llama.cpp's converters do it, vectors stay F32 where matrices become shorter, and a matrix whose
// rows are no whole blocks becomes F16 in place of Q8_0.
func (p *Plan) kind(t *object.Tensor) dtype.Kind {
	quantised := quantised(t.DType)
	if quantised && p.opts.To == format.GGUF && (!p.opts.Cast || p.opts.DType == t.DType) {
		return t.DType
	}
	if !p.opts.Cast && quantised {
		return dtype.F32
	}
	if !p.opts.Cast || !float(t.DType) && !quantised {
		return t.DType
	}
	to := p.opts.DType
	if p.opts.To != format.GGUF || to != dtype.F16 && to != dtype.BF16 && to != dtype.Q8_0 {
		return to
	}
	if len(t.Shape) < 2 {
		return dtype.F32
	}
	if to == dtype.Q8_0 && t.Shape[len(t.Shape)-1]%gguf.QuantBlock != 0 {
		return dtype.F16
	}
	return to
}

// metadata is that of the result as safetensors: of one input its own, and always the format, without which transformers refuses a file.
func metadata(inputs []Input) map[string]string {
	out := map[string]string{}
	if len(inputs) > 0 {
		for k, v := range inputs[0].Metadata {
			if !slices.ContainsFunc(inputs[1:], func(in Input) bool { w, ok := in.Metadata[k]; return !ok || w != v }) {
				out[k] = v // what all of them say
			}
		}
	}
	if out["format"] == "" {
		out["format"] = "pt"
	}
	return out
}

// outputs divides the items into files and lays these out.
func (p *Plan) outputs(meta map[string]string) error {
	groups := p.shards()
	for k, items := range groups {
		o := &Output{Shard: k + 1, Shards: len(groups), items: items, Tensors: len(items)}
		list := make([]format.Item, len(items))
		for i, n := range items {
			list[i] = p.items[n].out
			if len(groups) > 1 {
				list[i].TiedTo = 0 // indexes are of the whole
			}
			o.Bytes += list[i].Length
		}
		var err error
		if o.w, err = p.writer(list, meta); err != nil {
			return err
		}
		p.Outputs = append(p.Outputs, o)
	}
	return nil
}

func (p *Plan) writer(items []format.Item, meta map[string]string) (writer, error) {
	switch p.opts.To {
	case format.Safetensors:
		return safetensors.NewWriter(items, meta)
	case format.TorchZip:
		return torchzip.NewWriter(items)
	case format.NPZ:
		return npy.NewZipWriter(items)
	case format.GGUF:
		if i := slices.IndexFunc(items, func(it format.Item) bool { return len(it.Name) > gguf.MaxNameLen }); i >= 0 {
			p.Notes = append(p.Notes, fmt.Sprintf("names of more than %d bytes, such as %s: llama.cpp refuses them", gguf.MaxNameLen, items[i].Name))
		}
		return gguf.NewWriter(items, gguf.Model{Source: p.gguf, Architecture: p.opts.Architecture, FileType: p.fileType(), KeepFileType: !p.opts.Cast})
	}
	return nil, fmt.Errorf("format %q is not written: %w", p.opts.To, errs.Invalid)
}

func (p *Plan) fileType() uint32 {
	if p.opts.Cast {
		switch p.opts.DType {
		case dtype.Q8_0:
			return gguf.FileQ8_0
		case dtype.F16:
			return gguf.FileF16
		case dtype.BF16:
			return gguf.FileBF16
		}
	}
	return gguf.FileF32
}

// shards returns the items of each output. As huggingface_hub's split_torch_state_dict_into_shards: in order, a tensor that does not fit opens the next
// shard, and one that is longer than a shard is alone in its own.
func (p *Plan) shards() [][]int {
	var out [][]int
	var open []int
	size := int64(0)
	for i := range p.items {
		n := p.items[i].out.Length
		if limit := p.opts.MaxShard; limit > 0 && p.opts.To == format.Safetensors {
			if n > limit {
				out = append(out, []int{i})
				continue
			}
			if size+n > limit {
				out, open, size = append(out, open), nil, 0
			}
		}
		open, size = append(open, i), size+n
	}
	if len(open) > 0 {
		out = append(out, open)
	}
	return out
}

// Names calls fn with the name and output of each tensor, sorted by name: what an index file lists.
func (p *Plan) Names(fn func(name string, o *Output)) {
	type entry struct {
		name string
		o    *Output
	}
	var list []entry
	for _, o := range p.Outputs {
		for _, i := range o.items {
			list = append(list, entry{p.items[i].out.Name, o})
		}
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for _, e := range list {
		fn(e.name, e.o)
	}
}

// Write writes output o to w. progress is told of bytes written of tensors, as they are.
func (p *Plan) Write(ctx context.Context, o *Output, w io.Writer, progress func(n int64, tensor string)) error {
	return o.w.Write(w, func(i int, w io.Writer) error {
		it := &p.items[o.items[i]]
		return p.fill(ctx, it, counting{w, func(n int64) { progress(n, it.out.Name) }})
	})
}

// counting tells of what is written.
type counting struct {
	w  io.Writer
	fn func(n int64)
}

// Write implements io.Writer.
func (c counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.fn(int64(n))
	return n, err
}
