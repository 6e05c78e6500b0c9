package service

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"coral/internal/errs"
	"coral/internal/natural"
)

// checkpoint is what `coral import` makes one commit of.
type checkpoint struct {
	source string // the directory's path, or the first file's
	name   string // as people call it: checkpoint-500
	files  []checkpointFile
	bytes  int64
	newest time.Time
}

// checkpointFile is one file, link or the like of a checkpoint.
type checkpointFile struct {
	src string
	dst string // in the checkpoint, with slashes
}

var number = regexp.MustCompile(`[0-9]+`)

// weightsExt are the ends of names that a file of weights has.
var weightsExt = map[string]bool{".safetensors": true, ".pt": true, ".pth": true, ".bin": true, ".ckpt": true, ".npz": true, ".npy": true, ".gguf": true, ".onnx": true, ".h5": true, ".msgpack": true}

// findCheckpoints lists what a directory holds: its directories with a number in their names (checkpoint-500), else its weight files with one (ckpt_500.pt),
// those of one number together, else it is one checkpoint itself; in order of their names, numbers compared as numbers, or of their newest files' times.
func findCheckpoints(dir string, byTime bool) ([]checkpoint, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []checkpoint
	var files []string
	for _, e := range list {
		switch named := number.MatchString(e.Name()) && !strings.HasPrefix(e.Name(), "."); {
		case named && e.IsDir():
			out = append(out, checkpoint{source: filepath.Join(dir, e.Name()), name: e.Name()})
		case named && e.Type().IsRegular() && weightsExt[filepath.Ext(e.Name())]:
			files = append(files, e.Name())
		}
	}
	switch {
	case len(out) > 0:
		// What a directory without any file is has nothing to commit: TensorBoard's and the like stay, they have files.
		for i := range out {
			if err := out[i].walk(); err != nil {
				return nil, err
			}
		}
		out = slices.DeleteFunc(out, func(c checkpoint) bool { return len(c.files) == 0 })
	case len(files) > 1:
		if out, err = groupFiles(dir, files); err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		c := checkpoint{source: dir, name: filepath.Base(dir)}
		if err := c.walk(); err != nil {
			return nil, err
		}
		if len(c.files) == 0 {
			return nil, fmt.Errorf("there is nothing in it: %w", errs.NotFound)
		}
		return []checkpoint{c}, nil
	}
	slices.SortFunc(out, func(a, b checkpoint) int {
		if byTime {
			if c := a.newest.Compare(b.newest); c != 0 {
				return c
			}
		}
		return natural.Total(a.name, b.name)
	})
	return out, nil
}

// walk lists the files of a checkpoint that is a directory.
func (c *checkpoint) walk() error {
	return filepath.WalkDir(c.source, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(c.source, p)
		if err != nil {
			return err
		}
		return c.add(p, filepath.ToSlash(rel))
	})
}

func (c *checkpoint) add(src, dst string) error {
	info, err := os.Lstat(src)
	if err != nil {
		return err
	}
	c.files = append(c.files, checkpointFile{src, dst})
	c.bytes += info.Size()
	if info.ModTime().After(c.newest) {
		c.newest = info.ModTime()
	}
	return nil
}

// groupFiles makes checkpoints of numbered files: the numbers that differ between files that are else called alike say which belong together, and go from the
// name, so that ckpt_100.pt and ckpt_200.pt are two versions of ckpt.pt.
func groupFiles(dir string, names []string) ([]checkpoint, error) {
	alike := map[string][]string{} // by name with each number replaced
	for _, n := range names {
		k := number.ReplaceAllString(n, "\x00")
		alike[k] = append(alike[k], n)
	}
	groups := map[string]*checkpoint{}
	for _, k := range slices.Sorted(maps.Keys(alike)) {
		list := alike[k]
		first := number.FindAllString(list[0], -1)
		varies := make([]bool, len(first))
		for _, n := range list {
			for i, d := range number.FindAllString(n, -1) {
				varies[i] = varies[i] || d != first[i]
			}
		}
		for _, n := range list {
			i := -1
			var key []string
			short := number.ReplaceAllStringFunc(n, func(d string) string {
				if i++; !varies[i] {
					return d
				}
				key = append(key, cmp.Or(strings.TrimLeft(d, "0"), "0"))
				return ""
			})
			ext := filepath.Ext(short)
			short = cmp.Or(strings.Trim(strings.TrimSuffix(short, ext), "-_.= "), "model") + ext
			id := strings.Join(key, "-")
			if groups[id] == nil {
				groups[id] = &checkpoint{source: filepath.Join(dir, n), name: strings.TrimSuffix(n, ext)}
			}
			if err := groups[id].add(filepath.Join(dir, n), short); err != nil {
				return nil, err
			}
		}
	}
	var out []checkpoint
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, *groups[id])
	}
	return out, nil
}

// checkpointFacts are what a commit says of its checkpoint.
type checkpointFacts struct {
	message string
	metrics metrics
}

const (
	trainerState = "trainer_state.json" // of transformers' Trainer
	maxTrainer   = 256 << 20
)

// facts reads the trainer's state, if there is one: step and epoch, and of each number in its log the last up to this step. A file of
// that name that says something else is ignored.
func (c *checkpoint) facts() (checkpointFacts, error) {
	f := checkpointFacts{message: validText(c.name)}
	i := slices.IndexFunc(c.files, func(f checkpointFile) bool { return f.dst == trainerState })
	if i < 0 {
		return f, nil
	}
	file, err := os.Open(c.files[i].src)
	if err != nil {
		return f, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxTrainer+1))
	if err != nil {
		return f, err
	}
	if f.metrics = trainerMetrics(b); len(f.metrics) == 0 {
		return f, nil
	}
	var say []string
	for _, k := range []string{"step", "epoch", "loss", "eval_loss"} {
		if v, ok := f.metrics[k]; ok {
			say = append(say, k+" "+strconv.FormatFloat(v, 'g', 6, 64))
		}
	}
	f.message += ": " + strings.Join(say, ", ")
	return f, nil
}

// trainerMetrics reads trainer_state.json, nil if it is not what it should be.
func trainerMetrics(b []byte) metrics {
	if len(b) > maxTrainer {
		return nil
	}
	var st struct {
		Step  *json.Number     `json:"global_step"`
		Epoch any              `json:"epoch"`
		Log   []map[string]any `json:"log_history"`
	}
	d := json.NewDecoder(bytes.NewReader(quoteNaN(b)))
	d.UseNumber()
	if d.Decode(&st) != nil || st.Step == nil {
		return nil
	}
	out := metrics{}
	put := func(k string, v any) bool {
		x, ok := jsonFloat(v)
		if ok && k != "" && len(out) < 1000 {
			out[k] = x
		}
		return ok
	}
	if !put("step", *st.Step) {
		return nil
	}
	step := out["step"]
	for _, row := range st.Log {
		if at, ok := jsonFloat(row["step"]); ok && at > step {
			continue
		}
		for k, v := range row {
			if k != "step" {
				put(k, v)
			}
		}
	}
	put("epoch", st.Epoch)
	return out
}

// jsonFloat is a JSON number, or one of those that quoteNaN has put in quotes.
func jsonFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil || errors.Is(err, strconv.ErrRange)
	case string:
		switch v {
		case "NaN":
			return math.NaN(), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

var nan = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?Infinity|NaN`)

// quoteNaN puts NaN and infinities into quotes: Python writes them into JSON, which has none.
func quoteNaN(b []byte) []byte {
	return nan.ReplaceAllFunc(b, func(m []byte) []byte {
		if m[0] == '"' {
			return m
		}
		return append(append([]byte{'"'}, m...), '"')
	})
}
