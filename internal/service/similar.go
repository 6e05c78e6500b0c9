package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/object"
)

// SimilarRequest is `coral similar`.
type SimilarRequest struct {
	What      control.Text `json:"what,omitempty"` // FILE, REV:PATH or one of these with :NAME; a file on disk by its absolute path
	N         int          `json:"n"`
	Threshold float64      `json:"threshold"`
	Rebuild   bool         `json:"rebuild,omitempty"`
}

// Defaults and bounds of `coral similar`.
const (
	DefaultSimilar   = 3
	MaxSimilar       = 24
	DefaultThreshold = 0.98
	MinThreshold     = 0.8 // below that the index finds less than half
)

// Flags implements Request.
func (r *SimilarRequest) Flags(f *pflag.FlagSet) {
	f.IntVarP(&r.N, "max-count", "n", DefaultSimilar, "matches of each tensor, and files (at most 24)")
	f.Float64Var(&r.Threshold, "threshold", DefaultThreshold, "the least correlation (0.8 to 1)")
	f.BoolVar(&r.Rebuild, "rebuild", false, "first make the index again from everything that is stored")
}

// SetArgs implements Request.
func (r *SimilarRequest) SetArgs(args []string) error {
	r.What = control.Text(arg(args, 0))
	switch {
	case len(args) == 0 && !r.Rebuild:
		return control.Usagef("similar: name a file, REV:PATH, or a tensor of one as PATH:NAME")
	case r.N < 1 || r.N > MaxSimilar:
		return control.Usagef("similar: -n %d: give 1 to %d", r.N, MaxSimilar)
	case !(r.Threshold >= MinThreshold && r.Threshold <= 1):
		return control.Usagef("similar: --threshold %v: give %v to 1", r.Threshold, MinThreshold)
	}
	if err := refuseEmpty("similar", args); err != nil {
		return err
	}
	return atMost("similar", args, 1)
}

// Access implements Request.
func (r *SimilarRequest) Access() Access { return Reads }

// Localize implements Localizer: the name of a file that is there becomes an absolute path.
func (r *SimilarRequest) Localize() error {
	path, tensor, ok := onDisk(string(r.What))
	if !ok {
		return nil
	}
	abs, err := realPath(path, false)
	if err != nil {
		return fmt.Errorf("similar %s: %w", r.What, err)
	}
	if r.What = control.Text(abs); tensor != "" {
		r.What += control.Text(":" + tensor)
	}
	return nil
}

// onDisk divides s into the path of a regular file that exists and the name of a tensor in it, "" for all. The longest path wins.
func onDisk(s string) (path, tensor string, ok bool) {
	for at := len(s); at > 0; at = strings.LastIndexByte(s[:at], ':') {
		if fi, err := os.Stat(s[:at]); err == nil && fi.Mode().IsRegular() {
			return s[:at], strings.TrimPrefix(s[at:], ":"), true
		}
	}
	return "", "", false
}

// SimilarResult is what was found. JSON names are a promise.
type SimilarResult struct {
	File    control.Text    `json:"file,omitempty"`
	Files   []SimilarFile   `json:"files"`   // the likeliest parent first
	Tensors []SimilarTensor `json:"tensors"` // in file order
	Indexed int64           `json:"indexed"` // tensors (extents of 16 MiB) in the index
	Rebuilt bool            `json:"rebuilt,omitempty"`
	Partial bool            `json:"partial,omitempty"` // the index lacks some, and cannot be made again here
	Seconds float64         `json:"seconds"`
}

// SimilarPlace is where a stored file is. JSON names are a promise.
type SimilarPlace struct {
	Path   control.Text `json:"path"`
	Commit oid.ID       `json:"commit,omitzero"`  // the oldest that has it
	Branch string       `json:"branch,omitempty"` // of a file that is in no commit: whose live tree
}

// SimilarFile is a stored file that resembles the one that was asked about. JSON names are a promise.
type SimilarFile struct {
	SimilarPlace
	Tensors     int     `json:"tensors"`
	Bytes       int64   `json:"bytes"`
	Share       float64 `json:"share"`       // of the bytes that were looked for
	Correlation float64 `json:"correlation"` // mean by bytes, from samples
}

// SimilarTensor is one tensor that was asked about. JSON names are a promise.
type SimilarTensor struct {
	Name    string         `json:"name"`
	DType   string         `json:"dtype"`
	Shape   []int64        `json:"shape"`
	Bytes   int64          `json:"bytes"`
	Skipped string         `json:"skipped,omitempty"` // why it was not looked for
	Matches []SimilarMatch `json:"matches"`           // the nearest first
}

// SimilarMatch is a stored tensor that resembles one. JSON names are a promise.
type SimilarMatch struct {
	Name        string  `json:"name"`
	DType       string  `json:"dtype"`
	Shape       []int64 `json:"shape"`
	Cosine      float64 `json:"cosine"`
	Correlation float64 `json:"correlation"` // the cosine after the means are taken away
	Identical   bool    `json:"identical,omitempty"`
	SimilarPlace
}

func (s *Service) similar(ctx context.Context, r *SimilarRequest, p Progress) (SimilarResult, error) {
	start := time.Now()
	res := SimilarResult{File: r.What, Files: []SimilarFile{}, Tensors: []SimilarTensor{}}
	if err := s.rebuildSimilar(ctx, r, &res, p); err != nil {
		return res, fmt.Errorf("similar: %w", err)
	}
	if r.What != "" {
		if err := s.findSimilar(ctx, r, &res, p); err != nil {
			return res, err
		}
	}
	res.Indexed, res.Partial = s.repo.Similar.Len(), s.repo.Similar.Incomplete()
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// rebuildSimilar makes the index again if that is asked, or needed and possible.
func (s *Service) rebuildSimilar(ctx context.Context, r *SimilarRequest, res *SimilarResult, p Progress) error {
	if !r.Rebuild && (s.opts.ReadOnly || !s.repo.Similar.Incomplete()) {
		return nil
	}
	leave, err := s.enter(ctx, Writes)
	if err != nil {
		return err
	}
	defer leave()
	_, err = s.repo.RebuildSimilar(ctx, func(done, total int64, what string) {
		p(control.Progress{Step: "index", Done: done, Total: total, Unit: "files", What: what})
	})
	res.Rebuilt = err == nil
	return err
}

func (s *Service) findSimilar(ctx context.Context, r *SimilarRequest, res *SimilarResult, p Progress) error {
	src, err := s.similarSource(ctx, string(r.What))
	if err != nil {
		return err
	}
	found, err := s.repo.FindSimilar(ctx, vcs.SimilarQuery{
		Source: src, Size: src.size, Manifest: src.manifest, Tensor: src.tensor, N: r.N, Threshold: r.Threshold,
		Progress: func(done, total int64, what string) {
			p(control.Progress{Step: "compare", Done: done, Total: total, Unit: "bytes", What: what})
		},
	})
	if cerr := src.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("similar %s: %w", r.What, err)
	}
	for _, f := range found.Files {
		res.Files = append(res.Files, SimilarFile{similarPlace(f.Place), f.Tensors, f.Bytes, f.Share, f.Correlation})
	}
	for _, t := range found.Tensors {
		out := SimilarTensor{Name: t.Name, DType: t.DType.String(), Shape: shapeOf(&t.Tensor), Bytes: t.Length, Skipped: t.Skipped, Matches: []SimilarMatch{}}
		for _, m := range t.Matches {
			out.Matches = append(out.Matches, SimilarMatch{
				Name: m.Tensor.Name, DType: m.Tensor.DType.String(), Shape: shapeOf(&m.Tensor), Cosine: m.Cosine, Correlation: m.Correlation,
				Identical: m.Identical, SimilarPlace: similarPlace(m.Place),
			})
		}
		res.Tensors = append(res.Tensors, out)
	}
	return nil
}

func shapeOf(t *object.Tensor) []int64 { return append([]int64{}, t.Shape...) }

func similarPlace(p vcs.Place) SimilarPlace {
	return SimilarPlace{Path: control.Text(p.Path), Commit: p.Commit, Branch: p.Branch}
}

// similarSource is the file that is asked about.
type similarSource struct {
	content
	size     int64
	manifest oid.ID // zero if it is not stored
	tensor   string // "": all
	close    func() error
}

// similarSource opens what the command names: a file on disk by its absolute path, else REV:PATH, either with :NAME behind it. Errors name it.
func (s *Service) similarSource(ctx context.Context, what string) (*similarSource, error) {
	target, ok, err := Target{}, false, error(nil)
	if filepath.IsAbs(what) {
		if target, ok, err = s.mounted("similar", what); err == nil && !ok {
			return s.diskSource(what)
		}
	} else {
		target, err = ParseTarget("similar", what)
	}
	if err != nil {
		return nil, err
	}
	if !target.HasPath || target.Path == "" {
		return nil, fmt.Errorf("similar %s: no file of this name here; in the repository it is REV:PATH or :PATH: %w", what, errs.NotFound)
	}
	l, err := s.locate(ctx, "similar", target)
	tensor := ""
	for at := len(target.Path); errors.Is(err, errs.NotFound) || errors.Is(err, errs.NotDir); {
		if at = strings.LastIndexByte(target.Path[:at], ':'); at <= 0 {
			return nil, err // of the whole as a path
		}
		shorter := target
		shorter.Path = target.Path[:at]
		if found, ferr := s.locate(ctx, "similar", shorter); ferr == nil {
			l, err, tensor = found, nil, target.Path[at+1:]
		} else if !errors.Is(ferr, errs.NotFound) && !errors.Is(ferr, errs.NotDir) {
			return nil, ferr
		}
	}
	if err != nil {
		return nil, err
	}
	src := &similarSource{tensor: tensor, manifest: l.entry.ID}
	if src.content, src.size, src.close, err = s.open(ctx, l); err != nil {
		return nil, fmt.Errorf("similar %s: %w", what, err)
	}
	return src, nil
}

// diskFile reads a file of the disk.
type diskFile struct{ f *os.File }

// ReadAt implements content.
func (d diskFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return d.f.ReadAt(p, off)
}

var _ content = diskFile{}

func (s *Service) diskSource(what string) (*similarSource, error) {
	path, tensor, ok := onDisk(what)
	if !ok {
		return nil, fmt.Errorf("similar %s: no regular file of this name: %w", what, errs.NotFound)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("similar: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("similar: %w", errors.Join(err, f.Close()))
	}
	return &similarSource{content: diskFile{f}, size: size, tensor: tensor, close: f.Close}, nil
}
