package method

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"coral/internal/errs"
)

// Setting is a parameter whose value depends on the tensor, as recipes of mergekit have it. JSON names are a promise.
type Setting struct {
	Param string `json:"param"`          // as Spec.Set knows it
	Side  int    `json:"side,omitempty"` // of weights and density: 1 is ours; 0 is all
	Cases []Case `json:"cases"`          // the first that matches a tensor's name counts
}

// Case is the value for some tensors: Value, or Gradient. JSON names are a promise.
type Case struct {
	Filter   string    `json:"filter,omitempty"` // part of the tensor's name; "" is in all
	Value    string    `json:"value,omitempty"`
	Gradient []float64 `json:"gradient,omitempty"` // spread evenly over the layers, and interpolated between them
}

// MaxSettings bounds the settings of a merge, and the cases and steps of each.
const MaxSettings = 1 << 10

// at returns the value at a place between the first layer (0) and the last (1). The arithmetic is mergekit's (evaluate_setting), in binary64.
func (c Case) at(t float64) string {
	if len(c.Gradient) == 0 {
		return c.Value
	}
	scaled := float64(t * float64(len(c.Gradient)-1))
	i := min(max(int(scaled), 0), len(c.Gradient)-1)
	next, frac := min(i+1, len(c.Gradient)-1), scaled-float64(i)
	return strconv.FormatFloat(float64((1-frac)*c.Gradient[i])+float64(frac*c.Gradient[next]), 'g', -1, 64) // which reads back as the same number
}

// With returns the method with the settings of one tensor, t of the way from the first layer to the last. Where no case matches, the parameter stays as it is; a weight or t must
// have one. errs.Invalid if not, or if the values do not go together.
func (s Spec) With(settings []Setting, sides int, tensor string, t float64) (Spec, error) {
	for _, x := range settings {
		i := slices.IndexFunc(x.Cases, func(c Case) bool { return strings.Contains(tensor, c.Filter) })
		switch {
		case i >= 0:
			if err := s.apply(x, sides, x.Cases[i].at(t)); err != nil {
				return s, err
			}
		case x.Param == "weights" || x.Param == "t":
			return s, fmt.Errorf("merge strategy %s: no case of %s is for it: %w", s.Method, x.name(), errs.Invalid)
		}
	}
	return s, s.Check(sides)
}

// apply sets one parameter, and leaves lists that others may have alone.
func (s *Spec) apply(x Setting, sides int, value string) error {
	if x.Side == 0 {
		return s.Set(x.Param, value)
	}
	lists := map[string]*[]float64{"weights": &s.Weights, "density": &s.Density}
	list := lists[x.Param]
	v, err := number(value)
	if list == nil || err != nil || x.Side < 0 || x.Side > sides || !slices.Contains(methods[s.Method].params, x.Param) {
		return fmt.Errorf("merge strategy %s: %s=%s: not a value of it: %w", s.Method, x.name(), value, errs.Invalid)
	}
	*list = spread(*list, sides)
	(*list)[x.Side-1] = v
	return nil
}

func (x Setting) name() string {
	if x.Side == 0 {
		return x.Param
	}
	return fmt.Sprintf("%s of side %d", x.Param, x.Side)
}

// CheckSettings says whether every value of settings can be used with the method; errs.Invalid if not. Only together some may still not fit (weights that sum to 0).
func (s Spec) CheckSettings(settings []Setting, sides int) error {
	if len(settings) > MaxSettings {
		return fmt.Errorf("merge strategy %s: %d settings, at most %d: %w", s.Method, len(settings), MaxSettings, errs.Invalid)
	}
	for _, x := range settings {
		if len(x.Cases) == 0 || len(x.Cases) > MaxSettings {
			return fmt.Errorf("merge strategy %s: %s has %d cases, want 1 to %d: %w", s.Method, x.name(), len(x.Cases), MaxSettings, errs.Invalid)
		}
		for _, c := range x.Cases {
			if len(c.Gradient) > MaxSettings {
				return fmt.Errorf("merge strategy %s: %s: a gradient of %d values, at most %d: %w", s.Method, x.name(), len(c.Gradient), MaxSettings, errs.Invalid)
			}
			for i := range max(1, len(c.Gradient)) {
				value := Case{Value: c.Value}
				if len(c.Gradient) > 0 {
					value.Gradient = c.Gradient[i : i+1]
				}
				one := s
				err := one.apply(x, sides, value.at(0))
				one.Normalize = false // by itself a weight may be 0
				if err == nil {
					err = one.Check(sides)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Graded reports whether a setting depends on the layer.
func Graded(settings []Setting) bool {
	return slices.ContainsFunc(settings, func(x Setting) bool {
		return slices.ContainsFunc(x.Cases, func(c Case) bool { return len(c.Gradient) > 1 })
	})
}

// Equal reports whether two methods and all their parameters are the same.
func (s Spec) Equal(o Spec) bool {
	return s.Method == o.Method && s.Alpha == o.Alpha && s.T == o.T && slices.Equal(s.Weights, o.Weights) && slices.Equal(s.Density, o.Density) && s.Gamma == o.Gamma &&
		s.Lambda == o.Lambda && s.Normalize == o.Normalize && s.Rescale == o.Rescale && s.Seed == o.Seed
}
