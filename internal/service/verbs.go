package service

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/pflag"

	"coral/internal/control"
)

// Request is the typed form of one command. Its JSON form crosses the control socket.
type Request interface {
	// Flags defines the command's flags on f, bound to the request.
	Flags(f *pflag.FlagSet)
	// SetArgs takes the positional arguments; a wrong number of them is control.ErrUsage.
	SetArgs(args []string) error
	// Access says what the request will do. It is called after Flags and SetArgs.
	Access() Access
}

// Localizer is a Request with parts that only the process of the caller can resolve: relative paths, the author's name
// in its environment. The command line calls Localize; in the control file such parts must be given in full.
type Localizer interface {
	Localize() error
}

// Dasher is a Request that tells arguments before a "--" from those after.
type Dasher interface {
	// SetDash is told, before SetArgs, how many of the arguments come before the "--", if there is one.
	SetDash(n int)
}

// Verb is one entry of the table.
type Verb struct {
	Name    string
	Aliases []string
	Line    bool // understood by the control file
	Drains  bool // in-process, the ingest queue is drained before the repository is closed
	New     func() Request
	run     func(ctx context.Context, s *Service, req Request, p Progress) (any, error)
	stream  func(ctx context.Context, s *Service, req Request, w io.Writer) error
}

// requestOf is a pointer to T that is a Request.
type requestOf[T any] interface {
	*T
	Request
}

func verb[T, R any, P requestOf[T]](name string, fn func(*Service, context.Context, P, Progress) (R, error)) *Verb {
	return &Verb{
		Name: name,
		New:  func() Request { return P(new(T)) },
		run: func(ctx context.Context, s *Service, req Request, p Progress) (any, error) {
			return fn(s, ctx, req.(P), p)
		},
	}
}

func (v *Verb) line(aliases ...string) *Verb {
	v.Line, v.Aliases = true, aliases
	return v
}

func (v *Verb) drains() *Verb { v.Drains = true; return v }

// Verbs is every command that works on an open repository.
var Verbs = []*Verb{
	verb("snapshot", (*Service).snapshot).line("commit").drains(),
	verb("add", (*Service).add).line().drains(),
	verb("status", (*Service).status).line(),
	verb("sync", (*Service).sync).line().drains(),
	verb("log", (*Service).history).line(),
	verb("show", (*Service).show).line(),
	verb("ls", (*Service).list).line(),
	verb("blame", (*Service).blame).line(),
	verb("bisect", (*Service).bisect).line(),
	verb("branch", (*Service).branch).line(),
	verb("tag", (*Service).tag).line(),
	verb("checkout", (*Service).checkout).line(),
	verb("merge", (*Service).merge).line(),
	verb("restore", (*Service).restore).line(),
	verb("reset", (*Service).reset).line(),
	verb("revert", (*Service).revert).line(),
	verb("cherry-pick", (*Service).cherryPick).line(),
	verb("undo", (*Service).undo).line(),
	verb("reflog", (*Service).reflog).line(),
	verb("describe", (*Service).describeCommit).line(),
	verb("stats", (*Service).stats).line(),
	verb("du", (*Service).du).line(),
	verb("similar", (*Service).similar).line(),
	verb("cache", (*Service).cache).line(),
	verb("gc", (*Service).gc).line(),
	verb("optimize", (*Service).optimize).line(),
	verb("compact", (*Service).compact).line(),
	verb("diff", (*Service).diffCommand).line(),
	verb("compare", (*Service).compare).line(),
	verb("fsck", (*Service).fsck),
	verb("export", (*Service).export),
	verb("convert", (*Service).convert),
	verb("import", (*Service).importDirs).line().drains(),
	{
		Name: "cat", New: func() Request { return new(CatRequest) },
		stream: func(ctx context.Context, s *Service, req Request, w io.Writer) error {
			return s.cat(ctx, req.(*CatRequest), w)
		},
	},
}

// Find returns the verb called name, or nil.
func Find(name string) *Verb {
	for _, v := range Verbs {
		if v.Name == name {
			return v
		}
		for _, a := range v.Aliases {
			if a == name {
				return v
			}
		}
	}
	return nil
}

// decode reads a request that came over the socket.
func decode(name string, raw json.RawMessage) (*Verb, Request, error) {
	v := Find(name)
	if v == nil {
		return nil, nil, control.Usagef("unknown command %q", name)
	}
	req := v.New()
	if len(raw) > 0 {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields() // a flag that is dropped silently could be --dry-run
		if err := d.Decode(req); err != nil {
			return nil, nil, control.Usagef("%s: request: %v", name, err)
		}
	}
	return v, req, nil
}

// noArgs is SetArgs of commands without arguments.
func noArgs(name string, args []string) error { return atMost(name, args, 0) }

func atMost(name string, args []string, n int) error {
	if len(args) > n {
		return control.Usagef("%s: unexpected argument %q", name, args[n])
	}
	return nil
}

// arg returns args[i], or "".
func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

// refuseEmpty refuses "" where a name or path must be: most often a shell variable that was not set.
func refuseEmpty(name string, args []string) error {
	for i, a := range args {
		if a == "" {
			return control.Usagef("%s: argument %d is empty", name, i+1)
		}
	}
	return nil
}
