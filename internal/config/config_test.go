package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coral/internal/errs"
)

var table = Table{
	{Key: "user.name"},
	{Key: "cache.size", Default: "10G", Check: func(v string) error {
		if strings.HasPrefix(v, "-") {
			return fmt.Errorf("%q is negative", v)
		}
		return nil
	}},
	{Key: "similar.threshold", Default: "0.98", Kind: Number},
	{Key: "mount.read_only", Default: "false", Kind: Bool},
}

func none(string) string { return "" }

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(p, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLayers(t *testing.T) {
	user := write(t, "user.name = 'U'\n[cache]\nsize = \"1G\" # x\n[similar]\nthreshold = 1\n")
	repo := write(t, "# top\n[ cache ]\n  'size' = 5\n[mount]\nread_only = true\n")
	env := map[string]string{"CORAL_SIMILAR_THRESHOLD": "0.9"}
	c, err := table.Load([]Source{{user, User}, {repo, Repository}, {repo + ".none", Repository}}, func(k string) string { return env[k] })
	if err != nil {
		t.Fatal(err)
	}
	want := []Value{
		{"user.name", "U", "", User, user + ":1"},
		{"cache.size", "5", "10G", Repository, repo + ":3"},
		{"similar.threshold", "0.9", "0.98", Environment, "CORAL_SIMILAR_THRESHOLD"},
		{"mount.read_only", "true", "false", Repository, repo + ":5"},
	}
	for i, v := range c.List() {
		if v != want[i] {
			t.Errorf("got %+v, want %+v", v, want[i])
		}
	}
	if !c.IsSet("cache.size") || c.IsSet("nope") || (*Config)(nil).IsSet("cache.size") {
		t.Error("IsSet")
	}
}

// TestProblems has the one line that each broken file ends in.
func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"[cache\nsize=1":                                         ":1: expected",
		"\n\nsize = ":                                            ":3: ",
		"[cache]\nsize = 1\nsize = 2\n":                          ":3: ",
		"[cache]\nsise = 1\n":                                    `:2: unknown setting "cache.sise" (did you mean cache.size?)`,
		"size = 1\n":                                             `:1: unknown setting "size" (did you mean cache.size?)`,
		"[zebra]\nstripes = 1\n":                                 `:2: unknown setting "zebra.stripes"`,
		"[mount]\nread_only = \"yes\"\n":                         ":2: mount.read_only: want true or false",
		"[mount]\nread_only = 1\n":                               ":2: mount.read_only: want true or false",
		"[cache]\nsize = true\n":                                 ":2: cache.size: want a text, not true",
		"[cache]\nsize = [1]\n":                                  ":2: cache.size: want a text, not a list",
		"[cache]\nsize = 2020-01-01\n":                           ":2: cache.size: want a text",
		"[cache]\nsize = -1\n":                                   `:2: cache.size: "-1" is negative`,
		"cache = { size = -1 }\n":                                `cache.size: "-1" is negative`,
		"[similar]\nthreshold = 'x'\n":                           `:2: similar.threshold: "x" is not a number`,
		"[[cache]]\nsize = 1\n":                                  `unknown setting "cache"`,
		"a = \"\xff\"\n":                                         ":1: ",
		"[similar]\nthreshold = 0.9 # \x00\n":                    ":2: ",
		strings.Repeat("#"+strings.Repeat("x", 1023)+"\n", 1025): "more than 1024 KiB",
	} {
		p := write(t, text)
		_, err := table.Load([]Source{{p, Repository}}, none)
		if !errors.Is(err, errs.Invalid) || !strings.Contains(err.Error(), p) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	two := write(t, "[cache]\nsize = -1\nsiz = 2\n")
	if got := table.Validate([]Source{{two, Repository}}, func(k string) string { return map[string]string{"CORAL_MOUNT_READ_ONLY": "maybe"}[k] }); len(got) != 3 || got[2].Where != "CORAL_MOUNT_READ_ONLY" {
		t.Errorf("%d problems, want 3: %v", len(got), got)
	}
}

// TestEdit has files before and after an edit.
func TestEdit(t *testing.T) {
	const commented = "# mine\n\n[cache]   # big\n  size = \"1G\" # of 'NVMe' # yes\n# end of cache\n\n[mount]\nread_only=true"
	for name, c := range map[string]struct{ before, key, value, after string }{
		"empty":         {"", "cache.size", "3G", "[cache]\nsize = \"3G\"\n"},
		"in place":      {commented, "cache.size", "3G", strings.Replace(commented, `"1G"`, `"3G"`, 1)},
		"no newline":    {commented, "mount.read_only", "false", strings.Replace(commented, "=true", "=false", 1)},
		"in section":    {"[similar]\n\n[cache]\n", "similar.threshold", "0.90", "[similar]\nthreshold = 0.9\n\n[cache]\n"},
		"new section":   {commented, "user.name", "A \"q\" \\ \x01\tü", commented + "\n\n[user]\nname = \"A \\\"q\\\" \\\\ \\u0001\\u0009ü\"\n"},
		"dotted":        {"cache.size = '1G'\n", "cache.size", "2G", "cache.size = \"2G\"\n"},
		"hash in value": {"[user]\nname = \"a#b\"#c\n", "user.name", "d", "[user]\nname = \"d\"#c\n"},
		"escaped quote": {"[user]\nname = \"a\\\"#b\" #c\n", "user.name", "d", "[user]\nname = \"d\" #c\n"},
		"crlf":          {"[cache]\r\nsize = 1\r\n", "cache.size", "2", "[cache]\r\nsize = \"2\"\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			p := write(t, c.before)
			if err := table.Set(p, c.key, c.value); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(p)
			if err != nil || string(b) != c.after {
				t.Errorf("%q, %v; want %q", b, err, c.after)
			}
			if info, err := os.Stat(p); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if found, err := table.Unset(p, c.key); !found || err != nil {
				t.Errorf("unset: %v, %v", found, err)
			}
			if found, err := table.Unset(p, c.key); found || err != nil {
				t.Errorf("unset again: %v, %v", found, err)
			}
		})
	}
}

// TestEditRefuses has what no edit may change.
func TestEditRefuses(t *testing.T) {
	for _, c := range []struct {
		before, key, value string
		class              error
	}{
		{"[cache\n", "cache.size", "1G", errs.Invalid},
		{"cache = { size = 1 }\n", "cache.size", "1G", errs.Unsupported},
		{"[user]\nname = '''\n[cache]\nsize = 1\n'''\n", "cache.size", "1G", errs.Unsupported},
		{"[cache]\n", "cache.sise", "1G", errs.Invalid},
		{"[cache]\n", "cache.size", "-1", errs.Invalid},
		{"[cache]\n", "mount.read_only", "yes", errs.Invalid},
		{"[cache]\n", "user.name", "", errs.Invalid},
		{"[cache]\n", "user.name", "\xff", errs.Invalid},
	} {
		p := write(t, c.before)
		if err := table.Set(p, c.key, c.value); !errors.Is(err, c.class) {
			t.Errorf("%q, %s = %q: %v, want %v", c.before, c.key, c.value, err, c.class)
		}
		if b, err := os.ReadFile(p); err != nil || string(b) != c.before {
			t.Errorf("%q became %q, %v", c.before, b, err)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(p), ".config-*")); err != nil || len(left) > 0 {
			t.Errorf("left %q, %v", left, err)
		}
	}
}

func TestEditKeepsLink(t *testing.T) {
	p := write(t, "[cache]\nsize = 1\n")
	link := filepath.Join(t.TempDir(), "config.toml")
	if err := os.Symlink(p, link); err != nil {
		t.Fatal(err)
	}
	if err := table.Set(link, "cache.size", "2"); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != p {
		t.Errorf("%q, %v", to, err)
	}
	if b, err := os.ReadFile(p); err != nil || string(b) != "[cache]\nsize = \"2\"\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// FuzzEdit wants an edit to change the one key and no other, or to fail and change nothing.
func FuzzEdit(f *testing.F) {
	f.Add("[cache]\nsize = \"1G\" # c\n", "2G")
	f.Add("cache.size=1\n[mount]\nread_only=true", "x\"y")
	f.Add("user = {name='a'}\n[similar]\nthreshold = 1e-3\n", "#")
	f.Fuzz(func(t *testing.T, text, value string) {
		p := write(t, text)
		before, err := readFile(p)
		if err := table.Set(p, "cache.size", value); err != nil {
			if b, rerr := os.ReadFile(p); rerr != nil || string(b) != text {
				t.Fatalf("failed (%v) and changed the file: %q, %v", err, b, rerr)
			}
			return
		}
		if err != nil {
			t.Fatalf("edited a file that is broken: %v", err)
		}
		after, err := readFile(p)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"cache.size": value}
		for _, e := range before.entries {
			if e.key != "cache.size" {
				want[e.key] = e.text
			}
		}
		got := map[string]string{}
		for _, e := range after.entries {
			got[e.key] = e.text
		}
		if !maps.Equal(got, want) {
			t.Fatalf("%q became %q", before.entries, after.entries)
		}
	})
}
