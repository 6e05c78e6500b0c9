package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newBranchCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "branch [NAME [REV]]",
		Short: "List, make, delete or rename branches",
		Long: `Without arguments list the branches, the current one marked. With NAME make a branch at REV (default: the current commit); its live tree
starts as that commit. -d deletes branches, refused (exit code 3) while their live trees have changes; -D deletes those too.
-m renames. In a mount, mkdir and rmdir under branches/ do the same.`,
		Example: `  coral branch
  coral branch exp/lr-3e-5 main~2
  coral branch -d exp/lr-3e-5
  coral branch -m old-name new-name`,
	}, printRefs)
}

func newTagCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "tag [NAME [REV]]",
		Short: "List, make or delete tags",
		Long: `Without arguments list the tags. With NAME tag the commit REV (default: the current one); -m adds who says what about it. A tag never
moves: delete it with -d first. In a mount, 'ln -s ../commits/ID tags/NAME' does the same.`,
		Example: `  coral tag v1 -m "best on the dev set"
  coral tag -d v1`,
	}, printRefs)
}

// printRefs writes the reply of branch and tag: an array when they list, else what they did.
func printRefs(p *printer, req service.Request, raw json.RawMessage) error {
	if len(raw) > 0 && raw[0] == '[' {
		var list []service.RefInfo
		if err := json.Unmarshal(raw, &list); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
		p.refs(list)
		return nil
	}
	var r service.RefsResult
	if err := json.Unmarshal(raw, &r); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	kind, verb := "branch", "made"
	switch q := req.(type) {
	case *service.TagRequest:
		kind = "tag"
	case *service.BranchRequest:
		if q.Move {
			verb = "renamed to"
		}
	}
	if r.Created != nil {
		p.line("%s %s %s at %s", verb, kind, safe(r.Created.Name), short(r.Created.Commit))
	}
	for _, d := range r.Deleted {
		p.line("deleted %s %s, which was at %s", kind, safe(d.Name), short(d.Commit))
	}
	return nil
}

func (p *printer) refs(list []service.RefInfo) {
	rows := [][]string{}
	for _, r := range list {
		mark, when, text := " ", "", safe(r.Subject)
		if r.Current {
			mark = "*"
		}
		if r.Time != nil {
			when = r.Time.In(p.loc).Format("2006-01-02 15:04")
		}
		if r.Message != "" {
			text = lines(r.Message)[0]
		}
		if r.Commit.IsZero() {
			text = "(no commits)"
		}
		rows = append(rows, []string{mark + " " + safe(r.Name), short(r.Commit), when, text})
	}
	p.table(rows)
}

func newCheckoutCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "checkout BRANCH | COMMIT",
		Short: "Choose the current branch",
		Long: `Make BRANCH the current branch: the one that commands mean when none is named, and HEAD in a mount. Live trees stay as they are, so
nothing can be lost. Another revision detaches HEAD at that commit. -b makes a new branch first, at REV (default: HEAD).`,
		Example: `  coral checkout exp/lr-3e-5
  coral checkout -b exp/next main`,
	}, func(p *printer, _ service.Request, r service.CheckoutResult) error {
		switch {
		case r.Detached:
			p.line("HEAD is detached at %s", short(r.Head))
		case r.Created:
			p.line("made branch %s at %s; it is the current one", safe(r.Branch), short(r.Head))
		default:
			p.line("on branch %s at %s", safe(r.Branch), short(r.Head))
		}
		return nil
	})
}
