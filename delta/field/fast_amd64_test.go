//go:build !purego

package field

// portable runs fn without vector instructions.
func portable(fn func()) {
	was := vector
	defer func() { vector = was }()
	vector = false
	fn()
}
