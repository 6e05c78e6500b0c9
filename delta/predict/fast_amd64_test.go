//go:build !purego

package predict

import "testing"

// TestPortable runs the tests of elements again without vector instructions.
func TestPortable(t *testing.T) {
	if !vector {
		t.Skip("the processor has no AVX2 and FMA: the portable loops ran already")
	}
	defer func() { vector = true }()
	vector = false
	t.Run("apply", TestApply)
	t.Run("fit", TestFit)
}
