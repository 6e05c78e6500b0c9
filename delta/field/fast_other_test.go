//go:build !amd64 || purego

package field

func portable(fn func()) { fn() }
