//go:build !amd64 || purego

package rans

import "testing"

func portable(_ testing.TB, fn func()) { fn() }
