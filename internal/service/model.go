package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"coral/internal/errs"
	"coral/vcs/convert"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// model is a weights file, or a directory with a model in it: of the disk or of the repository.
type model interface {
	// list returns the names of the files of a directory; ok is false if it is one file, whose name is "".
	list(ctx context.Context) (names []string, ok bool, err error)
	// open opens one of them. What has no tensors is not refused.
	open(ctx context.Context, name string) (*opened, error)
	// name is what people call one of them.
	name(file string) string
	// beside returns the name of a model that is one file, and those of the files of its directory.
	beside(ctx context.Context) (name string, others []string, err error)
}

// opened is an open file and the tensors in it.
type opened struct {
	*tensor.File
	why   error // why no parser knows what is in it; nil if one does
	close func() error
}

// weightEndings are those of names of files that may hold a model.
var weightEndings = []string{".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".gguf", ".npz", ".npy", ".onnx", ".h5", ".msgpack", ".tflite", ".jit", ".ts"}

// namedAsWeights reports whether a file of this name is expected to have tensors.
func namedAsWeights(name string) bool {
	ext := strings.ToLower(path.Ext(name))
	return ext != ".bin" && slices.Contains(weightEndings, ext) || slices.Contains([]string{".keras", ".hdf5", ".distcp"}, ext)
}

// beside are names of files that lie beside a model and are none, as trainers write them.
var beside = []string{"optimizer*", "scheduler*", "scaler*", "rng_state*", "random_states*", "training_args*", "*_states.pt", "tokenizer*", "spiece*"}

const maxIndex = 64 << 20 // bytes of an index of shards

// modelFiles returns the files that make up a model: itself, or of a directory the shards that an index lists, or else the one file of weights in it.
func modelFiles(ctx context.Context, m model) ([]string, error) {
	names, dir, err := m.list(ctx)
	if err != nil {
		return nil, err
	}
	if !dir {
		out := []string{""}
		if !tensor.MayHaveData(m.name("")) {
			return out, nil
		}
		name, others, err := m.beside(ctx)
		if err != nil {
			return nil, err
		}
		for _, other := range tensor.DataOf(name, others) {
			out = append(out, "../"+other)
		}
		return out, nil
	}
	slices.Sort(names)
	for _, ext := range []string{".safetensors.index.json", ".bin.index.json"} {
		for _, name := range names {
			if strings.HasSuffix(name, ext) {
				return indexFiles(ctx, m, name, names)
			}
		}
	}
	var found []string
	for _, name := range names {
		other := func(glob string) bool { ok, _ := path.Match(glob, name); return ok }
		if slices.Contains(weightEndings, strings.ToLower(path.Ext(name))) && !slices.ContainsFunc(beside, other) {
			found = append(found, name)
		}
	}
	if len(found) == 0 { // TensorFlow's checkpoints have no file that its ending tells
		for _, name := range names {
			if len(tensor.DataOf(name, names)) > 0 {
				found = append(found, name)
			}
		}
	}
	for _, best := range []string{"model.safetensors", "pytorch_model.bin"} {
		if slices.Contains(found, best) {
			return []string{best}, nil
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("a directory without a file of weights: %w", errs.Invalid)
	case 1:
		return append(found, tensor.DataOf(found[0], names)...), nil
	}
	return nil, fmt.Errorf("a directory with several files of weights (%s); name one of them: %w", some(found, 5), errs.Invalid)
}

// some lists at most n names.
func some(names []string, n int) string {
	if len(names) > n {
		return strings.Join(names[:n], ", ") + fmt.Sprintf(" and %d more", len(names)-n)
	}
	return strings.Join(names, ", ")
}

// indexFiles returns the files that an index of shards names, sorted.
func indexFiles(ctx context.Context, m model, index string, names []string) ([]string, error) {
	f, err := m.open(ctx, index)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name(index), err)
	}
	defer func() { _ = f.close() }() // it was only read
	if f.Size > maxIndex {
		return nil, fmt.Errorf("%s: %d bytes, at most %d: %w", m.name(index), f.Size, maxIndex, errs.TooLarge)
	}
	b := make([]byte, f.Size)
	if n, err := f.ReadAt(ctx, b, 0); n < len(b) {
		return nil, fmt.Errorf("%s: %w", m.name(index), err)
	}
	var in struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("%s: no index of shards: %v: %w", m.name(index), err, errs.Invalid)
	}
	seen := map[string]bool{}
	var out []string
	for _, file := range in.Map {
		if !seen[file] {
			seen[file] = true
			out = append(out, file)
			if !slices.Contains(names, file) {
				return nil, fmt.Errorf("%s names %s, which is not there: %w", m.name(index), file, errs.NotFound)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s names no files: %w", m.name(index), errs.Invalid)
	}
	slices.Sort(out)
	return out, nil
}

// treeModel is one of the repository.
type treeModel struct {
	s  *Service
	at *located
}

func (m *treeModel) name(file string) string {
	t := m.at.target
	if file != "" {
		t.Path, t.HasPath = path.Join(t.Path, file), true
	}
	return t.String()
}

func (m *treeModel) list(ctx context.Context) ([]string, bool, error) {
	if m.at.entry.Kind != object.Dir {
		return nil, false, nil
	}
	entries, err := m.s.entries(ctx, m.at)
	var names []string
	for _, e := range entries {
		if e.Kind == "file" {
			names = append(names, string(e.Name))
		}
	}
	return names, true, err
}

func (m *treeModel) beside(ctx context.Context) (string, []string, error) {
	t := m.at.target
	dir, name := path.Split(t.Path)
	t.Path = strings.TrimSuffix(dir, "/")
	at, err := m.s.locate(ctx, "", t)
	if err != nil {
		return "", nil, err
	}
	others, _, err := (&treeModel{m.s, at}).list(ctx)
	return name, others, err
}

func (m *treeModel) open(ctx context.Context, name string) (*opened, error) {
	l := m.at
	if name != "" {
		t := l.target
		t.Path, t.HasPath = path.Join(t.Path, name), true
		var err error
		if l, err = m.s.locate(ctx, "", t); err != nil {
			return nil, err
		}
	}
	return m.s.tensors(ctx, l)
}

// tensors opens a located file with its tensor table: that of its manifest, or what is found in it.
func (s *Service) tensors(ctx context.Context, l *located) (*opened, error) {
	c, size, closeFile, err := s.open(ctx, l)
	if err != nil {
		return nil, err
	}
	if !l.entry.ID.IsZero() && !l.state.Dirty {
		m, err := s.repo.Objects.Manifest(ctx, l.entry.ID)
		if err != nil {
			return nil, errors.Join(err, closeFile())
		}
		if len(m.Tensors) > 0 {
			return &opened{File: tensor.FromManifest(c, m), close: closeFile}, nil
		}
	}
	beside := func(name string) (tensor.Source, int64, func() error, error) {
		t := l.target
		t.Path = path.Join(path.Dir(t.Path), name)
		at, err := s.locate(ctx, "", t)
		if err != nil {
			return nil, 0, nil, err
		}
		return s.open(ctx, at)
	}
	return parse(ctx, c, size, path.Base(l.target.Path), beside, closeFile) // also what was stored by a coral that did not know the format
}

// parse finds the tensors of an open file, which it closes if it cannot be read; by others beside it where they tell.
func parse(ctx context.Context, c tensor.Source, size int64, name string, beside tensor.Beside, closeFile func() error) (*opened, error) {
	f, err := tensor.ParseBeside(ctx, c, size, name, beside)
	if err != nil && !convert.Unparsed(err) {
		return nil, errors.Join(err, closeFile())
	}
	return &opened{f, err, closeFile}, nil
}

// diskModel is one of the disk.
type diskModel struct{ path string }

func (m diskModel) name(file string) string { return filepath.Join(m.path, file) }

func (m diskModel) list(context.Context) ([]string, bool, error) {
	fi, err := os.Stat(m.path)
	if err != nil || !fi.IsDir() {
		return nil, false, err
	}
	entries, err := os.ReadDir(m.path)
	var names []string
	for _, e := range entries {
		if fi, err := os.Stat(filepath.Join(m.path, e.Name())); err == nil && fi.Mode().IsRegular() { // hubs keep links to files
			names = append(names, e.Name())
		}
	}
	return names, true, err
}

func (m diskModel) beside(ctx context.Context) (string, []string, error) {
	others, _, err := diskModel{filepath.Dir(m.path)}.list(ctx)
	return filepath.Base(m.path), others, err
}

func (m diskModel) open(ctx context.Context, name string) (*opened, error) {
	return openTensors(ctx, m.name(name))
}

// openTensors opens a regular file of the disk with the tensors that are found in it.
func openTensors(ctx context.Context, path string) (*opened, error) {
	if fi, err := os.Stat(path); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, fmt.Errorf("not a regular file: %w", errs.Invalid)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return parse(ctx, tensor.Plain(f), size, filepath.Base(path), tensor.OnDisk(path), f.Close)
}
