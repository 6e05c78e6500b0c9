package convert

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/gguf"
	"coral/delta/format/safetensors"
	"coral/internal/errs"
	"coral/vcs/tensor"
)

// extensions are the names of files by what they are taken to be.
var extensions = map[string]string{
	".safetensors": format.Safetensors, ".pt": format.TorchZip, ".pth": format.TorchZip, ".bin": format.TorchZip, ".ckpt": format.TorchZip,
	".npz": format.NPZ, ".gguf": format.GGUF,
}

// FormatOf returns the container that a file's name stands for, "" if none.
func FormatOf(name string) string { return extensions[strings.ToLower(path.Ext(name))] }

// ParseFormat reads the name of a container: safetensors, pt (or torch), npz, gguf.
func ParseFormat(s string) (string, error) {
	switch strings.ToLower(s) {
	case "safetensors":
		return format.Safetensors, nil
	case "pt", "torch", format.TorchZip:
		return format.TorchZip, nil
	case "npz":
		return format.NPZ, nil
	case "gguf":
		return format.GGUF, nil
	}
	return "", fmt.Errorf("%q is no format that is written: give safetensors, pt, npz or gguf: %w", s, errs.Invalid)
}

// Extension returns the usual ending of the names of files of a container, with its dot.
func Extension(to string) string {
	switch to {
	case format.TorchZip:
		return ".pt"
	case format.NPZ:
		return ".npz"
	case format.GGUF:
		return ".gguf"
	}
	return ".safetensors"
}

// dtypes are the names of kinds that floats can be cast to: those of safetensors, torch, NumPy and llama.cpp.
var dtypes = map[string]dtype.Kind{
	"f64": dtype.F64, "float64": dtype.F64, "double": dtype.F64, "f32": dtype.F32, "float32": dtype.F32, "float": dtype.F32,
	"bf16": dtype.BF16, "bfloat16": dtype.BF16, "f16": dtype.F16, "float16": dtype.F16, "half": dtype.F16, "fp16": dtype.F16, "fp32": dtype.F32,
	"f8_e4m3": dtype.F8E4M3, "float8_e4m3fn": dtype.F8E4M3, "f8_e5m2": dtype.F8E5M2, "float8_e5m2": dtype.F8E5M2, "q8_0": dtype.Q8_0,
}

// SetDType sets the cast that a name stands for; "" is none.
func (o *Options) SetDType(name string) error {
	o.Cast, o.DType = false, dtype.Bytes
	if name == "" {
		return nil
	}
	k, ok := dtypes[strings.ToLower(name)]
	if !ok {
		return fmt.Errorf("%q is no dtype that floats can be cast to: give f64, f32, bf16, f16, f8_e4m3, f8_e5m2, or q8_0 for gguf: %w", name, errs.Invalid)
	}
	if k == dtype.Q8_0 && o.To != format.GGUF {
		return fmt.Errorf("q8_0 is a dtype of gguf only: %w", errs.Invalid)
	}
	o.Cast, o.DType = true, k
	return nil
}

// Unparsed reports whether an error of tensor.Parse says that the file is of no known format or damaged, and not that reading it failed.
func Unparsed(err error) bool {
	return errors.Is(err, format.ErrUnknown) || errors.Is(err, format.ErrDamaged)
}

// Damaged reports whether an error of tensor.Parse says that the file is of a known format and damaged.
func Damaged(err error) bool { return errors.Is(err, format.ErrDamaged) }

// NewInput returns the input of a file, with the metadata of one of safetensors or GGUF.
func NewInput(ctx context.Context, name string, f *tensor.File) (Input, error) {
	in := Input{Name: name, File: f}
	var err error
	switch f.Format {
	case format.Safetensors:
		in.Metadata, err = safetensors.Metadata(reader{ctx, f}, f.Size)
	case format.GGUF:
		in.GGUF, err = gguf.Metadata(reader{ctx, f}, f.Size)
	}
	if err != nil && !Unparsed(err) { // none if they are damaged: the tensors are not
		return in, fmt.Errorf("%s: %w", name, err)
	}
	return in, nil
}

// reader is a file as io.ReaderAt for one call.
type reader struct {
	ctx context.Context
	f   *tensor.File
}

// ReadAt implements io.ReaderAt.
func (r reader) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(r.ctx, p, off) }
