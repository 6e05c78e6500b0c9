package service

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
)

// metrics is the flag --metric k=v.
type metrics map[string]float64

var _ pflag.Value = (*metrics)(nil)

func (m *metrics) Type() string { return "name=number" }

func (m *metrics) String() string {
	return joined(*m, func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) })
}

func (m *metrics) Set(s string) error {
	k, v, err := pair(s)
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return control.Usagef("%q is not a number", v)
	}
	if *m == nil {
		*m = metrics{}
	}
	(*m)[k] = f
	return nil
}

// labels is the flag --label k=v.
type labels map[string]string

var _ pflag.Value = (*labels)(nil)

func (l *labels) Type() string   { return "name=text" }
func (l *labels) String() string { return joined(*l, func(s string) string { return s }) }

func (l *labels) Set(s string) error {
	k, v, err := pair(s)
	if err != nil {
		return err
	}
	if *l == nil {
		*l = labels{}
	}
	(*l)[k] = v
	return nil
}

// validText makes UTF-8 of what people say of a commit: no snapshot is refused because of its message.
func validText(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func pair(s string) (k, v string, err error) {
	k, v, ok := strings.Cut(s, "=")
	if k = strings.TrimSpace(k); !ok || k == "" {
		return "", "", control.Usagef("%q: want name=value", s)
	}
	return k, v, nil
}

func joined[V any](m map[string]V, text func(V) string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		keys[i] = k + "=" + text(m[k])
	}
	return strings.Join(keys, ",")
}

// Duration is a flag that also takes days and weeks: 30d, 2w, 12h, 1d12h. 0 is allowed, less is not.
type Duration time.Duration

var _ pflag.Value = (*Duration)(nil)

func (d *Duration) Type() string { return "duration" }

func (d *Duration) String() string {
	t := time.Duration(*d)
	if days := t / (24 * time.Hour); days > 0 && t%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(days), 10) + "d"
	}
	return t.String()
}

func (d *Duration) Set(s string) error {
	t, err := parseDuration(s)
	if err == nil {
		*d = Duration(t)
	}
	return err
}

func parseDuration(s string) (time.Duration, error) {
	bad := control.Usagef("%q is not a duration such as 30d, 2w, 12h or 90m", s)
	total := time.Duration(0)
	rest := strings.TrimSpace(s)
	if rest == "" {
		return 0, bad
	}
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		before, after, ok := strings.Cut(rest, unit.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(before, 10, 31)
		if err != nil || n > uint64(math.MaxInt64/unit.length/2) {
			return 0, bad
		}
		total += time.Duration(n) * unit.length
		rest = after
	}
	if rest != "" {
		if rest == "0" {
			return total, nil
		}
		t, err := time.ParseDuration(rest)
		if err != nil || t < 0 || total+t < total {
			return 0, bad
		}
		total += t
	}
	return total, nil
}

// Size is a flag of bytes with a unit: 512M, 10G, 1.5GiB, 1T. Units are powers of 1024.
type Size int64

var _ pflag.Value = (*Size)(nil)

func (z *Size) Type() string   { return "size" }
func (z *Size) String() string { return FormatSize(int64(*z)) }

func (z *Size) Set(s string) error {
	bad := control.Usagef("%q is not a size such as 512M, 10G or 1.5T", s)
	t := strings.ToUpper(strings.TrimSpace(s))
	t = strings.TrimSuffix(strings.TrimSuffix(t, "B"), "I")
	shift := 0
	if n := len(t); n > 0 {
		if i := strings.IndexByte("KMGTP", t[n-1]); i >= 0 {
			shift = 10 * (i + 1)
			t = strings.TrimSpace(t[:n-1])
		}
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f*math.Pow(2, float64(shift)) > 1<<62 {
		return bad
	}
	*z = Size(f * math.Pow(2, float64(shift)))
	return nil
}

// FormatSize writes n bytes for people: "17 B", "4.1 GiB".
func FormatSize(n int64) string {
	if n < 1024 && n > -1024 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		f /= 1024
		if math.Abs(f) < 999.95 || unit == "PiB" {
			if math.Abs(f) < 9.995 {
				return fmt.Sprintf("%.2f %s", f, unit)
			}
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}
