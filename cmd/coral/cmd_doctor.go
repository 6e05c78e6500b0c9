package main

import (
	"errors"

	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/daemon"
	"coral/internal/errs"
)

// doctorResult is what `coral doctor` found. JSON names are a promise.
type doctorResult struct {
	OK     bool           `json:"ok"` // nothing bad; there may be notes
	Repo   string         `json:"repo,omitempty"`
	Checks []daemon.Check `json:"checks"`
}

func newDoctorCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check that this machine and repository are fit, and say what to change",
		Long: `Check the kernel, /dev/fuse, rights, memory, limits and dead mounts and, in a repository, its disk, rights and daemon. Each line says
what to do about what it found. Nothing is changed. The exit code is 1 if something is bad; notes are about speed or comfort. What is
stored is checked by 'coral fsck'.`,
		Example: `  coral doctor
  coral -R /data/models doctor --json | jq '.checks[] | select(.level != "ok")'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return control.Usagef("doctor: unexpected argument %q", args[0])
			}
			dir, err := a.dir()
			if err != nil && (a.repo != "" || !errors.Is(err, errs.NotFound)) {
				return err
			}
			res := doctorResult{OK: true, Repo: dir, Checks: daemon.Doctor(cmd.Context(), dir)}
			for _, c := range res.Checks {
				res.OK = res.OK && c.Level != daemon.LevelBad
			}
			if err := a.result(res, func(p *printer) { printDoctor(p, res) }); err != nil {
				return err
			}
			if !res.OK {
				return &resultError{}
			}
			return nil
		},
	}
}

func printDoctor(p *printer, res doctorResult) {
	rows := make([][]string, 0, len(res.Checks))
	for _, c := range res.Checks {
		rows = append(rows, []string{c.Level, c.Name, safe(c.Detail)})
		if c.Advice != "" {
			rows = append(rows, []string{"", "", "→ " + c.Advice})
		}
	}
	p.table(rows)
}
