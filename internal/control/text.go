package control

import (
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is a string of a file system in JSON: a name or path may hold bytes that are not UTF-8, and JSON cannot. Such a byte b is
// written as the lone surrogate \udcb with b in two hex digits, as Python's surrogateescape does: json.loads and
// os.fsencode there give the bytes back. Everything else is an ordinary JSON string.
type Text string

// MarshalJSON implements json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	out := []byte{'"'}
	for s := string(t); s != ""; {
		n := 0 // of valid UTF-8
		for n < len(s) {
			r, size := utf8.DecodeRuneInString(s[n:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			n += size
		}
		b, err := json.Marshal(s[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, b[1:len(b)-1]...)
		if s = s[n:]; s != "" {
			out = fmt.Appendf(out, `\udc%02x`, s[0])
			s = s[1:]
		}
	}
	return append(out, '"'), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	var plain string
	if err := json.Unmarshal(b, &plain); err != nil { // the syntax is right from here on
		return err
	}
	if len(b) < 2 || b[0] != '"' { // null
		return nil
	}
	b = b[1 : len(b)-1]
	var out []byte
	from := 0
	take := func(to int) error {
		var s string
		err := json.Unmarshal(append(append([]byte{'"'}, b[from:to]...), '"'), &s)
		out = append(out, s...)
		return err
	}
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			i++
			continue
		}
		if b[i+1] != 'u' {
			i += 2
			continue
		}
		r := unit(b[i:])
		if utf16.IsSurrogate(r) && utf16.DecodeRune(r, unit(b[i+6:])) != utf8.RuneError {
			i += 12
			continue
		}
		if r >= 0xdc80 && r <= 0xdcff {
			if err := take(i); err != nil {
				return err
			}
			out = append(out, byte(r-0xdc00))
			from = i + 6
		}
		i += 6
	}
	if err := take(len(b)); err != nil {
		return err
	}
	*t = Text(out)
	return nil
}

// unit reads the \uXXXX that b begins with; -1 if it does not.
func unit(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	if _, err := fmt.Sscanf(string(b[2:6]), "%04x", &r); err != nil {
		return -1
	}
	return r
}
