package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"coral/internal/config"
	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs"
)

// SettingsTable is every setting: docs/config.md is made of it.
var SettingsTable = config.Table{
	{Key: "user.name", Check: plainText, Doc: "who commits, tags and ref log say it was; the default is the user's name. `$CORAL_AUTHOR` is stronger."},
	{Key: "user.email", Check: plainText, Doc: "the address beside it; the default is the user at this host."},
	{Key: "core.memory", Default: "256M", Check: memorySize, Doc: "what the heap of the daemon, or of a command that works without one, keeps to: 160M or more. Half of what is beyond the default goes to decoded blocks."},
	{Key: "core.codec", Default: "auto", Check: codecName, Doc: "how new tensors are coded: a name of [the codecs](cli.md#codecs)."},
	{Key: "cache.size", Default: "10G", Check: sizeAbove(0), Doc: "disk space for files of commits that were read."},
	{Key: "spool.reserve", Default: "64M", Check: sizeAbove(0), Doc: "writers are refused (ENOSPC) when the repository's disk has less free than this."},
	{Key: "spool.quota", Default: "10G", Check: sizeAbove(-1), Doc: "spool copies of ingested files that are kept for quick reading; the oldest go first. `0` keeps none."},
	{Key: "similar.threshold", Default: "0.98", Kind: config.Number, Check: thresholdValue, Doc: "the least correlation at which tensors count as similar, 0.8 to 1: for `coral similar`, and where a base is looked for beyond what names tell."},
	{Key: "mount.read_only", Default: "false", Kind: config.Bool, Doc: "branches are read-only in new mounts."},
	{Key: "mount.allow_other", Default: "false", Kind: config.Bool, Doc: "new mounts let other users in."},
	{Key: "gc.keep", Default: "30d", Check: durationValue, Doc: "how long `coral gc` keeps what only the ref log still names."},
}

// settingFlags says, for each verb, which flag a setting is the default of.
var settingFlags = map[string]map[string]string{
	"mount":   {"memory": "core.memory", "cache-size": "cache.size", "ro": "mount.read_only", "allow-other": "mount.allow_other"},
	"gc":      {"keep": "gc.keep"},
	"similar": {"threshold": "similar.threshold"},
}

// configFile is the name of the repository's settings in .coral, and of the user's in his own directory.
const configFile = "config.toml"

// RepoConfig is the file of the settings of the repository at dir (a .coral directory).
func RepoConfig(dir string) string { return filepath.Join(dir, configFile) }

// UserConfig is the file of the user's settings: $XDG_CONFIG_HOME/coral/config.toml, by default below ~/.config; "" without a home.
func UserConfig() string {
	base := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(base) { // its specification says to ignore others
		home, err := os.UserHomeDir()
		if err != nil || !filepath.IsAbs(home) {
			return ""
		}
		base = filepath.Join(home, ".config")
	}
	return filepath.Join(base, "coral", configFile)
}

// settingSources lists the files that count for the repository at dir; "" is none.
func settingSources(dir string) (list []config.Source) {
	if u := UserConfig(); u != "" {
		list = append(list, config.Source{Path: u, Origin: config.User})
	}
	if dir != "" {
		list = append(list, config.Source{Path: RepoConfig(dir), Origin: config.Repository})
	}
	return list
}

// LoadSettings reads what is set for the repository at dir (a .coral directory; "" is none), as this process sees files and environment.
func LoadSettings(dir string) (*config.Config, error) {
	return SettingsTable.Load(settingSources(dir), os.Getenv)
}

// ApplySettings makes settings the values of those flags of a verb that were not given.
func ApplySettings(c *config.Config, verb string, f *pflag.FlagSet) error {
	for name, key := range settingFlags[verb] {
		fl := f.Lookup(name)
		if fl == nil || fl.Changed || !c.IsSet(key) {
			continue
		}
		v := c.Get(key)
		if err := fl.Value.Set(v.Value); err != nil {
			return fmt.Errorf("config %s: %s: %w", v.Where, key, err)
		}
	}
	return nil
}

// SettingAuthor is "Name <email>" if settings say who the user is, else "".
func SettingAuthor(c *config.Config) string {
	name, email := c.Get("user.name").Value, c.Get("user.email").Value
	if name == "" && email == "" {
		return ""
	}
	was, at, _ := strings.Cut(vcs.DefaultAuthor(), " <")
	if name == "" {
		name = was
	}
	if email == "" {
		email = strings.TrimSuffix(at, ">")
	}
	return name + " <" + email + ">"
}

// SettingMemory is core.memory in bytes; 0 if it is not set.
func SettingMemory(c *config.Config) int64 { return sizeSetting(c, "core.memory") }

func sizeSetting(c *config.Config, key string) int64 {
	var z Size
	if !c.IsSet(key) || z.Set(c.Get(key).Value) != nil { // checked when it was read
		return 0
	}
	return int64(z)
}

// repoOptions are the options of vcs.Open that settings have.
func repoOptions(c *config.Config, o vcs.Options) (vcs.Options, error) {
	var err error
	if o.Strategy, err = vcs.ParseCodec(c.Get("core.codec").Value); err != nil {
		return o, err
	}
	o.SpoolReserve, o.SpoolQuota = sizeSetting(c, "spool.reserve"), sizeSetting(c, "spool.quota")
	if c.IsSet("spool.quota") && o.SpoolQuota == 0 {
		o.SpoolQuota = -1
	}
	if c.IsSet("similar.threshold") {
		if o.Similarity, err = strconv.ParseFloat(c.Get("similar.threshold").Value, 64); err != nil {
			return o, err
		}
	}
	return o, nil
}

// MinMemory is what encoding takes, and a little cache.
const MinMemory = 160 << 20

func plainText(v string) error {
	if strings.ContainsAny(v, "<>\n\r\x00") {
		return fmt.Errorf("%q has a sign that divides names from addresses: %w", v, errs.Invalid)
	}
	return nil
}

func codecName(v string) error {
	_, err := vcs.ParseCodec(v)
	return err
}

func memorySize(v string) error {
	var z Size
	if err := z.Set(v); err != nil {
		return err
	}
	if z < MinMemory {
		return fmt.Errorf("%s: at least %s are needed", v, FormatSize(MinMemory))
	}
	return nil
}

// sizeAbove checks for a size of more than least bytes.
func sizeAbove(least int64) func(string) error {
	return func(v string) error {
		var z Size
		if err := z.Set(v); err != nil {
			return err
		}
		if int64(z) <= least {
			return fmt.Errorf("%q: want more than nothing", v)
		}
		return nil
	}
}

func thresholdValue(v string) error {
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f >= MinThreshold && f <= 1) {
		return fmt.Errorf("%q: give %v to 1", v, MinThreshold)
	}
	return nil
}

func durationValue(v string) error {
	_, err := parseDuration(v)
	return err
}

// ConfigScope says which file an edit is for.
type ConfigScope struct {
	Dir  string // the .coral directory; "" is none
	User bool
}

// file is the path of the file that is meant.
func (s ConfigScope) file() (string, error) {
	switch {
	case s.User && UserConfig() == "":
		return "", fmt.Errorf("config --user: there is neither $XDG_CONFIG_HOME nor $HOME: %w", errs.NotFound)
	case s.User:
		return UserConfig(), nil
	case s.Dir == "":
		return "", fmt.Errorf("config: %w", &noRepo{"the working directory or above"})
	}
	return RepoConfig(s.Dir), nil
}

// ConfigSet sets key in a file.
func ConfigSet(s ConfigScope, key, value string) (path string, err error) {
	if path, err = s.file(); err == nil {
		err = usage(SettingsTable.Set(path, key, value))
	}
	return path, err
}

// ConfigUnset removes key from a file.
func ConfigUnset(s ConfigScope, key string) (path string, found bool, err error) {
	if path, err = s.file(); err == nil {
		found, err = SettingsTable.Unset(path, key)
		err = usage(err)
	}
	return path, found, err
}

// usage makes an unknown setting or a bad value wrong usage; problems in files stay what they are.
func usage(err error) error {
	if _, file := err.(*config.Problem); err == nil || file {
		return err
	}
	if control.Class(err) == "invalid" {
		return control.Usagef("config: %s", strings.TrimSuffix(err.Error(), ": "+errs.Invalid.Error()))
	}
	return err
}

// ConfigList returns every setting as it counts for the repository at dir ("": for none).
func ConfigList(dir string) ([]config.Value, error) {
	c, err := LoadSettings(dir)
	if err != nil {
		return nil, err
	}
	return c.List(), nil
}

// ConfigGet returns one setting.
func ConfigGet(dir, key string) (config.Value, error) {
	if _, err := SettingsTable.Find(key); err != nil {
		return config.Value{}, usage(err)
	}
	c, err := LoadSettings(dir)
	return c.Get(key), err
}

// ConfigCheck is the result of `config validate`. JSON names are a promise.
type ConfigCheck struct {
	OK       bool              `json:"ok"`
	Files    []string          `json:"files"` // that were looked at
	Problems []*config.Problem `json:"problems"`
}

// Failed makes the exit code 1.
func (c ConfigCheck) Failed() bool { return !c.OK }

// ConfigValidate checks the files and variables that count for the repository at dir, or one file.
func ConfigValidate(dir, file string) (ConfigCheck, error) {
	list, env := settingSources(dir), os.Getenv
	if file != "" {
		if _, err := os.Stat(file); err != nil {
			return ConfigCheck{}, fmt.Errorf("config validate: %w", err)
		}
		list, env = []config.Source{{Path: file, Origin: config.Repository}}, func(string) string { return "" }
	}
	res := ConfigCheck{Files: []string{}, Problems: SettingsTable.Validate(list, env)}
	for _, s := range list {
		if _, err := os.Stat(s.Path); err == nil {
			res.Files = append(res.Files, s.Path)
		}
	}
	res.OK = len(res.Problems) == 0
	if res.OK {
		res.Problems = []*config.Problem{}
	}
	return res, nil
}
