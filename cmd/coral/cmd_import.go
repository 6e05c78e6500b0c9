package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"coral/contrib/coralml"
	"coral/internal/control"
	"coral/internal/service"
)

func newImportCmd(a *app) *cobra.Command {
	python := "python3"
	cmd := verb(a, &cobra.Command{
		Use:   "import DIR...",
		Short: "Make a commit of each checkpoint in a directory",
		Long: `Make a commit of each checkpoint in a directory, in order: of its directories with a number in their names (checkpoint-500), else of
its weight files with one (ckpt_500.pt becomes a version of ckpt.pt), else of the directory as a whole. Each commit holds the files
of its checkpoint at the same paths, so that history, diff and deltas follow them; what the one before had and this one has not goes.
Message and metrics are from trainer_state.json, where there is one. It can be killed and run again, also when there are more
checkpoints: those that are in the branch's history are passed over. The live tree must have no changes.

With --coral-ml, DIR is a repository of the Python package coral-ml, 1.x: its commits, with parents, authors, times and messages, its
branches, and its versions as tags. The weights of each commit become model.safetensors. A Python that has coral-ml reads them into a
temporary directory ($TMPDIR), as large as all commits together; or run contrib/coralml/export.py yourself and name its output.`,
		Example: `  coral import ~/runs/minilm -b runs/minilm
  coral import ~/runs/a ~/runs/b --by mtime --to weights --dry-run
  coral import --coral-ml ~/old-repository --python ~/venv/bin/python`,
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
	cmd.Flags().StringVar(&python, "python", python, "with --coral-ml: the `program` that has the package coral-ml")
	plain := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if ml, _ := cmd.Flags().GetBool("coral-ml"); !ml || len(args) != 1 || args[0] == "" || service.HasHistory(args[0]) {
			return plain(cmd, args)
		}
		dir, done, err := exportCoralML(cmd.Context(), a, python, args[0])
		if err != nil {
			return err
		}
		defer done()
		return plain(cmd, []string{dir})
	}
	return cmd
}

// exportCoralML has the script read a repository of coral-ml into a temporary directory, which done removes.
func exportCoralML(ctx context.Context, a *app, python, repo string) (dir string, done func(), err error) {
	tmp, err := os.MkdirTemp("", "coral-import-*")
	if err != nil {
		return "", nil, fmt.Errorf("import: %w", err)
	}
	done = func() { _ = os.RemoveAll(tmp) }
	dir = filepath.Join(tmp, "history")
	cmd := exec.CommandContext(ctx, python, "-", repo, dir)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Stdin = bytes.NewReader(coralml.Script)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	a.notice("reading " + repo + " with " + python)
	err = cmd.Run()
	switch text := strings.TrimSpace(said.String()); {
	case ctx.Err() != nil:
		err = ctx.Err()
	case err != nil:
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
		err = fmt.Errorf("import %s: %s: %w", repo, control.OneLine(text), err)
	case text != "":
		a.notice(control.OneLine(text))
	}
	if err != nil {
		done()
		return "", nil, err
	}
	return dir, done, nil
}
