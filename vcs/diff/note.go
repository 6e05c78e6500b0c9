package diff

import (
	"fmt"
	"slices"
	"strings"

	"coral/internal/natural"
)

// notes are what a pair looks like.
func (p *pair) notes() (out []string) {
	if p.a == nil || p.b == nil {
		return nil
	}
	switch p.got.cast {
	case castExact:
		out = append(out, "a cast")
	case castNear:
		out = append(out, "within 1 ulp of a cast")
	}
	if g := p.got.rank; g.rank > 0 {
		out = append(out, fmt.Sprintf("rank %d%s", g.rank, sampledText(g.sampled)))
	}
	if p.kind == Reshaped && p.got.numbers && p.got.changed == 0 {
		if p.part {
			out = append(out, "the rows that both have are equal")
		} else {
			out = append(out, "the same elements in another shape")
		}
	}
	if p.read && p.got.numbers && p.got.n > 0 {
		if n := p.got.nanB; n > p.got.nanA {
			out = append(out, fmt.Sprintf("%d NaN that were not there", n-p.got.nanA))
		}
		if n := p.got.infB; n > p.got.infA {
			out = append(out, fmt.Sprintf("%d infinities that were not there", n-p.got.infA))
		}
	}
	return out
}

func sampledText(sampled bool) string {
	if sampled {
		return ", by a sample"
	}
	return ""
}

// notes sums up what many pairs look like.
func notes(pairs []*pair) (out []string) {
	ranks := map[int][]string{}
	casts := map[string]int{}
	recast := 0
	for _, p := range pairs {
		if p.a == nil || p.b == nil {
			continue
		}
		if r := p.got.rank.rank; r > 0 {
			ranks[r] = append(ranks[r], p.b.t.Name)
		}
		if p.kind == Recast || p.kind == Reshaped && p.a.t.DType != p.b.t.DType {
			recast++
			if p.got.cast == castExact {
				casts[p.a.t.DType.String()+" to "+p.b.t.DType.String()]++
			}
		}
	}
	for _, kinds := range sorted(casts) {
		of := ""
		if casts[kinds] < recast {
			of = fmt.Sprintf(" of %d", recast)
		}
		out = append(out, fmt.Sprintf("looks like a cast of %s: %d%s recast tensors have no other difference", kinds, casts[kinds], of))
	}
	var all []int
	for r := range ranks {
		all = append(all, r)
	}
	slices.Sort(all)
	for _, r := range all {
		names := ranks[r]
		slices.SortFunc(names, natural.Total)
		text := strings.Join(names[:min(3, len(names))], ", ")
		if len(names) > 3 {
			text += fmt.Sprintf(" and %d more", len(names)-3)
		}
		out = append(out, fmt.Sprintf("looks like a rank-%d update of %s", r, text))
	}
	return out
}

func sorted(m map[string]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
