//go:build !amd64 || purego

package rans

func fastDecode(_, _ []byte, _ *Table, _ *[wideLanes]uint32) (done, read int) { return 0, 0 }
