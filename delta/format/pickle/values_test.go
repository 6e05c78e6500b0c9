package pickle

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/scan"
)

func details(p string) (*Details, error) {
	return ScanDetails(scan.New(strings.NewReader(p), 0, int64(len(p))))
}

// TestDetails: what stands beside tensors in a dict, of each opcode that pickle uses for it.
func TestDetails(t *testing.T) {
	quant := "ctorch._utils\n_rebuild_qtensor\n"
	number := "G" + string([]byte{0x3f, 0xa9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a}) // 0.05
	for name, c := range map[string]struct {
		pickle string
		want   []Value
		quant  []Quantizer
	}{
		"kinds": {"}(" + str("lr") + number + str("one") + "F1\n" + str("n") + "J\xff\xff\xff\xff" + str("s") + str("é\"") + str("t") + "\x88" + str("none") + "N" + str("nan") + "Fnan\n" + str("inf") + "F-inf\n" + str("w") + ten("0") + "u.",
			[]Value{{"lr", "0.05"}, {"one", "1.0"}, {"n", "-1"}, {"s", `"é\""`}, {"t", "true"}, {"none", "null"}, {"nan", `"NaN"`}, {"inf", `"-Infinity"`}}, nil},
		"nested":     {"}" + str("groups") + "](}(" + str("betas") + number + "K\x01\x86" + str("params") + "](K\x00K\x01eues.", []Value{{"groups.0.betas", "[0.05,1]"}, {"groups.0.params", "[0,1]"}}, nil},
		"no value":   {"}(" + str("empty") + "]" + str("class") + "cos\nsystem\n" + str("bytes") + "C\x01x" + str("mixed") + "](K\x01]eu.", []Value{{"mixed.0", "1"}}, nil},
		"alone":      {"K\x07.", []Value{{RootName, "7"}}, nil},
		"object":     {"c__main__\nArgs\n)\x81}" + str("lr") + number + "sb.", []Value{{"lr", "0.05"}}, nil},
		"a tensor":   {"}" + str("q") + quant + "(" + stored("torch QInt8Storage", "0") + "K\x00K\x02K\x03\x86K\x03K\x01\x86(ctorch\nper_tensor_affine\n" + number + "K\x03t\x89NtRs.", nil, []Quantizer{{Name: "q", Scheme: "per_tensor_affine", Scale: 0.05, ZeroPoint: 3}}},
		"by channel": {"}" + str("q") + quant + "(" + stored("torch QInt8Storage", "0") + "K\x00K\x02K\x03\x86K\x03K\x01\x86(ctorch\nper_channel_affine\n" + ten("1") + ten("2") + "K\x01t\x89NtRs.", nil, []Quantizer{{Name: "q", Scheme: "per_channel_affine", Channels: true, Axis: 1}}},
	} {
		d, err := details(c.pickle)
		if err != nil || !slices.Equal(d.Values, c.want) || !slices.Equal(d.Quantizers, c.quant) || d.Left != 0 {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		res, err := run(t, c.pickle)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, q := range c.quant {
			if !slices.ContainsFunc(res.Tensors, func(x Tensor) bool { return x.Name == q.Name }) {
				t.Errorf("%s: no tensor %s", name, q.Name)
			}
		}
	}
}

// TestDetailsBounds: what is too much is counted, and costs no time: a list that is there a million times, and one of a million items.
func TestDetailsBounds(t *testing.T) {
	long := "](" + strings.Repeat("K\x01", maxItems) + "eq\x00]("
	d, err := details(long + strings.Repeat("h\x00", 1_000_000) + "e.")
	if err != nil || len(d.Values) != 31 || d.Left != 1+maxItems {
		t.Errorf("%d values, %d left, %v", len(d.Values), d.Left, err)
	}
	d, err = details("](" + strings.Repeat("K\x01", 1_000_000) + "e.")
	if err != nil || len(d.Values) == 0 || d.Left != 1_000_000-len(d.Values) {
		t.Errorf("%d values, %d left, %v", len(d.Values), d.Left, err)
	}
	if d, err = details("}" + str("a") + "K\x01s"); !errors.Is(err, format.ErrDamaged) || len(d.Values) != 1 {
		t.Errorf("cut off: %+v, %v", d, err)
	}
}

// FuzzDetails: the tensors of a pickle are the same whether details are wanted or not.
func FuzzDetails(f *testing.F) {
	f.Add("}" + str("a") + "](K\x01N\x88es.")
	f.Add("}" + str("w") + ten("0") + "s.")
	f.Fuzz(func(t *testing.T, p string) {
		d, err := details(p)
		res, rerr := Scan(scan.New(strings.NewReader(p), 0, int64(len(p))))
		if err == nil && rerr != nil || len(d.Quantizers) > len(res.Tensors) {
			t.Errorf("%v, %v", err, rerr)
		}
		n := 0
		for _, v := range d.Values {
			n += len(v.Name) + len(v.JSON)
		}
		if n > MaxValues {
			t.Errorf("%d bytes of values", n)
		}
	})
}
