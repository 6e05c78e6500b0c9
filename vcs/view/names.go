package view

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"coral/delta/format"
	"coral/vcs/object"
)

// Suffix is how the names of a view's files end that are not files of the tree themselves.
const Suffix = ".safetensors"

// Role is what becomes of a file in a view.
type Role uint8

// The roles.
const (
	Itself    Role = iota // it is in the view as it is
	Converted             // it is in the view as safetensors, under another name
	Absent                // it is not in the view
)

// extensions are those of weights files of kinds that are not safetensors: they are replaced.
var extensions = map[string]bool{
	".pt": true, ".pth": true, ".bin": true, ".ckpt": true, ".ptl": true, ".jit": true, ".ts": true, ".distcp": true, ".torch": true, ".t7": true, ".pkl": true,
	".npz": true, ".npy": true, ".gguf": true, ".ggml": true, ".onnx": true, ".h5": true, ".hdf5": true, ".keras": true, ".tflite": true, ".msgpack": true,
	".pdparams": true, ".params": true, ".weights": true, ".model": true, ".mlmodel": true,
}

// weightsOnly are those of the extensions, and safetensors', that nothing but weights has: a file of that name without tensors is absent, not shown as it
// is, since what it is good for is gone (an optimizer without state), or since it is damaged. What has another name (vocab.pkl, spiece.model) is shown.
var weightsOnly = map[string]bool{
	".pt": true, ".pth": true, ".bin": true, ".ckpt": true, ".ptl": true, ".distcp": true, ".npz": true, ".npy": true, ".gguf": true, ".onnx": true, ".h5": true,
	".hdf5": true, ".keras": true, ".tflite": true, ".pdparams": true, Suffix: true,
}

// RoleOf returns the role of the file called name that m describes.
func RoleOf(name string, m *object.Manifest) Role {
	switch {
	case m.Format == format.Safetensors:
		return Itself
	case m.Format != format.Opaque:
		if slices.ContainsFunc(m.Tensors, func(t object.Tensor) bool { _, ok := convert(&t, m.Size); return ok }) {
			return Converted
		}
		return Absent
	}
	return Guess(name)
}

// Guess returns the role of a file that is not parsed yet, or has no known format, by its name: Itself or Absent. A file
// called .safetensors is Absent then; one that is being written may be what it is called, see [IsSafetensors].
func Guess(name string) Role {
	if weightsOnly[strings.ToLower(path.Ext(name))] {
		return Absent
	}
	return Itself
}

// IsSafetensors says whether a file is called as a safetensors file is.
func IsSafetensors(name string) bool { return strings.EqualFold(path.Ext(name), Suffix) }

// The names that transformers gives to weights in torch's files and in safetensors files, and to the lists of shards of each.
const (
	torchStem      = "pytorch_model"
	torchExtension = ".bin"
	stem           = "model"
	TorchIndex     = torchStem + torchExtension + ".index.json"
	Index          = stem + Suffix + ".index.json"
)

// converted returns what a converted file is called unless that is taken: model.pt → model.safetensors, weights → weights.safetensors. transformers'
// pytorch_model.bin becomes model.safetensors, the name under which it looks for that, and shards likewise.
func converted(name string) string {
	ext := path.Ext(name)
	if !extensions[ext] || len(ext) == len(name) {
		return name + Suffix
	}
	base := strings.TrimSuffix(name, ext)
	if rest, ok := strings.CutPrefix(base, torchStem); ok && ext == torchExtension && (rest == "" || rest[0] == '-' || rest[0] == '.') {
		base = stem + rest
	}
	return base + Suffix
}

// A Dir tells the role of the file called name in a directory of a tree; ok is false if there is none. A directory or link is Itself.
type Dir func(name string) (role Role, ok bool)

// Find returns the file of dir, by its own name, that a view shows as name, and its role, Itself or Converted.
//
// A converted file has the name that [converted] says if no other file has or wants it. Else all that want it keep their whole names:
// model.pt.safetensors and model.bin.safetensors. But transformers' own pytorch_model.bin has it first, so that from_pretrained finds it, then
// a file without known extension, whose whole name it is. A name that is taken all the same shows nothing else: the file is not in the view.
func (dir Dir) Find(name string) (original string, role Role, ok bool) {
	if dir.is(name, Itself) {
		return name, Itself, true
	}
	if n, ok := dir.holder(name); ok {
		return n, Converted, true
	}
	whole, ok := strings.CutSuffix(name, Suffix)
	if ok && dir.is(whole, Converted) && dir.Name(whole) == name {
		return whole, Converted, true
	}
	return "", Absent, false
}

// is says whether dir has a file of that name and role.
func (dir Dir) is(name string, role Role) bool {
	if name == "" || len(name) > object.MaxName {
		return false
	}
	r, ok := dir(name)
	return ok && r == role
}

// Name returns what a converted file is called in the view, "" if it is not there.
func (dir Dir) Name(n string) string {
	short, long := converted(n), n+Suffix
	if h, ok := dir.holder(short); ok && h == n {
		return short
	}
	if len(long) > object.MaxName || long == short || dir.is(long, Itself) || len(dir.wants(long)) > 0 {
		return ""
	}
	return long
}

// holder returns the converted file that has a name without keeping its own.
func (dir Dir) holder(short string) (string, bool) {
	if len(short) > object.MaxName || dir.is(short, Itself) {
		return "", false
	}
	want := dir.wants(short)
	if len(want) == 1 {
		return want[0], true
	}
	for _, n := range []string{torchName(short), strings.TrimSuffix(short, Suffix)} {
		if slices.Contains(want, n) {
			return n, true
		}
	}
	return "", false
}

// wants returns the converted files for which a name is the one that converted says.
func (dir Dir) wants(short string) []string {
	base, ok := strings.CutSuffix(short, Suffix)
	if !ok || base == "" {
		return nil
	}
	var out []string
	try := func(n string) {
		if converted(n) == short && dir.is(n, Converted) {
			out = append(out, n)
		}
	}
	try(base)
	for _, ext := range sortedExtensions {
		try(base + ext)
	}
	if n := torchName(short); n != "" {
		try(n)
	}
	return out
}

// torchName returns what transformers calls, in torch's format, the weights that it calls name in safetensors: "" if it does not.
func torchName(name string) string {
	if rest, ok := strings.CutPrefix(strings.TrimSuffix(name, Suffix), stem); ok {
		return torchStem + rest + torchExtension
	}
	return ""
}

var sortedExtensions = slices.Sorted(maps.Keys(extensions))

// Names returns what the files of a directory are called in a view: for each file that is there, its name in the view and its own.
// Order is that of the own names. It asks for each role once.
func (dir Dir) Names(all []string) (names, originals []string) {
	roles := make(map[string]Role, len(all))
	for _, n := range all {
		if r, ok := dir(n); ok {
			roles[n] = r
		}
	}
	known := Dir(func(name string) (Role, bool) { r, ok := roles[name]; return r, ok })
	for _, n := range all {
		shown := ""
		switch r, ok := roles[n]; {
		case ok && r == Itself:
			shown = n
		case ok && r == Converted:
			shown = known.Name(n)
		}
		if shown != "" {
			names, originals = append(names, shown), append(originals, n)
		}
	}
	return names, originals
}

// Shard is a file of a sharded model as a view has it.
type Shard struct {
	Name     string // in the view
	Manifest *object.Manifest
}

// IsShard says whether a file of this name, in the tree, is one of those that TorchIndex lists.
func IsShard(name string) bool {
	return strings.HasPrefix(name, torchStem+"-") && strings.HasSuffix(name, torchExtension)
}

// IndexOf returns the list of shards that stands in a view for TorchIndex, made from the shards' own tables: which tensor is in which file.
func IndexOf(shards []Shard) *Plan {
	index := struct {
		Metadata struct {
			TotalSize int64 `json:"total_size"`
		} `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}{WeightMap: map[string]string{}}
	for _, s := range shards {
		names, bytes := TensorNames(s.Manifest)
		index.Metadata.TotalSize += bytes
		for _, n := range names {
			index.WeightMap[n] = s.Name
		}
	}
	b, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		panic(err) // a type without JSON
	}
	return Text(append(b, '\n'))
}
