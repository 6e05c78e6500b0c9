package ref

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"coral/internal/errs"
	"coral/internal/oid"
)

// MaxName bounds a branch's or tag's name, in bytes.
const MaxName = 200

// maxEscaped bounds the name as one component of a path, where "/" and "%" take three bytes.
const maxEscaped = 240

// CheckName says whether name may be a branch or tag: git's rules (slash-separated, no empty, "." or ".." parts, no part that begins with "." or ends in ".lock", no "..", no control characters,
// space ~ ^ : ? * [ \ @{, not "@", no "-" in front, no "." at the end), UTF-8, at most 200 bytes, not HEAD, and not 64 hex digits. errs.Invalid says why not.
func CheckName(name string) error {
	if why := badName(name); why != "" {
		return fmt.Errorf("name %q: %s: %w", clip(name, MaxName), why, errs.Invalid)
	}
	return nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "empty"
	case len(name) > MaxName:
		return fmt.Sprintf("%d bytes, at most %d", len(name), MaxName)
	case len(name)+2*strings.Count(name, "/")+2*strings.Count(name, "%") > maxEscaped:
		return "too many slashes"
	case !utf8.ValidString(name):
		return "not UTF-8"
	case name == headName || name == "@":
		return "it stands for the current commit"
	case strings.HasPrefix(name, "-"):
		return `begins with "-"`
	case strings.HasSuffix(name, "."):
		return `ends with "."`
	case strings.Contains(name, ".."):
		return `contains ".."`
	case strings.Contains(name, "@{"):
		return `contains "@{"`
	}
	if _, err := oid.Parse(name); err == nil {
		return "it looks like an id"
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f || strings.ContainsRune(` ~^:?*[\`, r) {
			return fmt.Sprintf("contains %q", r)
		}
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return "an empty part between slashes"
		case strings.HasPrefix(part, "."):
			return `a part begins with "."`
		case strings.HasSuffix(part, ".lock"):
			return `a part ends with ".lock"`
		}
	}
	return ""
}

// line makes s one line of at most max bytes of UTF-8.
func line(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(clip(s, max), ""))
	return strings.TrimSpace(s)
}

// clip returns the first max bytes of s, less a character that would be cut.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}
