package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

// Set writes key = value into the file at path, which is made if it is missing; all else in it stays as it is, comments included.
// A file that is broken is not touched.
func (t Table) Set(path, key, value string) error {
	s, err := t.Find(key)
	if err != nil {
		return err
	}
	if err := s.check(value); err != nil {
		return fmt.Errorf("%w: %w", err, errs.Invalid)
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return fmt.Errorf("%s: the value is not UTF-8 text: %w", key, errs.Invalid)
	}
	if value == "" {
		return fmt.Errorf("%s: the value is empty: unset removes it: %w", key, errs.Invalid)
	}
	text := value
	switch s.Kind {
	case Text:
		text = quote(value)
	case Number:
		f, _ := strconv.ParseFloat(value, 64) // checked
		value = strconv.FormatFloat(f, 'g', -1, 64)
		text = value
	}
	return edit(path, key, value, func(lines []line) []string { return assign(lines, key, text) })
}

// Unset removes key from the file at path; found is false if it was not there.
func (t Table) Unset(path, key string) (found bool, err error) {
	if _, err := t.Find(key); err != nil {
		return false, err
	}
	f, err := readFile(path)
	if err != nil {
		return false, problemOf(path, err)
	}
	if !slices.ContainsFunc(f.entries, func(e entry) bool { return e.key == key }) {
		return false, nil
	}
	return true, edit(path, key, "", func(lines []line) (out []string) {
		for _, l := range lines {
			if l.key != key {
				out = append(out, l.text)
			}
		}
		return out
	})
}

// assign returns the lines with key set to text.
func assign(lines []line, key, text string) (out []string) {
	section, name, _ := strings.Cut(key, ".")
	at := -1 // the line to insert behind
	for i, l := range lines {
		if l.key == key {
			for _, l := range lines {
				out = append(out, l.text)
			}
			out[i] = l.text[:l.from] + text + l.text[l.to:]
			return out
		}
		if l.section == section && (l.header || l.key != "") {
			at = i
		}
	}
	for i, l := range lines {
		out = append(out, l.text)
		if end := len(out) - 1; !strings.HasSuffix(out[end], "\n") {
			out[end] += "\n"
		}
		if i == at {
			out = append(out, name+" = "+text+"\n")
		}
	}
	if at < 0 {
		if len(out) > 0 {
			out = append(out, "\n")
		}
		out = append(out, "["+section+"]\n", name+" = "+text+"\n")
	}
	return out
}

// edit changes a file by lines. value "" means that key is to be gone. What is written is parsed first: it must say what it said before, but for key.
func edit(path, key, value string, change func([]line) []string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a link to where somebody keeps such files stays one
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("config %s: %w", path, err)
	}
	defer unlock()
	f, err := readFile(path)
	if err != nil {
		return problemOf(path, err)
	}
	b := []byte(strings.Join(change(f.lines), ""))
	after, err := parse(path, b)
	if err != nil || len(b) > maxFile || !slices.EqualFunc(expected(f.entries, key, value), after.entries, func(a, b entry) bool { return a.key == b.key && a.text == b.text }) {
		return fmt.Errorf("config %s: written in a way that cannot be edited line by line: change %s with an editor: %w", path, key, errs.Unsupported)
	}
	return replace(path, b)
}

// expected is what a file must say after the edit.
func expected(was []entry, key, value string) []entry {
	out := slices.DeleteFunc(slices.Clone(was), func(e entry) bool { return e.key == key })
	if value != "" {
		out = append(out, entry{key: key, text: value})
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return out
}

// lockDir keeps other edits in dir out until unlock is called.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, plain(err)
	}
	for {
		if err = unix.Flock(int(d.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return func() { _ = d.Close() }, nil
}

// replace writes a file whole and durably, or not at all. Its permission bits stay.
func replace(path string, b []byte) (err error) {
	mode := os.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return fmt.Errorf("config %s: %w", path, plain(err))
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("config %s: %w", path, plain(err))
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil // renamed: what is left is only when it becomes durable
	}
	defer d.Close()
	return d.Sync()
}

// quote is a TOML basic string. Go's escapes are not all TOML's.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
