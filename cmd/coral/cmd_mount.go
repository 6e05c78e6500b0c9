package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/daemon"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/service"
)

// mountOptions are the flags of mount.
type mountOptions struct {
	foreground bool
	readOnly   bool
	allowOther bool
	lazy       bool
	cacheSize  service.Size
	memory     service.Size
	at         string
	codec      service.Codec
	ready      bool // this process was started by `coral mount` and answers it
}

func (o *mountOptions) addFlags(f *pflag.FlagSet) {
	o.cacheSize, o.memory = 10<<30, 256<<20
	f.BoolVarP(&o.foreground, "foreground", "f", false, "stay, and log to stderr too")
	f.BoolVar(&o.readOnly, "ro", false, "branches are read-only too")
	f.BoolVar(&o.allowOther, "allow-other", false, "let other users in (they then need permission bits as anywhere)")
	f.BoolVar(&o.lazy, "no-passthrough", false, "serve every read and write through the daemon, as on kernels before 6.9 and for users without rights: slower")
	f.Var(&o.cacheSize, "cache-size", "disk `space` for files of commits that were read")
	f.StringVar(&o.at, "at", "", "show only this branch (live) or `revision` (read-only), at the root of the mount")
	f.Var(&o.memory, "memory", "what the daemon's heap keeps to, decoded blocks included; it counts for the mount that starts the daemon")
	f.Var(&o.codec, "codec", "code tensors by this `name` instead of by what is smallest: see docs/cli.md")
	f.BoolVar(&o.ready, "ready", false, "")
	_ = f.MarkHidden("ready")
}

func newMountCmd(a *app) *cobra.Command {
	o := &mountOptions{}
	cmd := &cobra.Command{
		Use:   "mount MOUNTPOINT",
		Short: "Show the repository as directories",
		Long: `Show the repository as directories at MOUNTPOINT, an empty directory (made if it is missing). The command returns when the
mount is live and leaves a daemon behind; --foreground stays. One daemon serves all mounts of a repository: a second
'coral mount' elsewhere asks it for one more. A mount that a killed daemon left there is taken over.

SIGTERM and 'coral unmount' end the daemon in order: what was closed is ingested first, and if that takes long, kept for the
next start. A second signal ends it at once.`,
		Example: `  coral mount /mnt/models
  coral -R /data/models mount /mnt/models --ro --cache-size 50G
  coral mount /mnt/v1.2 --at v1.2        # one tag, as a plain directory`,
		RunE: func(cmd *cobra.Command, args []string) error { return runMount(cmd.Context(), a, o, args) },
	}
	o.addFlags(cmd.Flags())
	return cmd
}

func runMount(ctx context.Context, a *app, o *mountOptions, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return control.Usagef("mount: give one mountpoint")
	}
	dir, err := a.dir()
	if err != nil {
		return err
	}
	point, err := daemon.ResolveMountpoint(args[0])
	if err != nil {
		return err
	}
	req := daemon.MountRequest{Mountpoint: point, ReadOnly: o.readOnly, AllowOther: o.allowOther, Lazy: o.lazy, CacheSize: int64(o.cacheSize), At: o.at, Memory: int64(o.memory), Codec: o.codec}
	if o.foreground {
		return serve(ctx, a, o, dir, req)
	}
	res, err := daemon.Start(ctx, daemon.StartOptions{Dir: dir, Mount: req, Args: daemonArgs(dir, req)})
	if err != nil {
		return mountError(err)
	}
	return a.printMount(res)
}

// daemonArgs is the command line that makes this program the daemon.
func daemonArgs(dir string, req daemon.MountRequest) []string {
	args := []string{"mount", "--repo=" + dir, "--foreground", "--ready", "--cache-size=" + strconv.FormatInt(req.CacheSize, 10)}
	if req.ReadOnly {
		args = append(args, "--ro")
	}
	if req.AllowOther {
		args = append(args, "--allow-other")
	}
	if req.Lazy {
		args = append(args, "--no-passthrough")
	}
	if req.At != "" {
		args = append(args, "--at="+req.At)
	}
	if req.Memory != 0 {
		args = append(args, "--memory="+strconv.FormatInt(req.Memory, 10))
	}
	if req.Codec != "" {
		args = append(args, "--codec="+string(req.Codec))
	}
	return append(args, "--", req.Mountpoint)
}

// serve is the daemon, in this process.
func serve(ctx context.Context, a *app, o *mountOptions, dir string, req daemon.MountRequest) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	opts := daemon.Options{Dir: dir, Command: a.command(), Version: buildVersion().Version, Mount: req, Signals: signals}
	var failed error
	if o.ready {
		opts.Detach = true
		answer := daemon.ReadyPipe()
		opts.Ready = func(m daemon.MountResult, err error) { answer(m, err) }
	} else {
		if err := daemon.Foreground(ctx, dir); err != nil {
			return mountError(err)
		}
		opts.Stderr = a.err
		opts.Ready = func(m daemon.MountResult, err error) {
			if err == nil {
				failed = a.printMount(m)
			}
		}
	}
	// The signals are the daemon's: the first must not cancel what it does.
	if err := daemon.Run(context.WithoutCancel(ctx), opts); err != nil {
		return mountError(err)
	}
	return failed
}

func (a *app) printMount(res daemon.MountResult) error {
	return a.result(res, func(p *printer) {
		mode := ""
		if res.ReadOnly {
			mode = ", read-only"
		}
		if res.At != "" {
			at := res.At
			if id, err := oid.Parse(at); err == nil {
				at = short(id)
			}
			mode += ", only " + safe(at)
		}
		p.line("%s is mounted at %s (daemon %d%s)", safe(res.Repo), safe(res.Mountpoint), res.PID, mode)
	})
}

// mountError adds what to do about a mountpoint or repository that is taken.
func mountError(err error) error {
	switch {
	case errors.Is(err, errs.NotEmpty):
		return advise(err, "choose an empty or new directory")
	case errors.Is(err, errs.ReadOnly):
		return advise(err, "mount it with --ro")
	case errors.Is(err, os.ErrPermission), errors.Is(err, errs.Permission):
		return advise(err, "see that you may use /dev/fuse and that fusermount3 is installed")
	case errors.Is(err, os.ErrNotExist) && os.IsNotExist(statFUSE()):
		return advise(err, "there is no /dev/fuse: load the fuse module, or give the container the device")
	}
	return err
}

func statFUSE() error {
	_, err := os.Stat("/dev/fuse")
	return err
}

// advice is an error with something to do about it, in place of its class's hint.
type advice struct {
	error
	what string
}

func (a *advice) Unwrap() error { return a.error }

func advise(err error, what string) error { return &advice{err, what} }
