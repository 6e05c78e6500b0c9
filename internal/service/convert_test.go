package service

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
)

// fourEach is a safetensors file of an F32 vector of four for each name.
func fourEach(names ...string) string {
	head, data := `{`, []byte{}
	for i, name := range names {
		if i > 0 {
			head += ","
		}
		from := len(data)
		for v := range 4 {
			data = append(data, 0, 0, byte(i), byte(0x3c+v))
		}
		head += `"` + name + `":{"dtype":"F32","shape":[4],"data_offsets":[` + strconv.Itoa(from) + "," + strconv.Itoa(len(data)) + `]}`
	}
	head += "}"
	for len(head)%8 != 0 {
		head += " "
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(head)))) + head + string(data)
}

// convertDisk converts as the command does when the source is there.
func convertDisk(t *testing.T, args ...string) (*ConvertResult, error) {
	t.Helper()
	parsed, err := Parse(Find("convert"), args, nil)
	if err != nil {
		return nil, err
	}
	req := parsed.(*ConvertRequest)
	if err := req.Localize(); err != nil {
		t.Fatal(err)
	}
	if !req.OnDisk {
		return nil, errs.NotFound
	}
	return ConvertDisk(t.Context(), req, nil)
}

func left(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestConvertDisk(t *testing.T) {
	dir := files(t, map[string]string{"in/model.safetensors": fourEach("a", "b", "c"), "in/optimizer.pt": "not looked at", "in/README.md": "hello"})
	out := filepath.Join(dir, "out")
	res, err := convertDisk(t, filepath.Join(dir, "in"), out+"/", "--max-shard-size", "32")
	if err != nil {
		t.Fatal(err)
	}
	if got := left(t, out); got != "model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json" || res.Tensors != 3 || len(res.Files) != 2 {
		t.Errorf("%s: %+v", got, res)
	}
	index, err := os.ReadFile(filepath.Join(out, "model.safetensors.index.json"))
	if want := "{\n  \"metadata\": {\n    \"total_size\": 48\n  },\n  \"weight_map\": {\n    \"a\": \"model-00001-of-00002.safetensors\",\n"; err != nil || !strings.HasPrefix(string(index), want) || !strings.HasSuffix(string(index), "\"\n  }\n}\n") {
		t.Errorf("index %s, %v", index, err)
	}
	one := filepath.Join(dir, "one.safetensors")
	if _, err := convertDisk(t, out, one); err != nil { // the shards again
		t.Fatal(err)
	}
	if _, err := convertDisk(t, out, one); !errors.Is(err, errs.Exist) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("over a file: %v", err)
	}
	before, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := convertDisk(t, out, one, "--force"); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(one)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the second run differs: %v", err)
	}
	if got := left(t, dir); got != "in one.safetensors out" {
		t.Errorf("left over: %s", got)
	}
}

// TestConvertFails: a conversion that fails leaves nothing, and what was there as it was.
func TestConvertFails(t *testing.T) {
	dir := files(t, map[string]string{"m.safetensors": fourEach("a"), "damaged.safetensors": fourEach("a", "b")[:100], "text": "hello", "old.npz": "old", "two/x.pt": "", "two/y.pt": "",
		"none/readme": "", "shards/model.safetensors.index.json": `{"weight_map":{"a":"gone.safetensors"}}`, "evil/model.safetensors.index.json": `{"weight_map":{"a":"../m.safetensors"}}`})
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		args  []string
		class error
		want  string
	}{
		{[]string{at("damaged.safetensors"), at("x.pt")}, nil, "no tensors are found"},
		{[]string{at("text"), at("x.pt")}, nil, "no tensors are found"},
		{[]string{at("m.safetensors"), at("x")}, control.ErrUsage, "says no format"},
		{[]string{at("m.safetensors"), at("old.npz"), "--force", "--dtype", "bf16"}, errs.Invalid, "no BF16 in NumPy"},
		{[]string{at("m.safetensors"), at("old.npz")}, errs.Exist, "old.npz"},
		{[]string{at("two"), at("x.pt")}, errs.Invalid, "x.pt, y.pt"},
		{[]string{at("none"), at("x.pt")}, errs.Invalid, "without a file of weights"},
		{[]string{at("shards"), at("x.pt")}, errs.NotFound, "gone.safetensors"},
		{[]string{at("evil"), at("x.pt")}, errs.NotFound, "../m.safetensors"},
		{[]string{at("m.safetensors"), at("x.pt"), "--dtype", "q8_0"}, control.ErrUsage, "gguf only"},
		{[]string{at("m.safetensors"), at("x.pt"), "--to", "onnx"}, control.ErrUsage, "no format that is written"},
		{[]string{at("m.safetensors")}, control.ErrUsage, "destination"},
		{[]string{at("m.safetensors"), at("x.pt"), "--exclude", "*"}, errs.Invalid, "left out"},
	} {
		_, err := convertDisk(t, c.args...)
		if err == nil || c.class != nil && !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %v with %q", c.args, err, c.class, c.want)
		}
	}
	if got := left(t, dir); got != "damaged.safetensors evil m.safetensors none old.npz shards text two" {
		t.Errorf("left over: %s", got)
	}
	if b, err := os.ReadFile(at("old.npz")); err != nil || string(b) != "old" {
		t.Errorf("old.npz is %q, %v", b, err)
	}
}

// TestConvertRepository: files of commits and live trees, as the control socket asks for them.
func TestConvertRepository(t *testing.T) {
	s := open(t, newRepo(t), Options{})
	src := files(t, map[string]string{"ckpt/model.safetensors": fourEach("a", "b")})
	do(t, s, "add "+Quote(src+"/ckpt"), nil)
	do(t, s, "snapshot -m one -t v1", nil)
	out := t.TempDir()
	for _, name := range []string{"v1:ckpt", "v1:ckpt/model.safetensors", ":ckpt/model.safetensors", "branches/main:ckpt"} {
		dst := filepath.Join(out, "m.safetensors")
		req := &ConvertRequest{Src: control.Text(name), Dst: control.Text(dst), Force: true}
		res, err := s.convert(t.Context(), req, func(control.Progress) {})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b, err := os.ReadFile(dst); err != nil || res.Tensors != 2 || !bytes.Contains(b, []byte(`"b":{"dtype":"F32"`)) {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
	}
	for name, class := range map[string]error{"v1:nowhere": errs.NotFound, "nowhere": errs.NotFound, "some/file.pt": errs.NotFound, "v1": errs.Invalid} {
		if _, err := s.convert(t.Context(), &ConvertRequest{Src: control.Text(name), Dst: control.Text(out + "/x.pt")}, func(control.Progress) {}); !errors.Is(err, class) {
			t.Errorf("%s: %v, want %v", name, err, class)
		}
	}
	for _, dst := range []string{"relative.pt", s.repo.Dir + "/x.pt"} {
		if _, err := s.convert(t.Context(), &ConvertRequest{Src: "v1:ckpt", Dst: control.Text(dst)}, func(control.Progress) {}); err == nil {
			t.Errorf("converted to %s", dst)
		}
	}
}
