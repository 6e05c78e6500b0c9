package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs"
	"coral/vcs/merge"
	"coral/vcs/merge/method"
	"coral/vcs/merge/recipe"
)

// MergeRequest is `coral merge`.
type MergeRequest struct {
	With      []string    `json:"with,omitempty"`
	Branch    string      `json:"branch,omitempty"`
	Message   string      `json:"message,omitempty"`
	Author    string      `json:"author,omitempty"`
	Strategy  string      `json:"strategy,omitempty"`
	Rules     []mergeRule `json:"rules,omitempty"`
	Alpha     *float64    `json:"alpha,omitempty"`
	Fallback  string      `json:"fallback,omitempty"`
	Base      string      `json:"base,omitempty"`
	All       bool        `json:"all,omitempty"`
	NoFF      bool        `json:"no_ff,omitempty"`
	Unrelated bool        `json:"allow_unrelated,omitempty"`
	DryRun    bool        `json:"dry_run,omitempty"`
	Recipe    string      `json:"recipe,omitempty"` // the text
	Score     string      `json:"score,omitempty"`  // of a greedy soup: the command
	Lower     bool        `json:"lower_is_better,omitempty"`
	Soup      *SoupStep   `json:"soup,omitempty"` // what the command line asks for while it makes a greedy soup
	Metrics   metrics     `json:"metrics,omitempty"`
	Labels    labels      `json:"labels,omitempty"`

	file  string // of the recipe, until Localize has read it
	alpha alphaFlag
}

// mergeRule is a strategy for what a glob matches.
type mergeRule struct {
	Glob     control.Text `json:"glob"`
	Strategy string       `json:"strategy"`
}

// Flags implements Request.
func (r *MergeRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Message, "message", "m", "", "the commit's message (default what was merged)")
	f.VarP(strategyFlag{r}, "strategy", "s", "what decides where several sides changed the same: `method[:parameter=value,…]`, or GLOB=method… for files, FILEGLOB:TENSORGLOB=method… for tensors (repeatable)")
	f.Var(sideFlag{r, method.Ours}, "ours-for", "take ours for files that match `glob` (repeatable)")
	f.Var(sideFlag{r, method.Theirs}, "theirs-for", "take theirs for files that match `glob` (repeatable)")
	f.Var(&r.alpha, "alpha", "strategy weighted: the `weight` of ours; theirs has the rest")
	f.StringVar(&r.Fallback, "fallback", "", "`side` for what the strategy cannot compute (files without tensors, integers): fail, ours or theirs (default fail)")
	f.BoolVar(&r.All, "all", false, "compute every tensor in which sides differ, not only those that several changed: a model soup")
	f.StringVar(&r.Base, "base", "", "the common `revision` (default the newest best common ancestor)")
	f.StringVar(&r.Score, "score", "", "strategy greedy-soup: the `command` that prints the score of a directory, its last argument and $CORAL_DIR")
	f.BoolVar(&r.Lower, "lower-is-better", false, "strategy greedy-soup: the best score is the lowest, as of a loss")
	f.StringVar(&r.file, "recipe", "", "take models, base and method from a mergekit `file`; models are revisions")
	f.BoolVar(&r.NoFF, "no-ff", false, "make a commit even where the branch could just move")
	f.BoolVar(&r.Unrelated, "allow-unrelated", false, "merge histories that have no commit in common")
	f.BoolVarP(&r.DryRun, "dry-run", "n", false, "only report what it would do")
	f.Var(&r.Metrics, "metric", "a `name=number` kept with the commit (repeatable)")
	f.Var(&r.Labels, "label", "a `name=text` kept with the commit (repeatable)")
	f.StringVar(&r.Author, "author", "", "`\"Name <email>\"` (default $CORAL_AUTHOR, or the user at this host)")
	f.StringVarP(&r.Branch, "branch", "b", "", "merge into this `branch` (default the current one)")
}

// SetArgs implements Request.
func (r *MergeRequest) SetArgs(args []string) error {
	r.Message = validText(r.Message)
	for k, v := range r.Labels {
		r.Labels[k] = validText(v)
	}
	r.With = args
	if r.alpha.set {
		r.Alpha = &r.alpha.value
	}
	if err := refuseEmpty("merge", args); err != nil {
		return err
	}
	withRecipe := r.file != "" || r.Recipe != ""
	switch {
	case withRecipe && len(args) > 0:
		return control.Usagef("merge: a recipe names the models: unexpected argument %q", args[0])
	case withRecipe && (r.Strategy != "" || r.Alpha != nil || r.Base != ""):
		return control.Usagef("merge: --strategy, --alpha and --base are what a recipe says")
	case !withRecipe && len(args) == 0:
		return control.Usagef("merge: name a branch or another revision")
	case r.Greedy() && r.Score == "":
		return control.Usagef("merge: greedy-soup needs --score, a command that prints a number")
	case !r.Greedy() && (r.Score != "" || r.Lower):
		return control.Usagef("merge: --score and --lower-is-better are for --strategy greedy-soup")
	case r.Greedy() && r.NoFF:
		return control.Usagef("merge: greedy-soup always makes a commit, unless nothing is better than what is there")
	}
	if withRecipe && r.Recipe == "" {
		return nil // Localize comes
	}
	_, err := r.options()
	return err
}

// Access implements Request.
func (r *MergeRequest) Access() Access {
	if r.DryRun {
		return Reads
	}
	return Writes
}

// Localize implements Localizer: the author is the caller, and the recipe is the caller's file.
func (r *MergeRequest) Localize() error {
	if r.Author == "" {
		r.Author = vcs.DefaultAuthor()
	}
	if r.file == "" {
		return nil
	}
	f, err := os.Open(r.file)
	if err != nil {
		return fmt.Errorf("merge: recipe: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, recipe.MaxLen+1))
	if err != nil {
		return fmt.Errorf("merge: recipe %s: %w", r.file, err)
	}
	r.Recipe = validText(string(b))
	_, err = r.options()
	return err
}

// options checks the request; what makes no sense is control.ErrUsage.
func (r *MergeRequest) options() (vcs.MergeOptions, error) {
	o := vcs.MergeOptions{
		Branch: r.Branch, With: r.With, Base: r.Base, Unrelated: r.Unrelated, NoFF: r.NoFF, Fallback: r.Fallback, All: r.All, Message: r.Message,
		Author: r.Author, Metrics: r.Metrics, Labels: r.Labels, DryRun: r.DryRun,
	}
	if err := r.strategy(&o); err != nil {
		if errors.Is(err, errs.Unsupported) {
			return o, fmt.Errorf("merge: %w", err)
		}
		return o, control.Usagef("merge: %v", err)
	}
	for _, rule := range r.Rules {
		s, err := method.Parse(rule.Strategy)
		if err != nil {
			return o, control.Usagef("merge: %v", err)
		}
		o.Rules = append(o.Rules, merge.Rule{Glob: string(rule.Glob), Spec: s})
	}
	sides := len(o.Models)
	if o.Models == nil {
		sides = 1 + len(o.With)
	}
	check := merge.Options{Default: o.Strategy, Settings: o.Settings, Rules: o.Rules, Fallback: o.Fallback}
	if check.Fallback == "" {
		check.Fallback = method.Fail
	}
	least := sides
	if r.Greedy() {
		least = 2 // whatever is chosen
	}
	for n := least; n <= max(sides, least); n++ {
		if err := check.CheckFor(n); err != nil {
			return o, control.Usagef("merge: %v", err)
		}
	}
	return o, nil
}

// strategy fills in the method, and the sides of a recipe.
func (r *MergeRequest) strategy(o *vcs.MergeOptions) (err error) {
	switch {
	case r.Recipe != "":
		rec, err := recipe.Parse([]byte(r.Recipe))
		if err != nil {
			return err
		}
		o.Models, o.Base, o.Strategy, o.Settings, o.Layers, o.With = rec.Models, rec.Base, rec.Spec, rec.Settings, rec.Layers, nil
		if o.Fallback == "" {
			o.Fallback = method.Ours // mergekit copies everything else from one model
		}
		return nil
	case r.file != "":
		return fmt.Errorf("a recipe can be given on the command line only: %w", errs.Invalid)
	case r.Strategy == "" && r.Alpha != nil:
		o.Strategy, err = method.New(method.Weighted)
	case r.Strategy == "":
		o.Strategy, err = method.New(method.Fail)
	case r.Greedy():
		o.Strategy, err = method.New(method.Average)
	default:
		o.Strategy, err = method.Parse(r.Strategy)
	}
	if err == nil && r.Alpha != nil {
		if o.Strategy.Method != method.Weighted {
			return fmt.Errorf("--alpha is for strategy weighted, not %s: %w", o.Strategy.Method, errs.Invalid)
		}
		o.Strategy.Alpha = *r.Alpha
	}
	return err
}

func (s *Service) merge(ctx context.Context, r *MergeRequest, p Progress) (MergeResult, error) {
	o, err := r.options()
	if err != nil {
		return MergeResult{}, err
	}
	if r.Greedy() {
		if err := s.soupOptions(ctx, r, &o); err != nil {
			return MergeResult{}, err
		}
	}
	s.settle(ctx)
	o.Progress = func(path string, done, total int64) {
		p(control.Progress{Step: "merge", Done: done, Total: total, Unit: "bytes", What: path})
	}
	var notes []string
	if r.Recipe != "" {
		if rec, err := recipe.Parse([]byte(r.Recipe)); err == nil {
			notes = rec.Notes
		}
	}
	got, err := s.repo.Merge(ctx, o)
	return mergeResult(&got, notes), err
}

// strategyFlag is --strategy: the method for all, or one for a glob.
type strategyFlag struct{ r *MergeRequest }

// String implements pflag.Value.
func (strategyFlag) String() string { return "" }

// Type implements pflag.Value.
func (strategyFlag) Type() string { return "strategy" }

// Set implements pflag.Value. A glob has no =.
func (f strategyFlag) Set(s string) error {
	name, _, _ := strings.Cut(s, ":")
	if glob, rest, ok := strings.Cut(s, "="); ok && !known(name) {
		f.r.Rules = append(f.r.Rules, mergeRule{control.Text(glob), rest})
		return nil
	}
	f.r.Strategy = s
	return nil
}

func known(name string) bool {
	_, err := method.New(name)
	return err == nil
}

// sideFlag is --ours-for and --theirs-for.
type sideFlag struct {
	r    *MergeRequest
	side string
}

// String implements pflag.Value.
func (sideFlag) String() string { return "" }

// Type implements pflag.Value.
func (sideFlag) Type() string { return "glob" }

// Set implements pflag.Value.
func (f sideFlag) Set(s string) error {
	f.r.Rules = append(f.r.Rules, mergeRule{control.Text(s), f.side})
	return nil
}

// alphaFlag is a number that may be missing.
type alphaFlag struct {
	value float64
	set   bool
}

// String implements pflag.Value.
func (a *alphaFlag) String() string { return "" }

// Type implements pflag.Value.
func (a *alphaFlag) Type() string { return "weight" }

// Set implements pflag.Value.
func (a *alphaFlag) Set(s string) error {
	m := metrics{}
	if err := m.Set("alpha=" + s); err != nil {
		return err
	}
	if a.value = m["alpha"]; a.value-a.value != 0 {
		return control.Usagef("%q is no finite number", s)
	}
	a.set = true
	return nil
}
