package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"coral/internal/service"
	"coral/vcs"
)

func newOptimizeCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "optimize",
		Short: "Choose anew what is stored as a delta of what",
		Long: `Choose bases anew for the tensors of all commits: the newest version of each is stored alone, so that it is read at once, and older ones as
deltas of newer ones, with a larger search than there is time for when files come in. The bytes of files do not change, and can be
read meanwhile. It may be stopped or killed at any moment; run it again and it goes on. For a while it takes room on the disk for what it writes anew.`,
		Example: `  coral optimize --dry-run
  coral optimize --branch main --path '*.safetensors' --newest-solo 2`,
	}, printOptimize)
}

func printOptimize(p *printer, _ service.Request, r service.OptimizeResult) error {
	did, copied := "coded anew", "copied"
	if r.DryRun {
		did, copied = "would be coded anew", "would be copied"
	}
	p.line("%s of %d tensors: %d %s, %d %s (%s)", count(r.Blobs, "blob"), r.Families, r.Recoded, did, r.Deepened, copied, seconds(r.Seconds))
	if r.Left > 0 {
		p.line("%s left for the next run, since files came in meanwhile", count(r.Left, "blob"))
	}
	if r.Unreadable > 0 {
		p.line("%s cannot be read: run `coral fsck --full`", count(r.Unreadable, "blob"))
	}
	row := func(name string, s vcs.OptimizeState) []string {
		return []string{name, size(s.StoredBytes), share(s.StoredBytes, s.RawBytes), times(s.ReadBytes, s.RawBytes), times(s.NewestBytes, s.NewestRaw), fmt.Sprint(s.MaxDepth)}
	}
	p.table([][]string{
		{"", "stored", "of raw", "decoded for all", "for the newest", "longest chain"},
		row("before", r.Before), row("after", r.After),
	}, 1, 2, 3, 4, 5)
	if !r.DryRun {
		if r.FreedBytes >= 0 {
			p.line("freed %s of packs", size(r.FreedBytes))
		} else {
			p.line("packs have grown by %s", size(-r.FreedBytes))
		}
	}
	return nil
}

// share and times are empty for nothing of nothing.
func share(part, all int64) string {
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(all))
}

func times(part, all int64) string {
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f times", float64(part)/float64(all))
}
