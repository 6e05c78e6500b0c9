package service

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs/object"
)

// logFilter says which commits log shows. All conditions must hold.
type logFilter struct {
	author, grep *regexp.Regexp
	since, until time.Time
	metrics      []metricTest
	paths        []string
}

// newLogFilter reads the conditions of a request; a wrong one is control.ErrUsage.
func newLogFilter(r *LogRequest) (f logFilter, err error) {
	for _, x := range []struct {
		flag, text string
		to         **regexp.Regexp
	}{{"author", r.Author, &f.author}, {"grep", r.Grep, &f.grep}} {
		if x.text == "" {
			continue
		}
		if *x.to, err = regexp.Compile(x.text); err != nil {
			return f, control.Usagef("log: --%s: %v", x.flag, err)
		}
	}
	for _, text := range r.Metrics {
		m, err := parseMetricTest(text)
		if err != nil {
			return f, control.Usagef("log: --metric %q: want a comparison such as 'loss<0.5'", text)
		}
		f.metrics = append(f.metrics, m)
	}
	if r.Since != nil {
		f.since = *r.Since
	}
	if r.Until != nil {
		f.until = *r.Until
	}
	return f, nil
}

// matches says whether a commit is shown, as far as it alone tells.
func (f *logFilter) matches(c *object.Commit) bool {
	switch {
	case f.author != nil && !f.author.MatchString(c.Author),
		f.grep != nil && !f.grep.MatchString(c.Message),
		!f.since.IsZero() && c.Time.Before(f.since),
		!f.until.IsZero() && c.Time.After(f.until):
		return false
	}
	for _, m := range f.metrics {
		if v, ok := c.Metrics[m.name]; !ok || !m.holds(v) {
			return false
		}
	}
	return true
}

// touches says whether one of paths is another in a commit than in each of its parents (those of first only: the first), or is there in one without parents. No contents are read.
func (s *Service) touches(ctx context.Context, c *object.Commit, paths []string, first bool) (bool, error) {
	parents := c.Parents
	if first && len(parents) > 1 {
		parents = parents[:1]
	}
	trees := []oid.ID{{}}
	if len(parents) > 0 {
		trees = trees[:0]
		for _, id := range parents {
			p, err := s.repo.Objects.Commit(ctx, id)
			if err != nil {
				return false, err
			}
			trees = append(trees, p.Tree)
		}
	}
	for _, tree := range trees {
		differs := false
		for _, p := range paths {
			now, err := s.repo.EntryAt(ctx, c.Tree, p)
			if err != nil {
				return false, err
			}
			was, err := s.repo.EntryAt(ctx, tree, p)
			if err != nil {
				return false, err
			}
			differs = differs || !object.SameContent(now, was)
		}
		if !differs {
			return false, nil // as in git: a merge that took a path from one side did not change it
		}
	}
	return true, nil
}

// timeLayouts of --since and --until, in the caller's time zone where they name none.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"}

var ago = regexp.MustCompile(`^([0-9]+)[ .]*(second|minute|hour|day|week|month|year)s?[ .]+ago$`)

// parseWhen reads a time: a date, with a time or not, a duration before now (3d, 12h), "2 weeks ago", "today", "yesterday" or "now". A date alone is its first moment or, if
// end, its last.
func parseWhen(s string, now time.Time, end bool) (time.Time, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	day := func(t time.Time) time.Time {
		t = time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
		if end {
			t = t.AddDate(0, 0, 1).Add(-time.Nanosecond)
		}
		return t
	}
	switch text {
	case "now":
		return now, nil
	case "today":
		return day(now), nil
	case "yesterday":
		return day(now.AddDate(0, 0, -1)), nil
	}
	if m := ago.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err == nil && n < 1e6 {
			return before(now, n, m[2]), nil
		}
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, strings.TrimSpace(s), now.Location()); err == nil {
			if layout == "2006-01-02" {
				t = day(t)
			}
			return t, nil
		}
	}
	if d, err := parseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time: want a date such as 2026-01-31 or '2026-01-31 18:00', or 3d, 12h, '2 weeks ago'", s)
}

func before(now time.Time, n int, unit string) time.Time {
	switch unit {
	case "year":
		return now.AddDate(-n, 0, 0)
	case "month":
		return now.AddDate(0, -n, 0)
	case "week":
		return now.AddDate(0, 0, -7*n)
	case "day":
		return now.AddDate(0, 0, -n)
	}
	return now.Add(-time.Duration(n) * map[string]time.Duration{"hour": time.Hour, "minute": time.Minute, "second": time.Second}[unit])
}
