package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"coral/internal/daemon"
	"coral/internal/oid"
	"coral/internal/service"
)

// lookDelay is how long the output of a command that has ended, or was ended, is waited for, should a child of it keep it open.
const lookDelay = 5 * time.Second

// look is a user's command that looks at files of a repository: $CORAL_DIR is where they are, $CORAL_REPO the repository, and $CORAL_COMMIT the commit's full id; empty if
// the files are not a commit's. The caller says where its output goes.
func (a *app) look(ctx context.Context, c daemon.Caller, command []string, dir string, commit oid.ID) *exec.Cmd {
	id := ""
	if !commit.IsZero() {
		id = commit.String()
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "CORAL_COMMIT="+id, "CORAL_DIR="+dir, "CORAL_REPO="+filepath.Dir(c.Dir))
	cmd.Stdin, cmd.Stderr = a.in, a.err
	cmd.WaitDelay = lookDelay
	return cmd
}

// mountedCommit returns the directory of a commit in a mount of the whole repository; "" if there is none.
func mountedCommit(ctx context.Context, c daemon.Caller, id oid.ID) (string, error) {
	var st service.StatusResult
	if err := c.Call(ctx, service.Find("status"), &service.StatusRequest{}, &st, nil); err != nil {
		return "", err
	}
	if st.Daemon != nil {
		for _, m := range st.Daemon.Mounts {
			if m.At == "" {
				return filepath.Join(m.Mountpoint, "commits", id.String()), nil
			}
		}
	}
	return "", nil
}
