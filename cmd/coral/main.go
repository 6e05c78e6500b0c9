// Command coral keeps versioned neural-network weights and shows them as ordinary files: see docs/guide.md.
//
// Each verb has a file: its flags and help, one call of internal/service or internal/daemon, and its output as text or
// JSON. No verb's logic is here.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process as signals do
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	args, helper, err := helperArgs(os.Args)
	if !helper {
		args = os.Args[1:]
	}
	var code int
	if err != nil {
		code = a.fail(err)
	} else {
		code = a.execute(ctx, args)
	}
	stop()
	os.Exit(code)
}
