package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/ref"
)

// BranchRequest is `coral branch`: it lists, creates, deletes or renames.
type BranchRequest struct {
	Names  []string `json:"names,omitempty"`
	Delete bool     `json:"delete,omitempty"`
	Force  bool     `json:"force,omitempty"` // with Delete
	Move   bool     `json:"move,omitempty"`
	Sizes  bool     `json:"sizes,omitempty"` // of a list
	forceD bool
}

// Flags implements Request.
func (r *BranchRequest) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&r.Delete, "delete", "d", false, "delete the branches; refused while their live trees have changes")
	f.BoolVarP(&r.forceD, "delete-force", "D", false, "delete the branches and what was changed in their live trees")
	f.BoolVarP(&r.Move, "move", "m", false, "rename: -m [OLD] NEW")
	f.BoolVarP(&r.Sizes, "sizes", "v", false, "list ages and sizes too: what each branch reaches, and what only it does")
}

// SetArgs implements Request.
func (r *BranchRequest) SetArgs(args []string) error {
	if r.forceD {
		r.Delete, r.Force = true, true
	}
	r.Names = args
	switch {
	case r.Sizes && len(args) > 0:
		return control.Usagef("branch: -v lists, without names")
	case r.Delete && r.Move:
		return control.Usagef("branch: -d and -m exclude each other")
	case r.Delete && len(args) == 0:
		return control.Usagef("branch -d: name the branches to delete")
	case r.Move && len(args) == 0:
		return control.Usagef("branch -m: give the new name")
	case !r.Delete && len(args) > 2:
		return control.Usagef("branch: unexpected argument %q", args[2])
	}
	return refuseEmpty("branch", args)
}

// Access implements Request.
func (r *BranchRequest) Access() Access {
	if len(r.Names) == 0 {
		return Reads
	}
	return Writes
}

// RefInfo is a branch or tag. JSON names are a promise.
type RefInfo struct {
	Name    string     `json:"name"`
	Commit  oid.ID     `json:"commit"` // "" for a branch that has none yet
	Current bool       `json:"current,omitempty"`
	Time    *time.Time `json:"time,omitempty"`    // of the commit
	Subject string     `json:"subject,omitempty"` // first line of the commit's message
	Tagger  string     `json:"tagger,omitempty"`
	Tagged  *time.Time `json:"tagged,omitempty"`
	Message string     `json:"message,omitempty"` // of an annotated tag

	StoredBytes *int64 `json:"stored_bytes,omitempty"` // with -v: of all that the branch reaches, in the packs
	UniqueBytes *int64 `json:"unique_bytes,omitempty"` // of this, what no other branch or tag reaches
}

// RefsResult is the reply of branch and tag. JSON names are a promise.
type RefsResult struct {
	Created *RefInfo  `json:"created,omitempty"` // or renamed to
	Deleted []RefInfo `json:"deleted,omitempty"`
}

func (s *Service) branch(ctx context.Context, r *BranchRequest, _ Progress) (any, error) {
	switch {
	case len(r.Names) == 0:
		return s.branches(ctx, r.Sizes)
	case r.Delete:
		return s.deleteBranches(ctx, r)
	case r.Move:
		return s.renameBranch(ctx, r)
	}
	id, err := s.start(ctx, arg(r.Names, 1))
	if err != nil {
		return nil, err
	}
	if err := s.repo.CreateBranch(ctx, r.Names[0], id); err != nil {
		return nil, err
	}
	return RefsResult{Created: s.refInfo(ctx, r.Names[0], id)}, nil
}

// branches lists branches by name; an array, as `branch --json` promises.
func (s *Service) branches(ctx context.Context, sizes bool) ([]RefInfo, error) {
	head, err := s.repo.Refs.Head()
	if err != nil {
		return nil, fmt.Errorf("branch: %w", err)
	}
	list, err := s.repo.Refs.Branches()
	if err != nil {
		return nil, fmt.Errorf("branch: %w", err)
	}
	var size map[string]vcs.BranchSize
	if sizes {
		if size, err = s.repo.BranchSizes(ctx); err != nil {
			return nil, fmt.Errorf("branch: %w", err)
		}
	}
	out := []RefInfo{}
	for _, b := range list {
		info := s.refInfo(ctx, b.Name, b.ID)
		info.Current = b.Name == head.Branch
		if sizes {
			z := size[b.Name]
			info.StoredBytes, info.UniqueBytes = &z.Stored, &z.Unique
		}
		out = append(out, *info)
	}
	return out, nil
}

// refInfo adds what the commit says, as far as it can be read: a list of refs is most wanted when something is broken.
func (s *Service) refInfo(ctx context.Context, name string, id oid.ID) *RefInfo {
	info := &RefInfo{Name: name, Commit: id}
	if id.IsZero() {
		return info
	}
	c, err := s.repo.Objects.Commit(ctx, id)
	if err != nil {
		info.Subject = "(" + err.Error() + ")"
		return info
	}
	t := c.Time.UTC()
	info.Time = &t
	info.Subject, _, _ = strings.Cut(c.Message, "\n")
	return info
}

func (s *Service) deleteBranches(ctx context.Context, r *BranchRequest) (any, error) {
	res := RefsResult{Deleted: []RefInfo{}}
	for _, name := range r.Names {
		b, err := s.repo.Refs.Branch(name)
		if err != nil {
			return nil, err
		}
		res.Deleted = append(res.Deleted, *s.refInfo(ctx, name, b.ID))
	}
	s.settle(ctx)
	if err := s.repo.DeleteBranch(ctx, r.Force, r.Names...); err != nil {
		return nil, err
	}
	return res, nil
}

func (s *Service) renameBranch(ctx context.Context, r *BranchRequest) (any, error) {
	from, to := arg(r.Names, 0), arg(r.Names, 1)
	if len(r.Names) == 1 {
		to = from
		var err error
		if from, err = s.branchOr(""); err != nil {
			return nil, fmt.Errorf("branch -m: %w", err)
		}
	}
	if err := s.repo.RenameBranch(ctx, from, to); err != nil {
		return nil, err
	}
	b, err := s.repo.Refs.Branch(to)
	if err != nil {
		return nil, err
	}
	return RefsResult{Created: s.refInfo(ctx, to, b.ID)}, nil
}

// TagRequest is `coral tag`.
type TagRequest struct {
	Names   []string `json:"names,omitempty"`
	Message string   `json:"message,omitempty"`
	Tagger  string   `json:"tagger,omitempty"`
	Commit  string   `json:"commit,omitempty"`
	Delete  bool     `json:"delete,omitempty"`
	List    bool     `json:"list,omitempty"` // those that Names, globs, match

	Description string `json:"description,omitempty"` // of -d: what Message is, or a tag to delete, see tag
}

// Flags implements Request.
func (r *TagRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Message, "message", "m", "", "make an annotated tag that says this")
	f.StringVarP(&r.Description, "description", "d", "", "the same as --message")
	f.StringVarP(&r.Commit, "commit", "c", "", "tag this `revision` (default the current commit)")
	f.BoolVar(&r.Delete, "delete", false, "delete the tags, all or none (-d NAME alone does it for one)")
	f.BoolVarP(&r.List, "list", "l", false, "list the tags that match the globs given")
}

// SetArgs implements Request.
func (r *TagRequest) SetArgs(args []string) error {
	if r.Description != "" && r.Message != "" {
		return control.Usagef("tag: -d and -m both say what the tag's message is")
	}
	r.Names = args
	r.Message, r.Description = validText(r.Message), validText(r.Description)
	if r.Description != "" && len(args) == 0 && !r.Delete && !r.List && r.Commit == "" {
		r.Delete, r.Names, r.Description = true, []string{r.Description}, ""
		return nil
	}
	described := r.Message != "" || r.Description != "" || r.Commit != ""
	switch {
	case r.Delete && r.List:
		return control.Usagef("tag: --delete and -l exclude each other")
	case r.Delete && len(args) == 0:
		return control.Usagef("tag --delete: name the tags to delete")
	case described && (r.Delete || r.List || len(args) == 0):
		return control.Usagef("tag: -m, -d and -c go with a new tag")
	case r.Commit != "" && len(args) > 1:
		return control.Usagef("tag: the commit is named twice, by -c and as %q", args[1])
	case !r.Delete && !r.List && len(args) > 2:
		return control.Usagef("tag: unexpected argument %q", args[2])
	}
	for _, glob := range args {
		if _, err := path.Match(glob, ""); r.List && err != nil {
			return control.Usagef("tag -l: %q is no glob", glob)
		}
	}
	return refuseEmpty("tag", args)
}

// Access implements Request.
func (r *TagRequest) Access() Access {
	if len(r.Names) == 0 || r.List {
		return Reads
	}
	return Writes
}

// Localize implements Localizer.
func (r *TagRequest) Localize() error {
	if r.Message+r.Description != "" && r.Tagger == "" {
		r.Tagger = vcs.DefaultAuthor()
	}
	return nil
}

// tag is `coral tag`. `-d TEXT` describes, as in coral-ml. `-d NAME...` deletes, as in git: so it does without a name beside it, and where TEXT is the name of a tag.
func (s *Service) tag(ctx context.Context, r *TagRequest, _ Progress) (any, error) {
	if r.Description != "" {
		if _, err := s.repo.Refs.Tag(r.Description); err == nil && r.Commit == "" {
			r.Delete, r.Names = true, append([]string{r.Description}, r.Names...)
		} else {
			r.Message = r.Description
		}
	}
	switch {
	case len(r.Names) == 0 || r.List:
		return s.tags(ctx, r.Names)
	case r.Delete:
		return s.deleteTags(ctx, r)
	}
	id, err := s.repo.Resolve(ctx, cmp.Or(r.Commit, arg(r.Names, 1)))
	if err != nil {
		return nil, err
	}
	if err := s.repo.CreateTag(ctx, r.Names[0], id, r.Message, r.Tagger); err != nil {
		if errors.Is(err, errs.Exist) && r.Message != "" {
			err = fmt.Errorf("%w; --delete deletes tags", err)
		}
		return nil, err
	}
	t, err := s.repo.Refs.Tag(r.Names[0])
	if err != nil {
		return nil, err
	}
	return RefsResult{Created: s.tagInfo(ctx, t)}, nil
}

func (s *Service) tagInfo(ctx context.Context, t ref.Ref) *RefInfo {
	info := s.refInfo(ctx, t.Name, t.ID)
	if t.Tag.IsZero() {
		return info
	}
	if o, err := s.repo.Objects.Tag(ctx, t.Tag); err == nil {
		at := o.Time.UTC()
		info.Tagger, info.Tagged, info.Message = o.Tagger, &at, o.Message
	} else {
		info.Message = "(" + err.Error() + ")"
	}
	return info
}

// tags lists those that one of the globs matches; all without globs.
func (s *Service) tags(ctx context.Context, globs []string) ([]RefInfo, error) {
	list, err := s.repo.Refs.Tags()
	if err != nil {
		return nil, fmt.Errorf("tag: %w", err)
	}
	out := []RefInfo{}
	for _, t := range list {
		match := func(glob string) bool { ok, _ := path.Match(glob, t.Name); return ok }
		if len(globs) == 0 || slices.ContainsFunc(globs, match) {
			out = append(out, *s.tagInfo(ctx, t))
		}
	}
	return out, nil
}

func (s *Service) deleteTags(ctx context.Context, r *TagRequest) (any, error) {
	res := RefsResult{Deleted: []RefInfo{}}
	for _, name := range r.Names {
		t, err := s.repo.Refs.Tag(name)
		if err != nil {
			return nil, err
		}
		res.Deleted = append(res.Deleted, *s.refInfo(ctx, name, t.ID))
	}
	if err := s.repo.DeleteTag(ctx, r.Names...); err != nil {
		return nil, err
	}
	return res, nil
}
