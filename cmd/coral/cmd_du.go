package main

import (
	"github.com/spf13/cobra"

	"coral/internal/service"
	"coral/vcs"
)

func newDuCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "du [REV[:PATH]]",
		Short: "How much space files and commits take",
		Long: `Show what the files of a commit (default HEAD) take, by path: logical, as ls -l counts; unique, each distinct tensor or chunk once;
stored, in packs, after coding. What is shared counts once on each line, so that lines can add up to more than the last. A delta
counts without its base where that belongs to something else. With --commits: each commit along first parents, and what it added
to those before it, which is what it costs to keep it.`,
		Example: `  coral du v1 --max-depth 2
  coral du --commits -n 20
  coral du main:checkpoint-500 --json`,
	}, printDu)
}

func printDu(p *printer, _ service.Request, r *service.DuResult) error {
	if r.Commits != nil {
		rows := [][]string{{"logical", "unique", "added", "stored", "commit", ""}}
		for _, c := range r.Commits {
			rows = append(rows, []string{size(c.Logical), size(c.Unique), "+" + size(c.Added.Unique), "+" + size(c.Added.Stored), short(c.Commit), safe(c.Subject)})
		}
		p.table(rows, 0, 1, 2, 3)
		return nil
	}
	rows := [][]string{{"logical", "unique", "stored", "path"}}
	row := func(u vcs.Usage, name string) {
		rows = append(rows, []string{size(u.Logical), size(u.Unique), size(u.Stored), name})
	}
	for _, u := range r.Paths {
		name := safe(u.Path)
		switch {
		case u.Path == "":
			name = "(all of " + short(r.Commit) + ")"
		case u.Kind == "dir":
			name += "/"
		}
		row(u.Usage, name)
	}
	p.table(rows, 0, 1, 2)
	return nil
}
