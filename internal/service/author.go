package service

import (
	"os"
	"os/user"
	"strings"
)

// DefaultAuthor is who commits, from the environment of this process: $CORAL_AUTHOR, else git's variables, else
// the user's name at this host.
func DefaultAuthor() string {
	if a := strings.TrimSpace(os.Getenv("CORAL_AUTHOR")); a != "" {
		return a
	}
	name, mail := os.Getenv("GIT_AUTHOR_NAME"), os.Getenv("GIT_AUTHOR_EMAIL")
	login := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		login = u.Username
		if name == "" {
			name, _, _ = strings.Cut(u.Name, ",") // GECOS: name, room, phone …
		}
	}
	if login == "" {
		login = "unknown"
	}
	if name == "" {
		name = login
	}
	if mail == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "localhost"
		}
		mail = login + "@" + host
	}
	return name + " <" + mail + ">"
}
