package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// ShowRequest is `coral show`.
type ShowRequest struct {
	What      control.Text `json:"what,omitempty"`   // REV[:PATH], a path or tensor of the commit, or a file of the disk
	Disk      control.Text `json:"disk,omitempty"`   // the absolute path of a regular file that What may mean
	Tensor    string       `json:"tensor,omitempty"` // of the file
	Commit    string       `json:"commit,omitempty"` // that What is a path or tensor of; "": HEAD
	Stats     bool         `json:"stats,omitempty"`
	Histogram bool         `json:"histogram,omitempty"`
	Heatmap   bool         `json:"heatmap,omitempty"`
	Against   control.Text `json:"against,omitempty"` // of a heat map: REV, REV:PATH, or a file of the disk
	Sort      string       `json:"sort,omitempty"`
	Reverse   bool         `json:"reverse,omitempty"`
	N         int          `json:"n,omitempty"`
	Out       string       `json:"-"` // where the command line writes a picture

	local bool // Localize was called: this is the command line
}

// Flags implements Request.
func (r *ShowRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Commit, "commit", "c", "", "the `revision` whose path or tensor is meant (default HEAD)")
	f.BoolVar(&r.Stats, "stats", false, "read the tensors: mean, std, min, max, zeros, NaN; of one tensor's history, how much it changed")
	f.BoolVar(&r.Histogram, "histogram", false, "the values of one tensor as a histogram")
	f.BoolVar(&r.Heatmap, "heatmap", false, "the root mean square of each tensor, layers by kinds")
	f.StringVar((*string)(&r.Against), "against", "", "heat map of the relative change from this `revision`, REV:PATH or file")
	f.StringVar(&r.Sort, "sort", "file", "order of the tensors: file, name, dtype, bytes, stored, ratio, depth, or of --stats mean, std, rms, min, max, zeros")
	f.BoolVar(&r.Reverse, "reverse", false, "the other way round")
	f.IntVarP(&r.N, "max-count", "n", 0, "at most this `number` of tensors, or of versions of one (default all)")
	f.StringVarP(&r.Out, "output", "o", "", "write the histogram or heat map as a picture to this .svg or .png `file`")
}

// SetArgs implements Request.
func (r *ShowRequest) SetArgs(args []string) error {
	r.What, r.Tensor = control.Text(arg(args, 0)), arg(args, 1)
	picture := r.Histogram || r.Heatmap || r.Against != ""
	switch {
	case len(args) == 2 && args[1] == "":
		return control.Usagef("show: argument 2 is empty")
	case r.N < 0:
		return control.Usagef("show: -n %d is negative", r.N)
	case tensorOrders[r.Sort] == nil:
		return control.Usagef("show: --sort %q: give file, name, dtype, bytes, stored, ratio, depth, mean, std, rms, min, max or zeros", r.Sort)
	case r.Out != "" && !picture:
		return control.Usagef("show: -o writes a picture: give --histogram or --heatmap")
	case r.Histogram && (r.Heatmap || r.Against != ""):
		return control.Usagef("show: --histogram is of one tensor, --heatmap of a file: give one of them")
	case r.Out != "" && !strings.HasSuffix(r.Out, ".svg") && !strings.HasSuffix(r.Out, ".png"):
		return control.Usagef("show: -o %q: end it in .svg or .png", r.Out)
	}
	if _, err := ParseTarget("show", string(r.What)); err != nil {
		return err
	}
	return atMost("show", args, 2)
}

// Access implements Request.
func (r *ShowRequest) Access() Access { return Reads }

// Localize implements Localizer: the names of files that are there become absolute paths.
func (r *ShowRequest) Localize() error {
	r.local = true
	for _, p := range []struct{ from, to *control.Text }{{&r.What, &r.Disk}, {&r.Against, &r.Against}} {
		if fi, err := os.Stat(string(*p.from)); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		abs, err := realPath(string(*p.from), false)
		if err != nil {
			return fmt.Errorf("show %s: %w", *p.from, err)
		}
		*p.to = control.Text(abs)
	}
	return nil
}

// ShowResult is a commit and what it changed, or one of its files, tensors or directories. JSON names are a promise; those of
// CommitInfo are at the top level.
type ShowResult struct {
	*CommitInfo
	Branch  string        `json:"branch,omitempty"` // of a live path, which has no commit
	Path    control.Text  `json:"path,omitempty"`
	Changes []FileChange  `json:"changes,omitempty"` // against the first parent
	File    *FileInfo     `json:"file,omitempty"`
	Entries []EntryInfo   `json:"entries,omitempty"`
	Tensor  *TensorDetail `json:"tensor,omitempty"`
	Heatmap *Heatmap      `json:"heatmap,omitempty"`
}

// FileInfo is what is known of one file.
type FileInfo struct {
	EntryInfo
	Hash     oid.ID        `json:"hash,omitzero"` // BLAKE3-256 of the bytes
	Segments int           `json:"segments,omitempty"`
	Why      string        `json:"why,omitempty"`     // no tensors were found
	List     []TensorInfo  `json:"tensors,omitempty"` // -n of them
	DTypes   []TensorTotal `json:"dtypes,omitempty"`
	Layers   []TensorTotal `json:"layers,omitempty"`
}

func (s *Service) show(ctx context.Context, r *ShowRequest, p Progress) (*ShowResult, error) {
	if r.Out != "" && !r.local {
		return nil, control.Usagef("show: -o is of the command line: nothing is drawn here")
	}
	what, err := s.showTarget(ctx, r)
	if err != nil {
		return nil, err
	}
	if what.disk != "" {
		if what.at, err = s.locateDisk(ctx, "show", what.disk); err != nil {
			return nil, err
		}
		if what.at == nil {
			v := &viewer{s: s, r: r, p: p}
			return v.disk(ctx, what.disk)
		}
		what.tensor = r.Tensor
	}
	l := what.at
	res := &ShowResult{Path: control.Text(l.target.Path), Branch: l.branch}
	if l.c != nil {
		refs, err := s.refNames()
		if err != nil {
			return nil, fmt.Errorf("show: %w", err)
		}
		res.CommitInfo = commitInfo(l.commit, l.c, refs)
	}
	switch {
	case !l.target.HasPath && r.Tensor == "":
		res.Changes, err = s.commitChanges(ctx, l.c)
	case l.entry.Kind == object.Dir:
		if r.Tensor != "" {
			return nil, fmt.Errorf("show %s %s: %w", r.What, r.Tensor, errs.IsDir)
		}
		res.Entries, err = s.entries(ctx, l)
	default:
		v := &viewer{s: s, r: r, p: p, at: l}
		err = v.stored(ctx, res, what.tensor)
	}
	if err != nil {
		return nil, fmt.Errorf("show %s: %w", strings.TrimSpace(string(r.What)+" "+r.Tensor), err)
	}
	return res, nil
}

// ShowDisk shows a file of the disk, which needs no repository.
func ShowDisk(ctx context.Context, r *ShowRequest, p Progress) (*ShowResult, error) {
	if p == nil {
		p = func(control.Progress) {}
	}
	v := &viewer{r: r, p: p}
	return v.disk(ctx, string(r.Disk))
}

// shown is what `coral show` is about.
type shown struct {
	at     *located
	tensor string // of the file at
	disk   string // the absolute path of a file of the disk, which may be in a mount
}

// showTarget finds what the words mean. REV[:PATH] comes first; then, of one word, a path of the commit, a file of the disk, and a tensor that one file of the commit has.
func (s *Service) showTarget(ctx context.Context, r *ShowRequest) (shown, error) {
	t, err := ParseTarget("show", string(r.What))
	if err != nil {
		return shown{}, err
	}
	if r.Commit == "" && (t.HasPath || t.Rev == "") {
		if r.Disk != "" {
			return shown{disk: string(r.Disk)}, nil
		}
		l, err := s.locate(ctx, "show", t)
		return shown{at: l, tensor: r.Tensor}, err
	}
	if r.Commit == "" {
		l, err := s.locate(ctx, "show", t)
		if err == nil || !errors.Is(err, errs.NotFound) {
			return shown{at: l, tensor: r.Tensor}, err
		}
		if r.Disk != "" {
			return shown{disk: string(r.Disk)}, nil
		}
		found, ferr := s.showInCommit(ctx, r, "HEAD")
		if errors.Is(ferr, errs.NotFound) {
			return shown{}, fmt.Errorf("show %s: no revision, file or tensor of HEAD: %w", r.What, errs.NotFound)
		}
		return found, ferr
	}
	return s.showInCommit(ctx, r, r.Commit)
}

// maxHolders bounds how many files with a tensor of one name are looked for.
const maxHolders = 6

// showInCommit finds a path or a tensor of a commit.
func (s *Service) showInCommit(ctx context.Context, r *ShowRequest, rev string) (shown, error) {
	p, err := treePath("show", string(r.What))
	if err != nil {
		return shown{}, err
	}
	t := Target{Rev: rev, Path: p, HasPath: p != ""}
	l, err := s.locate(ctx, "show", t)
	if err == nil || !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.NotDir) || p == "" || r.Tensor != "" {
		return shown{at: l, tensor: r.Tensor}, err
	}
	root, rerr := s.locate(ctx, "show", Target{Rev: rev})
	if rerr != nil {
		return shown{}, rerr
	}
	paths, ferr := s.repo.FindTensor(ctx, root.entry.ID, string(r.What), maxHolders)
	if ferr != nil {
		return shown{}, fmt.Errorf("show %s: %w", r.What, ferr)
	}
	switch len(paths) {
	case 0:
		return shown{}, fmt.Errorf("show %s -c %s: no path and no tensor of this name there: %w", r.What, rev, errs.NotFound)
	case 1:
		t.Path = paths[0]
		l, err = s.locate(ctx, "show", t)
		return shown{at: l, tensor: string(r.What)}, err
	}
	return shown{}, fmt.Errorf("show %s: several files have a tensor of this name (%s); name the file first: coral show FILE TENSOR: %w", r.What, some(paths, maxHolders-1), errs.Invalid)
}

// commitChanges compares a commit with its first parent; everything is new in one without.
func (s *Service) commitChanges(ctx context.Context, c *object.Commit) ([]FileChange, error) {
	var old oid.ID
	if len(c.Parents) > 0 {
		p, err := s.repo.Objects.Commit(ctx, c.Parents[0])
		if err != nil {
			return nil, err
		}
		old = p.Tree
	}
	return s.diff(ctx, old, c.Tree)
}
