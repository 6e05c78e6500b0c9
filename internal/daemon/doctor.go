package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/service"
)

// Check is one thing that `coral doctor` looked at. JSON names are a promise.
type Check struct {
	Name   string `json:"name"`
	Level  string `json:"level"` // "ok", "note" (works, but slower or with less), "bad" (mounting or storing will fail)
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"` // what to do about it
}

// The levels of a Check.
const (
	LevelOK   = "ok"
	LevelNote = "note"
	LevelBad  = "bad"
)

func good(name, format string, args ...any) Check {
	return Check{Name: name, Level: LevelOK, Detail: fmt.Sprintf(format, args...)}
}

// Doctor looks at what Coral needs of the machine and, unless dir is "", at the repository's files and daemon. It changes nothing.
func Doctor(ctx context.Context, dir string) []Check {
	checks := []Check{checkKernel(), checkDevice(), checkHelper(), checkAllowOther(), checkMemory(), checkFiles(), checkStale()}
	if dir == "" {
		return checks
	}
	return append(checks, checkRights(dir), checkDisk(dir), checkSpace(dir), checkPassthrough(dir), checkDaemon(ctx, dir))
}

// checkKernel wants Linux 6.9 for passthrough; older ones work.
func checkKernel() Check {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Check{"kernel", LevelNote, err.Error(), ""}
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return Check{"kernel", LevelNote, "cannot read the version of " + release, ""}
	}
	if major < 6 || major == 6 && minor < 9 {
		return Check{"kernel", LevelNote, "Linux " + release + " has no FUSE passthrough", "files work at FUSE speed; Linux 6.9 or newer reads and writes them at disk speed"}
	}
	return good("kernel", "Linux %s", release)
}

func checkDevice() Check {
	const name = "/dev/fuse"
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Check{name, LevelBad, "is not there", "modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"}
	case err != nil:
		return Check{name, LevelBad, err.Error(), "chmod 666 /dev/fuse, or give the container the device"}
	}
	_ = f.Close()
	return good(name, "can be opened")
}

func checkHelper() Check {
	const name = "fusermount3"
	if path, err := fusermount(); err == nil {
		st, err := os.Stat(path)
		if err == nil && os.Geteuid() != 0 && (st.Mode()&os.ModeSetuid == 0) {
			return Check{name, LevelBad, path + " is not setuid root", "chmod u+s " + path + ", or mount as root"}
		}
		return good(name, "%s", path)
	}
	if os.Geteuid() == 0 {
		return good(name, "not installed; root does not need it")
	}
	return Check{name, LevelBad, "not installed, and you are not root", "apt-get install fuse3 (or your system's package), or mount as root"}
}

func checkAllowOther() Check {
	const name = "allow-other"
	if os.Geteuid() == 0 {
		return good(name, "root may use --allow-other")
	}
	b, err := os.ReadFile("/etc/fuse.conf")
	for line := range strings.Lines(string(b)) {
		if strings.TrimSpace(line) == "user_allow_other" {
			return good(name, "/etc/fuse.conf lets users use --allow-other")
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Check{name, LevelNote, err.Error(), ""}
	}
	return Check{name, LevelNote, "only you will see your mounts", "for --allow-other, root puts the line user_allow_other into /etc/fuse.conf"}
}

// checkMemory looks at what is free and at the bound of the control group, if there is one.
func checkMemory() Check {
	const name = "memory"
	var si unix.Sysinfo_t
	if err := unix.Sysinfo(&si); err != nil {
		return Check{name, LevelNote, err.Error(), ""}
	}
	total := int64(si.Totalram) * int64(si.Unit)
	if b, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		var limit int64
		if n, _ := fmt.Sscan(string(b), &limit); n == 1 {
			total = min(total, limit)
		}
	}
	if total < 2*memoryLimit {
		return Check{name, LevelNote, service.FormatSize(total) + " in all", "the daemon keeps to about 400 MiB: use 'coral mount --memory 160M', or give it more"}
	}
	return good(name, "%s", service.FormatSize(total))
}

func checkFiles() Check {
	const name = "open files"
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return Check{name, LevelNote, err.Error(), ""}
	}
	if lim.Max < 4096 && os.Geteuid() != 0 {
		return Check{name, LevelNote, fmt.Sprintf("at most %d", lim.Max), "each file open in a mount is one open file of the daemon: raise 'ulimit -Hn'"}
	}
	return good(name, "at most %d", lim.Max)
}

// checkStale looks for mounts whose daemon is gone.
func checkStale() Check {
	const name = "dead mounts"
	list, err := readMounts()
	if err != nil {
		return Check{name, LevelNote, err.Error(), ""}
	}
	var stale []string
	for _, m := range list {
		if m.Type == fsType && dead(m.Point) {
			stale = append(stale, m.Point)
		}
	}
	if len(stale) > 0 {
		return Check{name, LevelNote, strings.Join(stale, ", "), "coral unmount " + stale[0] + ", or mount it again"}
	}
	return good(name, "none")
}

// checkRights wants the repository to be ours and closed to others.
func checkRights(dir string) Check {
	const name = "rights"
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return Check{name, LevelBad, dir + ": " + err.Error(), ""}
	}
	switch {
	case unix.Access(dir, unix.R_OK|unix.X_OK) != nil:
		return Check{name, LevelBad, "you may not read " + dir, fmt.Sprintf("it belongs to user %d", st.Uid)}
	case unix.Access(dir, unix.W_OK) != nil:
		return Check{name, LevelNote, "you may not write to " + dir, "mount it with --ro"}
	case st.Mode&0o077 != 0:
		return Check{name, LevelNote, fmt.Sprintf("%s has mode %04o: others may read every model in it", dir, st.Mode&0o7777), "chmod 700 " + dir}
	}
	return good(name, "%s is yours alone", dir)
}

// Filesystems that need a word, by statfs type (magic.h).
var diskNotes = map[int64]Check{
	unix.OVERLAYFS_SUPER_MAGIC: {"", LevelNote, "overlay", "what is written is gone with the container: put the repository on a volume"},
	unix.TMPFS_MAGIC:           {"", LevelNote, "tmpfs", "what is written is gone after a reboot"},
	unix.NFS_SUPER_MAGIC:       {"", LevelNote, "NFS", "a repository belongs to one machine at a time; keep it on a local disk and push to a remote"},
	unix.SMB2_SUPER_MAGIC:      {"", LevelNote, "SMB", "a repository belongs on a local disk"},
	unix.CIFS_SUPER_MAGIC:      {"", LevelNote, "CIFS", "a repository belongs on a local disk"},
	unix.FUSE_SUPER_MAGIC:      {"", LevelNote, "FUSE", "a repository on another FUSE filesystem is served without passthrough, and is as safe as that filesystem's fsync"},
	unix.MSDOS_SUPER_MAGIC:     {"", LevelBad, "FAT", "it has no modes, links or sparse files: use another disk"},
	unix.EXFAT_SUPER_MAGIC:     {"", LevelBad, "exFAT", "it has no modes, links or sparse files: use another disk"},
}

func checkDisk(dir string) Check {
	const name = "filesystem"
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Check{name, LevelBad, dir + ": " + err.Error(), ""}
	}
	if c, ok := diskNotes[int64(st.Type)]; ok {
		return Check{name, c.Level, dir + " is on " + c.Detail, c.Advice}
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return Check{name, LevelNote, dir + " is on a read-only mount", "mount it with --ro"}
	}
	return good(name, "type %#x", uint32(st.Type))
}

// checkSpace wants room for what is written before it is packed.
func checkSpace(dir string) Check {
	const name, least = "space", 1 << 30
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Check{name, LevelBad, dir + ": " + err.Error(), ""}
	}
	free := int64(st.Bavail) * st.Bsize
	switch {
	case st.Files > 0 && st.Ffree < 1000:
		return Check{name, LevelBad, fmt.Sprintf("%d inodes free", st.Ffree), "delete small files on that disk"}
	case free < least:
		return Check{name, LevelBad, service.FormatSize(free) + " free", "coral cache drop; coral gc; or a larger disk"}
	}
	return good(name, "%s free", service.FormatSize(free))
}

// checkPassthrough says whether files may be handed to the kernel: that takes CAP_SYS_ADMIN.
func checkPassthrough(dir string) Check {
	const name = "passthrough"
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil && (int64(st.Type) == unix.FUSE_SUPER_MAGIC) {
		return Check{name, LevelNote, "the repository is on FUSE: the kernel takes no such backing files", "put it on a local disk for native speed"}
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return Check{name, LevelNote, err.Error(), ""}
	}
	if data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return Check{name, LevelNote, "needs CAP_SYS_ADMIN: reads and writes go through the daemon", "mount as root for native speed; it works without"}
	}
	return good(name, "allowed")
}

// checkDaemon asks the repository's daemon, if there is one, who it is.
func checkDaemon(ctx context.Context, dir string) Check {
	const name = "daemon"
	client, err := control.Dial(ctx, dir)
	switch {
	case errors.Is(err, errs.NotFound), errors.Is(err, control.ErrGone):
		if s := readState(dir); s.PID != 0 {
			return Check{name, LevelNote, fmt.Sprintf("daemon %d ended without cleaning up", s.PID), "mount again: what was closed is still there"}
		}
		return good(name, "none runs")
	case err != nil:
		return Check{name, LevelBad, err.Error(), fmt.Sprintf("see %s", filepath.Join(dir, "log", "daemon.log"))}
	}
	defer client.Close()
	info := client.Info()
	return good(name, "%d, version %s", info.PID, info.Version)
}
