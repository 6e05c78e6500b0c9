package main

import (
	"errors"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/service"
)

// Exit codes. A promise: docs/cli.md.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitConflict = 3
)

// codes is the only map from error classes to exit codes; what is not in it is exitFailed. Append only.
var codes = []struct {
	class error
	code  int
}{
	{control.ErrUsage, exitUsage},
	{errs.Conflict, exitConflict},
}

func exitCode(err error) int {
	for _, c := range codes {
		if errors.Is(err, c.class) {
			return c.code
		}
	}
	return exitFailed
}

// hint says what to do about an error of a class, where there is something to say that its message has not said.
func hint(err error) string {
	if a := (*advice)(nil); errors.As(err, &a) {
		return a.what
	}
	switch {
	case errors.Is(err, service.ErrNoRepo):
		return "make one with `coral init`, or name it with -R or $CORAL_REPO"
	case errors.Is(err, control.ErrUsage):
		return "see --help"
	case errors.Is(err, control.ErrGone):
		return "see `coral log --daemon`, then try again"
	case errors.Is(err, errs.Corrupt):
		return "run `coral fsck --full` to see what is damaged"
	case control.Class(err) == "no-space": // also what the kernel said, and nobody has given a class yet
		return "make room (`coral cache drop`, `coral gc`), then try again"
	case errors.Is(err, errs.ReadOnly):
		return "nothing was changed"
	}
	return ""
}
