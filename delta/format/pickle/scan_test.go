package pickle

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/format/scan"
)

// Fragments of pickles as torch writes them.

// str is a string.
func str(s string) string { return "X" + string([]byte{byte(len(s)), 0, 0, 0}) + s }

// stored is a storage of six elements.
func stored(class, key string) string {
	return "(" + str("storage") + "c" + strings.Replace(class, " ", "\n", 1) + "\n" + str(key) + str("cpu") + "K\x06tQ"
}

const v2 = "ctorch._utils\n_rebuild_tensor_v2\n"

// args are the arguments of a rebuild of a 2×3 tensor, up to the hooks.
func args(storage string) string {
	return "(" + storage + "K\x00K\x02K\x03\x86K\x03K\x01\x86\x89N"
}

// ten is a tensor of 2×3 floats in the storage of that key.
func ten(key string) string { return v2 + args(stored("torch FloatStorage", key)) + "tR" }

func run(t *testing.T, p string) (*Result, error) {
	t.Helper()
	return Scan(scan.New(strings.NewReader(p), 0, int64(len(p))))
}

func names(res *Result) string {
	var out []string
	for _, x := range res.Tensors {
		out = append(out, fmt.Sprintf("%s=%s:%s%v", x.Name, res.Storages[x.Storage].Key, x.Kind, x.Shape))
	}
	return strings.Join(out, " ")
}

func storages(res *Result) string {
	var out []string
	for _, x := range res.Storages {
		out = append(out, fmt.Sprintf("%s=%s:%s", x.Key, x.Name, x.Kind))
	}
	return strings.Join(out, " ")
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name, pickle, tensors, storages string
	}{
		{"bare", ten("0") + ".", "tensor=0:F32[2 3]", "0=tensor:F32"},
		{"dict", "}(" + str("a") + ten("0") + str("b") + "}" + str("c") + ten("1") + "su.", "a=0:F32[2 3] b.c=1:F32[2 3]", "0=a:F32 1=b.c:F32"},
		{"protocol 0 dict", "(dS'a'\n" + ten("0") + "s.", "a=0:F32[2 3]", "0=a:F32"},
		{"text", "(dV\u00e4\n" + ten("0") + "s.", "ä=0:F32[2 3]", "0=ä:F32"},
		{"list", "](NK\x07" + ten("0") + "e" + ten("1") + "a.", "2=0:F32[2 3] 3=1:F32[2 3]", "0=2:F32 1=3:F32"},
		{"marked list", "(N" + ten("0") + "l.", "1=0:F32[2 3]", "0=1:F32"},
		{"marked dict", "(K\x05" + ten("0") + "d.", "5=0:F32[2 3]", "0=5:F32"},
		{"tuple", "(N(" + ten("0") + "ttN.", "", "0=:F32"}, // STOP takes the top; the walk begins at the bottom all the same
		{"tuple in tuple", "(N(" + ten("0") + "tt.", "1.0=0:F32[2 3]", "0=1.0:F32"},
		{"int and bool keys", "}(K\x03" + ten("0") + "\x88" + ten("1") + "J\xfe\xff\xff\xff" + ten("2") + "u.", "3=0:F32[2 3] True=1:F32[2 3] -2=2:F32[2 3]", "0=3:F32 1=True:F32 2=-2:F32"},
		{"odd key", "}G12345678" + ten("0") + "s.", "#0=0:F32[2 3]", "0=#0:F32"},
		{"set", "\x8f(" + ten("0") + "\x90.", "0=0:F32[2 3]", "0=0:F32"},
		{"frozen set", "(" + ten("0") + "\x91.", "0=0:F32[2 3]", "0=0:F32"},
		{"ordered", "ccollections\nOrderedDict\n)R" + str("w") + ten("0") + "s.", "w=0:F32[2 3]", "0=w:F32"},
		{"ordered with metadata", "ccollections\nOrderedDict\n)R" + str("w") + ten("0") + "s}" + str("_metadata") + "}sb.", "w=0:F32[2 3]", "0=w:F32"},
		{"python 2 ordered", "ccollections\nOrderedDict\n](](" + str("w") + ten("0") + "e](" + str("v") + ten("1") + "ee\x85R.", "w=0:F32[2 3] v=1:F32[2 3]", "0=w:F32 1=v:F32"},
		{"parameter", "}" + str("p") + "ctorch._utils\n_rebuild_parameter\n(" + ten("0") + "\x88NtRs.", "p=0:F32[2 3]", "0=p:F32"},
		{"subclass", "}" + str("p") + "ctorch._tensor\n_rebuild_from_type_v2\n(" + v2 + "cx\nY\n" + args(stored("torch FloatStorage", "0")) + "t}tRs.", "p=0:F32[2 3]", "0=p:F32"},
		{"attribute of a tensor", "}" + str("p") + "ctorch._tensor\n_rebuild_from_type_v2\n(" + v2 + "cx\nY\n" + args(stored("torch FloatStorage", "0")) + "t}" + str("a") + ten("1") + "stRs.",
			"p=0:F32[2 3] p.a=1:F32[2 3]", "0=p:F32 1=p.a:F32"},
		{"pair of tensors as a state", "cx\nNet\n)\x81" + ten("0") + ten("1") + "\x86b.", "0=0:F32[2 3] 1=1:F32[2 3]", "0=0:F32 1=1:F32"},
		{"float8", "}" + str("p") + "ctorch._utils\n_rebuild_tensor_v3\n" + args(stored("torch.storage UntypedStorage", "0")) + "ctorch\nfloat8_e5m2\ntRs.", "p=0:F8_E5M2[2 3]", "0=p:F8_E5M2"},
		{"unknown dtype", "}" + str("p") + "ctorch._utils\n_rebuild_tensor_v3\n" + args(stored("torch.storage UntypedStorage", "0")) + "ctorch\nfloat3\ntRs.", "", "0=p.0:BYTES"},
		{"unknown storage class", "}" + str("p") + v2 + args(stored("torch FancyStorage", "0")) + "tRs.", "p=0:BYTES[2 3]", "0=p:BYTES"},
		{"unknown function", "}" + str("p") + "cx\nf\n(N" + ten("0") + "tRs.", "p.1=0:F32[2 3]", "0=p.1:F32"},
		{"odd shape", "}" + str("p") + v2 + "(" + stored("torch FloatStorage", "0") + "K\x00](K\x02K\x03eK\x01\x85tRs.", "", "0=p.0:F32"},
		{"module", "cx\nNet\n)\x81}(" + str("training") + "\x88" + str("_parameters") + "}" + str("w") + ten("0") + "s" +
			str("_modules") + "}" + str("l") + "cx\nLayer\n)\x81}" + str("_buffers") + "}" + str("b") + ten("1") + "ssbs" + str("own") + ten("2") + "ub.",
			"w=0:F32[2 3] l.b=1:F32[2 3] own=2:F32[2 3]", "0=w:F32 1=l.b:F32 2=own:F32"},
		{"slots", "cx\nNet\n)\x81N}" + str("w") + ten("0") + "s\x86b.", "w=0:F32[2 3]", "0=w:F32"},
		{"inst", "(" + ten("0") + "ix\nNet\n.", "0=0:F32[2 3]", "0=0:F32"},
		{"obj", "(cx\nNet\n" + ten("0") + "o.", "0=0:F32[2 3]", "0=0:F32"},
		{"newobj_ex", "cx\nNet\n" + ten("0") + "\x85}\x92.", "0=0:F32[2 3]", "0=0:F32"},
		{"source of a class", "(" + str("module") + "ccollections\nOrderedDict\n" + str("f.py") + str("class X") + "tQ)R" + str("w") + ten("0") + "s.", "w=0:F32[2 3]", "0=w:F32"},
		{"tied", "}(" + str("a") + ten("7") + "q\x01" + str("b") + ten("7") + str("c") + "h\x01u.", "a=7:F32[2 3] b=7:F32[2 3] c=7:F32[2 3]", "7=a:F32"},
		{"best name", "}(" + str("part") + strings.Replace(ten("0"), "K\x00K\x02K\x03\x86K\x03", "K\x03K\x01K\x03\x86K\x03", 1) + str("all") + ten("0") + "u.", "part=0:F32[1 3] all=0:F32[2 3]", "0=all:F32"},
		{"bare storage", "}" + str("s") + stored("torch ByteStorage", "0") + "s.", "", "0=s:U8"},
		{"shared container", "}(" + str("a") + "}q\x00" + str("w") + ten("0") + "s" + str("b") + "h\x00u.", "a.w=0:F32[2 3]", "0=a.w:F32"},
		{"cycle", "]q\x00(h\x00" + ten("0") + "e.", "1=0:F32[2 3]", "0=1:F32"},
		{"protocol 4", "\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94" + args(stored("torch FloatStorage", "0")) + "tRs.", "a=0:F32[2 3]", "0=a:F32"},
		{"memo", "}p0\n0g0\nr\x00\x01\x00\x000j\x00\x01\x00\x00" + str("a") + ten("0") + "s.", "a=0:F32[2 3]", "0=a:F32"},
		{"long key", "}\x8a\x01\xff" + ten("0") + "sL12L\n" + ten("1") + "s.", "-1=0:F32[2 3] 12=1:F32[2 3]", "0=-1:F32 1=12:F32"},
		{"empty key", "}" + str("") + ten("0") + "s.", "tensor=0:F32[2 3]", "0=tensor:F32"},
		{"not UTF-8", "}" + str("a\xff") + ten("0") + "s.", "a\uFFFD=0:F32[2 3]", "0=a\uFFFD:F32"},
		{"pop and dup", "}20K\x010(1" + str("a") + ten("0") + "s.", "a=0:F32[2 3]", "0=a:F32"},
	} {
		res, err := run(t, c.pickle)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := names(res); got != c.tensors {
			t.Errorf("%s: tensors\n\t%s, want\n\t%s", c.name, got, c.tensors)
		}
		if got := storages(res); got != c.storages {
			t.Errorf("%s: storages\n\t%s, want\n\t%s", c.name, got, c.storages)
		}
	}
}

// TestLegacyView: the sixth item of a legacy storage's id says where a view begins.
func TestLegacyView(t *testing.T) {
	id := strings.Replace(stored("torch FloatStorage", "0"), "tQ", "("+str("9")+"K\x04K\x02ttQ", 1)
	res, err := run(t, v2+args(id)+"tR.")
	if err != nil || len(res.Tensors) != 1 || res.Tensors[0].Offset != 4 {
		t.Errorf("%+v, %v; want offset 4", res.Tensors, err)
	}
}

func TestRoot(t *testing.T) {
	res, err := run(t, "]("+str("b")+str("a")+str("c")+"e.")
	if want := []string{"b", "a", "c"}; err != nil || !slices.Equal(res.Root.Strings, want) {
		t.Errorf("strings %q, %v", res.Root.Strings, err)
	}
	if res, err := run(t, "]."); err != nil || res.Root.Strings == nil {
		t.Errorf("no strings: %v, %v", res.Root.Strings, err)
	}
	if res, err := run(t, "]("+str("b")+"Ne."); err != nil || res.Root.Strings != nil {
		t.Errorf("mixed list: %v, %v", res.Root.Strings, err)
	}
	if res, err := run(t, "}("+str("little_endian")+"\x88"+str("x")+"I00\n"+str("y")+"Nu."); err != nil || len(res.Root.Flags) != 2 || !res.Root.Flags["little_endian"] {
		t.Errorf("flags %v, %v", res.Root.Flags, err)
	}
}

// TestPartial: what was found before the damage stays.
func TestPartial(t *testing.T) {
	whole := "}(" + str("a") + ten("0") + "u(" + str("b") + ten("1")
	for _, tail := range []string{"", "\xff", "u", "R", "X\xff\xff\xff\xff", "h\x07", "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"} {
		res, err := run(t, whole+tail)
		if !errors.Is(err, format.ErrDamaged) {
			t.Errorf("tail %q: %v, want ErrDamaged", tail, err)
		}
		if len(res.Tensors) == 0 || res.Tensors[0].Name != "a" || len(res.Storages) != 2 || res.Storages[1].Kind != dtype.F32 {
			t.Errorf("tail %q: %s; %s", tail, names(res), storages(res))
		}
	}
}

func TestDamaged(t *testing.T) {
	for name, p := range map[string]string{
		"empty":            "",
		"empty stack":      "0.",
		"no mark":          "t.",
		"append to none":   "Na.",
		"below the mark":   "N(0R.",
		"unknown memo":     "h\x00.",
		"memo not number":  "px\n.",
		"memo too large":   "Np99999999999\n.",
		"put nothing":      "q\x00.",
		"half a pair":      "}(Nu.",
		"object of none":   "(o.",
		"unknown opcode":   "\x00.",
		"line without end": "cabc",
	} {
		if _, err := run(t, p); !errors.Is(err, format.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}

// TestHostile runs pickles that would exhaust a naive reader: megabytes that nest, double, or fill the stack
// and memo. All must end, with whatever result, having allocated a bounded amount.
func TestHostile(t *testing.T) {
	const n = 3 << 20
	rep := strings.Repeat
	for name, p := range map[string]string{
		"nested lists":      rep("]", n) + rep("a", n) + ".",
		"nested tuples":     ")" + rep("\x85", n) + ".",
		"doubling tuples":   ")" + rep("2\x86", n/2) + ".",
		"doubling lists":    "]" + rep("2a", n/2) + ".",
		"wide doubling":     ")" + rep("222\x87", n/4) + ten("0") + "\x86.",
		"nested dicts":      rep("}K\x01", n/3) + rep("Ns", n/3) + ".",
		"marks":             rep("(", n) + ".",
		"marked lists":      rep("(l", n/2) + ".",
		"deep stack":        rep("N", n) + ".",
		"memo":              "N" + rep("\x94", n) + ".",
		"sparse memo":       "N" + rep("r\xff\xff\xff\xffr\x00\x00\xff\xff", n/10) + ".",
		"strings":           "](" + rep(str("a"), n/6) + "e.",
		"strings in a memo": rep(str("a")+"\x940", n/8) + ".",
		"integers":          rep("J\xff\xff\xff\x7f0", n/6) + ".",
		"storages":          rep(stored("torch FloatStorage", "0"), n/64) + ".",
		"objects":           "]" + rep("cx\nY\n)Ra", n/8) + ".",
		"nested objects":    rep("cx\nY\n", n/6) + "N" + rep("\x85R", n/6) + ".",
		"states":            "cx\nY\n)R" + rep("}b", n/2) + ".",
		"nested states":     rep("cx\nY\n)R", n/8) + rep("b", n/8) + ".",
		"frames":            rep("\x95\x00\x00\x00\x00\x00\x00\x00\x00", n/9) + "N.",
		"lines":             rep("F1\n0", n/4) + ".",
		"long line":         "c" + rep("x", n) + "\ny\n.",
		"flags":             "}(" + rep("\x88\x89", n/2) + "u.",
		"one tensor often":  "](" + ten("0") + "q\x00" + rep("h\x00", n/2) + "e.",
		"deep path":         ten("0") + "q\x000]q\x01" + rep("]q\x02ah\x02", n/6) + "h\x00a.",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			res, err := run(t, p)
			runtime.ReadMemStats(&after)
			if err != nil && !errors.Is(err, format.ErrDamaged) {
				t.Errorf("error of no class: %v", err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 512<<20 {
				t.Errorf("%d MiB allocated for %d bytes", used>>20, len(p))
			}
			if len(res.Tensors) > format.MaxTensors {
				t.Errorf("%d tensors", len(res.Tensors))
			}
		})
	}
}

// TestNestedFromType: the arguments of _rebuild_from_type_v2 may be those of another one, as deep as the pickle is long.
func TestNestedFromType(t *testing.T) {
	const fn, depth = "ctorch._tensor\n_rebuild_from_type_v2\n", 10_000
	p := strings.Repeat("("+fn+"N", depth) + "(" + v2 + "N" + args(stored("torch FloatStorage", "0")) + "t}t" + strings.Repeat("}t", depth)
	res, err := run(t, fn+p+"R.")
	if err != nil || len(res.Tensors) != 1 {
		t.Errorf("%d tensors, %v", len(res.Tensors), err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("}(" + str("a") + ten("0") + str("b") + "](" + ten("1") + "eu."))
	f.Add([]byte("}" + str("p") + "ctorch._tensor\n_rebuild_from_type_v2\n(" + v2 + "cx\nY\n" + args(stored("torch FloatStorage", "0")) + "t}" + str("a") + ten("1") + "stRs."))
	f.Add([]byte("cx\nNet\n)\x81}" + str("_parameters") + "}" + str("w") + ten("0") + "ssb."))
	f.Add([]byte("\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94\x8c\x01b\x93\x94)R\x940."))
	f.Add([]byte("(dS'a'\nI01\nsp0\n0g0\nL12L\n\x8a\x02\x01\x02F1.5\n."))
	f.Fuzz(func(t *testing.T, b []byte) {
		res, err := Scan(scan.New(bytes.NewReader(b), 0, int64(len(b))))
		if err != nil && !errors.Is(err, format.ErrDamaged) {
			t.Errorf("error of no class: %v", err)
		}
		for _, x := range res.Tensors {
			if x.Storage < 0 || x.Storage >= len(res.Storages) || x.Offset < 0 || x.Stride != nil && len(x.Stride) != len(x.Shape) || x.Name == "" {
				t.Errorf("tensor %+v", x)
			}
		}
	})
}
