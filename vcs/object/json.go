package object

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"coral/internal/oid"
)

// MarshalJSON writes a commit for people and programs. JSON has no NaN and no infinities: such a metric is
// the string "NaN", "+Inf" or "-Inf".
func (c *Commit) MarshalJSON() ([]byte, error) {
	var metrics map[string]any
	if len(c.Metrics) > 0 {
		metrics = JSONMetrics(c.Metrics)
	}
	return json.Marshal(struct {
		Tree    oid.ID            `json:"tree"`
		Parents []oid.ID          `json:"parents"`
		Author  string            `json:"author"`
		Time    time.Time         `json:"time"`
		Message string            `json:"message"`
		Metrics map[string]any    `json:"metrics,omitempty"`
		Labels  map[string]string `json:"labels,omitempty"`
	}{c.Tree, append([]oid.ID{}, c.Parents...), c.Author, c.Time, c.Message, metrics, c.Labels})
}

// JSONMetrics returns metrics with what JSON cannot hold as strings.
func JSONMetrics(metrics map[string]float64) map[string]any {
	out := make(map[string]any, len(metrics))
	for k, f := range metrics {
		switch {
		case math.IsNaN(f):
			out[k] = "NaN"
		case math.IsInf(f, 1):
			out[k] = "+Inf"
		case math.IsInf(f, -1):
			out[k] = "-Inf"
		default:
			out[k] = f
		}
	}
	return out
}

// MarshalJSON writes a tag.
func (t *Tag) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Target  oid.ID    `json:"target"`
		Tagger  string    `json:"tagger"`
		Time    time.Time `json:"time"`
		Message string    `json:"message"`
	}{t.Target, t.Tagger, t.Time, t.Message})
}

// MarshalJSON writes a tree.
func (t *Tree) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Entries []Entry `json:"entries"`
	}{append([]Entry{}, t.Entries...)})
}

// MarshalJSON writes an entry with its kind by name; what an entry of its kind does not have is left out.
func (e Entry) MarshalJSON() ([]byte, error) {
	type out struct {
		Name   string     `json:"name"`
		Kind   string     `json:"kind"`
		Mode   uint32     `json:"mode"`
		MTime  *time.Time `json:"mtime,omitempty"`
		Size   *int64     `json:"size,omitempty"`
		ID     *oid.ID    `json:"id,omitempty"`
		Target string     `json:"target,omitempty"`
	}
	o := out{Name: text(e.Name), Kind: e.Kind.String(), Mode: e.Mode, Target: text(e.Target)}
	if !e.MTime.IsZero() {
		o.MTime = &e.MTime
	}
	if e.Kind != Dir {
		o.Size = &e.Size
	}
	if !e.ID.IsZero() {
		o.ID = &e.ID
	}
	return json.Marshal(o)
}

// MarshalJSON writes a manifest.
func (m *Manifest) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Size     int64     `json:"size"`
		Hash     oid.ID    `json:"hash"`
		Format   string    `json:"format"`
		Segments []Segment `json:"segments"`
		Tensors  []Tensor  `json:"tensors,omitempty"`
	}{m.Size, m.Hash, m.Format, append([]Segment{}, m.Segments...), m.Tensors})
}

// MarshalJSON writes a segment; inline bytes are base64.
func (s Segment) MarshalJSON() ([]byte, error) {
	type out struct {
		Blob   *oid.ID `json:"blob,omitempty"`
		Length int64   `json:"length"`
		Inline []byte  `json:"inline,omitempty"`
	}
	o := out{Length: s.Length, Inline: s.Inline}
	if !s.Blob.IsZero() {
		o.Blob = &s.Blob
	}
	return json.Marshal(o)
}

// MarshalJSON writes a tensor with its dtype by name.
func (t Tensor) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name   string  `json:"name"`
		DType  string  `json:"dtype"`
		Shape  []int64 `json:"shape"`
		Offset int64   `json:"offset"`
		Length int64   `json:"length"`
		Stride []int64 `json:"stride,omitempty"`
	}{text(t.Name), t.DType.String(), append([]int64{}, t.Shape...), t.Offset, t.Length, t.Stride})
}

// text makes bytes that are not UTF-8 visible instead of failing.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
