package main

import (
	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newImportCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "import DIR...",
		Short: "Make a commit of each checkpoint in a directory",
		Long: `Make a commit of each checkpoint in a directory, in order: of its directories with a number in their names (checkpoint-500), else of
its weight files with one (ckpt_500.pt becomes a version of ckpt.pt), else of the directory as a whole. Each commit holds the files
of its checkpoint at the same paths, so that history, diff and deltas follow them; what the one before had and this one has not goes.
Message and metrics are from trainer_state.json, where there is one. It can be killed and run again, also when there are more
checkpoints: those that are in the branch's history are passed over. The live tree must have no changes.`,
		Example: `  coral import ~/runs/minilm -b runs/minilm
  coral import ~/runs/a ~/runs/b --by mtime --to weights --dry-run`,
	}, func(p *printer, _ service.Request, r service.ImportResult) error {
		for _, c := range r.Commits {
			if r.DryRun {
				p.line("would commit %s: %s, %s", safe(c.Message), count(int64(c.Files), "file"), size(c.Bytes))
				continue
			}
			p.line("[%s %s] %s", safe(r.Branch), short(c.Commit), safe(c.Message))
		}
		made := "imported"
		if r.DryRun {
			made = "to be imported"
		}
		p.line("%s %s, %s; %d imported before (%s)", count(int64(len(r.Commits)), "checkpoint"), made, size(r.Bytes), r.Skipped, seconds(r.Seconds))
		return nil
	})
}
