// Package archtest holds the house's import rules as data and fails when code breaks them.
// It has no production code: `make lint` and `make test` run it.
package archtest

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "coral"

// may lists, for each room, the rooms of ours that it may import. A room covers its
// sub-packages; the longest matching prefix decides. A room may import inside itself.
var may = map[string][]string{
	"internal/oid":       {"internal/errs"},
	"internal/errs":      {},
	"internal/vfs":       {"internal/errs"},
	"internal/invariant": {},
	"internal/natural":   {},
	"internal/race":      {},
	"delta/format":       {"internal/errs"},
	"delta":              {"delta/format", "internal/errs", "internal/invariant", "internal/race"},
	"objstore":           {"internal/oid", "internal/errs", "internal/vfs", "internal/invariant"},
	"vcs":                {"objstore", "delta", "internal/natural", "internal/oid", "internal/errs", "internal/vfs", "internal/invariant"},
	"fs":                 {"vcs", "objstore/cache", "internal/oid", "internal/errs", "internal/invariant"},
	"internal/config":    {"internal/errs"},
	"internal/control":   {"internal/errs"},
	"internal/service":   {"fs", "vcs", "objstore", "internal/config", "internal/control", "internal/natural", "internal/oid", "internal/errs"},
	"internal/chart":     {"internal/errs"},
	"internal/bench":     {"vcs", "delta", "internal/natural", "internal/oid", "internal/errs"},
	"internal/daemon":    {"internal/service", "internal/control", "internal/errs"},
	"cmd/coral":          {"contrib/coralml", "internal/daemon", "internal/service", "internal/bench", "internal/chart", "internal/config", "internal/control", "internal/oid", "internal/errs", "vcs", "objstore", "delta/format"},
	"contrib/coralml":    {},
	"internal/archtest":  {},
	"internal/testutil":  {"internal/errs", "internal/oid"},
	"integration":        {"internal/testutil", "internal/control"},
}

// only lists third-party packages that belong to certain rooms.
var only = map[string][]string{
	"github.com/hanwen/go-fuse":  {"fs", "integration/suites"}, // suites: a file system that records, for the power-cut test
	"go.etcd.io/bbolt":           {"objstore", "vcs/ref"},
	"github.com/spf13/cobra":     {"cmd/coral"},
	"github.com/vbauerster/mpb":  {"cmd/coral"},
	"github.com/BurntSushi/toml": {"internal/config"},
}

type source struct {
	pkg     string // path inside the module
	file    string
	test    bool
	imports []string
}

func TestImports(t *testing.T) {
	for _, s := range sources(t) {
		room, ok := roomOf(s.pkg)
		if !ok {
			t.Errorf("%s: package %s is in no room: add it to the table in internal/archtest", s.file, s.pkg)
			continue
		}
		for _, imp := range s.imports {
			checkImport(t, s, room, imp)
		}
	}
}

func checkImport(t *testing.T, s source, room, imp string) {
	if !s.test && imp == "testing" && room != "integration" && room != "internal/testutil" {
		t.Errorf("%s: production code imports testing", s.file)
	}
	for third, rooms := range only {
		if strings.HasPrefix(imp, third) && !slices.ContainsFunc(rooms, func(r string) bool { return inside(s.pkg, r) }) {
			t.Errorf("%s: imports %s, which belongs to %v", s.file, imp, rooms)
		}
	}
	ours, isOurs := strings.CutPrefix(imp, module+"/")
	if !isOurs || s.test {
		return // tests may reach further; they still obey the third-party rules
	}
	to, ok := roomOf(ours)
	if ok && to == room || slices.ContainsFunc(may[room], func(r string) bool { return inside(ours, r) }) {
		return
	}
	t.Errorf("%s: room %s must not import %s", s.file, room, ours)
}

// TestPackageComments wants a package comment in every package.
func TestPackageComments(t *testing.T) {
	has := map[string]bool{}
	fset := token.NewFileSet()
	for _, s := range sources(t) {
		if s.test && !strings.HasPrefix(s.pkg, "internal/archtest") && !strings.HasPrefix(s.pkg, "integration") {
			continue
		}
		f, err := parser.ParseFile(fset, s.file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		has[s.pkg] = has[s.pkg] || f.Doc != nil
	}
	for pkg, ok := range has {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	fset := token.NewFileSet()
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); rel != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		s := source{pkg: filepath.ToSlash(filepath.Dir(rel)), file: path, test: strings.HasSuffix(path, "_test.go")}
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found only %d Go files under %s: is the working directory right?", len(out), root)
	}
	return out
}

// roomOf returns the longest room that pkg is in.
func roomOf(pkg string) (string, bool) {
	best, found := "", false
	for r := range may {
		if inside(pkg, r) && len(r) > len(best) {
			best, found = r, true
		}
	}
	return best, found
}

func inside(pkg, room string) bool { return pkg == room || strings.HasPrefix(pkg, room+"/") }

// TestNoStrayFiles keeps the bans that a type checker does not see.
func TestNoStrayFiles(t *testing.T) {
	for _, s := range sources(t) {
		b, err := os.ReadFile(s.file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if !s.test && !inside(s.pkg, "cmd/coral") && !inside(s.pkg, "integration/bench") && strings.Contains(text, "os.Exit(") {
			t.Errorf("%s: os.Exit outside a program", s.file)
		}
		if !s.test && strings.Contains(text, `panic("unwritten")`) {
			t.Errorf("%s: a stub is left", s.file)
		}
		for _, bad := range []string{"util", "common", "helpers", "types"} {
			if filepath.Base(s.pkg) == bad {
				t.Errorf("%s: a package called %s says nothing", s.file, bad)
			}
		}
	}
}

// TestPuregoTwins wants every file of assembly, and the Go code that calls it, to be left out of a build with -tags purego: that
// build is how the portable loops are tested and measured on a machine that has the vector instructions.
func TestPuregoTwins(t *testing.T) {
	found := 0
	err := filepath.WalkDir(filepath.Join("..", "..", "delta"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(d.Name(), "_amd64") && !strings.Contains(d.Name(), "_arm64") && !strings.HasSuffix(d.Name(), ".s") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		found++
		line, _, _ := strings.Cut(string(b), "\n")
		if !strings.HasPrefix(line, "//go:build ") || !strings.Contains(line, "!purego") {
			t.Errorf("%s: the first line must be a build constraint with !purego, and its portable twin's one with purego", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == 0 {
		t.Error("found no assembly under delta/")
	}
}
