package method

import (
	"crypto/sha256"
	"encoding/binary"
)

// random keeps changes by chance: element i if the i-th number of SplitMix64 (Steele, Lea, Flood 2014), begun at a key, lies below the density. The key is
// the first 8 bytes, little endian, of the SHA-256 of "coral dare", the seed and the side as 8 bytes each, little endian, and the tensor's name. What is recorded
// with merges relies on it: it is fixed.
type random struct {
	key     uint64
	density float64
}

func newRandom(seed uint64, tensor string, side int, density float64) *random {
	b := append([]byte("coral dare"), make([]byte, 16)...)
	binary.LittleEndian.PutUint64(b[10:], seed)
	binary.LittleEndian.PutUint64(b[18:], uint64(side))
	sum := sha256.Sum256(append(b, tensor...))
	return &random{key: binary.LittleEndian.Uint64(sum[:8]), density: density}
}

func (r *random) keep(at int64, _ float64) bool {
	z := r.key + (uint64(at)+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11)*0x1p-53 < r.density
}

func (r *random) reset() {}
