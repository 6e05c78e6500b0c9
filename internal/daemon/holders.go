package daemon

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// user is a process that keeps a mount busy.
type user struct {
	PID     int
	Command string
}

func (u user) String() string { return fmt.Sprintf("%d (%s)", u.PID, u.Command) }

// users finds the processes that have something of the mount at point open, mapped, or as their directory, by what
// /proc says: nothing of the mount itself is touched. It sees only what this user may see. This process is left out.
func users(point string) []user {
	list, err := readMounts()
	if err != nil {
		return nil
	}
	s := scan{proc: "/proc", point: point, ids: map[string]bool{}, devs: map[string]bool{}}
	for _, m := range list {
		if m.Point == point && m.Type == fsType {
			s.ids[strconv.Itoa(m.ID)] = true
			s.devs[hexDev(m.Dev)] = true
		}
	}
	return s.run(os.Getpid())
}

// hexDev turns 0:52 into the 00:34 of /proc/<pid>/maps.
func hexDev(dev string) string {
	a, b, _ := strings.Cut(dev, ":")
	major, _ := strconv.Atoi(a)
	minor, _ := strconv.Atoi(b)
	return fmt.Sprintf("%02x:%02x", major, minor)
}

type scan struct {
	proc  string
	point string
	ids   map[string]bool // mount ids
	devs  map[string]bool // devices, as maps has them
}

func (s scan) run(self int) (out []user) {
	dir, err := os.ReadDir(s.proc)
	if err != nil {
		return nil
	}
	for _, d := range dir {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == self {
			continue
		}
		p := filepath.Join(s.proc, d.Name())
		if s.links(p) || s.files(p) || s.maps(p) {
			out = append(out, user{pid, command(p)})
		}
	}
	return out
}

// links looks at the working directory, the root and the program.
func (s scan) links(p string) bool {
	for _, name := range []string{"cwd", "root", "exe"} {
		if to, err := os.Readlink(filepath.Join(p, name)); err == nil && within(to, s.point) {
			return true
		}
	}
	return false
}

// files looks at open files by the id of their mount.
func (s scan) files(p string) bool {
	list, err := os.ReadDir(filepath.Join(p, "fdinfo"))
	if err != nil {
		return false
	}
	for _, d := range list {
		b, err := os.ReadFile(filepath.Join(p, "fdinfo", d.Name()))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if id, ok := strings.CutPrefix(line, "mnt_id:"); ok && s.ids[strings.TrimSpace(id)] {
				return true
			}
		}
	}
	return false
}

// maps looks at mapped files by their device.
func (s scan) maps(p string) bool {
	f, err := os.Open(filepath.Join(p, "maps"))
	if err != nil {
		return false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// address perms offset dev inode path
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && fields[4] != "0" && s.devs[fields[3]] {
			return true
		}
	}
	return false
}

// command returns what a process was called as, shortened.
func command(p string) string {
	b, err := os.ReadFile(filepath.Join(p, "cmdline"))
	s := strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
	if err != nil || s == "" {
		b, err = os.ReadFile(filepath.Join(p, "comm"))
		if s = strings.TrimSpace(string(b)); err != nil || s == "" {
			return "?"
		}
	}
	const most = 60
	if r := []rune(s); len(r) > most {
		s = string(r[:most-1]) + "…"
	}
	return s
}

// heldBy is the end of a message: who keeps the mount busy.
func heldBy(point string) string {
	list := users(point)
	if len(list) == 0 {
		return "a process that cannot be seen from here"
	}
	const most = 5
	var names []string
	for i, u := range list {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(list)-most))
			break
		}
		names = append(names, u.String())
	}
	return strings.Join(names, ", ")
}
