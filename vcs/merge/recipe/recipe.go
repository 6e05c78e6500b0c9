// Package recipe reads the YAML in which mergekit is told what to merge, as far as package method has its methods: merge_method, base_model, models (or slices of whole
// models) and scalar parameters. What would be merged otherwise than it says is refused, not passed over.
package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"coral/internal/errs"
	"coral/vcs/merge/method"
)

// MaxLen bounds a recipe, in bytes.
const MaxLen = 1 << 20

// Recipe is what is to be merged. Models are whatever the YAML calls them; here they are revisions.
type Recipe struct {
	Models []string // the sides, in the order of the parameters of Spec; the first gives the containers
	Base   string   // "" if the method needs none
	Spec   method.Spec
	Notes  []string // what it says and is understood otherwise
}

type file struct {
	Method    string         `yaml:"merge_method"`
	Base      string         `yaml:"base_model"`
	Models    []model        `yaml:"models"`
	Slices    []slice        `yaml:"slices"`
	Params    map[string]any `yaml:"parameters"`
	DType     string         `yaml:"dtype"`
	OutDType  string         `yaml:"out_dtype"`
	Tokenizer any            `yaml:"tokenizer_source"`
	Name      string         `yaml:"name"`
}

type model struct {
	Model  string         `yaml:"model"`
	Layers []int          `yaml:"layer_range"`
	Params map[string]any `yaml:"parameters"`
}

type slice struct {
	Sources []model        `yaml:"sources"`
	Params  map[string]any `yaml:"parameters"`
}

// Parse reads a recipe. Errors are errs.Invalid, or errs.Unsupported for what mergekit understands and we do not.
func Parse(text []byte) (Recipe, error) {
	r, err := parse(text)
	if err != nil {
		return Recipe{}, fmt.Errorf("merge recipe: %w", err)
	}
	return r, nil
}

func parse(text []byte) (Recipe, error) {
	if len(text) > MaxLen {
		return Recipe{}, fmt.Errorf("%d bytes, at most %d: %w", len(text), MaxLen, errs.Invalid)
	}
	var f file
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); errors.Is(err, io.EOF) {
		return Recipe{}, fmt.Errorf("it is empty: %w", errs.Invalid)
	} else if err != nil {
		return Recipe{}, fmt.Errorf("%s: %w", oneLine(err), errs.Invalid)
	}
	if err := f.flatten(); err != nil {
		return Recipe{}, err
	}
	spec, err := method.New(f.Method)
	switch {
	case err != nil || !spec.Computes():
		return Recipe{}, fmt.Errorf("merge_method %q is not one of ours: %w", f.Method, errs.Unsupported)
	case len(f.Models) == 0:
		return Recipe{}, fmt.Errorf("it has no models: %w", errs.Invalid)
	}
	if err := f.order(spec); err != nil {
		return Recipe{}, err
	}
	r := Recipe{Spec: spec}
	if spec.NeedsBase() {
		r.Base = f.Base
	}
	for _, m := range f.Models {
		r.Models = append(r.Models, m.Model)
	}
	if err := f.fill(&r.Spec); err != nil {
		return Recipe{}, err
	}
	if f.DType+f.OutDType != "" {
		r.Notes = append(r.Notes, "dtype: values are computed in float64, and tensors keep the dtype that they have in the first model")
	}
	if f.Tokenizer != nil {
		r.Notes = append(r.Notes, "tokenizer_source: files without tensors are merged as files")
	}
	return r, r.Spec.Check(len(r.Models))
}

// flatten makes models of slices.
func (f *file) flatten() error {
	switch {
	case len(f.Slices) == 0:
	case len(f.Models) > 0:
		return fmt.Errorf("it has both models and slices: %w", errs.Invalid)
	case len(f.Slices) > 1:
		return fmt.Errorf("layers of several slices are not put together: %w", errs.Unsupported)
	default:
		f.Models = f.Slices[0].Sources
		for i := range f.Models {
			if l := f.Models[i].Layers; len(l) > 0 && (len(l) != 2 || l[0] != 0 || !slices.Equal(l, f.Models[0].Layers)) {
				return fmt.Errorf("model %q: only slices of whole models are merged, layer_range [0, n] the same for all: %w", f.Models[i].Model, errs.Unsupported)
			}
		}
		for k, v := range f.Slices[0].Params {
			if f.Params == nil {
				f.Params = map[string]any{}
			}
			f.Params[k] = v
		}
	}
	for i := range f.Models {
		if f.Models[i].Model == "" {
			return fmt.Errorf("model %d has no name: %w", i+1, errs.Invalid)
		}
	}
	return nil
}

// order puts the base where mergekit has it: among the models it is no side of a method with a base, and the first side of slerp.
func (f *file) order(spec method.Spec) error {
	isBase := func(m model) bool { return m.Model == f.Base }
	switch {
	case spec.NeedsBase():
		if f.Base == "" {
			return fmt.Errorf("%s needs a base_model: %w", spec.Method, errs.Invalid)
		}
		f.Models = slices.DeleteFunc(f.Models, isBase)
	case spec.Method == method.Slerp && f.Base != "":
		i := slices.IndexFunc(f.Models, isBase)
		switch {
		case i < 0 && len(f.Models) == 1:
			f.Models = slices.Insert(f.Models, 0, model{Model: f.Base})
		case i < 0:
			return fmt.Errorf("base_model %q is not among the models: %w", f.Base, errs.Invalid)
		default:
			m := f.Models[i]
			f.Models = slices.Insert(slices.Delete(f.Models, i, i+1), 0, m)
		}
	}
	return nil
}

// lists are the parameters that each model has its own of.
var lists = map[string]string{"weight": "weights", "density": "density"}

// fill sets the parameters.
func (f *file) fill(s *method.Spec) error {
	for key, v := range f.Params {
		if key == "int8_mask" || lists[key] != "" {
			continue // int8_mask saves memory and changes nothing
		}
		text, err := scalar(key, v)
		if err == nil {
			err = s.Set(key, text)
		}
		if err != nil {
			return err
		}
	}
	for key, name := range lists {
		text, any := "", false
		for _, m := range f.Models {
			v, ok := m.Params[key]
			if !ok {
				v, ok = f.Params[key]
			}
			any = any || ok
			if !ok {
				v = 1
			}
			t, err := scalar(key, v)
			if err != nil {
				return fmt.Errorf("model %q: %w", m.Model, err)
			}
			if text != "" {
				text += "/"
			}
			text += t
		}
		if !any {
			continue
		}
		if err := s.Set(name, text); err != nil {
			return err
		}
	}
	for _, m := range f.Models {
		for key, v := range m.Params {
			if lists[key] == "" {
				return fmt.Errorf("model %q: parameter %q of one model (%v): give it for all: %w", m.Model, key, v, errs.Unsupported)
			}
		}
	}
	return nil
}

// scalar returns a parameter as text.
func scalar(key string, v any) (string, error) {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	case string:
		return v, nil
	}
	return "", fmt.Errorf("parameter %q: gradients over layers and filters are not understood, use --strategy GLOB=METHOD: %w", key, errs.Unsupported)
}

// oneLine is an error's text without line ends.
func oneLine(err error) string {
	b := []byte(err.Error())
	for i, c := range b {
		if c == '\n' {
			b[i] = ' '
		}
	}
	return string(b)
}
