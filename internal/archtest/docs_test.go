package archtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	fence   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code    = regexp.MustCompile("`[^`\n]*`")
	inline  = regexp.MustCompile(`\]\(<?([^()\s<>]+)>?(?: "[^"]*")?\)`)
	defined = regexp.MustCompile(`(?m)^ {0,3}\[[^\]]+\]:\s+(\S+)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *#*$`)
	anchor  = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// TestLinks follows every relative link of README.md, docs/ and changelog/: the file is there, and the heading.
func TestLinks(t *testing.T) {
	root := filepath.Join("..", "..")
	links := 0
	for _, page := range pages(t, root) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range linksOf(string(b)) {
			if why := broken(page, target); why != "" {
				t.Errorf("%s: link to %s: %s", page, target, why)
			}
			links++
		}
	}
	if links < 10 {
		t.Errorf("found only %d links: does linksOf still see them?", links)
	}
}

func pages(t *testing.T, root string) []string {
	t.Helper()
	list := []string{filepath.Join(root, "README.md")}
	for _, dir := range []string{"docs", "changelog"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".md") {
				list = append(list, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// linksOf returns the targets of a page's links that are not in code and lead to no other host.
func linksOf(text string) []string {
	text = code.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
	var out []string
	for _, re := range []*regexp.Regexp{inline, defined} {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "://") && !strings.HasPrefix(m[1], "mailto:") {
				out = append(out, m[1])
			}
		}
	}
	return out
}

// broken says what is wrong with a relative link of page, or nothing.
func broken(page, target string) string {
	file, frag, _ := strings.Cut(target, "#")
	path := page
	if file != "" {
		path = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
	}
	if _, err := os.Stat(path); err != nil {
		return "no such file"
	}
	if frag == "" {
		return ""
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	if !anchors(string(b))[frag] {
		return "no such heading"
	}
	return ""
}

// anchors returns the names by which GitHub and its like know the headings of a page.
func anchors(text string) map[string]bool {
	text = fence.ReplaceAllString(text, "")
	out := map[string]bool{}
	for _, m := range anchor.FindAllStringSubmatch(text, -1) {
		out[m[1]] = true
	}
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := slug(m[1])
		if n := seen[name]; n > 0 {
			out[name+"-"+string(rune('0'+n))] = true
		} else {
			out[name] = true
		}
		seen[name]++
	}
	return out
}

// slug is a heading's anchor: letters, digits, hyphens and underscores in lower case, blanks as hyphens.
func slug(h string) string {
	h = inline.ReplaceAllString(h, "]")
	var b strings.Builder
	for _, r := range strings.ToLower(h) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

// TestLinksSeesDamage keeps TestLinks honest.
func TestLinksSeesDamage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write("other.md", "# One `code` heading: yes & no\n```\n# not one\n```\n## Twice\n## Twice\n")
	page := write("page.md", "# Top\n")
	text := "[a](other.md) [b](other.md#one-code-heading-yes--no) [c](#top) [d](other.md#twice-1) [e](https://x.y/z) `[f](none.md)`\n" +
		"```\n[g](none.md)\n```\n[h](none.md) [i](other.md#not-one) [j](#nowhere)\n\n[k]: gone.md\n"
	want := map[string]string{
		"other.md": "", "other.md#one-code-heading-yes--no": "", "#top": "", "other.md#twice-1": "",
		"none.md": "no such file", "other.md#not-one": "no such heading", "#nowhere": "no such heading", "gone.md": "no such file",
	}
	got := linksOf(text)
	if len(got) != len(want) {
		t.Errorf("links %q", got)
	}
	for _, l := range got {
		if why := broken(page, l); why != want[l] {
			t.Errorf("%s: %q, want %q", l, why, want[l])
		}
	}
}
