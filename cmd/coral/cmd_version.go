package main

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/control"
)

// build says what this binary is. JSON names are a promise.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // of Coral's source
	Time     string `json:"time,omitempty"`   // of that commit
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func buildVersion() build {
	b := build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	return b
}

func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say what this binary is",
		Example: `  coral version --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return control.Usagef("version: unexpected argument %q", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return runVersion(a, buildVersion()) },
	}
}

func runVersion(a *app, b build) error {
	return a.result(b, func(p *printer) {
		parts := []string{}
		if b.Commit != "" {
			c := b.Commit[:min(len(b.Commit), 12)]
			if b.Modified {
				c += " with changes"
			}
			parts = append(parts, "commit "+c)
		}
		parts = append(parts, b.Go, b.OS+"/"+b.Arch)
		p.line("coral %s (%s)", b.Version, strings.Join(parts, ", "))
	})
}
