// Package merge joins trees that come from a common one: file by file, and in files of tensors tensor by tensor.
//
// A merge has sides, ours first, and a base. What one side changed is taken; so is what several changed alike. Where sides changed the same thing differently a
// strategy decides: it takes one side, computes new values (package method), or leaves a conflict. With Options.All values are computed of all tensors in
// which the sides differ, which is what model soups and mergekit mean by merging.
//
// Run first plans the whole merge and lists its conflicts; if there is one, nothing is stored. Only then files are made, one at a time: each is written to a temporary
// file, tensor by tensor and window by window, and ingested from there. The new file has the container of ours with other payload bytes in it, and the
// checksums of its archive; one of safetensors may also gain and lose tensors, and is then laid out anew.
//
// The package knows trees and files, not commits and refs.
package merge

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/merge/method"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// Store is where trees and files are.
type Store interface {
	Tree(ctx context.Context, id oid.ID) (*object.Tree, error)
	PutTree(ctx context.Context, t *object.Tree) (oid.ID, error)
	Manifest(ctx context.Context, id oid.ID) (*object.Manifest, error)
	// Source returns the content of a manifest.
	Source(ctx context.Context, manifest oid.ID) (tensor.Source, error)
	// Ingest stores size bytes of r, the next version of the file whose manifest is prev, and returns how much that added to the store.
	Ingest(ctx context.Context, r io.ReaderAt, size int64, path string, prev oid.ID) (manifest oid.ID, stored int64, err error)
}

// Rule is a strategy for what a glob matches. The glob is one of package path, for a path, or for the name alone if it has no slash; after a colon may follow one for tensors.
type Rule struct {
	Glob string      `json:"glob"`
	Spec method.Spec `json:"spec"`
}

// Options of Run.
type Options struct {
	Base     oid.ID   // a tree; zero: an empty one
	Sides    []oid.ID // trees, ours first; two at least
	Default  method.Spec
	Settings []method.Setting // parameters of Default that depend on the tensor
	Layers   int              // how many layers a model must have, where it has any; 0: any number
	Rules    []Rule           // the first that matches goes before Default
	Fallback string           // method.Fail, Ours or Theirs, for what a strategy that computes cannot: files without tensors, integers, other shapes
	All      bool             // compute all tensors in which sides differ
	DryRun   bool             // only plan
	TempDir  string
	Progress func(path string, done, total int64) // bytes of files that are made; may be nil
}

// Conflict is what a merge cannot decide. JSON names are a promise.
type Conflict struct {
	Path   string `json:"path"`
	Tensor string `json:"tensor,omitempty"`
	Why    string `json:"why"`
}

// File is a path whose content differs from ours after the merge. JSON names are a promise.
type File struct {
	Path     string `json:"path"`
	Action   string `json:"action"`             // "added", "taken", "deleted", "merged"
	Taken    int    `json:"taken,omitempty"`    // of a merged file: tensors of other sides
	Computed int    `json:"computed,omitempty"` // tensors computed
	Added    int    `json:"added,omitempty"`
	Removed  int    `json:"removed,omitempty"`
}

// Result is what Run did, or would do.
type Result struct {
	Tree      oid.ID // zero if there are conflicts, or after a dry run
	Conflicts []Conflict
	Files     []File
	Omitted   int // rows that the lists have no room for
	Taken     int // tensors
	Computed  int
	Bytes     int64 // of the files that were made
	Stored    int64 // what they added to the store
}

// maxRows bounds the lists of a result.
const maxRows = 1 << 16

// Check says whether the options make sense; errs.Invalid if not.
func (o *Options) Check() error {
	if len(o.Sides) < 2 {
		return fmt.Errorf("merge of %d sides: %w", len(o.Sides), errs.Invalid)
	}
	return o.CheckFor(len(o.Sides))
}

// CheckFor says whether strategies and globs make sense for so many sides, before these are known.
func (o *Options) CheckFor(sides int) error {
	if err := o.Default.Check(sides); err != nil {
		return err
	}
	if err := o.Default.CheckSettings(o.Settings, sides); err != nil {
		return err
	}
	switch o.Fallback {
	case method.Fail, method.Ours:
	case method.Theirs:
		if sides != 2 {
			return fmt.Errorf("fallback theirs: there are %d sides: %w", sides, errs.Invalid)
		}
	default:
		return fmt.Errorf("fallback %q: want fail, ours or theirs: %w", o.Fallback, errs.Invalid)
	}
	for _, r := range o.Rules {
		file, name, _ := strings.Cut(r.Glob, ":")
		_, err := path.Match(file, "")
		_, err2 := path.Match(name, "")
		if err != nil || err2 != nil || file == "" {
			return fmt.Errorf("pattern %q: %w", r.Glob, errs.Invalid)
		}
		if err := r.Spec.Check(sides); err != nil {
			return fmt.Errorf("pattern %q: %w", r.Glob, err)
		}
	}
	return nil
}

// strategy returns the method for a file, or for one of its tensors. plain is false for Default, which has settings.
func (o *Options) strategy(file, tensor string) (s method.Spec, plain bool) {
	for _, r := range o.Rules {
		glob, name, forTensors := strings.Cut(r.Glob, ":")
		if forTensors && (tensor == "" || !matches(name, tensor)) {
			continue
		}
		p := file
		if !strings.Contains(glob, "/") {
			p = path.Base(file)
		}
		if matches(glob, p) {
			return r.Spec, true
		}
	}
	return o.Default, false
}

func matches(glob, name string) bool {
	ok, err := path.Match(glob, name)
	return ok && err == nil
}

// Run merges. Conflicts are no error: they are in the result, and nothing was stored then. One that only shows while values are computed
// (numbers that are not finite where lengths are needed) is errs.Conflict.
func Run(ctx context.Context, store Store, o Options) (Result, error) {
	if err := o.Check(); err != nil {
		return Result{}, err
	}
	m := &merger{Options: o, store: store}
	if _, err := m.root(ctx); err != nil {
		return Result{}, err
	}
	slices.SortStableFunc(m.res.Conflicts, func(a, b Conflict) int { return cmp.Compare(a.Path, b.Path) })
	if o.DryRun || len(m.res.Conflicts) > 0 {
		return m.res, nil
	}
	m.make, m.total = true, m.res.Bytes
	m.res.Bytes = 0
	tree, err := m.root(ctx)
	if err != nil {
		return Result{}, err
	}
	m.res.Tree = tree
	return m.res, nil
}

// merger is one Run: it goes over the trees twice, and makes files the second time.
type merger struct {
	Options
	store Store
	make  bool
	total int64
	res   Result
	buf   buffers

	layers layers // of the model in the directory that is merged
}

// spec returns the method for a tensor.
func (m *merger) spec(p *plan, name string) (method.Spec, error) {
	s, plain := m.strategy(p.path, name)
	if plain || len(m.Settings) == 0 {
		return s, nil
	}
	s, err := s.With(m.Settings, len(p.sides), name, m.layers.place(name))
	if err != nil {
		return s, fmt.Errorf("tensor %s: %w", name, err)
	}
	return s, nil
}

func (m *merger) conflict(path, tensor, why string, args ...any) {
	if len(m.res.Conflicts) == maxRows {
		m.res.Omitted++
		return
	}
	m.res.Conflicts = append(m.res.Conflicts, Conflict{Path: path, Tensor: tensor, Why: fmt.Sprintf(why, args...)})
}

// report adds a row to the result, the first time only.
func (m *merger) report(f File) {
	if m.make {
		return
	}
	m.res.Taken += f.Taken
	m.res.Computed += f.Computed
	if len(m.res.Files) == maxRows {
		m.res.Omitted++
		return
	}
	m.res.Files = append(m.res.Files, f)
}

func (m *merger) progress(path string, done int64) {
	if m.Progress != nil {
		m.Progress(path, m.res.Bytes+done, m.total)
	}
}
