package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/service"
	"coral/vcs"
)

func newSnapshotCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "snapshot",
		Short: "Commit the live tree of a branch",
		Long: `Commit what a branch's live tree holds now. Nothing is stopped for it: files that are open for writing are taken as they are
at that moment and named in the result; --strict refuses instead. If nothing has changed since the last commit none is
made, unless --allow-empty. When the command returns, the commit survives a power cut.`,
		Example: `  coral snapshot -m "step 500" --metric loss=0.41 --label run=a7 -t best
  coral snapshot --json | jq -r .commit`,
	}, printSnapshot)
}

func printSnapshot(p *printer, req service.Request, r vcs.SnapshotResult) error {
	if r.Unchanged {
		if r.Commit.IsZero() {
			p.line("%s has no commit yet, and its live tree is empty: nothing to commit", safe(r.Branch))
			return nil
		}
		p.line("%s is at %s: nothing has changed since", safe(r.Branch), short(r.Commit))
		return nil
	}
	r0, _ := req.(*service.SnapshotRequest)
	subject := ""
	if r0 != nil {
		subject, _, _ = strings.Cut(r0.Message, "\n")
	}
	p.line("%s", strings.TrimRight(fmt.Sprintf("[%s %s] %s", safe(r.Branch), short(r.Commit), safe(subject)), " "))
	p.line("%s, %s ingested; %s added to the store in %s", count(int64(r.Files), "file"), size(r.Bytes), size(r.StoredBytes), seconds(r.Seconds))
	for _, f := range r.OpenFiles {
		p.line("open for writing, taken as it was: %s", safe(f))
	}
	for _, f := range r.Skipped {
		p.line("left out, a commit cannot hold it: %s", safe(f))
	}
	if r0 != nil && r0.Tag != "" {
		p.line("tagged %s", safe(r0.Tag))
	}
	return nil
}

func newSyncCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "sync",
		Short: "Wait until everything closed so far is ingested",
		Long: `Wait until every file that was closed before the command is in the store, and durable. A file that cannot be ingested makes the
command fail and is named; it stays in the spool and is tried again.`,
		Example: `  cp -r checkpoint-500 /mnt/models/branches/main/ && coral sync`,
	}, func(p *printer, _ service.Request, r service.SyncResult) error {
		p.line("all that was closed is ingested (%s)", seconds(r.Seconds))
		return nil
	})
}

func newAddCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "add FILE...",
		Short: "Copy files or directories into a live tree",
		Long: `Copy files or directories of the ordinary file system into the live tree of a branch, without a mount. Each keeps its own name,
under --to. What was there under the same name is replaced. Commit with 'coral snapshot'.`,
		Example: `  coral add run/checkpoint-500 config.json
  coral add model.safetensors --to minilm -b exp/lr-3e-5`,
	}, func(p *printer, _ service.Request, r service.AddResult) error {
		p.line("%s, %s copied into branch %s", count(int64(r.Files), "file"), size(r.Bytes), safe(r.Branch))
		for _, f := range r.Paths {
			p.line("  %s", safe(f))
		}
		return nil
	})
}

func newExportCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "export REV[:PATH] DIR | FILE.tar[.gz|.zst]",
		Short: "Write a commit's files to a plain directory or an archive",
		Long: `Write the files of a commit, or those under PATH, to DIR, which must be empty or new. Kinds, permission bits and times are kept,
and every file is verified against the hash recorded when it was stored. A name that ends in .tar, .tar.gz, .tgz, .tar.zst or .tzst
makes an archive of that name, which must be new; the same commit gives the same bytes each time.`,
		Example: `  coral export v1 /tmp/v1
  coral export main~2:checkpoint-500 ./checkpoint-500
  coral export v1 -o /tmp/v1.tar.zst`,
	}, func(p *printer, _ service.Request, r service.ExportResult) error {
		p.line("%s, %s of %s written to %s (%s)", count(int64(r.Files), "file"), size(r.Bytes), short(r.Commit), safe(r.Dir), seconds(r.Seconds))
		return nil
	})
}
