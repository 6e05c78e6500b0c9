package vfs

import (
	"bytes"
	"testing"
)

func TestSkip(t *testing.T) {
	bufs := [][]byte{[]byte("ab"), nil, []byte("cde")}
	for n, want := range []string{"abcde", "bcde", "cde", "de", "e", ""} {
		if got := string(bytes.Join(skip(bufs, n), nil)); got != want {
			t.Errorf("skip %d: %q, want %q", n, got, want)
		}
	}
}
