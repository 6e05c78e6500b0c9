package service

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/vcs"
	"coral/vcs/object"
)

// SnapshotRequest is `coral snapshot`.
type SnapshotRequest struct {
	Message    string  `json:"message,omitempty"`
	Author     string  `json:"author,omitempty"`
	Branch     string  `json:"branch,omitempty"`
	Tag        string  `json:"tag,omitempty"`
	Metrics    metrics `json:"metrics,omitempty"`
	Labels     labels  `json:"labels,omitempty"`
	Strict     bool    `json:"strict,omitempty"`
	AllowEmpty bool    `json:"allow_empty,omitempty"`
	email      string
}

// Flags implements Request.
func (r *SnapshotRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Message, "message", "m", "", "what this snapshot is")
	f.Var(&r.Metrics, "metric", "a `name=number` kept with the commit (repeatable)")
	f.Var(&r.Labels, "label", "a `name=text` kept with the commit (repeatable)")
	f.StringVar(&r.Author, "author", "", "`\"Name <email>\"` (default $CORAL_AUTHOR, or the user at this host)")
	f.StringVar(&r.email, "email", "", "the `address` of the author, if --author has none")
	f.BoolVar(&r.Strict, "strict", false, "refuse while files are open for writing")
	f.BoolVar(&r.AllowEmpty, "allow-empty", false, "commit even if nothing changed")
	f.StringVarP(&r.Tag, "tag", "t", "", "also tag the commit with this `name`")
	f.StringVarP(&r.Branch, "branch", "b", "", "snapshot this `branch` (default the current one)")
}

// SetArgs implements Request.
func (r *SnapshotRequest) SetArgs(args []string) error {
	r.Message = validText(r.Message)
	for k, v := range r.Labels {
		r.Labels[k] = validText(v)
	}
	if r.email != "" {
		if strings.ContainsAny(r.email, "<>\n") || strings.Contains(r.Author, "<") {
			return control.Usagef("snapshot: --email %q: give one address, and only once", r.email)
		}
		name := r.Author
		if name == "" {
			name, _, _ = strings.Cut(vcs.DefaultAuthor(), " <")
		}
		r.Author = name + " <" + r.email + ">"
	}
	return noArgs("snapshot", args)
}

// Access implements Request.
func (r *SnapshotRequest) Access() Access { return Writes }

// Localize implements Localizer: the author is the caller, not whoever started the daemon.
func (r *SnapshotRequest) Localize() error {
	if r.Author == "" {
		r.Author = vcs.DefaultAuthor()
	}
	return nil
}

func (s *Service) snapshot(ctx context.Context, r *SnapshotRequest, p Progress) (vcs.SnapshotResult, error) {
	s.settle(ctx)
	report, stop := s.watchQueue("ingest", p)
	defer stop()
	return s.repo.Snapshot(ctx, vcs.SnapshotOptions{
		Branch: r.Branch, Message: r.Message, Author: r.Author, Metrics: r.Metrics, Labels: r.Labels,
		Strict: r.Strict, AllowEmpty: r.AllowEmpty, Tag: r.Tag, Progress: report,
	})
}

// queueEvery is how often the queue is looked at for progress. What Drain and Snapshot report themselves comes with the
// end of each file, and a file may be large.
const queueEvery = 250 * time.Millisecond

// watchQueue reports the ingest queue as progress, both when fn is called and from time to time until stop is: what is
// left, of the most that was seen.
func (s *Service) watchQueue(step string, p Progress) (fn func(QueueStatus), stop func()) {
	var mu sync.Mutex
	var most int64
	fn = func(q QueueStatus) {
		mu.Lock()
		defer mu.Unlock()
		most = max(most, q.Bytes)
		p(control.Progress{Step: step, Done: most - q.Bytes, Total: most, Unit: "bytes", Files: q.Files, What: q.Current})
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(queueEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fn(s.repo.Live.Queue())
			case <-end:
				return
			}
		}
	})
	return fn, func() { close(end); wg.Wait() }
}

// SyncRequest is `coral sync`.
type SyncRequest struct{}

// Flags implements Request.
func (r *SyncRequest) Flags(*pflag.FlagSet) {}

// SetArgs implements Request.
func (r *SyncRequest) SetArgs(args []string) error { return noArgs("sync", args) }

// Access implements Request.
func (r *SyncRequest) Access() Access { return Writes }

// SyncResult is what sync leaves. JSON names are a promise.
type SyncResult struct {
	Queue   QueueStatus `json:"queue"`
	Seconds float64     `json:"seconds"`
}

func (s *Service) sync(ctx context.Context, _ *SyncRequest, p Progress) (SyncResult, error) {
	s.settle(ctx)
	start := time.Now()
	if err := s.Drain(ctx, p); err != nil {
		return SyncResult{}, fmt.Errorf("sync: %w", err)
	}
	return SyncResult{Queue: s.repo.Live.Queue(), Seconds: time.Since(start).Seconds()}, nil
}

// MarshalJSON writes NaN and infinities, which JSON lacks and losses do not, as strings.
func (m metrics) MarshalJSON() ([]byte, error) { return json.Marshal(object.JSONMetrics(m)) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (m *metrics) UnmarshalJSON(b []byte) error {
	var raw map[string]any
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	out := make(metrics, len(raw))
	for k, v := range raw {
		switch v := v.(type) {
		case float64:
			out[k] = v
		case string:
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || !math.IsNaN(f) && !math.IsInf(f, 0) {
				return control.Usagef("metric %s: %q is not a number", k, v)
			}
			out[k] = f
		default:
			return control.Usagef("metric %s is not a number", k)
		}
	}
	*m = out
	return nil
}
