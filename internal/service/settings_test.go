package service

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"coral/internal/config"
)

var updateDocs = flag.Bool("update", false, "write docs/config.md's table again")

// TestSettingsPage keeps docs/config.md equal to the table.
func TestSettingsPage(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "config.md")
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const rule = "|---|---|---|\n"
	head, _, ok := strings.Cut(string(b), rule)
	if !ok {
		t.Fatalf("%s has no table", page)
	}
	var want strings.Builder
	want.WriteString(head + rule)
	for _, s := range SettingsTable {
		def := ""
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", s.Key, def, s.Doc)
	}
	if *updateDocs {
		if err := os.WriteFile(page, []byte(want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want.String() != string(b) {
		t.Errorf("%s is not as SettingsTable has it: go test -update writes it", page)
	}
}

// TestSettingsTable wants each default to be one that may be set, and the flags' defaults to be the same.
func TestSettingsTable(t *testing.T) {
	for _, s := range SettingsTable {
		if s.Default != "" && s.Check != nil {
			if err := s.Check(s.Default); err != nil {
				t.Errorf("%s: %v", s.Key, err)
			}
		}
	}
	for verb, flags := range settingFlags {
		v := Find(verb)
		if v == nil { // mount is the command line's
			continue
		}
		f := pflag.NewFlagSet(verb, pflag.ContinueOnError)
		v.New().Flags(f)
		for name, key := range flags {
			s, err := SettingsTable.Find(key)
			if fl := f.Lookup(name); err != nil || fl == nil || fl.DefValue != s.Default {
				t.Errorf("%s --%s: flag %+v, setting %+v, %v", verb, name, fl, s, err)
			}
		}
	}
}

// noSettings makes this test's user and environment have no settings but those it sets.
func noSettings(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, s := range SettingsTable {
		t.Setenv(config.EnvName(s.Key), "")
	}
}

// TestSettingsAct opens a repository with settings, and looks at what they changed.
func TestSettingsAct(t *testing.T) {
	noSettings(t)
	dir := newRepo(t)
	for key, value := range map[string]string{"core.codec": "exponent_mantissa", "spool.quota": "0", "spool.reserve": "4096P", "gc.keep": "1w", "similar.threshold": "0.9"} {
		if _, err := ConfigSet(ConfigScope{Dir: dir}, key, value); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir, Options{})
	_, req, err := ParseLine("gc", s.opts.settings)
	if err != nil || req.(*GCRequest).Keep.String() != "7d" {
		t.Errorf("gc.keep: %+v, %v", req, err)
	}
	if _, req, err = ParseLine("gc --keep 2d", s.opts.settings); err != nil || req.(*GCRequest).Keep.String() != "2d" {
		t.Errorf("gc --keep: %+v, %v", req, err)
	}
	if _, req, err = ParseLine("similar x", s.opts.settings); err != nil || req.(*SimilarRequest).Threshold != 0.9 {
		t.Errorf("similar.threshold: %+v, %v", req, err)
	}
	src := files(t, map[string]string{"m.safetensors": safetensors(300, 256, weights(300, 256, 1))})
	if _, err := s.Run(t.Context(), "add "+Quote(src+"/m.safetensors")); err == nil || !strings.Contains(err.Error(), "no space") {
		t.Errorf("spool.reserve of four exbibytes: %v", err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	if _, found, err := ConfigUnset(ConfigScope{Dir: dir}, "spool.reserve"); !found || err != nil {
		t.Fatal(found, err)
	}
	s = open(t, dir, Options{})
	do(t, s, "add "+Quote(src+"/m.safetensors"), nil)
	do(t, s, "snapshot", nil)
	if got := blockCodecs(t, s.Repo(), "m.safetensors"); got["exponent_mantissa"] == 0 {
		t.Errorf("core.codec: block codecs %v", got)
	}
	if got := s.Repo().Live.Spool(); got.CleanBytes != 0 {
		t.Errorf("spool.quota 0: %d bytes of copies are kept", got.CleanBytes)
	}
}

// TestBrokenSettings wants a repository with a broken file to say where, and to be left closed.
func TestBrokenSettings(t *testing.T) {
	noSettings(t)
	dir := newRepo(t)
	if err := os.WriteFile(RepoConfig(dir), []byte("[core]\ncodec = \"gzip\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), RepoConfig(dir)+":2: core.codec: ") {
		t.Errorf("open: %v", err)
	}
	t.Setenv("CORAL_CORE_CODEC", "auto") // stronger, and no excuse
	if r, err := ConfigValidate(dir, ""); err != nil || r.OK || len(r.Problems) != 1 {
		t.Errorf("validate: %+v, %v", r, err)
	}
}

func TestSettingAuthor(t *testing.T) {
	noSettings(t)
	t.Setenv("CORAL_AUTHOR", "")
	t.Setenv("USER", "u")
	for _, c := range []struct{ name, email, want string }{{"", "", ""}, {"Ada", "a@b", "Ada <a@b>"}, {"", "a@b", "u <a@b>"}} {
		t.Setenv("CORAL_USER_NAME", c.name)
		t.Setenv("CORAL_USER_EMAIL", c.email)
		set, err := LoadSettings("")
		if err != nil || SettingAuthor(set) != c.want {
			t.Errorf("%q, %v; want %q", SettingAuthor(set), err, c.want)
		}
	}
	t.Setenv("CORAL_USER_NAME", "A <b>")
	if _, err := LoadSettings(""); err == nil {
		t.Error("a name with an address was taken")
	}
}
