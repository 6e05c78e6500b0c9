package merge

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestGreedy(t *testing.T) {
	soups := map[string]float64{"[1 2]": 0.9, "[0 1 2]": 0.95, "[0 1 2 3]": 0.94}
	asked := 0
	chosen, trials, err := Greedy([]float64{0.5, 0.9, 0.8, 0.4}, false, func(m []int) (float64, error) {
		asked++
		return soups[fmt.Sprint(m)], nil
	})
	// 1 is the best; with 2 it is not worse; 0 makes it better; 3 does not.
	if err != nil || !slices.Equal(chosen, []int{0, 1, 2}) || asked != 3 {
		t.Errorf("chosen %v after %d soups, %v", chosen, asked, err)
	}
	want := []Trial{{2, 0.9, true}, {0, 0.95, true}, {3, 0.94, false}}
	if !slices.Equal(trials, want) {
		t.Errorf("trials %v, want %v", trials, want)
	}
	chosen, trials, err = Greedy([]float64{3, 1, 1, 2}, true, func(m []int) (float64, error) { return float64(len(m)) - 1, nil })
	if err != nil || !slices.Equal(chosen, []int{1, 2}) || len(trials) != 3 || trials[0] != (Trial{2, 1, true}) || trials[1].Kept {
		t.Errorf("lower is better: %v %v %v", chosen, trials, err)
	}
	broken := errors.New("broken")
	if chosen, _, err := Greedy([]float64{1, 2}, false, func([]int) (float64, error) { return 0, broken }); !errors.Is(err, broken) || chosen != nil {
		t.Errorf("%v, %v", chosen, err)
	}
	if chosen, trials, err := Greedy([]float64{7}, false, nil); err != nil || !slices.Equal(chosen, []int{0}) || trials != nil {
		t.Errorf("of one: %v %v %v", chosen, trials, err)
	}
}

// TestGreedyNeverWorse: whatever the scores, the soup is not worse than the best candidate, and every trial follows from those before it.
func TestGreedyNeverWorse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := rapid.SliceOfN(rapid.Float64Range(-5, 5), 1, 9).Draw(t, "scores")
		lower := rapid.Bool().Draw(t, "lower")
		sign := 1.0
		if lower {
			sign = -1
		}
		of := map[string]float64{}
		chosen, trials, err := Greedy(scores, lower, func(m []int) (float64, error) {
			s := rapid.Float64Range(-5, 5).Draw(t, "soup")
			of[fmt.Sprint(m)] = s
			return s, nil
		})
		if err != nil || len(trials) != len(scores)-1 || !slices.IsSorted(chosen) {
			t.Fatalf("%v %v %v", chosen, trials, err)
		}
		best := sign * slices.Max(scores)
		if lower {
			best = slices.Min(scores)
		}
		for _, x := range trials {
			if x.Kept != (sign*x.Score >= sign*best) {
				t.Fatalf("%v after %v", x, best)
			}
			if x.Kept {
				best = x.Score
			}
		}
		if len(chosen) > 1 && of[fmt.Sprint(chosen)] != best {
			t.Fatalf("the soup %v has %v, not %v", chosen, of[fmt.Sprint(chosen)], best)
		}
	})
}
