package fs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coral/delta/format/dtype"
	"coral/internal/oid"
	"coral/vcs/object"
)

func TestChildren(t *testing.T) {
	refs := []string{"exp/a", "exp/b/c", "main", "exp2"}
	for _, tc := range []struct{ prefix, want string }{
		{"", "exp/ exp2 main"},
		{"exp/", "a b/"},
		{"exp/b/", "c"},
		{"main/", ""},
	} {
		names, isRef := children(refs, tc.prefix)
		for i, n := range names {
			if !isRef[n] {
				names[i] += "/"
			}
		}
		if got := strings.Join(names, " "); got != tc.want {
			t.Errorf("children(%q) = %q, want %q", tc.prefix, got, tc.want)
		}
	}
}

func TestRevOfTarget(t *testing.T) {
	for _, tc := range []struct {
		target, rev string
		ok          bool
	}{
		{"../commits/3f9a12", "3f9a12", true},
		{"../../commits/3f9a12/", "3f9a12", true},
		{"commits/main~2", "main~2", true},
		{"/mnt/models/commits/3f9a", "3f9a", true},
		{"/mnt/commits/x/branches/exp/a", "", false}, // inside a commit
		{"../branches/main", "branches/main", true},
		{"../branches/exp/a", "branches/exp/a", true},
		{"../tags/v1", "tags/v1", true},
		{"3f9a12", "3f9a12", true},
		{"HEAD", "HEAD", true},
		{"../commits/3f9a/model.pt", "", false},
		{"../commits/", "", false},
		{"", "", false},
		{"..", "", false},
		{"a/b", "", false},
	} {
		rev, ok := revOfTarget(tc.target)
		if ok != tc.ok || ok && rev != tc.rev {
			t.Errorf("revOfTarget(%q) = %q, %v; want %q, %v", tc.target, rev, ok, tc.rev, tc.ok)
		}
	}
}

func TestChanges(t *testing.T) {
	a, b := oid.Sum([]byte("a")), oid.Sum([]byte("b"))
	was := refState{head: "main", branches: map[string]oid.ID{"main": a, "old": a, "same": a}, tags: map[string]oid.ID{"v1": a}}
	now := refState{head: "exp/x", branches: map[string]oid.ID{"main": b, "exp/x": b, "same": a}, tags: map[string]oid.ID{"v1": b}}
	got := changes(was, now)
	want := []string{
		"HEAD", "branches/exp", "branches/exp/x", "branches/old", "commits/exp/x", "commits/main", "commits/old", "commits/v1",
		"history/exp/x", "history/main", "history/old", "tags/v1",
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("changes:\n got %q\nwant %q", got, want)
	}
	if got := changes(now, now); len(got) != 0 {
		t.Errorf("no change gives %q", got)
	}
}

// history makes the versions of a root directory, newest first, from what a/f was in each commit ("" absent, "/" a
// directory), oldest first.
func history(states []string) ([]version, func(oid.ID) (*object.Tree, error)) {
	trees := map[oid.ID]*object.Tree{}
	put := func(es ...object.Entry) oid.ID {
		id := oid.Sum(fmt.Append(nil, es))
		trees[id] = &object.Tree{Entries: es}
		return id
	}
	var vs []version
	for i, s := range states {
		var es []object.Entry
		switch s {
		case "":
		case "/":
			es = []object.Entry{{Name: "f", Kind: object.Dir, ID: put()}}
		default:
			es = []object.Entry{{Name: "f", Kind: object.File, ID: oid.Sum([]byte(s))}}
		}
		root := put(object.Entry{Name: "a", Kind: object.Dir, ID: put(es...)}, object.Entry{Name: "n", Kind: object.File, ID: oid.Sum(fmt.Append(nil, i))})
		vs = append(vs, version{
			commit: oid.Sum(fmt.Append(nil, "commit", i)), root: root, time: time.Unix(int64(i), 0),
			entry: object.Entry{Kind: object.Dir, ID: root},
		})
	}
	slices.Reverse(vs)
	return vs, func(id oid.ID) (*object.Tree, error) {
		if t := trees[id]; t != nil {
			return t, nil
		}
		return nil, errors.New("no such tree")
	}
}

func TestVersions(t *testing.T) {
	for _, tc := range []struct {
		name   string
		states []string
		want   []int // the commits that brought the versions of a/f, newest first
	}{
		{"once", []string{"x"}, []int{0}},
		{"unchanged", []string{"x", "x", "x"}, []int{0}},
		{"changed", []string{"x", "y", "y", "z"}, []int{3, 1, 0}},
		{"back", []string{"x", "y", "x"}, []int{2, 1, 0}},
		{"deleted-and-back", []string{"x", "", "x"}, []int{2, 0}},
		{"deleted", []string{"x", "x", ""}, []int{0}},
		{"was-directory", []string{"/", "x", "/", "y"}, []int{3, 1}},
		{"never", []string{"", ""}, nil},
	} {
		roots, tree := history(tc.states)
		dirs, err := below(roots, "a", tree)
		if err != nil {
			t.Fatal(err)
		}
		vs, err := below(dirs, "f", tree)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, v := range files(vs) {
			got = append(got, int(v.time.Unix()))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: versions of commits %v, want %v", tc.name, got, tc.want)
		}
	}
	roots, _ := history([]string{"x"})
	if _, err := below(roots, "a", func(oid.ID) (*object.Tree, error) { return nil, errors.New("damaged") }); err == nil {
		t.Error("a damaged tree is taken for an empty one")
	}
	if got, want := versionName(0, version{}), "0001-000000000000"; got != want {
		t.Errorf("versionName = %s, want %s", got, want)
	}
}

func TestTensorsXattr(t *testing.T) {
	small := []object.Tensor{
		{Name: `a"b`, DType: dtype.Kind(1), Shape: []int64{2, 3}, Offset: 8, Length: 24},
		{Name: "scalar", DType: dtype.Kind(1), Offset: 32, Length: 4},
	}
	var many []object.Tensor
	for i := range 5000 {
		many = append(many, object.Tensor{Name: fmt.Sprintf("model.layers.%d.weight", i), DType: dtype.Kind(1), Shape: []int64{4096, 4096}, Length: 1})
	}
	for _, tc := range []struct {
		name    string
		tensors []object.Tensor
		omitted bool
	}{
		{"none", nil, false},
		{"small", small, false},
		{"many", many, true},
		{"one-huge", []object.Tensor{{Name: strings.Repeat("x", maxXattr)}}, true},
	} {
		v := tensorsXattr(tc.tensors)
		if len(v) > maxXattr {
			t.Errorf("%s: %d bytes", tc.name, len(v))
		}
		var list []map[string]any
		if err := json.Unmarshal(v, &list); err != nil {
			t.Fatalf("%s: %v in %.100s", tc.name, err, v)
		}
		left := 0
		if tc.omitted {
			left = int(list[len(list)-1]["omitted"].(float64))
			list = list[:len(list)-1]
		}
		if len(list)+left != len(tc.tensors) {
			t.Errorf("%s: %d tensors and %d left out of %d", tc.name, len(list), left, len(tc.tensors))
		}
		for i, e := range list {
			if e["name"] != tc.tensors[i].Name {
				t.Errorf("%s: name %v", tc.name, e["name"])
			}
			if keys := slices.Sorted(maps.Keys(e)); !slices.Equal(keys, []string{"dtype", "length", "name", "offset", "shape"}) {
				t.Errorf("%s: keys %v", tc.name, keys)
			}
		}
	}
}

func TestCopyXattr(t *testing.T) {
	dest := make([]byte, 4)
	if n, errno := copyXattr(dest, []byte("abcd")); n != 4 || errno != 0 || string(dest) != "abcd" {
		t.Errorf("copyXattr = %d, %v, %q", n, errno, dest)
	}
	if n, errno := copyXattr(dest, []byte("abcde")); n != 5 || errno != syscall.ERANGE {
		t.Errorf("too small: %d, %v", n, errno)
	}
	if n, errno := listXattrs(make([]byte, 9), []string{"user.a", "b"}); n != 9 || errno != 0 {
		t.Errorf("listXattrs = %d, %v", n, errno)
	}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{
		`/mnt/a`: "/mnt/a", `/mnt/a\040b`: "/mnt/a b", `\134040`: `\040`, `/x\04`: `/x\04`, `/x\999`: `/x\999`,
	} {
		if got := unescapeMount(in); got != want {
			t.Errorf("unescapeMount(%q) = %q, want %q", in, got, want)
		}
	}
}
