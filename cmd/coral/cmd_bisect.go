package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/daemon"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/service"
)

func newBisectCmd(a *app) *cobra.Command {
	cmd := verb(a, &cobra.Command{
		Use:   "bisect [start [BAD [GOOD...]] | good [REV...] | bad [REV] | skip [REV...] | run CMD... | log | reset]",
		Short: "Find the commit that made things bad",
		Long: `Search for the first bad commit between one that is bad and its ancestors that are good, by halves, merges included. 'good', 'bad'
and 'skip' say how the commit that was to be tested is, or another. HEAD and live trees are not touched: look at the commit in the
mount (commits/<id>), or let 'run' do so. It tests with a command until the answer is known: $CORAL_COMMIT is the commit's id, and
$CORAL_DIR a directory with its files, in the mount or, without one, exported for the time of the test. Exit code 0 is good, 125
cannot be tested, others below 128 are bad, and any more ends the run. With --metric a recorded metric decides. The search is kept in
.coral/bisect.json until 'reset'. Without a word: where it is.`,
		Example: `  coral bisect start main v1 && coral bisect run sh -c 'python eval.py "$CORAL_DIR"'
  coral bisect start --metric 'loss>0.5'
  coral bisect bad; coral bisect good HEAD~20`,
	}, printBisect)
	one := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 && args[0] == "run" {
			return runBisect(cmd.Context(), a, args[1:])
		}
		return one(cmd, args)
	}
	return cmd
}

// protectCommand puts -- before the command of `bisect run`, whose flags are not ours.
func protectCommand(args []string) []string {
	for i := 0; i < len(args); i++ {
		switch w := args[i]; {
		case w == "-R" || w == "--repo":
			i++
		case strings.HasPrefix(w, "-"):
		default:
			if w == "bisect" && i+2 < len(args) && args[i+1] == "run" && args[i+2] != "--" {
				return slices.Insert(slices.Clone(args), i+2, "--")
			}
			return args
		}
	}
	return args
}

// testWord is how a command of `bisect run` ended.
func testWord(err error) (string, error) {
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return "good", nil
	case !errors.As(err, &exit):
		return "", fmt.Errorf("bisect run: %w", err)
	case exit.ExitCode() == 125:
		return "skip", nil
	case exit.ExitCode() > 0 && exit.ExitCode() < 128:
		return "bad", nil
	}
	return "", fmt.Errorf("bisect run: the command ended with %s: the search is as it was before", exit)
}

// runBisect tests with a command until there is nothing more to test.
func runBisect(ctx context.Context, a *app, command []string) error {
	if len(command) == 0 {
		return control.Usagef("bisect run: give a command")
	}
	c, err := a.caller()
	if err != nil {
		return err
	}
	for req := (&service.BisectRequest{}); ; {
		var res service.BisectResult
		if err := c.Call(ctx, service.Find("bisect"), req, &res, nil); err != nil {
			return err
		}
		switch res.State {
		case "none", "waiting":
			return fmt.Errorf("bisect run: a good and a bad commit are needed first, see `coral bisect start`: %w", errs.Invalid)
		case "found", "inconclusive":
			return a.bisectEnd(&res)
		}
		id := res.Next.Commit
		a.notice(fmt.Sprintf("testing %s, %d left, about %s", id.Short(), res.Left, count(int64(res.Steps), "step")))
		word, err := a.bisectTest(ctx, c, id, command)
		if err != nil {
			return err
		}
		req = &service.BisectRequest{Word: word, Revs: []string{id.String()}}
	}
}

// bisectTest runs the command on one commit.
func (a *app) bisectTest(ctx context.Context, c daemon.Caller, id oid.ID, command []string) (string, error) {
	dir, done, err := commitDir(ctx, c, id)
	if err != nil {
		return "", err
	}
	defer done()
	cmd := a.look(ctx, c, command, dir, id)
	cmd.Stdout = a.err // stdout is the result's
	err = cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return testWord(err)
}

// commitDir returns a directory with the files of a commit: in a mount of the whole repository, or a temporary one that done removes.
func commitDir(ctx context.Context, c daemon.Caller, id oid.ID) (dir string, done func(), err error) {
	if dir, err = mountedCommit(ctx, c, id); dir != "" || err != nil {
		return dir, func() {}, err
	}
	tmp, err := os.MkdirTemp("", "coral-bisect-*")
	if err != nil {
		return "", nil, fmt.Errorf("bisect run: %w", err)
	}
	done = func() { _ = service.RemoveTree(tmp) }
	raw := json.RawMessage{}
	req := &service.ExportRequest{Target: service.Target{Rev: id.String()}, Dir: control.Text(filepath.Join(tmp, "files"))}
	if err := c.Call(ctx, service.Find("export"), req, &raw, nil); err != nil {
		done()
		return "", nil, err
	}
	return filepath.Join(tmp, "files"), done, nil
}

// bisectEnd prints the last result of a run.
func (a *app) bisectEnd(res *service.BisectResult) error {
	err := a.result(res, func(p *printer) { _ = printBisect(p, nil, res) })
	if err == nil && res.Failed() {
		return &resultError{}
	}
	return err
}

func printBisect(p *printer, req service.Request, r *service.BisectResult) error {
	if q, _ := req.(*service.BisectRequest); q != nil && q.Word == "log" {
		for _, e := range r.Log {
			line := "coral bisect " + e.Word
			for _, id := range e.Commits {
				line += " " + id.Short()
			}
			p.line("%s", line)
		}
		return nil
	}
	switch r.State {
	case "none":
		p.line("no search is in work: begin with `coral bisect start`")
	case "waiting":
		switch {
		case r.Bad.IsZero() && len(r.Good) == 0:
			p.line("mark a bad commit with `coral bisect bad`, and good ones with `coral bisect good`")
		case r.Bad.IsZero():
			p.line("mark a bad commit with `coral bisect bad`")
		default:
			p.line("mark a good commit with `coral bisect good`")
		}
	case "testing":
		p.line("test %s: %d commits left, about %s", bisectName(p, r.Next), r.Left, count(int64(r.Steps), "step"))
	case "found":
		p.line("the first bad commit is %s", bisectName(p, r.Found))
	case "inconclusive":
		p.line("the first bad commit is one of these, which cannot be told apart:")
		for _, id := range r.Suspects {
			p.line("  %s", short(id))
		}
	}
	return nil
}

// bisectName is a commit on one line.
func bisectName(p *printer, c *service.CommitInfo) string {
	subject, _, _ := strings.Cut(c.Message, "\n")
	s := short(c.Commit) + " " + refList(c.Refs)
	return strings.TrimSpace(strings.TrimSpace(s) + " " + safe(subject) + " (" + p.time(c.Time) + ")")
}
