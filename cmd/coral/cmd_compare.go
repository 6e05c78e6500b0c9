package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/service"
)

func newCompareCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "compare A [B]",
		Short: "How alike two versions are, as a whole and by tensor",
		Long: `Compare two commits, branches, live trees, files or directories by similarity: cosine and relative L2 of all tensors together, how many are equal, and how much of B is in
blobs that A has too, which take room once. B is HEAD's commit if it is not given; sides are as in coral diff.
Then the table of coral diff. Other than there, totals are of all tensors that both sides have: equal ones are read once for them.`,
		Example: `  coral compare main
  coral compare v1 exp/lora -n 10
  coral compare main:checkpoint-40 main:checkpoint-60 --fail-on 'cos<0.99'`,
	}, printCompare)
}

func printCompare(p *printer, req service.Request, r service.DiffResult) error {
	o := req.(*service.CompareRequest)
	c := r.Total.Counts
	rows := [][]string{{"A:", sideText(&r.From)}, {"B:", sideText(&r.To)}}
	if f := r.Total.Figures; f != nil {
		rows = append(rows, []string{"cosine:", cosine(f.Cosine)}, []string{"rel L2:", small(f.RelL2)}, []string{"elements changed:", percent(f.Changed)})
	}
	if c.Tensors > 0 {
		rows = append(rows, []string{"tensors equal:", fmt.Sprintf("%d of %d", c.Equal+c.Renamed, c.Tensors)})
	}
	if s := r.Shared; s != nil && !math.IsNaN(float64(s.SharedShare)) {
		rows = append(rows, []string{"bytes shared:", fmt.Sprintf("%s of %s (%s)", size(s.Shared), size(s.Stored), percent(s.SharedShare))})
	}
	p.table(rows)
	if o.Stat {
		p.line("")
		p.diffFiles(r.Files, true)
		return nil
	}
	p.tensorChanges(&r, o.N)
	p.layers(r.Layers)
	p.diffNotes(&r)
	return nil
}

// sideText is what a side was called, and what that is.
func sideText(s *service.SideInfo) string {
	switch {
	case s.Disk != "" && s.Disk != s.Name:
		return safe(s.Name) + " (" + safe(s.Disk) + ")"
	case s.Branch != "":
		return safe(s.Name) + " (live tree of " + safe(s.Branch) + ")"
	case !s.Commit.IsZero():
		return safe(s.Name) + " (" + short(s.Commit) + ")"
	}
	return safe(control.Text(s.Name))
}
