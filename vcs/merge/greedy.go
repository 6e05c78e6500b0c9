package merge

import (
	"cmp"
	"slices"
)

// Trial is a soup that was tested: the candidates kept before it, and one more.
type Trial struct {
	Added int // the candidate
	Score float64
	Kept  bool
}

// Greedy chooses the ingredients of a soup: recipe 1 of Wortsman et al., "Model soups" (2022, arXiv 2203.05482). Candidates, given by their own scores (no NaN), are
// gone through from the best on, equal ones as they are given; the first is chosen, and each other one if the score of the soup of what was chosen and it, which soup
// is asked for, is not worse than before. chosen is ascending, members too; soup is called len(scores)-1 times at most, and its first error ends it.
func Greedy(scores []float64, lowerIsBetter bool, soup func(members []int) (float64, error)) (chosen []int, trials []Trial, err error) {
	worse := func(a, b float64) bool { return a < b }
	if lowerIsBetter {
		worse = func(a, b float64) bool { return a > b }
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		if c := cmp.Compare(scores[j], scores[i]); !lowerIsBetter {
			return c
		}
		return cmp.Compare(scores[i], scores[j])
	})
	best := 0.0
	for _, i := range order {
		if chosen == nil {
			chosen, best = []int{i}, scores[i]
			continue
		}
		members := slices.Sorted(slices.Values(append(slices.Clone(chosen), i)))
		got, err := soup(members)
		if err != nil {
			return nil, trials, err
		}
		kept := !worse(got, best)
		trials = append(trials, Trial{Added: i, Score: got, Kept: kept})
		if kept {
			chosen, best = members, got
		}
	}
	return chosen, trials, nil
}
