// Package config reads settings in layers (defaults, the user's file, the repository's file, the environment) and edits the two files without disturbing what
// people wrote in them. Which settings there are is a Table of the caller's. Files are TOML: a section and a name, as in
//
//	[cache]
//	size = "20G"   # of the NVMe
//
// is the setting cache.size. An unknown key, a value of the wrong kind and broken TOML are errors that name file and line. Nothing here is kept between calls.
package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coral/internal/errs"
)

// Kind is how a setting is written in TOML.
type Kind uint8

// The kinds. Sizes, durations and names are Text; a bare number is taken for Text too.
const (
	Text Kind = iota
	Bool
	Number
)

// Setting is one entry of a Table.
type Setting struct {
	Key     string // "section.name"
	Default string // as Value has it; "" is none
	Kind    Kind
	Doc     string // one sentence, for docs/config.md
	// Check refuses a value; nil accepts any. It is not asked about the default.
	Check func(value string) error
}

// Table is the settings there are, in the order they are listed in.
type Table []Setting

// Origins of a value, weakest first.
const (
	Default     = "default"
	User        = "user"
	Repository  = "repository"
	Environment = "environment"
)

// Value is a setting with what it is set to. JSON names are a promise.
type Value struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Origin  string `json:"origin"`          // "default", "user", "repository", "environment"
	Where   string `json:"where,omitempty"` // "PATH:LINE", or the variable
}

// Problem is one thing that is wrong. JSON names are a promise.
type Problem struct {
	Where   string `json:"where"` // "PATH:LINE", "PATH", or a variable
	Message string `json:"message"`
}

// Error makes a Problem an error of class errs.Invalid.
func (p *Problem) Error() string { return "config " + p.Where + ": " + p.Message }

// Unwrap implements errors.
func (p *Problem) Unwrap() error { return errs.Invalid }

// Source is one file to read.
type Source struct {
	Path   string
	Origin string // User or Repository
}

// Config is what Load found.
type Config struct{ values []Value }

// EnvName is the variable that sets key: CORAL_CACHE_SIZE for cache.size.
func EnvName(key string) string {
	return "CORAL_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// Find returns the setting called key; an unknown one is errs.Invalid and names the nearest.
func (t Table) Find(key string) (Setting, error) {
	if i := slices.IndexFunc(t, func(s Setting) bool { return s.Key == key }); i >= 0 {
		return t[i], nil
	}
	return Setting{}, fmt.Errorf("%s: %w", t.unknown(key), errs.Invalid)
}

// unknown says that there is no key, and which may have been meant.
func (t Table) unknown(key string) string {
	best, least := "", 1<<30
	_, name, _ := strings.Cut(key, ".")
	for _, s := range t {
		d := distance(key, s.Key)
		if _, n, _ := strings.Cut(s.Key, "."); n == key || n == name { // the section was forgotten, or is another
			d = min(d, 1)
		}
		if d < least {
			best, least = s.Key, d
		}
	}
	text := fmt.Sprintf("unknown setting %q", clip(key))
	if least <= max(2, len(key)/3) {
		text += fmt.Sprintf(" (did you mean %s?)", best)
	}
	return text
}

// Load reads the sources, the weakest first, and the environment, which is stronger than any; a file that is not there is an empty one.
// The first thing that is wrong is a *Problem.
func (t Table) Load(sources []Source, env func(string) string) (*Config, error) {
	c, problems := t.load(sources, env)
	if len(problems) > 0 {
		return nil, problems[0]
	}
	return c, nil
}

// Validate returns all that is wrong with the sources and the environment.
func (t Table) Validate(sources []Source, env func(string) string) []*Problem {
	_, problems := t.load(sources, env)
	return problems
}

func (t Table) load(sources []Source, env func(string) string) (*Config, []*Problem) {
	c := &Config{values: make([]Value, len(t))}
	for i, s := range t {
		c.values[i] = Value{Key: s.Key, Value: s.Default, Default: s.Default, Origin: Default}
	}
	var problems []*Problem
	for _, src := range sources {
		f, err := readFile(src.Path)
		if err != nil {
			problems = append(problems, problemOf(src.Path, err))
			continue
		}
		problems = append(problems, t.take(c, src, f)...)
	}
	for i, s := range t {
		name := EnvName(s.Key)
		v := env(name)
		if v == "" {
			continue
		}
		if err := s.check(v); err != nil {
			problems = append(problems, &Problem{name, err.Error()})
			continue
		}
		c.values[i].Value, c.values[i].Origin, c.values[i].Where = v, Environment, name
	}
	return c, problems
}

// take puts the values of one file over what c has.
func (t Table) take(c *Config, src Source, f *file) (problems []*Problem) {
	for _, e := range f.entries {
		where := f.where(src.Path, e.key)
		i := slices.IndexFunc(t, func(s Setting) bool { return s.Key == e.key })
		if i < 0 {
			problems = append(problems, &Problem{where, t.unknown(e.key)})
			continue
		}
		if err := t[i].checkEntry(e); err != nil {
			problems = append(problems, &Problem{where, err.Error()})
			continue
		}
		c.values[i].Value, c.values[i].Origin, c.values[i].Where = e.text, src.Origin, where
	}
	return problems
}

func (s *Setting) checkEntry(e entry) error {
	switch {
	case e.kind == other:
		return fmt.Errorf("%s: want %s, not %s", s.Key, s.Kind, clip(e.text))
	case s.Kind == Bool && e.kind != isBool:
		return fmt.Errorf("%s: want true or false without quotes, not %q", s.Key, clip(e.text))
	case s.Kind != Bool && e.kind == isBool:
		return fmt.Errorf("%s: want %s, not %s", s.Key, s.Kind, e.text)
	}
	return s.check(e.text)
}

func (s *Setting) check(v string) error {
	switch s.Kind {
	case Bool:
		if v != "true" && v != "false" {
			return fmt.Errorf("%s: want true or false, not %q", s.Key, clip(v))
		}
	case Number:
		if _, err := strconv.ParseFloat(v, 64); err != nil {
			return fmt.Errorf("%s: %q is not a number", s.Key, clip(v))
		}
	}
	if s.Check == nil {
		return nil
	}
	if err := s.Check(v); err != nil {
		return fmt.Errorf("%s: %w", s.Key, err)
	}
	return nil
}

// String is how messages call the kind.
func (k Kind) String() string { return [...]string{"a text", "true or false", "a number"}[k] }

// List returns every setting in the table's order.
func (c *Config) List() []Value { return slices.Clone(c.values) }

// Get returns a setting of the table; the zero Value for a key that is not in it. A nil Config has none.
func (c *Config) Get(key string) Value {
	if c == nil {
		return Value{}
	}
	i := slices.IndexFunc(c.values, func(v Value) bool { return v.Key == key })
	if i < 0 {
		return Value{}
	}
	return c.values[i]
}

// IsSet reports whether anything but the default says what key is.
func (c *Config) IsSet(key string) bool {
	v := c.Get(key)
	return v.Origin != "" && v.Origin != Default
}

func problemOf(path string, err error) *Problem {
	if p := (*Problem)(nil); errors.As(err, &p) {
		return p
	}
	return &Problem{path, err.Error()}
}

// clip bounds what a message repeats of a file.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

// distance is Levenshtein's, over bytes, of names that are short; what is longer is far from everything.
func distance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return 1 << 20
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = 1 + min(diag, row[j], row[j+1])
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
