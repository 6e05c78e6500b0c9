package main

import (
	"path/filepath"
	"strings"

	"coral/internal/control"
)

// helperNames are the names under which mount(8) runs this program for lines of /etc/fstab of type coral (or fuse.coral).
var helperNames = []string{"mount.coral", "mount.fuse.coral"}

// helperArgs turns the command line of a mount(8) helper into one of `coral mount`:
//
//	mount.coral SPEC DIR [-sfnv] [-N NAMESPACE] [-o OPTION,…] [-t TYPE]
//
// ok is false if the program was not called as a helper. Options that mount(8) and systemd handle themselves are dropped.
func helperArgs(argv []string) (args []string, ok bool, err error) {
	if len(argv) == 0 {
		return nil, false, nil
	}
	name := filepath.Base(argv[0])
	if name != helperNames[0] && name != helperNames[1] {
		return nil, false, nil
	}
	var places, flags []string
	fake := false
	for rest := argv[1:]; len(rest) > 0; rest = rest[1:] {
		switch a := rest[0]; {
		case a == "-o" || a == "-t" || a == "-N":
			if len(rest) < 2 {
				return nil, true, control.Usagef("%s: %s needs a value", name, a)
			}
			if a == "-o" {
				more, err := mountFlags(name, rest[1])
				if err != nil {
					return nil, true, err
				}
				flags = append(flags, more...)
			}
			rest = rest[1:]
		case strings.HasPrefix(a, "-") && len(a) > 1 && strings.Trim(a[1:], "sfnv") == "":
			fake = fake || strings.Contains(a, "f")
		case strings.HasPrefix(a, "-"):
			return nil, true, control.Usagef("%s: unknown flag %s", name, a)
		default:
			places = append(places, a)
		}
	}
	if len(places) != 2 {
		return nil, true, control.Usagef("%s: give the repository and the mountpoint", name)
	}
	if fake {
		return []string{"version"}, true, nil
	}
	return append(append([]string{"mount", "--repo=" + places[0]}, flags...), "--", places[1]), true, nil
}

// mountFlags translates the options of an fstab line.
func mountFlags(name, options string) ([]string, error) {
	var flags []string
	for o := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(o, "=")
		switch {
		case key == "ro":
			flags = append(flags, "--ro")
		case key == "allow_other":
			flags = append(flags, "--allow-other")
		case key == "cache_size" || key == "memory" || key == "at":
			flags = append(flags, "--"+strings.ReplaceAll(key, "_", "-")+"="+value)
		case ignored[key], strings.HasPrefix(key, "x-"), strings.HasPrefix(key, "comment"):
		default:
			return nil, control.Usagef("%s: unknown option %q: ro, allow_other, cache_size=SIZE, memory=SIZE and at=REV are ours", name, o)
		}
	}
	return flags, nil
}

// ignored are options that are the default, or not for us.
var ignored = map[string]bool{
	"": true, "rw": true, "defaults": true, "auto": true, "noauto": true, "user": true, "nouser": true, "users": true, "owner": true, "group": true,
	"nofail": true, "_netdev": true, "suid": true, "nosuid": true, "dev": true, "nodev": true, "exec": true, "noexec": true, "atime": true,
	"noatime": true, "relatime": true, "diratime": true, "nodiratime": true, "sync": true, "async": true, "loop": true,
}
