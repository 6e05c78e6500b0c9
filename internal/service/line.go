package service

import (
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"coral/internal/config"
	"coral/internal/control"
)

// MaxLine bounds a command line of the control file, in bytes.
const MaxLine = 64 << 10

// Split cuts a command line into words as a POSIX shell does: blanks separate; '…' keeps everything; "…" keeps all but
// backslash before $ ` " \ and newline; outside quotes a backslash keeps the next character. Nothing is expanded, and
// characters that mean something else to a shell (| & ; < > ( ) $ ` * ? # ~ and so on) are ordinary here, except that
// an unquoted newline other than at the end, and a NUL, are refused: a control file takes one command.
func Split(line string) ([]string, error) {
	if len(line) > MaxLine {
		return nil, control.Usagef("command line of %d bytes: at most %d", len(line), MaxLine)
	}
	line = strings.TrimRight(line, "\r\n")
	var (
		words []string
		word  strings.Builder
		in    bool // inside a word, which may be empty so far: ''
	)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case 0:
			return nil, control.Usagef("command line: NUL byte at %d", i)
		case '\n':
			return nil, control.Usagef("command line: more than one line")
		case ' ', '\t', '\r':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		case '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				return nil, control.Usagef("command line: ' at %d is not closed", i)
			}
			word.WriteString(line[i+1 : i+1+end])
			i += 1 + end
			in = true
		case '"':
			end, err := double(&word, line, i)
			if err != nil {
				return nil, err
			}
			i = end
			in = true
		case '\\':
			if i+1 == len(line) {
				return nil, control.Usagef("command line: nothing after the last backslash")
			}
			i++
			if line[i] != '\n' { // a continued line, as in a shell
				word.WriteByte(line[i])
				in = true
			}
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	for _, w := range words {
		if strings.IndexByte(w, 0) >= 0 {
			return nil, control.Usagef("command line: NUL byte in a word")
		}
	}
	return words, nil
}

// double appends the double-quoted text that starts at line[start] and returns where its end quote is.
func double(word *strings.Builder, line string, start int) (end int, err error) {
	for i := start + 1; i < len(line); i++ {
		switch c := line[i]; c {
		case '"':
			return i, nil
		case '\\':
			if i+1 < len(line) && strings.IndexByte("$`\"\\\n", line[i+1]) >= 0 {
				i++
				if line[i] != '\n' {
					word.WriteByte(line[i])
				}
				continue
			}
			word.WriteByte(c)
		default:
			word.WriteByte(c)
		}
	}
	return 0, control.Usagef("command line: \" at %d is not closed", start)
}

// Quote makes a word that Split gives back as it is.
func Quote(word string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-./:=@%+,~^", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ParseLine reads a command line of the control file. Flags that are not given are as settings say, or at their defaults if c is nil.
func ParseLine(line string, c *config.Config) (*Verb, Request, error) {
	words, err := Split(line)
	if err != nil {
		return nil, nil, err
	}
	if len(words) > 0 && words[0] == "coral" { // people paste
		words = words[1:]
	}
	if len(words) == 0 {
		return nil, nil, control.Usagef("empty command")
	}
	v := Find(words[0])
	if v == nil || !v.Line {
		return nil, nil, control.Usagef("unknown command %q", words[0])
	}
	req, err := Parse(v, words[1:], c)
	return v, req, err
}

// Parse fills a new request of v from flags and arguments. --json is accepted: replies are JSON in any case.
func Parse(v *Verb, words []string, c *config.Config) (Request, error) {
	req := v.New()
	f := pflag.NewFlagSet(v.Name, pflag.ContinueOnError)
	f.SetOutput(discard{})
	f.Usage = func() {}
	f.Bool("json", true, "")
	req.Flags(f)
	if err := f.Parse(words); err != nil {
		return nil, control.Usagef("%s: %v", v.Name, err)
	}
	if err := ApplySettings(c, v.Name, f); err != nil {
		return nil, err
	}
	if d, ok := req.(Dasher); ok && f.ArgsLenAtDash() >= 0 {
		d.SetDash(f.ArgsLenAtDash())
	}
	if err := req.SetArgs(f.Args()); err != nil {
		return nil, err
	}
	return req, nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
