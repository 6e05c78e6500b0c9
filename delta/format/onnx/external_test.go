package onnx

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"coral/delta/format"
	"coral/delta/format/formattest"
)

// dataParser cuts a data file by a model.
type dataParser struct {
	model []byte
	name  string
}

func (dataParser) Name() string { return format.ONNXData }

func (p dataParser) Parse(_ io.ReaderAt, size int64) (*format.Layout, error) {
	return ParseData(bytes.NewReader(p.model), int64(len(p.model)), p.name, size)
}

// modelParser is dataParser the other way round: what it is given is the model.
type modelParser struct {
	name string
	size int64
}

func (modelParser) Name() string { return format.ONNXData }

func (p modelParser) Parse(r io.ReaderAt, size int64) (*format.Layout, error) {
	l, err := ParseData(r, size, p.name, p.size)
	if err == nil {
		if err := l.Check(p.size); err != nil {
			panic(err)
		}
		l = &format.Layout{} // else it would be checked against the size of the model
	}
	return l, err
}

func TestData(t *testing.T) {
	for _, row := range formattest.RowsOf(t, "external.json") {
		model, ok := ModelName(row.File)
		if !ok {
			t.Fatalf("%s belongs to no model", row.File)
		}
		formattest.Match(t, dataParser{formattest.File(t, model), row.File}, row)
		formattest.Damage(t, dataParser{formattest.File(t, model), row.File}, row.File)
		formattest.Damage(t, modelParser{row.File, int64(len(formattest.File(t, row.File)))}, model)
		formattest.ReadErrors(t, modelParser{row.File, 1 << 20}, model)
	}
}

// externalModel is a model with a tensor of the given dimension and external data of the given keys and values.
func externalModel(dim uint64, pairs ...string) []byte {
	t := number(number(nil, tensorDims, dim), tensorDataType, 1)
	for i := 0; i < len(pairs); i += 2 {
		t = field(t, tensorExternal, field(field(nil, 1, []byte(pairs[i])), 2, []byte(pairs[i+1])))
	}
	return file(field(nil, graphInitializer, t))
}

func TestExternal(t *testing.T) {
	const name = "m.onnx_data"
	for what, c := range map[string]struct {
		b     []byte
		bytes int64
		err   error
	}{
		"good":               {externalModel(2, "location", name, "offset", "8", "length", "8"), 8, nil},
		"no length":          {externalModel(2, "location", "./"+name), 8, nil},
		"another file":       {externalModel(2, "location", "other.onnx_data", "length", "8"), 0, nil},
		"another directory":  {externalModel(2, "location", "../"+name, "length", "8"), 0, nil},
		"negative":           {externalModel(2, "location", name, "offset", "-1", "length", "8"), 0, nil},
		"no number":          {externalModel(2, "location", name, "length", "eight"), 0, nil},
		"a huge number":      {externalModel(2, "location", name, "length", "9999999999999999999999"), 0, nil},
		"past the end":       {externalModel(2, "location", name, "offset", "96", "length", "8"), 0, format.ErrDamaged},
		"far past the end":   {externalModel(1<<60, "location", name, "length", "4611686018427387903"), 0, format.ErrDamaged},
		"shape without end":  {externalModel(1<<62, "location", name), 0, nil},
		"length of nothing":  {externalModel(2, "location", name, "length", "0"), 0, nil},
		"not a model":        {[]byte("hello"), 0, format.ErrUnknown},
		"shape does not fit": {externalModel(3, "location", name, "length", "8"), 8, nil},
	} {
		l, err := ParseData(bytes.NewReader(c.b), int64(len(c.b)), name, 100)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", what, err, c.err)
			continue
		}
		if err != nil {
			continue
		}
		n := int64(0)
		for _, p := range l.Payloads {
			n += p.Length
		}
		if err := l.Check(100); err != nil || n != c.bytes {
			t.Errorf("%s: %d bytes, %v; want %d", what, n, err, c.bytes)
		}
	}
}

func TestModelName(t *testing.T) {
	for name, want := range map[string]string{
		"model.onnx.data": "model.onnx", "model.onnx_data": "model.onnx", "model_q4.onnx_data_1": "model_q4.onnx", "a.onnx.b.onnx.data": "a.onnx.b.onnx",
		"model.onnx": "", "model.data": "", ".onnx_data": "", "model.onnx.bak": "", "": "",
	} {
		if got, _ := ModelName(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzData(f *testing.F) {
	for _, row := range formattest.RowsOf(f, "external.json") {
		model, _ := ModelName(row.File)
		f.Add(formattest.File(f, model), int64(1000))
	}
	f.Add(externalModel(2, "location", "large.onnx_data", "offset", "8", "length", "8"), int64(20))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		l, err := ParseData(bytes.NewReader(b), int64(len(b)), "large.onnx_data", size&(1<<40-1))
		if err != nil {
			if !errors.Is(err, format.ErrDamaged) && !errors.Is(err, format.ErrUnknown) {
				t.Errorf("error of no class: %v", err)
			}
			return
		}
		if err := l.Check(size & (1<<40 - 1)); err != nil {
			t.Error(err)
		}
	})
}
