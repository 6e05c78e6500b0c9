// Package recipe reads the YAML in which mergekit is told what to merge, as far as package method has its methods: merge_method, base_model, models (or a slice of whole
// models) and parameters: single values, gradients over layers, and values by filters. What would be merged otherwise than it says is refused, not passed over.
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
	Models   []string // the sides, in the order of the parameters of Spec; the first gives the containers
	Base     string   // "" if the method needs none
	Spec     method.Spec
	Settings []method.Setting // parameters of Spec that depend on the tensor
	Layers   int              // that the models must have; 0: any number
	Notes    []string         // what it says and is understood otherwise
}

type file struct {
	Method    string         `yaml:"merge_method"`
	Base      string         `yaml:"base_model"`
	Models    []model        `yaml:"models"`
	Slices    []slice        `yaml:"slices"`
	Params    map[string]any `yaml:"parameters"`
	DType     string         `yaml:"dtype"`
	OutDType  string         `yaml:"out_dtype"`
	Source    any            `yaml:"tokenizer_source"`
	Tokenizer any            `yaml:"tokenizer"`
	Template  any            `yaml:"chat_template"`
	Modules   any            `yaml:"modules"`
	Name      string         `yaml:"name"`

	levels []map[string]any // of parameters of all models: those of the slice go before those of the recipe
}

type model struct {
	Model  string         `yaml:"model"`
	Layers []int          `yaml:"layer_range"`
	Params map[string]any `yaml:"parameters"`
}

type slice struct {
	Sources []model        `yaml:"sources"`
	Params  map[string]any `yaml:"parameters"`

	Base     string `yaml:"base_model"`
	Residual any    `yaml:"residual_weight"`
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
	if len(spec.Density) > 0 {
		spec.Density = []float64{1} // mergekit's default; ours is that of the papers
	}
	r := Recipe{Spec: spec, Layers: f.layers()}
	if spec.NeedsBase() {
		r.Base = f.Base
	}
	for _, m := range f.Models {
		r.Models = append(r.Models, m.Model)
	}
	if err := f.fill(&r); err != nil {
		return Recipe{}, err
	}
	if f.DType+f.OutDType != "" {
		r.Notes = append(r.Notes, "dtype: values are computed in float64, and tensors keep the dtype that they have in the first model")
	}
	if f.Source != nil {
		r.Notes = append(r.Notes, "tokenizer_source: the models' tokenizers are taken to be the same; files without tensors are merged as files")
	}
	if f.Template != nil {
		r.Notes = append(r.Notes, "chat_template: files without tensors are merged as files")
	}
	if err := r.Spec.Check(len(r.Models)); err != nil {
		return Recipe{}, err
	}
	return r, r.Spec.CheckSettings(r.Settings, len(r.Models))
}

// layers is how many layers the models have, where the recipe says it.
func (f *file) layers() int {
	for _, m := range f.Models {
		if len(m.Layers) == 2 {
			return m.Layers[1]
		}
	}
	return 0
}

// flatten makes models of slices.
func (f *file) flatten() error {
	f.levels = []map[string]any{f.Params}
	switch {
	case f.Modules != nil:
		return fmt.Errorf("modules are not merged one by one: %w", errs.Unsupported)
	case f.Tokenizer != nil:
		return fmt.Errorf("tokenizer: embeddings are not put together for other tokens: %w", errs.Unsupported)
	case len(f.Slices) == 0:
	case len(f.Models) > 0:
		return fmt.Errorf("it has both models and slices: %w", errs.Invalid)
	case len(f.Slices) > 1:
		return fmt.Errorf("layers of several slices are not put together: %w", errs.Unsupported)
	default:
		if f.Slices[0].Residual != nil || f.Slices[0].Base != "" {
			return fmt.Errorf("residual_weight and base_model of a slice: %w", errs.Unsupported)
		}
		f.Models = f.Slices[0].Sources
		for i := range f.Models {
			if l := f.Models[i].Layers; len(l) > 0 && (len(l) != 2 || l[0] != 0 || l[1] < 1 || !slices.Equal(l, f.Models[0].Layers)) {
				return fmt.Errorf("model %q: only slices of whole models are merged, layer_range [0, n] the same for all: %w", f.Models[i].Model, errs.Unsupported)
			}
		}
		f.levels = []map[string]any{f.Slices[0].Params, f.Params}
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
func (f *file) fill(r *Recipe) error {
	var keys []string // in a fixed order: settings are recorded
	for _, l := range f.levels {
		for key := range l {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if key == "int8_mask" || lists[key] != "" {
			continue // int8_mask saves memory and changes nothing
		}
		cs, err := cases(key, f.levels)
		if err == nil {
			err = r.set(key, 0, cs)
		}
		if err != nil {
			return err
		}
	}
	for _, key := range []string{"density", "weight"} {
		if err := f.fillList(r, key); err != nil {
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

// fillList sets a parameter that each model has its own of.
func (f *file) fillList(r *Recipe, key string) error {
	each, plain, text := make([][]method.Case, len(f.Models)), true, ""
	given := false
	for i, m := range f.Models {
		cs, err := cases(key, append([]map[string]any{m.Params}, f.levels...))
		if err != nil {
			return fmt.Errorf("model %q: %w", m.Model, err)
		}
		given = given || cs != nil
		if cs == nil {
			cs = []method.Case{{Value: "1"}}
		}
		each[i], plain = cs, plain && simple(cs)
		if i > 0 {
			text += "/"
		}
		text += cs[0].Value
	}
	switch {
	case !given:
		return nil
	case plain:
		return r.Spec.Set(lists[key], text)
	}
	for i, cs := range each {
		r.Settings = append(r.Settings, method.Setting{Param: lists[key], Side: i + 1, Cases: cs})
	}
	return nil
}

// set sets a parameter of the method.
func (r *Recipe) set(key string, side int, cs []method.Case) error {
	if simple(cs) {
		return r.Spec.Set(key, cs[0].Value)
	}
	r.Settings = append(r.Settings, method.Setting{Param: key, Side: side, Cases: cs})
	return nil
}

// simple reports whether there is one value for all tensors.
func simple(cs []method.Case) bool { return cs[0].Filter == "" && len(cs[0].Gradient) == 0 }

// cases returns the values of a parameter, those of the first level first, up to one that is for all tensors; nil if there are none.
func cases(key string, levels []map[string]any) (out []method.Case, err error) {
	for _, l := range levels {
		v, ok := l[key]
		if !ok {
			continue
		}
		list, many := v.([]any)
		_, cond := v.(map[string]any)
		if cond {
			list = []any{v}
		} else if many {
			cond = slices.ContainsFunc(list, func(e any) bool { _, is := e.(map[string]any); return is })
		}
		if !cond {
			c, err := value(key, v)
			return append(out, c), err
		}
		for _, e := range list {
			c, err := condition(key, e)
			if out = append(out, c); err != nil || c.Filter == "" {
				return out, err
			}
		}
	}
	return out, nil
}

// condition reads {filter, value}.
func condition(key string, e any) (method.Case, error) {
	m, ok := e.(map[string]any)
	filter, isText := "", true
	if f, has := m["filter"]; has && f != nil {
		filter, isText = f.(string)
	}
	for k := range m {
		ok = ok && (k == "filter" || k == "value")
	}
	if v, has := m["value"]; ok && isText && has {
		c, err := value(key, v)
		if c.Filter = filter; filter == "*" {
			c.Filter = ""
		}
		return c, err
	}
	return method.Case{}, fmt.Errorf("parameter %q: %v: want a filter, which is text, and a value: %w", key, e, errs.Invalid)
}

// value reads a single value, or a gradient.
func value(key string, v any) (c method.Case, err error) {
	list, many := v.([]any)
	if !many {
		c.Value, err = scalar(key, v)
		return c, err
	}
	if len(list) == 0 {
		return c, fmt.Errorf("parameter %q: an empty gradient: %w", key, errs.Invalid)
	}
	for _, e := range list {
		switch e := e.(type) {
		case int:
			c.Gradient = append(c.Gradient, float64(e))
		case float64:
			c.Gradient = append(c.Gradient, e)
		default:
			return c, fmt.Errorf("parameter %q: %v in a gradient is no number: %w", key, e, errs.Unsupported)
		}
	}
	return c, nil
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
	return "", fmt.Errorf("parameter %q: %v is no value: %w", key, v, errs.Unsupported)
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
