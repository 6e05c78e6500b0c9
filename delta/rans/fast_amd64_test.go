//go:build !purego

package rans

import "testing"

// portable runs fn without vector instructions.
func portable(_ testing.TB, fn func()) {
	was := vector
	defer func() { vector = was }()
	vector = false
	fn()
}
