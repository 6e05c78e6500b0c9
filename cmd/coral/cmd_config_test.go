package main

import (
	"strings"
	"testing"
)

func TestSessionConfig(t *testing.T) {
	w := newWorld(t)
	for _, k := range []string{"CACHE_SIZE", "CORE_CODEC", "USER_NAME", "GC_KEEP"} {
		t.Setenv("CORAL_"+k, "")
	}
	t.Setenv("CORAL_SIMILAR_THRESHOLD", "0.95")
	w.session("config.golden", []string{
		"config list", "config set gc.keep 2w", "init $BASE/models", "config set cache.size 20G", "config set user.name 'Ada Lovelace' --user", "config set mount.read_only true --json",
		"config list --origin", "config get cache.size", "config get similar.threshold --json", "config unset cache.size", "config unset cache.size", "config set cach.size 3", "config set cache.size x",
		"config set core.memory 3M", "config get nope", "config set gc.keep", "config get a b", "config fill", "config path", "config path --user --json", "config validate", "config --help",
	})
	w.write("models/.coral/config.toml", "# broken\n[gc]\nkeep = \"soon\"\nkep = 1\n")
	w.session("config2.golden", []string{"status", "status --json", "config list", "config validate", "config validate --json", "config validate $BASE/nowhere", "version", "config unset gc.keep", "config validate"})
}

// TestConfigAuthor wants commits by whom the settings name, unless $CORAL_AUTHOR says another.
func TestConfigAuthor(t *testing.T) {
	w := newWorld(t)
	t.Setenv("CORAL_AUTHOR", "") // restored after the test: settings change it for this process
	w.write("a", "1")
	for _, args := range [][]string{
		{"init", "$BASE/models"}, {"config", "set", "user.name", "Ada"}, {"config", "set", "user.email", "ada@example.org"}, {"add", "$BASE/a"}, {"snapshot"},
	} {
		if _, errOut, code := w.run(args...); code != 0 {
			t.Fatalf("%v: %s", args, errOut)
		}
	}
	if out, _, _ := w.run("log", "--json"); !strings.Contains(out, `"author":"Ada <ada@example.org>"`) {
		t.Errorf("log %s", out)
	}
	t.Setenv("CORAL_AUTHOR", "Bob <bob@b>")
	if _, errOut, code := w.run("snapshot", "--allow-empty"); code != 0 {
		t.Fatal(errOut)
	}
	if out, _, _ := w.run("log", "-n", "1", "--json"); !strings.Contains(out, `"author":"Bob <bob@b>"`) {
		t.Errorf("log %s", out)
	}
}
