package content

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"coral/delta/derive"
	"coral/internal/oid"
)

// Formula says in a few words what a derived blob is computed by: "cast", "copy", "transpose", or the coefficients of a sum such as "0.5, 0.5"; what differs between its pieces is
// joined by "; ". It is "" for other blobs.
func (s *Store) Formula(ctx context.Context, id oid.ID) (string, error) {
	m, err := s.meta(ctx, id)
	if err != nil || m.recipe == nil {
		return "", err
	}
	var out []string
	for i := range m.recipe.Pieces {
		p := &m.recipe.Pieces[i]
		word := ""
		switch p.Op {
		case derive.Copy:
			word = "copy"
		case derive.Cast:
			word = "cast"
		case derive.Transpose:
			word = "transpose"
		case derive.Linear:
			var c []string
			for _, t := range p.Terms {
				c = append(c, strconv.FormatFloat(float64(t.Coef), 'g', 4, 32))
			}
			word = strings.Join(c, ", ")
		}
		if word != "" && !slices.Contains(out, word) && len(out) < 4 {
			out = append(out, word)
		}
	}
	return strings.Join(out, "; "), nil
}
