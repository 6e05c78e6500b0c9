//go:build !amd64

package field

func portable(fn func()) { fn() }
