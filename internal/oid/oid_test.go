package oid

import (
	"encoding/json"
	"errors"
	"testing"

	"coral/internal/errs"
)

func TestParseRoundTrip(t *testing.T) {
	id := Sum([]byte("coral"))
	got, err := Parse(id.String())
	if err != nil || got != id {
		t.Fatalf("Parse(%s) = %s, %v", id, got, err)
	}
	for _, bad := range []string{"", "abc", id.String()[:63], id.String() + "0", "zz" + id.String()[2:]} {
		if _, err := Parse(bad); !errors.Is(err, errs.Invalid) {
			t.Errorf("Parse(%q) = %v, want errs.Invalid", bad, err)
		}
	}
}

func TestHasherEqualsSum(t *testing.T) {
	h := NewHasher()
	for _, p := range []string{"a", "", "bc"} {
		if _, err := h.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := h.Sum(), Sum([]byte("abc")); got != want {
		t.Fatalf("streamed %s, whole %s", got, want)
	}
}

func TestJSON(t *testing.T) {
	in := map[string]ID{"a": Sum(nil), "zero": {}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]ID
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if out["a"] != in["a"] || !out["zero"].IsZero() {
		t.Fatalf("got %v from %s", out, b)
	}
}
