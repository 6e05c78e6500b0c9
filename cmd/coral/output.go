package main

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"coral/internal/oid"
	"coral/internal/service"
)

// printer writes text results. The first failed write is kept, and returned by flush.
type printer struct {
	w   *bufio.Writer
	loc *time.Location
	now time.Time
}

func (a *app) printer() *printer {
	return &printer{w: bufio.NewWriter(a.out), loc: a.loc, now: a.now()}
}

// line writes one line.
func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(p.w, format, args...)
	_ = p.w.WriteByte('\n') // bufio keeps the error
}

func (p *printer) flush() error {
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// maxColumn is the widest a column of a table is made: one path of 3,000 characters must not push all others out of sight.
const maxColumn = 100

// table writes rows with columns aligned by width; a column of rightAlign (by index) is aligned right.
func (p *printer) table(rows [][]string, rightAlign ...int) {
	var width []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = min(max(width[i], len([]rune(c))), maxColumn)
		}
	}
	right := map[int]bool{}
	for _, i := range rightAlign {
		right[i] = true
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", max(0, width[i]-len([]rune(c))))
			switch {
			case right[i]:
				b.WriteString(pad + c)
			case i == len(r)-1:
				b.WriteString(c)
			default:
				b.WriteString(c + pad)
			}
			if i < len(r)-1 {
				b.WriteString("  ")
			}
		}
		p.line("%s", strings.TrimRight(b.String(), " "))
	}
}

// time writes a time as a person reads it.
func (p *printer) time(t time.Time) string { return t.In(p.loc).Format("2006-01-02 15:04:05 -0700") }

// short is an id as people read it.
func short(id oid.ID) string {
	if id.IsZero() {
		return strings.Repeat("-", oid.ShortLen)
	}
	return id.Short()
}

// size is service.FormatSize, short enough for this package's many uses.
func size(n int64) string { return service.FormatSize(n) }

// safe makes a name or message of the repository fit for a terminal: what could steer it is quoted.
func safe[S ~string](name S) string {
	s := string(name)
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// lines makes a message of several lines safe line by line.
func lines(s string) []string {
	var out []string
	for l := range strings.SplitSeq(strings.TrimRight(s, "\n"), "\n") {
		out = append(out, safe(strings.ReplaceAll(l, "\t", "    ")))
	}
	return out
}

// count is "1 file", "2 files".
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "ch") {
		return strconv.FormatInt(n, 10) + " " + noun + "es"
	}
	return strconv.FormatInt(n, 10) + " " + noun + "s"
}

// seconds is a duration as people read it.
func seconds(s float64) string {
	switch {
	case s < 0.995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 100:
		return fmt.Sprintf("%.1f s", s)
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}
