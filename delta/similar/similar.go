// Package similar tells which tensors resemble each other without comparing them: a Sketch is 256 bits made of a
// tensor's numbers, and the more bits of two sketches agree, the closer the two tensors point in one direction.
//
// Vocabulary. A fingerprint is a SimHash (Charikar 2002): each bit is the sign of a projection of the tensor on a random
// direction. Two tensors at the angle θ differ in about 256·θ/π bits, so the Hamming distance estimates their cosine;
// at the cosine 0.98 that is 16 bits with a standard deviation of 4. Before that the mean is taken away: the
// norms of a network all lie near 1, and their cosine says nothing. So what is estimated is Pearson's correlation; for
// weights, whose mean is near 0, it is the cosine. A fingerprint depends on neither scale nor offset, and hardly on the dtype: a
// BF16 copy of an F32 tensor has the same one but for a bit or two. It is made of at most 4,096 elements at fixed fractional
// positions of the first Unit elements.
//
// A key (LSH) is what an index finds sketches by: the element count and 16 of the fingerprint's bits; each sketch has one key in
// each of Tables tables. Two tensors of the cosine 0.98 share a key in a table with probability 0.35, in at least one with 0.999.
//
// Everything here is a pure function and may be called from any number of goroutines. Fingerprints are derived data: nothing that is
// read depends on them, but an index on disk holds them, so a change of this package must change Version.
package similar

import (
	"encoding/binary"
	"math"
	"math/bits"

	"coral/delta/format/dtype"
)

// Version of the fingerprints: ones of different versions must not be compared.
const Version = 1

const (
	// Bits in a fingerprint.
	Bits = 256
	// Size of a fingerprint in bytes.
	Size = Bits / 8
	// Unit is how many elements of a tensor are looked at, from its start: the elements of an F32 extent, so that the first half of a 16 MiB BF16
	// extent is comparable with it.
	Unit = 4 << 20
	// MinBytes is the least length of a tensor that is worth a sketch: a shorter one saves less as a delta than it costs to find its base.
	MinBytes = 16 << 10
	// MinElements is the least number of elements that a sketch is made of: fewer resemble each other by chance.
	MinElements = 64
)

// DefaultThreshold is the correlation from which two tensors are called similar.
const DefaultThreshold = 0.98

// Fingerprint is the signs of 256 projections, bit i in byte i/8.
type Fingerprint [Size]byte

// Distance is the number of bits in which f and g differ.
func (f *Fingerprint) Distance(g *Fingerprint) int {
	n := 0
	for i := 0; i < Size; i += 8 {
		n += bits.OnesCount64(binary.LittleEndian.Uint64(f[i:]) ^ binary.LittleEndian.Uint64(g[i:]))
	}
	return n
}

// Cosine is the correlation that a distance estimates.
func Cosine(distance int) float64 {
	return math.Cos(math.Pi * float64(distance) / Bits)
}

// MaxDistance is the distance within which 39 of 40 pairs of the given correlation lie: the mean and two standard deviations of the binomial distribution.
func MaxDistance(correlation float64) int {
	p := math.Acos(max(-1, min(1, correlation))) / math.Pi
	return int(Bits*p + 2*math.Sqrt(Bits*p*(1-p)))
}

// Sketch is what an index keeps of a tensor.
type Sketch struct {
	Fingerprint Fingerprint
	Count       uint32     // elements looked at: at most Unit. Only sketches of equal counts are comparable
	DType       dtype.Kind // of the tensor; not compared
}

// Tables is the number of LSH tables.
const Tables = Bits / keyBits

const keyBits = 16

// Keys returns the key of the sketch in each table. The upper half of a key is a hash of the count.
func (s *Sketch) Keys() (keys [Tables]uint32) {
	high := (s.Count * 0x9E3779B1) &^ 0xFFFF // Fibonacci hashing
	for t := range keys {
		keys[t] = high | uint32(binary.LittleEndian.Uint16(s.Fingerprint[2*t:]))
	}
	return keys
}
