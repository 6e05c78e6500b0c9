package ref

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"coral/internal/errs"
)

func TestCheckName(t *testing.T) {
	good := []string{"main", "exp/a", "a.b", "v1.0", "ünï", "a-b_c", "x@y", "@a", "lock", "a.lockx", "HEADS", "a/HEAD", "deadbeef", "0", strings.Repeat("x", 200), "a{b"}
	for _, name := range good {
		if err := CheckName(name); err != nil {
			t.Errorf("%v", err)
		}
	}
	bad := []string{"", "HEAD", "@", "/", "/a", "a/", "a//b", ".", "..", ".a", "a/.b", "a..b", "a.", "a.lock", "a.lock/b", "a b", "a~b", "a^", "a:b", "a?", "a*", "a[b", `a\b`,
		"a@{b", "a\x00", "a\n", "a\x7f", "-a", "a\xff", strings.Repeat("x", 201), strings.Repeat("a/", 60) + "a", strings.Repeat("0aF1", 16)}
	for _, name := range bad {
		if err := CheckName(name); !errors.Is(err, errs.Invalid) {
			t.Errorf("CheckName(%q) = %v, want errs.Invalid", name, err)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"main", "a/b", "..", "a@{", "é", ".lock"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := CheckName(name)
		if err != nil {
			if !errors.Is(err, errs.Invalid) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		if len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsAny(name, "\x00\n ~^:?*[\\") || strings.Contains("/"+name+"/", "/../") || strings.Contains("/"+name+"/", "//") {
			t.Fatalf("%q is accepted", name)
		}
		if h, err := decodeHead(encodeHead(Head{Branch: name})); err != nil || h.Branch != name {
			t.Fatalf("HEAD at %q comes back as %+v, %v", name, h, err)
		}
	})
}

func TestLine(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"a\nb\tc", "a b c"}, {" x ", "x"}, {"ab\xffc", "abc"}, {"ééééé", "éé"}, {"", ""},
	} {
		if got := line(tc.in, 5); got != tc.want {
			t.Errorf("line(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}
