package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"coral/internal/config"
	"coral/internal/control"
	"coral/internal/service"
)

// configOptions are the flags of config.
type configOptions struct {
	user, origin bool
}

func newConfigCmd(a *app) *cobra.Command {
	o := &configOptions{}
	cmd := &cobra.Command{
		Use:   "config [list | get KEY | set KEY VALUE | unset KEY | validate [FILE] | path]",
		Short: "Show or change settings",
		Long: `Settings come from, each stronger than the one before: defaults, the user's file ($XDG_CONFIG_HOME/coral/config.toml, by default in
~/.config), the repository's file (.coral/config.toml), the environment ($CORAL_CACHE_SIZE for cache.size), and flags. docs/config.md
lists them. 'set' and 'unset' change the repository's file, or the user's with --user, and keep what else stands there, comments
included; a daemon that runs keeps what it started with. 'validate' reports all that is wrong, by file and line.`,
		Example: `  coral config list --origin
  coral config set user.name "Ada Lovelace" --user
  coral config set cache.size 50G
  coral config get core.codec`,
		RunE: func(_ *cobra.Command, args []string) error { return runConfig(a, o, args) },
	}
	cmd.Flags().BoolVar(&o.user, "user", false, "the user's file, not the repository's")
	cmd.Flags().BoolVar(&o.origin, "origin", false, "with list: also where each value is from")
	return cmd
}

// configArgs is how many arguments each word takes, at least and at most.
var configArgs = map[string][2]int{"list": {0, 0}, "show": {0, 0}, "get": {1, 1}, "set": {2, 2}, "unset": {1, 1}, "validate": {0, 1}, "path": {0, 0}}

func runConfig(a *app, o *configOptions, args []string) error {
	if len(args) == 0 {
		args = []string{"list"}
	}
	word, rest := args[0], args[1:]
	n, ok := configArgs[word]
	switch {
	case !ok:
		return control.Usagef("config: %q is none of list, get, set, unset, validate, path", word)
	case len(rest) < n[0]:
		return control.Usagef("config %s: %s", word, map[string]string{"get": "name a setting", "set": "give a setting and its value", "unset": "name a setting"}[word])
	case len(rest) > n[1]:
		return control.Usagef("config %s: unexpected argument %q", word, rest[n[1]])
	}
	dir, err := a.dir()
	if err != nil && (a.repo != "" || !errors.Is(err, service.ErrNoRepo)) {
		return err
	}
	scope := service.ConfigScope{Dir: dir, User: o.user}
	switch word {
	case "get":
		v, err := service.ConfigGet(dir, rest[0])
		if err != nil {
			return err
		}
		return a.result(v, func(p *printer) { p.line("%s", safe(v.Value)) })
	case "set":
		path, err := service.ConfigSet(scope, rest[0], rest[1])
		return a.configEdited(path, rest[0], err, "set "+rest[0]+" in ")
	case "unset":
		path, found, err := service.ConfigUnset(scope, rest[0])
		text := "removed " + rest[0] + " from "
		if !found {
			text = rest[0] + " was not in "
		}
		return a.configEdited(path, rest[0], err, text)
	case "validate":
		return a.validateConfig(dir, arg(rest, 0))
	case "path":
		return a.configPaths(dir, o.user)
	}
	list, err := service.ConfigList(dir)
	if err != nil {
		return err
	}
	return a.result(list, func(p *printer) { printConfig(p, list, o.origin) })
}

func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func (a *app) configEdited(path, key string, err error, text string) error {
	if err != nil {
		return err
	}
	return a.result(map[string]string{"path": path, "key": key}, func(p *printer) { p.line("%s%s", text, safe(path)) })
}

func printConfig(p *printer, list []config.Value, origin bool) {
	var rows [][]string
	for _, v := range list {
		row := []string{v.Key, safe(v.Value)}
		if origin {
			from := v.Origin
			if v.Where != "" {
				from += " (" + safe(v.Where) + ")"
			}
			row = append(row, from)
		}
		rows = append(rows, row)
	}
	p.table(rows)
}

func (a *app) validateConfig(dir, file string) error {
	r, err := service.ConfigValidate(dir, file)
	if err != nil {
		return err
	}
	err = a.result(r, func(p *printer) {
		for _, pr := range r.Problems {
			p.line("%s: %s", safe(pr.Where), safe(pr.Message))
		}
		if r.OK {
			p.line("nothing is wrong (%s)", count(int64(len(r.Files)), "file"))
		}
	})
	if err == nil && r.Failed() {
		return &resultError{}
	}
	return err
}

// configPaths prints the files that count, the weakest first.
func (a *app) configPaths(dir string, user bool) error {
	type path struct {
		Origin string `json:"origin"`
		Path   string `json:"path"`
		Exists bool   `json:"exists"`
	}
	list := []path{}
	add := func(origin, p string) {
		_, err := os.Stat(p)
		list = append(list, path{origin, p, err == nil})
	}
	if u := service.UserConfig(); u != "" {
		add(config.User, u)
	}
	if dir != "" && !user {
		add(config.Repository, service.RepoConfig(dir))
	}
	return a.result(list, func(p *printer) {
		for _, l := range list {
			p.line("%s", safe(l.Path))
		}
	})
}

// settings reads what is set for the repository at dir, makes it the value of flags that were not given, and makes who the user is known to
// what looks for $CORAL_AUTHOR, here and in a daemon that this process starts.
func (a *app) settings(dir string, cmd *cobra.Command) error {
	c, err := service.LoadSettings(dir)
	if err != nil {
		return err
	}
	if author := service.SettingAuthor(c); author != "" && os.Getenv("CORAL_AUTHOR") == "" {
		if err := os.Setenv("CORAL_AUTHOR", author); err != nil {
			return fmt.Errorf("config: user.name: %w", err)
		}
	}
	if cmd.Name() == "mount" && cmd.Flags().Changed("ready") {
		return nil // who started this daemon has said all
	}
	return service.ApplySettings(c, cmd.Name(), cmd.Flags())
}
