//go:build !purego

package plane

import "testing"

// TestPortable runs the tests of splitting again without vector instructions.
func TestPortable(t *testing.T) {
	if !vector {
		t.Skip("the processor has no AVX2: the portable loops ran already")
	}
	defer func() { vector = true }()
	vector = false
	t.Run("split", TestSplitMergeEqualsPlain)
	t.Run("bounds", TestNothingOutside)
}
