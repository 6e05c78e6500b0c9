package main

import (
	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/service"
)

func newInitCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a repository in DIR/.coral",
		Long:  "Make an empty repository in DIR/.coral (default: the working directory; DIR is made if it is missing), on branch main.",
		Example: `  coral init models
  coral init`,
		RunE: func(_ *cobra.Command, args []string) error { return runInit(a, args) },
	}
}

func runInit(a *app, args []string) error {
	dir := "."
	switch {
	case len(args) > 1:
		return control.Usagef("init: unexpected argument %q", args[1])
	case len(args) == 1 && args[0] == "":
		return control.Usagef("init: the directory is empty text")
	case len(args) == 1:
		dir = args[0]
	case a.repo != "":
		dir = a.repo
	}
	res, err := service.Init(dir)
	if err != nil {
		return err
	}
	return a.result(res, func(p *printer) { p.line("made a repository in %s", safe(res.Repo)) })
}
