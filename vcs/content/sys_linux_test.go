package content

import (
	"os"
	"syscall"
	"testing"
)

// blocksOf returns the bytes that a file takes on disk.
func blocksOf(t *testing.T, st os.FileInfo) int64 {
	t.Helper()
	return st.Sys().(*syscall.Stat_t).Blocks * 512
}
