//go:build !amd64 || purego

package plane

func fastSplit16(_, _, _ []byte) int    { return 0 }
func fastMerge16(_, _, _ []byte) int    { return 0 }
func fastSplit32(_, _, _, _ []byte) int { return 0 }
func fastMerge32(_, _, _, _ []byte) int { return 0 }
