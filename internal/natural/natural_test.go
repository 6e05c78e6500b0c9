package natural

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestCompare(t *testing.T) {
	want := []string{"", "a", "a1", "a1b", "a2", "a10", "a10.5", "a10.12", "a99999999999999999999", "a100000000000000000000", "b"}
	got := slices.Clone(want)
	slices.Reverse(got)
	if slices.SortFunc(got, Total); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if Compare("a01", "a1") != 0 || Total("a01", "a1") >= 0 || Compare("a0", "a00") != 0 {
		t.Error("leading zeros")
	}
}

// TestTotal: Total is an order: antisymmetric, transitive, and 0 for equal names only.
func TestTotal(t *testing.T) {
	name := rapid.StringMatching(`([a0-2]|10|.){0,5}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c")
		if Total(a, b) != -Total(b, a) || (Total(a, b) == 0) != (a == b) {
			t.Fatalf("%q and %q: %d, %d", a, b, Total(a, b), Total(b, a))
		}
		if Total(a, b) <= 0 && Total(b, c) <= 0 && Total(a, c) > 0 {
			t.Fatalf("%q ≤ %q ≤ %q", a, b, c)
		}
	})
}
