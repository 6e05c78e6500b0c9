package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/service"
	"coral/vcs/merge/method"
)

// mergeRows is how many conflicts and files a report for people has of each.
const mergeRows = 30

func newMergeCmd(a *app) *cobra.Command {
	req := &service.MergeRequest{}
	cmd := verbOf(a, service.Find("merge"), req, &cobra.Command{
		Use:   "merge REV...",
		Short: "Join branches, tensor by tensor",
		Long: `Join other branches or revisions into the current branch. What one side changed since the common ancestor is taken: whole files, and in files of
weights single tensors. Where several sides changed the same, a strategy decides:
  fail (default)  lists the conflicts and changes nothing, exit code 3
  ours, theirs    take one side
  average, weighted:alpha=A, linear:weights=W1/W2/…, slerp:t=T
  task-arithmetic, ties, dare-linear, dare-ties, breadcrumbs, breadcrumbs-ties (weights, density, gamma, lambda, normalize, rescale,
  seed), model-stock: these start from the tensor of the common ancestor
  greedy-soup: an average of those that make it better, as a command says: --score CMD is run by the shell with a directory as its last
  argument (and in $CORAL_DIR; $CORAL_REPO is the repository); the last line of its output that is a number is the score
With --all every tensor in which sides differ is computed, not only those that several changed: 'merge B C --strategy average --all' is a soup of three.
Values are computed in float64 and rounded once to the tensor's dtype; the commit's label merge.recipe says exactly how. A branch that is
simply behind moves forward without a commit (--no-ff makes one). Changes in the live tree that are not committed are refused (exit code 3).`,
		Example: `  coral merge exp/lr-3e-5
  coral merge exp/a --strategy slerp:t=0.3 --ours-for '*.json'
  coral merge exp/a exp/b --strategy average --all -m "soup of three"
  coral merge exp/a --strategy ties:density=0.2 --strategy '*:*embed*=ours' --dry-run
  coral merge exp/a exp/b exp/c --strategy greedy-soup --score 'python eval.py' --fallback ours
  coral merge --recipe mergekit.yaml`,
	}, printMerge)
	one := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if req.Greedy() {
			return runGreedySoup(cmd.Context(), a, req, args)
		}
		return one(cmd, args)
	}
	return cmd
}

func printMerge(p *printer, _ service.Request, r service.MergeResult) error {
	for _, n := range r.Notes {
		p.line("note: %s", safe(n))
	}
	if r.Bases > 1 {
		p.line("there are %d best common ancestors: the newest, %s, was taken as base", r.Bases, short(r.Base))
	}
	if r.Recipe != nil && r.Recipe.Soup != nil && len(r.Conflicts) == 0 {
		p.soup(&r)
		if r.DryRun {
			return nil
		}
	}
	switch {
	case r.UpToDate && r.Recipe != nil:
		p.line("%s is at %s, which alone is the best: nothing to do", safe(r.Branch), short(r.Head))
		return nil
	case r.UpToDate:
		p.line("%s is at %s: already up to date", safe(r.Branch), short(r.Head))
		return nil
	case r.FastForward && r.DryRun:
		p.line("%s would move forward from %s to %s", safe(r.Branch), short(r.Head), short(r.Sides[len(r.Sides)-1]))
		return nil
	case r.FastForward:
		p.line("%s moved forward from %s to %s", safe(r.Branch), short(r.Head), short(r.Commit))
		return nil
	}
	for _, c := range r.Conflicts[:min(len(r.Conflicts), mergeRows)] {
		where := string(c.Path)
		if c.Tensor != "" {
			where += ":" + c.Tensor
		}
		p.line("conflict: %s: %s", safe(where), safe(c.Why))
	}
	if more := len(r.Conflicts) - mergeRows; more > 0 {
		p.line("… and %s", count(int64(more), "conflict"))
	}
	if len(r.Conflicts) > 0 {
		return nil
	}
	for _, f := range r.Files[:min(len(r.Files), mergeRows)] {
		p.line("%-8s %s", f.Action, safe(string(f.Path))+tensors(f.Computed, f.Taken, f.Added, f.Removed))
	}
	if more := len(r.Files) - mergeRows; more > 0 {
		p.line("… and %s", count(int64(more), "file"))
	}
	how := ""
	if r.Recipe != nil && r.Recipe.Strategy.Method != method.Fail {
		how = " by " + r.Recipe.Strategy.Method
	}
	if r.Recipe != nil && r.Recipe.Soup != nil {
		how = fmt.Sprintf(" as a greedy soup with score %v", r.Recipe.Soup.Final)
	}
	did := fmt.Sprintf("[%s %s] merged", safe(r.Branch), short(r.Commit))
	if r.DryRun {
		did = safe(r.Branch) + ": would merge"
	}
	p.line("%s %s%s: %s computed, %s taken; %s added to the store in %s", did, count(int64(len(r.Sides)), "side"), how,
		count(int64(r.Computed), "tensor"), count(int64(r.Taken), "tensor"), size(r.StoredBytes), seconds(r.Seconds))
	return nil
}

// tensors says what became of a merged file's.
func tensors(computed, taken, added, removed int) string {
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{computed, "computed"}, {taken, "taken"}, {added, "added"}, {removed, "removed"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	if parts == nil {
		return ""
	}
	return " (tensors: " + strings.Join(parts, ", ") + ")"
}
