package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/oid"
	"coral/internal/service"
	"coral/vcs"
)

func newResetCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "reset [--hard] [REV]",
		Short: "Move the current branch to another commit",
		Long: `Move the head of a branch to REV (default: HEAD). The live tree stays as it is, so that what it has beyond REV counts as changes; with
--hard it becomes REV's. --hard refuses (exit code 3) to lose what is not committed; with --force that is first kept as a commit, which the ref log
names and 'coral undo' brings back. Files open for writing are refused. 'coral undo' takes any reset back.`,
		Example: `  coral reset HEAD~2
  coral reset --hard v1
  coral reset --hard --force`,
	}, func(p *printer, _ service.Request, r vcs.ResetResult) error {
		switch {
		case r.Unchanged:
			p.line("%s is at %s: nothing to do", safe(r.Branch), short(r.Commit))
		case r.Hard:
			p.line("%s and its live tree are at %s, the branch was at %s", safe(r.Branch), short(r.Commit), short(r.Was))
		default:
			p.line("%s is at %s, was at %s; its live tree stays as it was", safe(r.Branch), short(r.Commit), short(r.Was))
		}
		p.kept(r.Kept)
		return nil
	})
}

// kept names the commit that holds what was not committed.
func (p *printer) kept(id oid.ID) {
	if !id.IsZero() {
		p.line("what was not committed is kept in %s", short(id))
	}
}

func newRevertCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "revert COMMIT...",
		Short: "Take the changes of commits back in new ones",
		Long: `Make commits that undo what COMMIT changed, in the order given. It is a three-way merge by file: where a file was changed since in another
way nothing is done (exit code 3). The live tree goes with the branch and must have no changes. Of a merge, --mainline says against which parent.`,
		Example: `  coral revert HEAD
  coral revert 3f9a1c -m "the learning rate was wrong"`,
	}, printPick)
}

func newCherryPickCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "cherry-pick COMMIT...",
		Short: "Make the changes of commits again on the current branch",
		Long: `Apply what COMMIT changed against its parent to the head of the branch, as new commits in the order given, with message, author and labels of the
old (not its metrics, which were measured on other weights). It is a three-way merge by file: where both sides changed a file nothing is done (exit
code 3). The live tree goes with the branch and must have no changes.`,
		Example: `  coral cherry-pick exp/lr-3e-5
  coral cherry-pick exp~3 exp~1 -b main`,
	}, printPick)
}

func printPick(p *printer, _ service.Request, r vcs.PickResult) error {
	for _, id := range r.Commits {
		p.line("made %s", short(id))
	}
	p.line("%s and its live tree are at %s, the branch was at %s", safe(r.Branch), short(r.Commit), short(r.Was))
	return nil
}

func newRestoreCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "restore [-s REV] PATH...",
		Short: "Bring files of a live tree back from a commit",
		Long: `Make paths of a live tree what they are in a commit (default: the branch's head): a file, a link, or a directory with all that is in it. A path
that the commit lacks is removed. The branch does not move. Changes of these paths that are not committed are refused (exit code 3) unless --force
keeps them as a commit, which the ref log names and 'coral undo' brings back. In a mount, paths are relative to the working directory; elsewhere,
and as /PATH, to the root of the tree; / is all of it.`,
		Example: `  coral restore checkpoint-500/config.json --force
  coral restore -s v1 tokenizer`,
	}, func(p *printer, _ service.Request, r service.RestoreResult) error {
		p.restored(r.Paths, r.Commit, r.Unchanged)
		p.kept(r.Kept)
		return nil
	})
}

func (p *printer) restored(paths []control.Text, from oid.ID, unchanged bool) {
	if unchanged {
		p.line("nothing differs from %s", short(from))
		return
	}
	for _, path := range paths {
		if path == "" {
			path = "."
		}
		p.line("%s is as in %s", safe(path), short(from))
	}
}

func newUndoCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "undo",
		Short: "Take back the last change of branches, tags or HEAD",
		Long: `Take back what the last command did to refs: a snapshot, reset, revert, merge, a branch or tag that was made, renamed or deleted, a checkout. Again goes
one further back; --redo goes forward, until something else is done. A live tree goes back with its branch, but for a snapshot: its changes are
uncommitted again. Changes of a live tree that would be lost are refused (exit code 3) unless --force keeps them as a commit. What gc has dropped
cannot come back. 'coral reflog' lists what was done.`,
		Example: `  coral undo --dry-run
  coral undo
  coral undo --redo`,
	}, printUndo)
}

func printUndo(p *printer, _ service.Request, r service.UndoResult) error {
	did := "took back"
	switch {
	case r.DryRun && r.Redo:
		did = "would make again"
	case r.DryRun:
		did = "would take back"
	case r.Redo:
		did = "made again"
	}
	for _, m := range r.Moves {
		p.line("%s %d %s %s..%s %s", did, m.Seq, safe(m.Ref), short(m.Old), short(m.New), safe(m.Why))
	}
	p.kept(r.Kept)
	return nil
}

func newReflogCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "reflog [REF]",
		Short: "List the moves of branches, tags and HEAD",
		Long: `List what moved branches, tags and HEAD, newest first: number, time, ref, old and new commit, and why; with REF (a branch, tag, or HEAD) only its moves. Deleted
ones have a log too. gc keeps the commits of recent moves; 'coral undo' takes moves back.`,
		Example: `  coral reflog -n 20
  coral reflog main --json | jq -r '.[].old'`,
	}, func(p *printer, _ service.Request, list []service.MoveInfo) error {
		var rows [][]string
		for _, m := range list {
			rows = append(rows, []string{fmt.Sprint(m.Seq), p.time(m.Time), safe(m.Ref), short(m.Old), short(m.New), safe(m.Why)})
		}
		p.table(rows, 0)
		return nil
	})
}

func newDescribeCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "describe [REV]",
		Short: "Name a commit by the nearest tag before it",
		Long: `Name REV (default: HEAD) by the tag from which the fewest commits lead to it: TAG at the tag itself, else TAG-N-ID with the number of commits since
and the beginning of its id. The backups of compact count only if --match asks for them.`,
		Example: `  coral describe
  coral describe main --match 'v*' --always`,
	}, func(p *printer, _ service.Request, r service.DescribeResult) error {
		p.line("%s", strings.TrimSpace(safe(r.Text)))
		return nil
	})
}
