package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
)

// bisectName is the file in .coral that holds the search in work: JSON of a bisectState.
const bisectName = "bisect.json"

// maxBisect bounds it, in bytes.
const maxBisect = 64 << 20

// bisectState is a search for the first bad commit.
type bisectState struct {
	Metric  string        `json:"metric,omitempty"`
	Bad     oid.ID        `json:"bad,omitzero"`
	Good    []oid.ID      `json:"good,omitempty"`
	Skipped []oid.ID      `json:"skipped,omitempty"`
	Log     []BisectEvent `json:"log"`
}

// BisectEvent is one thing that was said. JSON names are a promise.
type BisectEvent struct {
	Time    time.Time `json:"time"`
	Word    string    `json:"word"` // "start", "good", "bad", "skip"
	Commits []oid.ID  `json:"commits"`
}

// loadBisect returns nil if no search was started.
func loadBisect(dir string) (*bisectState, error) {
	f, err := os.Open(filepath.Join(dir, bisectName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("bisect: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxBisect+1))
	if err != nil {
		return nil, fmt.Errorf("bisect: %w", err)
	}
	st := &bisectState{}
	if err := json.Unmarshal(b, st); err != nil || len(b) > maxBisect {
		return nil, fmt.Errorf("bisect: %s is damaged, begin anew with coral bisect reset: %w", f.Name(), errs.Corrupt)
	}
	return st, nil
}

// saveBisect writes the state whole or not at all.
func saveBisect(dir string, st *bisectState) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("bisect: %w", err)
	}
	path := filepath.Join(dir, bisectName)
	f, err := os.CreateTemp(dir, bisectName+".*")
	if err != nil {
		return fmt.Errorf("bisect: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
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
		_ = os.Remove(f.Name())
		return fmt.Errorf("bisect: %w", err)
	}
	return nil
}

func removeBisect(dir string) error {
	if err := os.Remove(filepath.Join(dir, bisectName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("bisect: %w", err)
	}
	return nil
}

// metricTest is 'loss>0.5'.
type metricTest struct {
	name, op string
	than     float64
}

// metricOps, the longer before those they begin with.
var metricOps = []string{">=", "<=", "==", "!=", ">", "<", "="}

func parseMetricTest(s string) (metricTest, error) {
	for i := range s {
		for _, op := range metricOps {
			rest, ok := strings.CutPrefix(s[i:], op)
			if !ok {
				continue
			}
			t := metricTest{name: strings.TrimSpace(s[:i]), op: op}
			f, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil || t.name == "" {
				return t, control.Usagef("bisect: --metric %q: want a metric, one of > >= < <= == !=, and a number", s)
			}
			t.than = f
			return t, nil
		}
	}
	return metricTest{}, control.Usagef("bisect: --metric %q: want a metric, one of > >= < <= == !=, and a number", s)
}

// holds tests a value. NaN equals NaN here, and is neither more nor less than anything.
func (t metricTest) holds(v float64) bool {
	same := v == t.than || math.IsNaN(v) && math.IsNaN(t.than)
	switch t.op {
	case ">":
		return v > t.than
	case ">=":
		return v >= t.than
	case "<":
		return v < t.than
	case "<=":
		return v <= t.than
	case "!=":
		return !same
	}
	return same
}

// of says what is known of a commit.
func (t metricTest) of(known, holds bool) string {
	switch {
	case !known:
		return "it has no metric " + t.name
	case holds:
		return fmt.Sprintf("%s%s%v holds there", t.name, t.op, t.than)
	}
	return fmt.Sprintf("%s%s%v does not hold there", t.name, t.op, t.than)
}
