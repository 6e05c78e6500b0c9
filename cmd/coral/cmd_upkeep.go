package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/service"
	"coral/vcs"
)

func newStatsCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:     "stats",
		Short:   "How much is stored, and how much that saves",
		Long:    `Show totals: the bytes of all files of all commits, the distinct bytes in them, and what packs and index take on disk.`,
		Example: `  coral stats --json | jq .saved_ratio`,
	}, printStats)
}

func printStats(p *printer, _ service.Request, r vcs.Stats) error {
	p.table([][]string{
		{"files in all commits", size(r.LogicalBytes), count(r.Files, "file")},
		{"distinct", size(r.UniqueBytes), count(r.Blobs, "blob")},
		{"stored", size(r.StoredBytes), count(int64(r.Packs), "pack")},
		{"saved", fmt.Sprintf("%.1f %%", r.SavedRatio*100), ratio(r.LogicalBytes, r.StoredBytes)},
		{"deltas", strconv.FormatInt(r.Deltas, 10), "longest chain " + strconv.Itoa(r.MaxChainDepth)},
		{"commits", strconv.FormatInt(r.Commits, 10), fmt.Sprintf("%s, %s", branches(r.Branches), count(r.Tags, "tag"))},
		{"spool", size(r.SpoolBytes), ""},
		{"cache", size(r.CacheBytes), ""},
	}, 1)
	return nil
}

func branches(n int64) string { return count(n, "branch") }

func ratio(logical, stored int64) string {
	if stored <= 0 || logical <= stored {
		return ""
	}
	return fmt.Sprintf("%.2f times smaller", float64(logical)/float64(stored))
}

func newCacheCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "cache [status | drop]",
		Short: "Show or drop caches and ingested spool files",
		Long: `Show, or with drop delete, what can be made again from the store: materialised files of commits, spool copies of files that are
ingested, and decoded blocks in memory. Files that are open are left alone. --size changes how much disk the materialised files may take
while this daemon runs; 'coral mount --cache-size' sets it for good.`,
		Example: `  coral cache
  coral cache drop
  coral cache --size 2G`,
	}, func(p *printer, _ service.Request, r service.CacheResult) error {
		if r.Dropped {
			p.line("freed %s", size(r.FreedBytes))
		}
		limit := ""
		if r.Limit > 0 {
			limit = ", at most " + size(r.Limit)
		}
		p.line("cache: %s, %s%s", count(int64(r.Files), "file"), size(r.Bytes), limit)
		p.line("spool: %s, %s, %s of it copies of what is stored", count(int64(r.Spool.Files), "file"), size(r.Spool.Bytes), size(r.Spool.CleanBytes))
		return nil
	})
}

func newGCCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "gc",
		Short: "Delete what nothing needs",
		Long: `Delete the objects that no branch, tag, live tree or recent entry of the ref log needs. Packs of which at least a quarter is dead are
rewritten; --full rewrites any with something dead in it. It is safe to kill it at any moment.`,
		Example: `  coral gc --dry-run
  coral gc --keep 7d --full`,
	}, func(p *printer, _ service.Request, r service.GCResult) error {
		verb := "deleted"
		if r.DryRun {
			verb = "would delete"
		}
		p.line("%s %s, %s; %s removed, %d rewritten (%s)", verb, count(r.Dropped, "record"), size(r.FreedBytes),
			count(int64(r.PacksRemoved), "pack"), r.PacksRewritten, seconds(r.Seconds))
		return nil
	})
}

func newFsckCmd(a *app) *cobra.Command {
	rebuild := false
	cmd := verb(a, &cobra.Command{
		Use:   "fsck",
		Short: "Check everything that is stored",
		Long: `Check packs, index, refs and every object that a ref reaches; --full also decodes every file of every commit and compares its hash.
Damage is printed by file and commit, and makes the exit code 1. --rebuild-index makes the index again from the packs first; it needs the
repository unmounted.`,
		Example: `  coral fsck --full
  coral fsck --rebuild-index`,
	}, printFsck)
	cmd.Flags().BoolVar(&rebuild, "rebuild-index", false, "first make the index again from the packs alone")
	check := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if rebuild {
			if len(args) > 0 {
				return control.Usagef("fsck: unexpected argument %q", args[0])
			}
			if err := runRebuild(cmd.Context(), a); err != nil {
				return err
			}
		}
		return check(cmd, args)
	}
	return cmd
}

// runRebuild says what it did on stderr: the result on stdout is the check's.
func runRebuild(ctx context.Context, a *app) error {
	c, err := a.caller()
	if err != nil {
		return err
	}
	var res service.RebuildResult
	if err := c.Offline(ctx, func() (err error) {
		res, err = service.RebuildIndex(ctx, c.Dir, nil)
		return err
	}); err != nil {
		return advise(fmt.Errorf("fsck --rebuild-index: %w", err), "unmount first if it is mounted")
	}
	fmt.Fprintf(a.err, "coral: the index is made again: %s\n", count(res.Records, "record"))
	for _, d := range res.Damage {
		fmt.Fprintf(a.err, "coral: damaged: %s\n", control.OneLine(d))
	}
	return nil
}

func printFsck(p *printer, _ service.Request, r service.FsckResult) error {
	for _, d := range r.Damage {
		p.line("damaged: %s", safe(d))
	}
	for _, f := range r.Damaged {
		p.line("damaged: %s:%s: %s", short(f.Commit), safe(f.Path), safe(f.Why))
	}
	for _, f := range r.LostFound {
		p.line("in lost+found: %s", safe(f))
	}
	state := "everything is whole"
	if !r.OK {
		state = fmt.Sprintf("%s of damage, %s damaged", count(int64(len(r.Damage)), "finding"), count(int64(len(r.Damaged)), "file"))
	}
	p.line("checked %s, %s, %s with %s in %s: %s", count(int64(r.Packs), "pack"), count(r.Records, "record"), count(r.Files, "file"), size(r.Bytes), seconds(r.Seconds), state)
	return nil
}
