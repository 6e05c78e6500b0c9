package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"coral/internal/control"
	"coral/internal/daemon"
	"coral/internal/errs"
	"coral/internal/service"
)

func newUnmountCmd(a *app) *cobra.Command {
	lazy := false
	cmd := &cobra.Command{
		Use:     "unmount [MOUNTPOINT]",
		Aliases: []string{"umount"},
		Short:   "End a mount",
		Long: `End the mount at MOUNTPOINT, or the only mount of the repository; where it has several, or where there is no
repository, name one of those that are listed. After the last one everything that was closed is ingested and
the daemon ends; nothing is lost if that is cut short. While files are open in the mount the command fails and says which
processes have them; --lazy detaches it even so. A mount whose daemon was killed is cleaned away.`,
		Example: `  coral unmount /mnt/models
  coral unmount --lazy`,
		RunE: func(cmd *cobra.Command, args []string) error { return runUnmount(cmd.Context(), a, lazy, args) },
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "l", false, "detach now, also while files are open")
	return cmd
}

func runUnmount(ctx context.Context, a *app, lazy bool, args []string) error {
	req := daemon.UnmountRequest{Lazy: lazy}
	switch {
	case len(args) > 1:
		return control.Usagef("unmount: unexpected argument %q", args[1])
	case len(args) == 1:
		point, err := daemon.ResolveMountpoint(args[0])
		if err != nil {
			return err
		}
		req.Mountpoint = point
	}
	dir, err := a.dir()
	if err != nil && req.Mountpoint == "" && (a.repo != "" || !errors.Is(err, service.ErrNoRepo)) {
		return err
	}
	progress, done := a.progress()
	res, err := daemon.Unmount(ctx, dir, req, progress)
	done()
	if err != nil {
		if errors.Is(err, errs.Busy) {
			return advise(err, "close what they use, or unmount with --lazy")
		}
		return err
	}
	return a.result(res, func(p *printer) {
		switch {
		case res.Stale:
			p.line("unmounted %s, which a killed daemon had left", safe(res.Mountpoint))
		case res.Ended:
			p.line("unmounted %s; the daemon has ended", safe(res.Mountpoint))
		default:
			p.line("unmounted %s", safe(res.Mountpoint))
		}
		if res.Queue.Files > 0 {
			p.line("%s (%s) stay in the spool and are ingested at the next start: %s", count(int64(res.Queue.Files), "file"), size(res.Queue.Bytes), safe(res.Warning))
		} else if res.Warning != "" {
			p.line("warning: %s", safe(res.Warning))
		}
	})
}
