package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newBranchCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "branch [NAME [REV]]",
		Short: "List, make, delete or rename branches",
		Long: `Without arguments list the branches, the current one marked. With NAME make a branch at REV (default: the current commit); its live tree
starts as that commit. -d deletes branches, refused (exit code 3) while their live trees have changes; -D deletes those too.
-m renames. -v lists ages and sizes too: what a branch reaches takes in the store, and what nothing else reaches. In a mount, mkdir and rmdir under
branches/ do the same. 'coral undo' brings a deleted branch back, though not its uncommitted changes.`,
		Example: `  coral branch
  coral branch -v
  coral branch exp/lr-3e-5 main~2
  coral branch -d exp/lr-3e-5
  coral branch -m old-name new-name`,
	}, printRefs)
}

func newTagCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "tag [NAME [REV]]",
		Short: "List, make or delete tags",
		Long: `Without arguments list the tags; -l with globs those that match. With NAME tag the commit REV, or the one of -c (default: the current one); -m or -d
adds who says what about it. A tag never moves: delete it first, with --delete, or with -d NAME alone. In a mount, 'ln -s ../commits/ID tags/NAME' does the
same. 'coral undo' brings a deleted tag back.`,
		Example: `  coral tag v1 -m "best on the dev set"
  coral tag v0 -c main~3 -d "before the change of the tokenizer"
  coral tag -l 'v*'
  coral tag --delete v0 v1`,
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
		row := []string{mark + " " + safe(r.Name), short(r.Commit), when}
		if r.StoredBytes != nil && r.UniqueBytes != nil {
			row = append(row, age(r.Time, p.now), size(*r.StoredBytes), size(*r.UniqueBytes))
		}
		rows = append(rows, append(row, text))
	}
	if len(list) > 0 && list[0].StoredBytes != nil {
		rows = append([][]string{{"  NAME", "COMMIT", "TIME", "AGE", "STORED", "UNIQUE", "SUBJECT"}}, rows...)
		p.table(rows, 3, 4, 5)
		return
	}
	p.table(rows)
}

// age is how long ago a time was, in its largest unit.
func age(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	d := max(now.Sub(*t), 0)
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{365 * 24 * time.Hour, "year"}, {30 * 24 * time.Hour, "month"}, {7 * 24 * time.Hour, "week"}, {24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := d / unit.length; n > 0 {
			return count(int64(n), unit.name)
		}
	}
	return count(int64(d/time.Second), "second")
}

func newCheckoutCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "checkout BRANCH | COMMIT | [REV] -- PATH...",
		Short: "Choose the current branch, or restore files",
		Long: `Make BRANCH the current branch: the one that commands mean when none is named, and HEAD in a mount. Live trees stay as they are, so
nothing can be lost. Another revision detaches HEAD at that commit. -b makes a new branch first, at REV (default: HEAD).
With paths after -- the branch stays: they become what they are in REV (default: HEAD), as 'coral restore' does it.`,
		Example: `  coral checkout exp/lr-3e-5
  coral checkout -b exp/next main
  coral checkout v1 -- tokenizer checkpoint-500/config.json`,
	}, func(p *printer, _ service.Request, r service.CheckoutResult) error {
		switch {
		case len(r.Restored) > 0:
			p.restored(r.Restored, r.From, false)
			p.kept(r.Kept)
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
