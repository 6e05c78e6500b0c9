package main

import (
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newStatusCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "status",
		Short: "What has changed since the last snapshot, the queue, the daemon",
		Long: `Show what differs between the live tree of the current branch and its last commit: what is not yet committed, and of that, what is not yet
durable: (open) for writing, or (queued) for ingest, and would need its writer's fsync to survive a power cut. Then what the spool holds, and the
daemon with its mounts. The exit code is 0 whether or not there are changes.`,
		Example: `  coral status
  coral status --json | jq '.dirty | length'`,
	}, printStatus)
}

func printStatus(p *printer, _ service.Request, r service.StatusResult) error {
	switch {
	case r.Detached:
		p.line("HEAD is detached at %s", short(r.Head))
	case r.Head.IsZero():
		p.line("On branch %s, without commits", safe(r.Branch))
	default:
		p.line("On branch %s at %s", safe(r.Branch), short(r.Head))
	}
	ro := ""
	if r.ReadOnly {
		ro = " (read-only)"
	}
	p.line("Repository %s%s", safe(r.Repo), ro)
	if r.Daemon != nil {
		var at []string
		for _, m := range r.Daemon.Mounts {
			at = append(at, safe(m.Mountpoint))
		}
		p.line("Daemon %d, mounted at %s", r.Daemon.PID, strings.Join(at, ", "))
	}
	if q := r.Queue; q.Files > 0 {
		now := ""
		if q.Current != "" {
			now = ", now " + safe(q.Current)
		}
		p.line("Ingest queue: %s, %s%s", count(int64(q.Files), "file"), size(q.Bytes), now)
	}
	for _, e := range r.Queue.Errors {
		p.line("Cannot be ingested now: %s", safe(e))
	}
	if r.Spool.Files > 0 {
		p.line("Spool: %s, %s, %s of it copies of what is stored", count(int64(r.Spool.Files), "file"), size(r.Spool.Bytes), size(r.Spool.CleanBytes))
	}
	for _, f := range r.Spool.LostFound {
		p.line("In lost+found: %s", safe(f))
	}
	if r.Detached {
		return nil
	}
	p.line("")
	if len(r.Dirty) == 0 {
		p.line("Nothing has changed since the last snapshot.")
		return nil
	}
	p.line("Not yet committed:")
	rows, waiting := [][]string{}, 0
	for _, c := range r.Dirty {
		state := ""
		if c.State != "stored" && c.State != "" {
			state = "(" + c.State + ")"
			waiting++
		}
		rows = append(rows, []string{"  " + c.Kind + ":", safe(c.Path), state})
	}
	p.table(rows)
	if waiting > 0 {
		p.line("")
		p.line("%s not yet durable, unless it was synced by the program that wrote it: `coral sync` waits for what is closed.", count(int64(waiting), "file"))
	}
	return nil
}
