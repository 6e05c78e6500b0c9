package control

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "\xff\xfe", "a\x80b", "naïve \U0001f40b \\ud800 \" < > &", "\xed\xb2\x80", "\ufffd", "\xf0\x9f\x90", "new\nline\x00", "\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(struct{ T Text }{Text(s)})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ T Text }
		if err := json.Unmarshal(b, &got); err != nil || string(got.T) != s {
			t.Fatalf("%q became %s, %q, %v", s, b, got.T, err)
		}
		if plain, _ := json.Marshal(s); utf8.ValidString(s) && string(b) != `{"T":`+string(plain)+`}` {
			t.Fatalf("%q: %s is not the ordinary form", s, b)
		}
	})
}

func TestLossy(t *testing.T) {
	for s, want := range map[string]bool{"": false, "plain": false, "\xff": true, "\ufffd": false, `\ufffd`: false, `\\ufffd`: false, "\\\xff": true} {
		if raw, _ := json.Marshal(s); lossy(raw) != want {
			t.Errorf("%q as %s: %v", s, raw, !want)
		}
		if raw, _ := json.Marshal(Text(s)); lossy(raw) {
			t.Errorf("%q as Text %s is lossy", s, raw)
		}
	}
}

func TestTextDecode(t *testing.T) {
	for in, want := range map[string]string{
		`"\udcff"`: "\xff", `"x\udc80\udc81"`: "x\x80\x81", `"\ud83d\udc0b"`: "\U0001f40b", `"\udc0b"`: "\ufffd", `"\\udcff"`: `\udcff`, `"\ud83d"`: "\ufffd",
		`"\ud83d\udcff"`: "\U0001f4ff", `null`: "",
	} {
		var got Text
		if err := json.Unmarshal([]byte(in), &got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	var got Text
	if err := json.Unmarshal([]byte(`5`), &got); err == nil {
		t.Error("a number was taken for text")
	}
}
