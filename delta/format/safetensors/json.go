package safetensors

import (
	"math"
	"unicode/utf16"
	"unicode/utf8"

	"coral/delta/format"
	"coral/delta/format/scan"
)

// jsonReader reads the JSON that a header is made of, token by token from the file: the header is never in memory, and
// nothing but names, shapes and offsets is kept. It is as strict as the reference reader's.
type jsonReader struct{ *scan.Reader }

func (j *jsonReader) damaged(msg string, args ...any) error {
	if err := j.Err(); err != nil {
		return err
	}
	return format.Damaged(kind, j.Pos(), msg, args...)
}

// space moves to the next byte that is no white space and returns it without taking it; 0 at the end.
func (j *jsonReader) space() byte {
	for {
		b, ok := j.Peek()
		if !ok {
			return 0
		}
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b
		}
		j.Byte()
	}
}

// take takes the next byte that is no white space, which must be want.
func (j *jsonReader) take(want byte) error {
	if b := j.space(); b != want || j.Byte() != want {
		return j.damaged("%q wanted, %q found", want, b)
	}
	return nil
}

// end checks that only white space is left.
func (j *jsonReader) end() error {
	j.space()
	if j.Err() != nil || j.Left() > 0 {
		return j.damaged("more behind the header's object")
	}
	return nil
}

// object reads an object and calls field for each key; field must read the value.
func (j *jsonReader) object(field func(key string) error) error {
	if err := j.take('{'); err != nil {
		return err
	}
	if j.space() == '}' {
		j.Byte()
		return nil
	}
	for {
		key, err := j.string()
		if err != nil {
			return err
		}
		if err := j.take(':'); err != nil {
			return err
		}
		if err := field(key); err != nil {
			return err
		}
		if j.space() != ',' {
			return j.take('}')
		}
		j.Byte()
	}
}

// numbers reads an array of at most limit non-negative integers.
func (j *jsonReader) numbers(limit int) ([]int64, error) {
	if err := j.take('['); err != nil {
		return nil, err
	}
	out := []int64{}
	if j.space() == ']' {
		j.Byte()
		return out, nil
	}
	for {
		n, err := j.number()
		if err != nil {
			return nil, err
		}
		if len(out) >= limit {
			return nil, j.damaged("more than %d numbers", limit)
		}
		out = append(out, n)
		if j.space() != ',' {
			return out, j.take(']')
		}
		j.Byte()
	}
}

func (j *jsonReader) number() (int64, error) {
	j.space()
	n, digits := int64(0), 0
	for {
		b, ok := j.Peek()
		if !ok || b < '0' || b > '9' {
			break
		}
		if d := int64(j.Byte() - '0'); n > (math.MaxInt64-d)/10 {
			return 0, j.damaged("number is too large")
		} else {
			n = n*10 + d
		}
		digits++
	}
	if digits == 0 {
		return 0, j.damaged("no number")
	}
	return n, nil
}

// string reads a string of at most MaxNameBytes.
func (j *jsonReader) string() (string, error) { return j.text(format.MaxNameBytes) }

// text reads a string of at most limit bytes.
func (j *jsonReader) text(limit int) (string, error) {
	if err := j.take('"'); err != nil {
		return "", err
	}
	var out []byte
	for {
		b := j.Byte()
		switch {
		case j.Err() != nil:
			return "", j.Err()
		case b == '"':
			if !utf8.Valid(out) {
				return "", j.damaged("string is not UTF-8")
			}
			return string(out), nil
		case b < ' ':
			return "", j.damaged("control character in a string")
		case b == '\\':
			r, err := j.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, b)
		}
		if len(out) > limit {
			return "", j.damaged("string of more than %d bytes", limit)
		}
	}
}

// escape reads what follows a backslash.
func (j *jsonReader) escape() (rune, error) {
	switch b := j.Byte(); b {
	case '"', '\\', '/':
		return rune(b), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, err := j.hex()
		if err != nil || !utf16.IsSurrogate(r) {
			return r, err
		}
		if j.Byte() != '\\' || j.Byte() != 'u' {
			return 0, j.damaged("half a surrogate pair")
		}
		r2, err := j.hex()
		if r = utf16.DecodeRune(r, r2); err == nil && r == utf8.RuneError {
			err = j.damaged("half a surrogate pair")
		}
		return r, err
	}
	return 0, j.damaged("unknown escape")
}

func (j *jsonReader) hex() (rune, error) {
	r := rune(0)
	for range 4 {
		b := j.Byte()
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, j.damaged("bad digit in an escape")
		}
		r = r<<4 | rune(b)
	}
	return r, nil
}

// skip reads a value of any kind and depth, and keeps nothing. It checks brackets and strings only.
func (j *jsonReader) skip() error {
	depth := 0
	for {
		switch b := j.space(); b {
		case '{', '[':
			j.Byte()
			depth++
		case '}', ']':
			j.Byte()
			if depth--; depth < 0 {
				return j.damaged("no value")
			}
		case '"':
			if err := j.skipString(); err != nil {
				return err
			}
		case ',', ':':
			if depth == 0 {
				return j.damaged("no value")
			}
			j.Byte()
			continue // a value must follow, or the brackets would not match
		case 0:
			return j.damaged("value ends early")
		default:
			j.literal()
		}
		if depth == 0 {
			return nil
		}
	}
}

// skipString reads a string of any length.
func (j *jsonReader) skipString() error {
	j.Byte()
	for {
		switch b := j.Byte(); {
		case j.Err() != nil:
			return j.Err()
		case b == '"':
			return nil
		case b == '\\':
			j.Byte()
		}
	}
}

// literal reads a number, true, false or null, or whatever stands in its place.
func (j *jsonReader) literal() {
	j.Byte() // whatever it is: skip must move on
	for {
		b, ok := j.Peek()
		if !ok || b == ',' || b == ':' || b == '}' || b == ']' || b == '{' || b == '[' || b == '"' || b <= ' ' {
			return
		}
		j.Byte()
	}
}
