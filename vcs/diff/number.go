package diff

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Number is a figure in JSON, which has no NaN and no infinities: a figure that does not exist is null, an infinite one "+Inf" or "-Inf".
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	switch {
	case math.IsNaN(f):
		return []byte("null"), nil
	case math.IsInf(f, 0):
		return fmt.Appendf(nil, `"%+v"`, f), nil
	}
	return json.Marshal(f)
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(b []byte) error {
	switch s := string(b); s {
	case "null":
		*n = Number(math.NaN())
	case `"+Inf"`:
		*n = Number(math.Inf(1))
	case `"-Inf"`:
		*n = Number(math.Inf(-1))
	default:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("number %.40q: %w", s, err)
		}
		*n = Number(f)
	}
	return nil
}

// Figures say how far two tensors are apart, or many tensors together. JSON names are a promise.
type Figures struct {
	Elements  int64  `json:"elements"`      // compared
	Changed   Number `json:"changed"`       // share of them whose bits differ
	Cosine    Number `json:"cosine"`        // null if there are no finite numbers
	RelL2     Number `json:"rel_l2"`        // ‖new − old‖ / ‖old‖
	MaxAbs    Number `json:"max_abs"`       // of new − old
	ULP       *int64 `json:"ulp,omitempty"` // median distance in floats of the dtype (of the narrower of two); absent in totals and for integers
	MaxULP    *int64 `json:"max_ulp,omitempty"`
	Sparsity  Number `json:"sparsity"` // share of zeros in the new side
	OldSparse Number `json:"old_sparsity"`
	NaN       int64  `json:"nan,omitempty"` // in the new side
	OldNaN    int64  `json:"old_nan,omitempty"`
	Inf       int64  `json:"inf,omitempty"`
	OldInf    int64  `json:"old_inf,omitempty"`
	Opaque    bool   `json:"opaque,omitempty"` // packed elements: only how many bytes differ is known
}

// figures makes them from what was measured.
func (m *measured) figures() *Figures {
	f := m.sums.figures()
	if !m.numbers {
		nan := Number(math.NaN())
		f.Opaque, f.Cosine, f.RelL2, f.MaxAbs, f.Sparsity, f.OldSparse = true, nan, nan, nan, nan, nan
	}
	if m.ulp {
		median, most := clamped(m.median), clamped(m.ulpMax)
		f.ULP, f.MaxULP = &median, &most
	}
	return f
}

func clamped(u uint64) int64 { return int64(min(u, math.MaxInt64)) }

func (s *sums) figures() *Figures {
	f := &Figures{
		Elements: s.n, Cosine: Number(s.cosine()), RelL2: Number(s.relL2()), MaxAbs: Number(s.max),
		NaN: s.nanB, OldNaN: s.nanA, Inf: s.infB, OldInf: s.infA,
	}
	if s.n > 0 {
		f.Changed = Number(float64(s.changed) / float64(s.n))
		f.Sparsity, f.OldSparse = Number(float64(s.zeroB)/float64(s.n)), Number(float64(s.zeroA)/float64(s.n))
	}
	return f
}
