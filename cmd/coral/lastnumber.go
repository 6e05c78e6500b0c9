package main

import (
	"bytes"
	"fmt"
	"strconv"

	"coral/internal/control"
	"coral/internal/errs"
)

// lastNumber is a writer that remembers the last line that is a number, and nothing else.
type lastNumber struct {
	line []byte // the one that has not ended yet
	long bool   // it is longer than any number
	text string
	any  bool
	v    float64
}

// longestNumber bounds the lines that are looked at, in bytes.
const longestNumber = 400

// Write implements io.Writer.
func (n *lastNumber) Write(p []byte) (int, error) {
	all := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		if n.long = n.long || len(n.line)+len(part) > longestNumber; !n.long {
			n.line = append(n.line, part...)
		}
		if i < 0 {
			return all, nil
		}
		n.end()
		p = p[i+1:]
	}
}

// end looks at the line that is over.
func (n *lastNumber) end() {
	text := string(bytes.TrimSpace(n.line))
	if v, err := strconv.ParseFloat(text, 64); !n.long && (err == nil || v != 0) { // v is an infinity if it is out of range
		n.v, n.text, n.any = v, text, true
	}
	n.line, n.long = n.line[:0], false
}

// score returns the number, when all is written.
func (n *lastNumber) score() (float64, error) {
	n.end()
	switch {
	case !n.any:
		return 0, fmt.Errorf("no line of its output is a number: %w", errs.Invalid)
	case n.v-n.v != 0:
		return 0, fmt.Errorf("its score is %s, no finite number: %w", control.OneLine(n.text), errs.Invalid)
	}
	return n.v, nil
}
