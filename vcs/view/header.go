package view

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"coral/delta/format/pickle"
)

// The header: 8 bytes of length, little endian, then that many of JSON, padded with spaces to a multiple of 8, as the
// safetensors library writes it. Offsets count from its end.
const (
	lengthBytes = 8
	alignment   = 8
)

// metadata is what the view says beside its tensors; doc.go has the keys.
type metadata struct {
	format                     string
	tied, dequantized, omitted map[string]string
	values                     map[string]json.RawMessage
	quantized                  map[string]quantizer
	left                       int // values beyond the bounds
}

// quantizer is what coral.quantized says of one tensor: its integers stand for (integer − zero point) × scale.
type quantizer struct {
	Scheme string   `json:"scheme"`
	Scale  *float64 `json:"scale,omitempty"` // as torch computes, rounded to float32
	Zero   *int64   `json:"zero_point,omitempty"`
	Axis   *int64   `json:"axis,omitempty"` // of a tensor with NAME.scales and NAME.zero_points
}

func newMetadata(format string) *metadata {
	return &metadata{format: format, tied: map[string]string{}, dequantized: map[string]string{}, omitted: map[string]string{}}
}

// describe adds what a file holds beside its tensors; d may be nil. has says which names the view has.
func (m *metadata) describe(d *pickle.Details, has func(name string) bool) {
	if d == nil {
		return
	}
	m.left = d.Left
	m.values = make(map[string]json.RawMessage, len(d.Values))
	room := pickle.MaxValues
	for _, v := range d.Values {
		name := strings.ToValidUTF8(v.Name, "\uFFFD")
		if _, ok := m.values[name]; ok {
			continue // of two names that are the same with dots, the first
		}
		if room -= len(v.Name) + len(v.JSON); room < 0 {
			m.left++
			continue
		}
		m.values[name] = json.RawMessage(v.JSON)
	}
	m.quantized = map[string]quantizer{}
	for i := range d.Quantizers {
		q := &d.Quantizers[i]
		if !has(q.Name) {
			continue
		}
		out := quantizer{Scheme: q.Scheme}
		switch {
		case q.Channels:
			out.Axis = &q.Axis
		case math.IsNaN(q.Scale) || math.IsInf(q.Scale, 0):
			continue
		default:
			out.Scale, out.Zero = &q.Scale, &q.ZeroPoint
		}
		m.quantized[q.Name] = out
	}
}

// texts returns the map of strings that safetensors wants.
func (m *metadata) texts() map[string]string {
	out := map[string]string{"format": "pt", "coral.format": m.format}
	for key, part := range map[string]map[string]string{"coral.tied": m.tied, "coral.dequantized": m.dequantized, "coral.omitted": m.omitted} {
		if len(part) > 0 {
			out[key] = string(marshal(part))
		}
	}
	if len(m.values) > 0 {
		out["coral.values"] = string(marshal(m.values))
	}
	if len(m.quantized) > 0 {
		out["coral.quantized"] = string(marshal(m.quantized))
	}
	if m.left > 0 {
		out["coral.values_left_out"] = strconv.Itoa(m.left)
	}
	return out
}

// header returns the first bytes of a view with these tensors.
func header(rows []row, meta *metadata) []byte {
	b := make([]byte, lengthBytes, lengthBytes+256+160*len(rows))
	b = append(b, `{"`+metadataKey+`":`...)
	b = append(b, marshal(meta.texts())...)
	at := int64(0)
	for i := range rows {
		r := &rows[i]
		b = append(b, ',')
		b = appendText(b, r.name)
		b = append(b, `:{"dtype":"`+r.kind.String()+`","shape":[`...)
		for j, d := range r.t.Shape {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, d, 10)
		}
		b = append(b, `],"data_offsets":[`...)
		b = strconv.AppendInt(b, at, 10)
		b = append(b, ',')
		at += r.length
		b = strconv.AppendInt(b, at, 10)
		b = append(b, "]}"...)
	}
	b = append(b, '}')
	for len(b)%alignment != 0 {
		b = append(b, ' ')
	}
	binary.LittleEndian.PutUint64(b, uint64(len(b)-lengthBytes))
	return b
}

// appendText appends the JSON of a string: of most names, the string in quotes.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return append(b, marshal(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// marshal returns the JSON of a string or a map of strings, of JSON or of quantizers, keys sorted. These have no errors.
func marshal(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // <s> is a token's name
	if err := e.Encode(v); err != nil {
		panic(err) // a type without JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
