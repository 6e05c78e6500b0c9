package delta

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
	"coral/delta/lossy"
)

var update = flag.Bool("update", false, "write missing files of testdata/v1; never those that exist")

// golden are blobs whose payloads, as the first version wrote them, are kept in testdata/v1:
// every later version must decode them to the same bytes. Encoders may choose other bytes later.
var golden = []struct {
	name            string
	dt              dtype.Kind
	shape, relation string
	length          int
	codec           string
	strategy        Strategy
}{
	{"zero", dtype.F32, "zeros", "none", 300, "zero", Auto},
	{"constant", dtype.F32, "constant", "none", 301, "constant", Auto},
	{"zstd", dtype.Bytes, "text", "none", 1500, "zstd", Auto},
	{"split-bf16", dtype.BF16, "gauss", "none", 1501, "split", Auto},
	{"split-f16", dtype.F16, "gauss", "none", 1501, "split", Auto},
	{"split-f32", dtype.F32, "gauss", "none", 1503, "split", Auto},
	{"split-f32-upcast", dtype.F32, "upcast", "none", 1500, "split", Auto},
	{"split-f64", dtype.F64, "gauss", "none", 2999, "split", Auto},
	{"split-f64-upcast", dtype.F64, "upcast", "none", 3000, "split", Auto},
	{"split-i16", dtype.I16, "gauss", "none", 1501, "split", Auto},
	{"same", dtype.F32, "gauss", "same", 1500, "same", Auto},
	{"ordint-bf16", dtype.BF16, "gauss", "near", 3001, "ordint", Auto},
	{"ordint-bf16-masked", dtype.BF16, "gauss", "rows", 3001, "ordint", Auto},
	{"ordint-f16", dtype.F16, "gauss", "near", 3000, "ordint", Auto},
	{"ordint-f32", dtype.F32, "gauss", "near", 3002, "ordint", Auto},
	{"ordint-f32-upcast", dtype.F32, "upcast", "upcast", 3000, "ordint", Auto},
	{"ordint-f32-blocks", dtype.F32, "halfzero", "sparse", 66000, "ordint", Auto},
	{"columns-bf16", dtype.BF16, "gauss", "none", 9001, "columns", Auto},
	{"columns-f32", dtype.F32, "gauss", "none", 40003, "columns", Auto},
	{"columns-f32-halfupcast", dtype.F32, "halfupcast", "none", 9003, "columns", Auto},
	{"columns-f32-halfzero", dtype.F32, "halfzero", "none", 9003, "columns", Auto},
	{"columns-f32-positive", dtype.F32, "positive", "none", 9003, "columns", Auto},
	{"columns-f16", dtype.F16, "skewed", "none", 9001, "columns", Auto},
	{"columns-f8", dtype.F8E4M3, "gauss", "none", 40003, "columns", Auto},
	{"columns-bool", dtype.Bool, "skewed", "none", 9001, "columns", Auto},
	{"columns-q4-0", dtype.Q4_0, "gauss", "none", 9001, "columns", Auto},
	{"columns-q5-1", dtype.Q5_1, "quants", "none", 9001, "columns", Auto},
	{"columns-q8-0", dtype.Q8_0, "gauss", "none", 9001, "columns", Auto},
	{"columns-q3-k", dtype.Q3_K, "quants", "none", 70001, "columns", Auto},
	{"columns-q4-k", dtype.Q4_K, "quants", "none", 9001, "columns", Auto},
	{"columns-q5-k", dtype.Q5_K, "quants", "none", 9001, "columns", Auto},
	{"columns-q6-k", dtype.Q6_K, "quants", "none", 9001, "columns", Auto},
	{"palette-f32", dtype.F32, "palette", "none", 9003, "palette", Auto},
	{"palette-bf16", dtype.BF16, "palette", "none", 20001, "palette", Auto},
	{"coralml-float32-raw", dtype.F32, "upcast", "second block", 69001, "float32_raw", Float32Raw},
	{"coralml-compressed-f32", dtype.F32, "gauss", "sparse", 3002, "compressed", Compressed},
	{"coralml-compressed-f16", dtype.F16, "gauss", "sparse", 3001, "compressed", Compressed},
	{"coralml-xor-float32", dtype.F32, "gauss", "near", 3003, "xor_float32", XorFloat32},
	{"coralml-xor-bfloat16", dtype.BF16, "gauss", "near", 3001, "xor_bfloat16", XorBFloat16},
	{"coralml-xor-bfloat16-f64", dtype.F64, "gauss", "near", 3003, "xor_bfloat16", XorBFloat16},
	{"coralml-fields", dtype.F32, "gauss", "none", 3001, "exponent_mantissa", ExponentMantissa},
	{"lossy-quant8", dtype.F32, "gauss", "none", 3001, "quant8", Quantised8},
	{"lossy-quant8-base", dtype.F32, "gauss", "near", 3002, "quant8-base", Quantised8},
	{"lossy-quant16", dtype.F16, "gauss", "none", 3001, "quant16", Quantised16},
	{"lossy-quant16-base", dtype.F32, "gauss", "near", 3003, "quant16-base", Quantised16},
	{"lossy-axis-f32", dtype.F32, "gauss", "near", 3002, "axis", AxisScaled},
	{"lossy-axis-bf16", dtype.BF16, "gauss", "near", 3001, "axis", AxisScaled},
	{"coralml-fields-base", dtype.BF16, "gauss", "near", 3001, "exponent_mantissa-base", ExponentMantissa},
	{"predicted-steps", dtype.F32, "gauss", "decay", 69000, "predicted+ordint", Auto},
	{"predicted-scale", dtype.F32, "gauss", "scaled", 5003, "predicted+ordint", Auto},
	{"predicted-lerp", dtype.F32, "gauss", "lerped", 5003, "predicted+ordint", Auto},
	{"predicted-whole", dtype.F32, "gauss", "lerped", 1500, "predicted", Auto},
	{"difference-f64", dtype.F64, "gauss", "near", 3003, "difference", Auto},
	{"difference-f64-nan", dtype.F64, "nan", "near", 3000, "difference", Auto},
	{"difference-i8", dtype.I8, "gauss", "near", 3001, "difference", Auto},
	{"difference-u16", dtype.U16, "random", "near", 3001, "difference", Auto},
	{"difference-i32", dtype.I32, "gauss", "near", 3001, "difference", Auto},
	{"difference-u64", dtype.U64, "random", "near", 3001, "difference", Auto},
	{"difference-f8", dtype.F8E4M3, "random", "near", 3001, "difference", Auto},
	{"sparse-f32", dtype.F32, "gauss", "sparse", 9003, "sparse", Auto},
	{"sparse-bf16", dtype.BF16, "gauss", "sparse", 9001, "sparse", Auto},
	{"sparse-i8", dtype.U8, "gauss", "sparse", 9001, "sparse", Auto},
}

func TestGolden(t *testing.T) {
	for _, g := range golden {
		path := filepath.Join("testdata", "v1", g.name)
		if *update {
			writeGolden(t, path, g.strategy, g.dt, g.shape, g.relation, g.length)
		}
		raw, payload := readFile(t, path+".raw"), readFile(t, path+".payload")
		base, _ := os.ReadFile(path + ".base")
		got, err := decodeAll(payload, base, FrameBlocks)
		if err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: decoded to other bytes, or: %v", g.name, err)
			continue
		}
		h, err := ParseHeader(payload[:le.Uint32(payload[12:])], int64(len(payload)))
		if err != nil {
			t.Errorf("%s: %v", g.name, err)
			continue
		}
		if first, last := h.Codec(0), h.Codec(h.Blocks()-1); first != g.codec && last != g.codec {
			t.Errorf("%s: first block is %s, last is %s, want %s", g.name, first, last, g.codec)
		}
	}
}

func writeGolden(t *testing.T, path string, s Strategy, dt dtype.Kind, shape, relation string, n int) {
	t.Helper()
	if _, err := os.Stat(path + ".payload"); err == nil {
		return
	}
	raw := codectest.Blob(shape, dt, n, 1)
	base := codectest.Base(relation, raw, dt, 2)
	if relation == "upcast" || relation == "second block" {
		base = bytes.Clone(raw)
		first := 2
		if relation == "second block" {
			first += 1 << typedBlockLog
		}
		for i := first; i < len(base); i += 12 {
			base[i] ^= 1
		}
	}
	if relation == "scaled" || relation == "lerped" {
		raw, base = replayed(raw, relation), raw
	}
	approximate(t, s, raw, base, dt)
	payload, res, err := NewEncoder(WithStrategy(s)).Encode(nil, raw, base, dt)
	if err != nil || res.Codec != FrameBlocks {
		t.Fatalf("%s: codec %d, %v", path, res.Codec, err)
	}
	files := map[string][]byte{".raw": raw, ".payload": payload}
	if res.UsesBase {
		files[".base"] = base
	}
	for ext, b := range files {
		if err := os.WriteFile(path+ext, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// replayed returns what 15 steps without gradient make of Adam's moments in base; elements 400 to 783 have had one.
func replayed(base []byte, relation string) []byte {
	raw := bytes.Clone(base)
	for i := 0; i+4 <= len(raw); i += 4 {
		f := math.Float32frombits(le.Uint32(raw[i:]))
		for range 15 {
			if relation == "scaled" {
				f = float32(f * 0.999)
			} else {
				f = float32(float64(f) - float64(float64(f)*float64(float32(0.1))))
			}
		}
		if i/4 >= 400 && i/4 < 784 {
			f *= 1.5
		}
		le.PutUint32(raw[i:], math.Float32bits(f))
	}
	return raw
}

// approximate makes raw what a strategy for approximated tensors is for.
func approximate(t *testing.T, s Strategy, raw, base []byte, dt dtype.Kind) {
	t.Helper()
	method, ok := map[Strategy]lossy.Method{Quantised8: lossy.Int8, Quantised16: lossy.Int16, AxisScaled: lossy.PerAxis}[s]
	if !ok {
		return
	}
	a := new(lossy.Approximator)
	for at := 0; at < len(raw); at += BlockSize {
		to := min(at+BlockSize, len(raw))
		var under []byte
		if base != nil {
			under = base[at:to]
		}
		if !a.Block(raw[at:to], under, dt, lossy.Params{Method: method}, 100, 0, new(lossy.Errors)) {
			t.Fatal("block is not approximated")
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestPlainPayload spells out the smallest payload with a raw and a repeated block.
func TestPlainPayload(t *testing.T) {
	raw := append(codectest.Blob("random", dtype.F32, 1<<12, 1), bytes.Repeat([]byte{1, 2}, 50)...)
	p := []byte{0xc0, 0xdb, 1, byte(dtype.F32), 12, 0, 0, 0, 0x64, 0x10, 0, 0, 36, 0, 0, 0}
	p = appendEntry(p, entry{codec: codecRaw, stored: 1 << 12, sum: checksum(raw[:1<<12])})
	p = appendEntry(p, entry{codec: codecConst, stored: 2, sum: checksum(raw[1<<12:])})
	p = le.AppendUint32(p, checksum(p))
	p = append(append(p, raw[:1<<12]...), 1, 2)
	if got, err := decodeAll(p, nil, FrameBlocks); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("decoded to other bytes, or: %v", err)
	}
}
