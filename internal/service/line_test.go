package service

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // nil: an error
	}{
		{"", []string{}}, {"  \t ", []string{}}, {"status", []string{"status"}}, {"status\n", []string{"status"}}, {"a\r\n", []string{"a"}},
		{"snapshot -m 'step 500' --metric loss=0.41", []string{"snapshot", "-m", "step 500", "--metric", "loss=0.41"}},
		{`a "b c"d'e f' g\ h`, []string{"a", "b cde f", "g h"}},
		{`-m ''`, []string{"-m", ""}}, {`""`, []string{""}},
		{`"a\"b\\c\$d\n"`, []string{`a"b\c$d\n`}}, {`'a\b'`, []string{`a\b`}}, {`'it'\''s'`, []string{"it's"}},
		{"'two\nlines'", []string{"two\nlines"}}, {"a\\\nb", []string{"ab"}},
		{"$HOME * # | ; ~", []string{"$HOME", "*", "#", "|", ";", "~"}},
		{"ümlaut 重み", []string{"ümlaut", "重み"}},
		{"'open", nil}, {`"open`, nil}, {`"open\"`, nil}, {`end\`, nil}, {"a\nb", nil}, {"a\x00b", nil}, {"'a\x00b'", nil}, {strings.Repeat("x", MaxLine+1), nil},
	} {
		got, err := Split(c.in)
		if c.want == nil {
			if !errors.Is(err, errs.Invalid) || !errors.Is(err, control.ErrUsage) {
				t.Errorf("Split(%.40q) = %q, %v, want a usage error", c.in, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Split(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "snapshot -m 'step 500'", `a "b\"c" d\ e`, "'", `\`, "a\nb", "\x00", `"$\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Split(line)
		if err != nil {
			if !errors.Is(err, errs.Invalid) {
				t.Fatalf("Split(%q): %v is not errs.Invalid", line, err)
			}
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, Quote(w))
		}
		again := strings.Join(quoted, " ")
		if len(again) > MaxLine { // quoting makes it longer
			return
		}
		got, err := Split(again)
		if err != nil || len(got) != len(words) || len(words) > 0 && !slices.Equal(got, words) {
			t.Fatalf("Split(%q) = %q; quoted %q gives %q, %v", line, words, again, got, err)
		}
		_, _, _ = ParseLine(line, nil) // never panics
	})
}

func TestParseLine(t *testing.T) {
	for _, c := range []struct {
		line string
		want Request // nil: a usage error
	}{
		{`snapshot -m 'step 500' --metric loss=0.41 --metric acc=1 --label run=a7 -t best --strict`, &SnapshotRequest{
			Message: "step 500", Metrics: metrics{"loss": 0.41, "acc": 1}, Labels: labels{"run": "a7"}, Tag: "best", Strict: true}},
		{`coral commit -m "a" --json`, &SnapshotRequest{Message: "a"}},
		{`status`, &StatusRequest{}},
		{`sync`, &SyncRequest{}},
		{`log -n 3 main~1`, &LogRequest{N: 3, Rev: "main~1"}},
		{`branch -D a b`, &BranchRequest{Names: []string{"a", "b"}, Delete: true, Force: true, forceD: true}},
		{`branch -m new`, &BranchRequest{Names: []string{"new"}, Move: true}},
		{`tag v1 main -m best`, &TagRequest{Names: []string{"v1", "main"}, Message: "best"}},
		{`checkout -b new main`, &CheckoutRequest{Rev: "main", New: "new"}},
		{`merge b -s slerp:t=0.3 -s '*:*bias=ours' --theirs-for *.json -n`, &MergeRequest{With: []string{"b"}, Strategy: "slerp:t=0.3", DryRun: true,
			Rules: []mergeRule{{"*:*bias", "ours"}, {"*.json", "theirs"}}}},
		{`cache drop`, &CacheRequest{Drop: true}},
		{`gc --keep 2w --dry-run`, &GCRequest{Keep: Duration(14 * 24 * 3600e9), DryRun: true}},
		{`gc`, &GCRequest{Keep: DefaultKeep}},
		{`show main:a:b`, &ShowRequest{What: "main:a:b", Sort: "file"}},
		{`add /a /b --to x`, &AddRequest{Files: []control.Text{"/a", "/b"}, To: "x"}},
		{"", nil}, {"coral", nil}, {"frobnicate", nil}, {"status x", nil}, {"snapshot --nope", nil}, {"snapshot --metric loss", nil},
		{"snapshot --metric loss=x", nil}, {"log -n x", nil}, {"log -n -1", nil}, {"branch -d", nil}, {"branch a b c", nil}, {"branch -d -m a", nil},
		{"tag -m x", nil}, {"merge", nil}, {"merge b -s mean", nil}, {"merge b c -s slerp", nil}, {"merge b --alpha 1 -s average", nil}, {"merge b --recipe x", nil}, {"checkout", nil}, {"cache fill", nil}, {"gc --keep -1h", nil}, {"add", nil}, {"add ''", nil}, {"show ../x:../y", nil},
		{"mount /x", nil}, {"fsck", nil}, {"cat main:x", nil}, {"snapshot --help", nil},
	} {
		_, got, err := ParseLine(c.line, nil)
		if c.want == nil {
			if !errors.Is(err, control.ErrUsage) {
				t.Errorf("%q: %+v, %v, want a usage error", c.line, got, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v, want %+v", c.line, got, err, c.want)
		}
	}
}
