package vcs

import (
	"cmp"
	"os"
	"os/user"
	"strings"
)

// DefaultAuthor is who makes commits and moves refs when nobody says: $CORAL_AUTHOR, else "$USER <user@host>".
func DefaultAuthor() string {
	if a := oneLine(os.Getenv("CORAL_AUTHOR")); a != "" {
		return a
	}
	name := os.Getenv("USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	name = cmp.Or(oneLine(name), "unknown")
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return name + " <" + name + "@" + cmp.Or(oneLine(host), "localhost") + ">"
}

// authorOr returns the name given, as one line, or DefaultAuthor.
func authorOr(given string) string { return cmp.Or(oneLine(given), DefaultAuthor()) }

// oneLine returns the first line of s as UTF-8, without space around it.
func oneLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(s, "\uFFFD")), "\n")
	return strings.TrimSpace(s)
}
