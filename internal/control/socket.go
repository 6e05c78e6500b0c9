package control

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// sun_path holds 108 bytes with its NUL, and repositories live at the end of longer paths. So sockets are always
// named through an open descriptor of their directory: /proc/self/fd/N/daemon.sock.

// openDir opens dir for use as the start of such a name.
func openDir(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

func nameIn(dir *os.File, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + name
}

// Listen makes the socket in dir, mode 0600, replacing one that a killed daemon left: the caller holds the
// repository's lock. The socket appears under its name only when it is ready and its mode is set.
func Listen(dir string) (net.Listener, error) {
	d, err := openDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	defer d.Close()
	temp := SocketName + "." + strconv.Itoa(os.Getpid())
	_ = os.Remove(nameIn(d, temp))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: nameIn(d, temp), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", filepath.Join(dir, SocketName), err)
	}
	l.SetUnlinkOnClose(false) // Close of ours removes it, by the name it then has
	path := filepath.Join(dir, SocketName)
	if err = os.Chmod(filepath.Join(dir, temp), 0o600); err == nil {
		err = os.Rename(filepath.Join(dir, temp), path)
	}
	if err != nil {
		_ = os.Remove(filepath.Join(dir, temp))
		_ = l.Close() // nobody has connected
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &listener{UnixListener: l, path: path}, nil
}

// listener serves only processes of the same user and root, whatever the mode of the socket became.
type listener struct {
	*net.UnixListener
	path string
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peer(c); err == nil && (uid == 0 || uid == os.Geteuid()) {
			return c, nil
		}
		_ = c.Close()
	}
}

// Close stops listening and removes the socket's file.
func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if e := os.Remove(l.path); e != nil && !os.IsNotExist(e) && err == nil {
		err = e
	}
	return err
}

func peer(c *net.UnixConn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return 0, e
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

// dial connects to the socket in dir. No socket, or one that nobody listens on, is errs.NotFound.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	d, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var nd net.Dialer
	c, err := nd.DialContext(ctx, "unix", nameIn(d, SocketName))
	if err == nil {
		return c, nil
	}
	path := filepath.Join(dir, SocketName)
	if isAny(err, unix.ENOENT, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("connect to %s: nobody listens: %w", path, errs.NotFound)
	}
	return nil, fmt.Errorf("connect to %s: %w", path, cause(err))
}
