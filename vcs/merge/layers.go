package merge

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"coral/internal/errs"
	"coral/vcs/merge/method"
	"coral/vcs/object"
)

// layerIndex finds the number of the layer that a tensor is in: mergekit's RE_LAYER_INDEX. What stands before it names the list of layers.
var layerIndex = regexp.MustCompile(`\.(\d+)\.`)

// layers counts the layers of a model: by what stands before the number in names of tensors.
type layers map[string]int

// layerOf returns which layer of which list a tensor is in.
func layerOf(name string) (list string, i int, ok bool) {
	at := layerIndex.FindStringSubmatchIndex(name)
	if at == nil {
		return "", 0, false
	}
	i, err := strconv.Atoi(name[at[2]:at[3]])
	if err != nil || i >= object.MaxTensors {
		return "", 0, false
	}
	return name[:at[0]], i, true
}

// place returns how far from the first layer (0) to the last (1) a tensor is, as mergekit has it: what is in no layer is at 0, and a layer that is the only one at 1.
func (l layers) place(name string) float64 {
	list, i, ok := layerOf(name)
	switch n := l[list]; {
	case !ok:
		return 0
	case n < 2:
		return 1
	default:
		return min(float64(i)/float64(n-1), 1)
	}
}

// count counts the layers of the model in a directory: all its files of tensors on ours, since shards are one.
func (m *merger) count(ctx context.Context, path string, t *object.Tree) (layers, error) {
	if m.Layers == 0 && !method.Graded(m.Settings) {
		return nil, nil
	}
	l := layers{}
	for i := range t.Entries {
		if t.Entries[i].Kind != object.File {
			continue
		}
		man, err := m.store.Manifest(ctx, t.Entries[i].ID)
		if err != nil {
			return nil, fmt.Errorf("merge %s: %w", path, err)
		}
		for k := range man.Tensors {
			if list, i, ok := layerOf(man.Tensors[k].Name); ok {
				l[list] = max(l[list], i+1)
			}
		}
	}
	if m.Layers == 0 || len(l) == 0 {
		return l, nil
	}
	for _, n := range l {
		if n == m.Layers {
			return l, nil
		}
	}
	return nil, fmt.Errorf("merge %q: %d layers are to be merged, and the model has another number: only whole models are merged: %w", path, m.Layers, errs.Invalid)
}
