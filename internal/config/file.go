package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFile bounds a file of settings, in bytes.
const maxFile = 1 << 20

// entry is one key of a file with its value as text.
type entry struct {
	key  string
	text string
	kind entryKind
}

type entryKind uint8

const (
	isText entryKind = iota
	isBool
	isNumber
	other // a list, a date
)

// file is a parsed file.
type file struct {
	data    []byte
	entries []entry // by key
	lines   []line
}

// readFile reads and parses path; a file that is not there is an empty one. Broken TOML is a *Problem.
func readFile(path string) (*file, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return &file{}, nil
	}
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, plain(err)
	}
	if len(b) > maxFile {
		return nil, &Problem{path, fmt.Sprintf("more than %d KiB", maxFile>>10)}
	}
	return parse(path, b)
}

// plain takes the path out of an error that will be told with it.
func plain(err error) error {
	if p := (*os.PathError)(nil); errors.As(err, &p) {
		return p.Err
	}
	return err
}

func parse(path string, b []byte) (*file, error) {
	var top map[string]any
	if err := toml.Unmarshal(b, &top); err != nil {
		if p := (toml.ParseError{}); errors.As(err, &p) {
			n := p.Position.Line
			if strings.Contains(p.Message, `got '\n'`) && n > 1 {
				n-- // it has counted the end of the line that it complains of
			}
			return nil, &Problem{fmt.Sprintf("%s:%d", path, n), oneLine(p.Message)}
		}
		return nil, &Problem{path, oneLine(err.Error())}
	}
	f := &file{data: b, lines: scan(b)}
	f.flatten("", top)
	slices.SortFunc(f.entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return f, nil
}

func (f *file) flatten(prefix string, m map[string]any) {
	for k, v := range m {
		key := prefix + k
		switch v := v.(type) {
		case map[string]any:
			f.flatten(key+".", v)
		case string:
			f.entries = append(f.entries, entry{key, v, isText})
		case bool:
			f.entries = append(f.entries, entry{key, strconv.FormatBool(v), isBool})
		case int64:
			f.entries = append(f.entries, entry{key, strconv.FormatInt(v, 10), isNumber})
		case float64:
			f.entries = append(f.entries, entry{key, strconv.FormatFloat(v, 'g', -1, 64), isNumber})
		case []any, []map[string]any:
			f.entries = append(f.entries, entry{key, "a list", other})
		default:
			f.entries = append(f.entries, entry{key, fmt.Sprint(v), other})
		}
	}
}

// where is PATH:LINE of a key, as far as the line is known: in an inline table it is not.
func (f *file) where(path, key string) string {
	if i := slices.IndexFunc(f.lines, func(l line) bool { return l.key == key }); i >= 0 {
		return fmt.Sprintf("%s:%d", path, i+1)
	}
	return path
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// line is what one line of a file is, seen without its neighbours. Inside strings of several lines that can be wrong: an edit
// is only kept if the parser reads from it what was meant.
type line struct {
	text    string // with its end
	section string // of the header it is, or that it stands under
	header  bool
	key     string // "section.name" of the assignment it is; else ""
	from    int    // the value is text[from:to]
	to      int
}

func scan(b []byte) []line {
	var out []line
	section := ""
	for text := range strings.Lines(string(b)) {
		l := line{text: text, section: section}
		t := strings.TrimSpace(text)
		switch {
		case strings.HasPrefix(t, "[["):
			section = "" // lists of tables are no sections of settings
		case strings.HasPrefix(t, "["):
			if name, _, ok := strings.Cut(t[1:], "]"); ok {
				section = keyName(name)
				l.header, l.section = true, section
			}
		case t != "" && t[0] != '#':
			if name, _, ok := strings.Cut(text, "="); ok {
				l.key = keyName(name)
				if section != "" {
					l.key = section + "." + l.key
				}
				l.from, l.to = valueSpan(text, len(name)+1)
			}
		}
		out = append(out, l)
	}
	return out
}

// keyName is a key as written, without the blanks and quotes that are allowed around its parts.
func keyName(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(p), `"'`)
	}
	return strings.Join(parts, ".")
}

// valueSpan finds the value that begins behind from: a string in quotes, or what is there before a comment.
func valueSpan(text string, from int) (int, int) {
	for from < len(text) && (text[from] == ' ' || text[from] == '\t') {
		from++
	}
	rest := text[from:]
	if rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		for i := 1; i < len(rest); i++ {
			switch {
			case rest[i] == '\\' && rest[0] == '"':
				i++
			case rest[i] == rest[0]:
				return from, from + i + 1
			}
		}
	}
	if i := strings.IndexByte(rest, '#'); i >= 0 {
		rest = rest[:i]
	}
	return from, from + len(strings.TrimRight(rest, " \t\r\n"))
}
