package main

import (
	"bufio"
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/daemon"
	"coral/internal/service"
)

func newLogCmd(a *app) *cobra.Command {
	ofDaemon := false
	cmd := verb(a, &cobra.Command{
		Use:   "log [REV] [-- PATH...]",
		Short: "List commits, newest first",
		Long: `List the commits from REV (default: the current branch) back along first parents. REV is a branch, a tag, HEAD, an id or a
prefix of one of at least 4 digits, each with ~N, ^N or @{N} (N moves ago) after it. With paths after -- only the commits that changed one of these files or
directories. --graph draws every parent, as git does. All other conditions must hold together; -n counts what is shown. --daemon shows what the daemon
logged instead.`,
		Example: `  coral log --oneline -n 10
  coral log --graph --all --oneline
  coral log --metric 'loss<0.5' --since '2 weeks ago' -- checkpoint-500
  coral log --all --json | jq -r '.[] | [.commit, .metrics.loss] | @tsv'
  coral log --daemon -n 50`,
	}, printLog)
	cmd.Flags().BoolVar(&ofDaemon, "daemon", false, "the daemon's recent log lines, whether it runs or not")
	commits := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !ofDaemon {
			return commits(cmd, args)
		}
		n, _ := cmd.Flags().GetInt("max-count") // defined by the request
		return runDaemonLog(a, n)
	}
	return cmd
}

func runDaemonLog(a *app, n int) error {
	dir, err := a.dir()
	if err != nil {
		return err
	}
	list, err := daemon.RecentLog(dir, n)
	if err != nil {
		return err
	}
	return a.result(map[string][]string{"lines": list}, func(p *printer) {
		for _, l := range list {
			p.line("%s", safe(l))
		}
	})
}

func printLog(p *printer, req service.Request, list []*service.CommitInfo) error {
	r, _ := req.(*service.LogRequest)
	if r == nil {
		r = &service.LogRequest{}
	}
	var g graph
	for i, c := range list {
		text := func(p *printer) {
			if r.Oneline {
				subject, _, _ := strings.Cut(c.Message, "\n")
				p.line("%s", strings.TrimRight(short(c.Commit)+" "+strings.TrimPrefix(refList(c.Refs)+" ", " ")+safe(subject), " "))
				return
			}
			p.commit(c)
			if i < len(list)-1 {
				p.line("")
			}
		}
		if !r.Graph {
			text(p)
			continue
		}
		var b bytes.Buffer
		q := &printer{w: bufio.NewWriter(&b), loc: p.loc, now: p.now}
		text(q)
		if err := q.flush(); err != nil {
			return err
		}
		g.next(c.Commit, c.Parents)
		p.beside(&g, strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"))
	}
	return nil
}

// beside writes the lines of a commit beside its graph, the first beside the commit's own place.
func (p *printer) beside(g *graph, lines []string) {
	for begun := false; !begun || len(lines) > 0 || !g.done(); {
		row, commit := g.row()
		if begun = begun || commit; begun && len(lines) > 0 {
			row, lines = row+lines[0], lines[1:]
		}
		p.line("%s", strings.TrimRight(row, " "))
	}
}

// commit writes one commit as log and show do.
func (p *printer) commit(c *service.CommitInfo) {
	p.line("%s", strings.TrimRight("commit "+c.Commit.String()+" "+refList(c.Refs), " "))
	if len(c.Parents) > 1 {
		var ids []string
		for _, id := range c.Parents {
			ids = append(ids, short(id))
		}
		p.line("Parents: %s", strings.Join(ids, " "))
	}
	p.line("Author:  %s", safe(c.Author))
	p.line("Date:    %s", p.time(c.Time))
	if len(c.Metrics) > 0 {
		p.line("Metrics: %s", pairs(c.Metrics, func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }))
	}
	if len(c.Labels) > 0 {
		p.line("Labels:  %s", pairs(c.Labels, func(s string) string { return s }))
	}
	if c.Message != "" {
		p.line("")
		for _, l := range lines(c.Message) {
			p.line("    %s", l)
		}
	}
}

// refList is "(HEAD -> main, tag: v1)", or nothing.
func refList(refs []string) string {
	var out []string
	head := false
	for _, r := range refs {
		switch {
		case r == "HEAD":
			head = true
		case strings.HasPrefix(r, "branches/"):
			name := safe(strings.TrimPrefix(r, "branches/"))
			if head {
				name, head = "HEAD -> "+name, false // its branch comes next
			}
			out = append(out, name)
		case strings.HasPrefix(r, "tags/"):
			out = append(out, "tag: "+safe(strings.TrimPrefix(r, "tags/")))
		}
	}
	if head {
		out = append([]string{"HEAD"}, out...)
	}
	if len(out) == 0 {
		return ""
	}
	return "(" + strings.Join(out, ", ") + ")"
}

func pairs[V any](m map[string]V, text func(V) string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		keys[i] = fmt.Sprintf("%s=%s", safe(k), safe(text(m[k])))
	}
	return strings.Join(keys, " ")
}
