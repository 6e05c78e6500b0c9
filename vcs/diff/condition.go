package diff

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"coral/internal/errs"
)

// Condition is what --fail-on takes: a metric, a comparison and a number, such as cos<0.9, rel_l2>=1e-2, changed>50%, nan>0.
type Condition struct {
	Metric string // cos, rel_l2, max_abs, changed, ulp, nan, inf
	Op     string // < <= > >=
	Value  float64
}

// metrics gives a figure; ok is false where a pair has no such figure and need not have one.
var metrics = map[string]func(f *Figures) (v float64, ok bool){
	"cos":     func(f *Figures) (float64, bool) { return float64(f.Cosine), !f.Opaque },
	"rel_l2":  func(f *Figures) (float64, bool) { return float64(f.RelL2), !f.Opaque },
	"max_abs": func(f *Figures) (float64, bool) { return float64(f.MaxAbs), !f.Opaque },
	"changed": func(f *Figures) (float64, bool) { return float64(f.Changed), true },
	"ulp": func(f *Figures) (float64, bool) {
		if f.ULP == nil {
			return 0, false
		}
		return float64(*f.ULP), true
	},
	"nan": func(f *Figures) (float64, bool) { return float64(f.NaN), !f.Opaque },
	"inf": func(f *Figures) (float64, bool) { return float64(f.Inf), !f.Opaque },
}

// ParseCondition reads a condition; an error is errs.Invalid.
func ParseCondition(s string) (Condition, error) {
	i := strings.IndexAny(s, "<>")
	bad := fmt.Errorf("condition %q: want a metric (cos, rel_l2, max_abs, changed, ulp, nan, inf), < <= > or >=, and a number: %w", s, errs.Invalid)
	if i < 0 {
		return Condition{}, bad
	}
	c := Condition{Metric: strings.TrimSpace(s[:i]), Op: s[i : i+1]}
	rest := s[i+1:]
	if strings.HasPrefix(rest, "=") {
		c.Op, rest = c.Op+"=", rest[1:]
	}
	text, percent := strings.CutSuffix(strings.TrimSpace(rest), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || math.IsNaN(v) || metrics[c.Metric] == nil {
		return Condition{}, bad
	}
	if percent {
		v /= 100
	}
	c.Value = v
	return c, nil
}

// String is what ParseCondition reads.
func (c Condition) String() string {
	return c.Metric + c.Op + strconv.FormatFloat(c.Value, 'g', -1, 64)
}

// Holds reports whether a pair has what the condition looks for. A figure that should be there but is not a number (the cosine of tensors that are
// all NaN) holds too: nothing bad passes because it is worse than bad.
func (c Condition) Holds(f *Figures) bool {
	v, ok := metrics[c.Metric](f)
	if !ok {
		return false
	}
	if math.IsNaN(v) {
		return true
	}
	switch c.Op {
	case "<":
		return v < c.Value
	case "<=":
		return v <= c.Value
	case ">":
		return v > c.Value
	}
	return v >= c.Value
}
