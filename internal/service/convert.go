package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs/convert"
)

// ConvertRequest is `coral convert`.
type ConvertRequest struct {
	Src      control.Text `json:"src"`
	OnDisk   bool         `json:"on_disk,omitempty"` // Src is an absolute path, not REV:PATH
	Dst      control.Text `json:"dst"`
	To       string       `json:"to,omitempty"`
	DType    string       `json:"dtype,omitempty"`
	Include  []string     `json:"include,omitempty"`
	Exclude  []string     `json:"exclude,omitempty"`
	MaxShard Size         `json:"max_shard,omitempty"`
	Arch     string       `json:"arch,omitempty"`
	Force    bool         `json:"force,omitempty"`
}

// Flags implements Request.
func (r *ConvertRequest) Flags(f *pflag.FlagSet) {
	f.StringVar(&r.To, "to", "", "`format` of the result: safetensors, pt, npz or gguf (default by DST's name)")
	f.StringVar(&r.DType, "dtype", "", "cast floats to this `dtype`: f64, f32, bf16, f16, f8_e4m3, f8_e5m2; of gguf also q8_0")
	f.StringArrayVar(&r.Include, "include", nil, "only tensors whose name matches this `glob` (repeatable)")
	f.StringArrayVar(&r.Exclude, "exclude", nil, "no tensors whose name matches this `glob` (repeatable)")
	f.Var(&r.MaxShard, "max-shard-size", "divide safetensors into files of at most so many bytes of tensors: 5G")
	f.StringVar(&r.Arch, "arch", "", "general.architecture of a gguf file (default that of a gguf source, else unknown)")
	f.BoolVar(&r.Force, "force", false, "replace files that are there")
}

// SetArgs implements Request.
func (r *ConvertRequest) SetArgs(args []string) error {
	if len(args) < 2 {
		return control.Usagef("convert: give a source (a file, a directory or REV:PATH) and a destination")
	}
	if err := refuseEmpty("convert", args); err != nil {
		return err
	}
	r.Src, r.Dst = control.Text(args[0]), control.Text(args[1])
	if _, err := r.options(false); err != nil {
		return control.Usagef("convert: %v", err)
	}
	return atMost("convert", args, 2)
}

// Access implements Request.
func (r *ConvertRequest) Access() Access { return Reads }

// Localize implements Localizer: what is there on the disk is meant before what is in the repository.
func (r *ConvertRequest) Localize() error {
	if _, err := os.Stat(string(r.Src)); err == nil {
		abs, err := realPath(string(r.Src), false)
		if err != nil {
			return fmt.Errorf("convert %s: %w", r.Src, err)
		}
		r.Src, r.OnDisk = control.Text(abs), true
	}
	slash := strings.HasSuffix(string(r.Dst), "/")
	abs, err := realPath(string(r.Dst), false)
	if err != nil {
		return fmt.Errorf("convert to %s: %w", r.Dst, err)
	}
	if r.Dst = control.Text(abs); slash && abs != "/" {
		r.Dst += "/"
	}
	return nil
}

// options returns what is to be made; dir says that the destination is a directory.
func (r *ConvertRequest) options(dir bool) (convert.Options, error) {
	o := convert.Options{Include: r.Include, Exclude: r.Exclude, MaxShard: int64(r.MaxShard), Architecture: r.Arch}
	var err error
	switch {
	case r.To != "":
		if o.To, err = convert.ParseFormat(r.To); err != nil {
			return o, err
		}
	case !dir:
		o.To = convert.FormatOf(string(r.Dst))
	}
	if o.To == "" {
		o.To, _ = convert.ParseFormat("safetensors") // of a directory
	}
	return o, o.SetDType(r.DType)
}

// ConvertResult says what was written. JSON names are a promise.
type ConvertResult struct {
	Src        control.Text    `json:"src"`
	Inputs     []control.Text  `json:"inputs"` // the files that were read
	Format     string          `json:"format"`
	Files      []ConvertedFile `json:"files"`
	Index      control.Text    `json:"index,omitempty"` // of shards
	Tensors    int             `json:"tensors"`
	Bytes      int64           `json:"bytes"`           // of the files
	Cast       int             `json:"cast,omitempty"`  // tensors whose dtype changed
	LeftOut    int             `json:"left_out"`        // by --include and --exclude
	Overflowed int64           `json:"overflowed"`      // finite values that were too large for their new dtype
	Notes      []string        `json:"notes,omitempty"` // what one should know of the result
	Seconds    float64         `json:"seconds"`
}

// ConvertedFile is one file that was written. JSON names are a promise.
type ConvertedFile struct {
	Path    control.Text `json:"path"`
	Tensors int          `json:"tensors"`
	Bytes   int64        `json:"bytes"`
}

func (s *Service) convert(ctx context.Context, r *ConvertRequest, p Progress) (*ConvertResult, error) {
	dst := string(r.Dst)
	if err := absolute("convert to", dst); err != nil {
		return nil, err
	}
	if err := s.outside("convert to", strings.TrimSuffix(dst, "/")); err != nil {
		return nil, err
	}
	if within(strings.TrimSuffix(dst, "/"), s.repo.Dir) {
		return nil, fmt.Errorf("convert to %s: inside the repository's own files: %w", dst, errs.Invalid)
	}
	if r.OnDisk {
		l, err := s.locateDisk(ctx, "convert", string(r.Src))
		switch {
		case err != nil:
			return nil, err
		case l != nil:
			return r.run(ctx, &treeModel{s: s, at: l}, p)
		}
		return ConvertDisk(ctx, r, p)
	}
	target, err := ParseTarget("convert", string(r.Src))
	if err != nil {
		return nil, err
	}
	if !target.HasPath && strings.ContainsRune(target.Rev, '/') { // hardly a branch
		if _, rerr := s.repo.Resolve(ctx, target.Rev); rerr != nil {
			return nil, fmt.Errorf("convert %s: no such file here, and no revision; in the repository it is REV:PATH or :PATH: %w", r.Src, errs.NotFound)
		}
	}
	l, err := s.locate(ctx, "convert", target)
	if err != nil {
		return nil, err
	}
	return r.run(ctx, &treeModel{s: s, at: l}, p)
}

// ConvertDisk converts a file or directory of the disk. It needs no repository.
func ConvertDisk(ctx context.Context, r *ConvertRequest, p Progress) (*ConvertResult, error) {
	if p == nil {
		p = func(control.Progress) {}
	}
	return r.run(ctx, diskModel{string(r.Src)}, p)
}

// run converts what m holds.
func (r *ConvertRequest) run(ctx context.Context, m model, p Progress) (res *ConvertResult, err error) {
	start := time.Now()
	defer func() {
		if err != nil {
			res, err = nil, fmt.Errorf("convert %s: %w", r.Src, err)
		}
	}()
	files, err := modelFiles(ctx, m)
	if err != nil {
		return nil, err
	}
	res = &ConvertResult{Src: r.Src, Files: []ConvertedFile{}}
	var inputs []convert.Input
	for _, name := range files {
		f, err := m.open(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name(name), err)
		}
		defer func() { _ = f.close() }() // it was only read
		if f.why != nil {
			return nil, fmt.Errorf("%s: no tensors are found in it: %w", m.name(name), f.why)
		}
		in, err := convert.NewInput(ctx, m.name(name), f.File)
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
		res.Inputs = append(res.Inputs, control.Text(m.name(name)))
	}
	dst, dir := r.destination()
	opts, err := r.options(dir)
	if err != nil {
		return nil, err
	}
	if dir {
		dst = filepath.Join(dst, "model"+convert.Extension(opts.To))
	} else if r.To == "" && convert.FormatOf(dst) == "" {
		return nil, control.Usagef("%s: the name says no format: end it in .safetensors, .pt, .npz or .gguf, or give --to", dst)
	}
	plan, err := convert.New(inputs, opts)
	if err != nil {
		return nil, err
	}
	res.Format, res.Cast, res.LeftOut, res.Notes = opts.To, plan.Cast, plan.LeftOut, plan.Notes
	if err := r.write(ctx, plan, dst, res, p); err != nil {
		return nil, err
	}
	res.Overflowed = plan.Overflowed
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// destination returns the path that is meant, and whether it is a directory that files are written to.
func (r *ConvertRequest) destination() (path string, dir bool) {
	path = string(r.Dst)
	if strings.HasSuffix(path, "/") {
		return filepath.Clean(path), true
	}
	fi, err := os.Stat(path)
	return path, err == nil && fi.IsDir()
}

// write writes the outputs of a plan: all of them under temporary names first, so that a failure leaves what was there.
func (r *ConvertRequest) write(ctx context.Context, plan *convert.Plan, dst string, res *ConvertResult, p Progress) (err error) {
	w := newOutputs(r.Force)
	defer func() {
		if cerr := w.discard(); err == nil {
			err = cerr
		}
	}()
	total, done := int64(0), int64(0)
	for _, o := range plan.Outputs {
		total += o.Bytes
		if err := w.free(shardPath(dst, o)); err != nil {
			return err
		}
	}
	sharded := len(plan.Outputs) > 1
	if sharded {
		res.Index = control.Text(dst + ".index.json")
		if err := w.free(string(res.Index)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o777); err != nil {
		return err
	}
	for _, o := range plan.Outputs {
		path := shardPath(dst, o)
		n, err := w.create(path, func(f *os.File) error {
			return writeBuffered(f, func(bw bufferedWriter) error {
				return plan.Write(ctx, o, bw, func(n int64, tensor string) {
					done += n
					p(control.Progress{Step: "convert", Done: done, Total: total, Unit: "bytes", What: tensor})
				})
			})
		})
		if err != nil {
			return err
		}
		res.Files = append(res.Files, ConvertedFile{control.Text(path), o.Tensors, n})
		res.Tensors += o.Tensors
		res.Bytes += n
	}
	if sharded {
		n, err := w.create(string(res.Index), func(f *os.File) error { return writeIndex(f, plan, dst) })
		if err != nil {
			return err
		}
		res.Bytes += n
	}
	return w.commit()
}

// shardPath returns where an output goes: model-00001-of-00003.safetensors, as in huggingface_hub, or dst itself.
func shardPath(dst string, o *convert.Output) string {
	if o.Shards == 1 {
		return dst
	}
	ext := filepath.Ext(dst)
	return fmt.Sprintf("%s-%05d-of-%05d%s", strings.TrimSuffix(dst, ext), o.Shard, o.Shards, ext)
}
