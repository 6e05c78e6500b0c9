package main

import (
	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newBlameCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "blame FILE [REV] | REV:FILE",
		Short: "Which commit last changed each tensor of a file",
		Long: `Show, for each tensor of a file of a commit (default HEAD), the commit that last changed it; of a file without tensors, the commit
that last changed the file. Tensors are the same if dtype, shape and bytes are, whatever they are called and in which container
they lie; that is told by their ids, and nothing is decoded. Renames of the file are followed where its content says so. With
--copies, what is in a new file is also looked for in files that stayed: the frozen layers of checkpoint-40 in checkpoint-20.`,
		Example: `  coral blame model.safetensors
  coral blame checkpoint-500/model.safetensors v2 --copies
  coral blame v2:model.safetensors --json | jq -r '.tensors[] | [.commit, .name] | @tsv'`,
	}, printBlame)
}

func printBlame(p *printer, _ service.Request, r *service.BlameResult) error {
	row := func(c service.BlameCommit, name, what string) []string {
		from := ""
		if c.Path != r.Path {
			from = " (" + safe(c.Path) + ")"
		}
		return []string{short(c.Commit), c.Time.In(p.loc).Format("2006-01-02 15:04"), name, what, safe(c.Subject) + from}
	}
	rows := [][]string{row(r.File, safe(r.Path), "the file")}
	for _, t := range r.Tensors {
		rows = append(rows, row(t.BlameCommit, safe(t.Name), t.DType+" "+shape(t.Shape)))
	}
	p.table(rows)
	return nil
}
