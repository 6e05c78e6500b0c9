package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"coral/internal/control"
	"coral/internal/daemon"
	"coral/internal/service"
)

// app is what every verb receives: where to read and write, and how the process was called. Tests replace it.
type app struct {
	in       io.Reader
	out, err io.Writer
	errTTY   bool // err is a terminal: progress and notices are wanted
	outColor bool // out is a terminal that may be coloured
	width    int  // of the terminal
	loc      *time.Location
	now      func() time.Time

	repo string // -R
	json bool
	args []string // the command line
}

func newApp(in io.Reader, out, errOut *os.File) *app {
	a := &app{in: in, out: out, err: errOut, loc: time.Local, now: time.Now, width: 80}
	if ws, err := unix.IoctlGetWinsize(int(errOut.Fd()), unix.TIOCGWINSZ); err == nil {
		a.errTTY = os.Getenv("TERM") != "dumb"
		if ws.Col > 20 {
			a.width = int(ws.Col)
		}
	}
	if _, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ); err == nil {
		a.outColor = os.Getenv("TERM") != "dumb" && os.Getenv("NO_COLOR") == ""
	}
	return a
}

// execute runs one command line and returns the exit code.
func (a *app) execute(ctx context.Context, args []string) int {
	a.args = args
	root := newRootCmd(a)
	root.SetArgs(protectCommand(args))
	root.SetOut(a.out)
	root.SetErr(a.err)
	strictCompletion(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil && control.Class(err) == "canceled" {
		err = fmt.Errorf("interrupted: %w", err)
	}
	return a.fail(err)
}

// fail reports an error: one line on stderr and, with --json, the error object on stdout.
func (a *app) fail(err error) int {
	switch e := err.(type) {
	case *resultError:
		if e.why != nil {
			fmt.Fprintf(a.err, "coral: %s\n", control.OneLine(e.why.Error()))
		}
	default:
		if a.json {
			fmt.Fprintf(a.out, "%s\n", service.ErrorJSON(err))
		}
		text := control.OneLine(err.Error())
		if h := hint(err); h != "" {
			text += "; " + h
		}
		fmt.Fprintf(a.err, "coral: %s\n", text)
	}
	return exitCode(err)
}

// resultError is a failure whose report is the result itself: damage that fsck found, conflicts of a merge, or what --fail-on looked for. why, if there is one, is told on
// stderr alone, and its class decides the exit code.
type resultError struct{ why error }

func (*resultError) Error() string   { return "failed" }
func (e *resultError) Unwrap() error { return e.why }

// dir returns the .coral directory of the repository that is meant.
func (a *app) dir() (string, error) {
	if a.repo != "" {
		return service.FindRepo(a.repo, false)
	}
	if env := os.Getenv("CORAL_REPO"); env != "" {
		return service.FindRepo(env, false)
	}
	return service.FindRepo(".", true)
}

// caller returns what runs verbs on the repository that is meant.
func (a *app) caller() (daemon.Caller, error) {
	dir, err := a.dir()
	if err != nil {
		return daemon.Caller{}, err
	}
	return daemon.Caller{Dir: dir, Command: a.command(), Notice: a.notice}, nil
}

// command is the command line as others see it who wait for this process.
func (a *app) command() string {
	words := []string{"coral"}
	for _, w := range a.args {
		words = append(words, service.Quote(w))
	}
	s := []rune(strings.Join(words, " "))
	if len(s) > 200 {
		s = append(s[:199], '…')
	}
	return string(s)
}

// notice tells a person something that is not a result.
func (a *app) notice(text string) {
	if a.errTTY {
		fmt.Fprintf(a.err, "coral: %s\n", text)
	}
}

// verb makes the cobra command of a verb of internal/service. print writes the result as text.
func verb[R any](a *app, cmd *cobra.Command, print func(p *printer, req service.Request, r R) error) *cobra.Command {
	v := service.Find(cmd.Name())
	return verbOf(a, v, v.New(), cmd, print)
}

// verbOf is verb with the request that flags and arguments are taken into.
func verbOf[R any](a *app, v *service.Verb, req service.Request, cmd *cobra.Command, print func(p *printer, req service.Request, r R) error) *cobra.Command {
	req.Flags(cmd.Flags())
	cmd.Aliases = v.Aliases
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if d, ok := req.(service.Dasher); ok && cmd.ArgsLenAtDash() >= 0 {
			d.SetDash(cmd.ArgsLenAtDash())
		}
		return run(cmd.Context(), a, v, req, args, print)
	}
	return cmd
}

// run puts a request and prints the result.
func run[R any](ctx context.Context, a *app, v *service.Verb, req service.Request, args []string, print func(p *printer, req service.Request, r R) error) error {
	if err := req.SetArgs(args); err != nil {
		return err
	}
	if l, ok := req.(service.Localizer); ok {
		if err := l.Localize(); err != nil {
			return err
		}
	}
	call, err := a.callFor(v, req)
	if err != nil {
		return err
	}
	progress, done := a.progress()
	var raw json.RawMessage
	err = call(ctx, v, req, &raw, progress)
	done()
	if len(raw) == 0 { // otherwise there is a result even so: a snapshot that was made before another file could not be ingested
		return err
	}
	var r R
	if derr := json.Unmarshal(raw, &r); derr != nil {
		return fmt.Errorf("%s: reply: %w", v.Name, derr)
	}
	if a.json && err != nil {
		return err
	}
	var perr error
	if a.json {
		perr = a.printRaw(raw)
	} else {
		p := a.printer()
		perr = print(p, req, r)
		if ferr := p.flush(); perr == nil {
			perr = ferr
		}
	}
	switch {
	case err != nil:
		return err
	case perr != nil:
		return perr
	}
	return verdict(r)
}

// callFor returns what runs a request: the repository's caller, or this process alone, where there is no repository and the request needs none.
func (a *app) callFor(v *service.Verb, req service.Request) (func(context.Context, *service.Verb, service.Request, any, func(control.Progress)) error, error) {
	c, err := a.caller()
	if err == nil {
		return c.Call, nil
	}
	if errors.Is(err, service.ErrNoRepo) && a.repo == "" && os.Getenv("CORAL_REPO") == "" && service.NeedsNoRepo(req) {
		return service.WithoutRepo, nil
	}
	return nil, err
}

// verdict is the failure that a result itself reports, if any.
func verdict(r any) error {
	if f, ok := r.(interface{ Failed() bool }); ok && f.Failed() {
		return &resultError{}
	}
	if b, ok := r.(interface{ Err() error }); ok {
		if why := b.Err(); why != nil {
			return &resultError{why}
		}
	}
	if v, ok := r.(interface{ Violated() error }); ok {
		if why := v.Violated(); why != nil {
			return &resultError{why}
		}
	}
	return nil
}

// printRaw writes a JSON result as one line.
func (a *app) printRaw(raw []byte) error {
	raw = service.PlainJSON(bytes.TrimSpace(raw))
	if _, err := a.out.Write(append(raw, '\n')); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// result prints what is not a verb's: as JSON, or by text.
func (a *app) result(r any, text func(p *printer)) error {
	if a.json {
		raw, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
		return a.printRaw(raw)
	}
	p := a.printer()
	text(p)
	return p.flush()
}
