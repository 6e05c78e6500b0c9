//go:build !amd64

package rans

import "testing"

func portable(_ testing.TB, fn func()) { fn() }
