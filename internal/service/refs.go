package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
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
	forceD bool
}

// Flags implements Request.
func (r *BranchRequest) Flags(f *pflag.FlagSet) {
	f.BoolVarP(&r.Delete, "delete", "d", false, "delete the branches; refused while their live trees have changes")
	f.BoolVarP(&r.forceD, "delete-force", "D", false, "delete the branches and what was changed in their live trees")
	f.BoolVarP(&r.Move, "move", "m", false, "rename: -m [OLD] NEW")
}

// SetArgs implements Request.
func (r *BranchRequest) SetArgs(args []string) error {
	if r.forceD {
		r.Delete, r.Force = true, true
	}
	r.Names = args
	switch {
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
}

// RefsResult is the reply of branch and tag. JSON names are a promise.
type RefsResult struct {
	Created *RefInfo  `json:"created,omitempty"` // or renamed to
	Deleted []RefInfo `json:"deleted,omitempty"`
}

func (s *Service) branch(ctx context.Context, r *BranchRequest, _ Progress) (any, error) {
	switch {
	case len(r.Names) == 0:
		return s.branches(ctx)
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
func (s *Service) branches(ctx context.Context) ([]RefInfo, error) {
	head, err := s.repo.Refs.Head()
	if err != nil {
		return nil, fmt.Errorf("branch: %w", err)
	}
	list, err := s.repo.Refs.Branches()
	if err != nil {
		return nil, fmt.Errorf("branch: %w", err)
	}
	out := []RefInfo{}
	for _, b := range list {
		info := s.refInfo(ctx, b.Name, b.ID)
		info.Current = b.Name == head.Branch
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
	for _, name := range r.Names { // all or none, as far as names go
		if _, err := s.repo.Refs.Branch(name); err != nil {
			return nil, err
		}
	}
	res := RefsResult{Deleted: []RefInfo{}}
	s.settle(ctx)
	for _, name := range r.Names {
		b, err := s.repo.Refs.Branch(name)
		if err == nil {
			err = s.repo.DeleteBranch(ctx, name, r.Force)
		}
		if err != nil {
			return res, err
		}
		res.Deleted = append(res.Deleted, *s.refInfo(ctx, name, b.ID))
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
	Delete  bool     `json:"delete,omitempty"`
}

// Flags implements Request.
func (r *TagRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Message, "message", "m", "", "make an annotated tag that says this")
	f.StringVar(&r.Message, "description", "", "the same as --message")
	f.BoolVarP(&r.Delete, "delete", "d", false, "delete the tags")
}

// SetArgs implements Request.
func (r *TagRequest) SetArgs(args []string) error {
	r.Names = args
	r.Message = validText(r.Message)
	switch {
	case r.Delete && len(args) == 0:
		return control.Usagef("tag -d: name the tags to delete")
	case r.Message != "" && (r.Delete || len(args) == 0):
		return control.Usagef("tag: -m goes with a new tag")
	case !r.Delete && len(args) > 2:
		return control.Usagef("tag: unexpected argument %q", args[2])
	}
	return refuseEmpty("tag", args)
}

// Access implements Request.
func (r *TagRequest) Access() Access {
	if len(r.Names) == 0 {
		return Reads
	}
	return Writes
}

// Localize implements Localizer.
func (r *TagRequest) Localize() error {
	if r.Message != "" && r.Tagger == "" {
		r.Tagger = vcs.DefaultAuthor()
	}
	return nil
}

func (s *Service) tag(ctx context.Context, r *TagRequest, _ Progress) (any, error) {
	switch {
	case len(r.Names) == 0:
		return s.tags(ctx)
	case r.Delete:
		return s.deleteTags(ctx, r)
	}
	id, err := s.repo.Resolve(ctx, arg(r.Names, 1))
	if err != nil {
		return nil, err
	}
	if err := s.repo.CreateTag(ctx, r.Names[0], id, r.Message, r.Tagger); err != nil {
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

func (s *Service) tags(ctx context.Context) ([]RefInfo, error) {
	list, err := s.repo.Refs.Tags()
	if err != nil {
		return nil, fmt.Errorf("tag: %w", err)
	}
	out := []RefInfo{}
	for _, t := range list {
		out = append(out, *s.tagInfo(ctx, t))
	}
	return out, nil
}

func (s *Service) deleteTags(ctx context.Context, r *TagRequest) (any, error) {
	for _, name := range r.Names { // all or none, as far as names go
		if _, err := s.repo.Refs.Tag(name); err != nil {
			return nil, err
		}
	}
	res := RefsResult{Deleted: []RefInfo{}}
	for _, name := range r.Names {
		t, err := s.repo.Refs.Tag(name)
		if err == nil {
			err = s.repo.DeleteTag(ctx, name)
		}
		if err != nil {
			return res, err
		}
		res.Deleted = append(res.Deleted, *s.refInfo(ctx, name, t.ID))
	}
	return res, nil
}
