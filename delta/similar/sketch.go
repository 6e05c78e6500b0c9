package similar

import (
	"math"

	"coral/delta/format/dtype"
)

const (
	samples    = 4096
	sampleLog  = 12
	fractBits  = 16 // of a position, below the sample's number
	folded     = Bits
	seedAt     = 0x636f72616c // "coral"
	golden     = 0x9E3779B97F4A7C15
	mixA, mixB = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
)

// points are where the elements are taken: one in each 4096th part of the length, at a random place in it so that no row length is in step with them, in
// units of 2^-28 of the length. signs is the sign bit that each is counted with, and signSum the sum of the signs that meet in one sum.
var points, signs, signSum = makePoints()

// makePoints draws positions and signs from SplitMix64 (Steele, Lea, Flood 2014).
func makePoints() (at, sign [samples]uint32, sum [folded]float64) {
	state := uint64(seedAt)
	for i := range at {
		state += golden
		z := state
		z = (z ^ z>>30) * mixA
		z = (z ^ z>>27) * mixB
		z ^= z >> 31
		at[i] = uint32(i)<<fractBits | uint32(z&(1<<fractBits-1))
		sign[i] = uint32(z>>63) << 31
		sum[i%folded] += 1 - 2*float64(z>>63)
	}
	return at, sign, sum
}

// Make sketches the tensor whose bytes raw is (little endian; an odd tail is passed over). ok is false if there is nothing to go by: a dtype without numbers, too few elements,
// or all of them equal. NaN and infinities count as the mean.
//
// The 4,096 samples are given random signs and added up in 256 sums of 16; a Walsh-Hadamard transform of these gives 256 sums over all samples
// with signs that are orthogonal from one to the next (a structured projection as in Ailon and Chazelle 2009), in 2,048 additions instead of 2²⁰.
func Make(raw []byte, dt dtype.Kind) (s Sketch, ok bool) {
	n := min(elements(len(raw), dt), Unit)
	if n < MinElements {
		return Sketch{}, false
	}
	var x [samples]float32
	got := x[:min(n, samples)]
	gather(got, raw, dt, n)
	var v [folded]float64
	if !fold(&v, got) {
		return Sketch{}, false
	}
	walshHadamard(&v)
	s = Sketch{Count: uint32(n), DType: dt}
	for i, z := range v {
		if z > 0 {
			s.Fingerprint[i/8] |= 1 << (i % 8)
		}
	}
	return s, true
}

// fold takes the mean away and sums the samples with their signs; false if they are all equal.
func fold(v *[folded]float64, x []float32) bool {
	mean, ok := center(x)
	if !ok {
		return false
	}
	for from := 0; from < len(x); from += folded {
		part := x[from:min(from+folded, len(x))]
		sign := signs[from : from+len(part)]
		for j, e := range part {
			v[j] += float64(math.Float32frombits(math.Float32bits(e) ^ sign[j]))
		}
	}
	if len(x) == samples {
		for j := range v {
			v[j] -= float64(mean * signSum[j])
		}
		return true
	}
	for i := range x {
		v[i%folded] -= float64(mean * signOf(i))
	}
	return true
}

func signOf(i int) float64 { return 1 - 2*float64(signs[i]>>31) }

// center returns the mean, after it has been put in the place of what is not finite; false if all are equal, or none finite.
func center(x []float32) (mean float64, ok bool) {
	var sum [4]float64 // added at once; n is a multiple of 4 or the tail goes to sum[0]
	var differ, any uint32
	first := math.Float32bits(x[0])
	n := len(x) &^ 3
	for i := 0; i < n; i += 4 {
		y := x[i : i+4 : i+4]
		a, b, c, d := math.Float32bits(y[0]), math.Float32bits(y[1]), math.Float32bits(y[2]), math.Float32bits(y[3])
		differ |= a ^ first | b ^ first | c ^ first | d ^ first
		any |= a | b | c | d
		sum[0] += float64(y[0])
		sum[1] += float64(y[1])
		sum[2] += float64(y[2])
		sum[3] += float64(y[3])
	}
	for _, e := range x[n:] {
		differ |= math.Float32bits(e) ^ first
		any |= math.Float32bits(e)
		sum[0] += float64(e)
	}
	total := sum[0] + sum[1] + sum[2] + sum[3]
	if differ == 0 || any<<1 == 0 {
		return 0, false
	}
	if math.IsInf(total, 0) || math.IsNaN(total) {
		return mend(x)
	}
	return total / float64(len(x)), true
}

// mend is center for samples that are not all finite.
func mend(x []float32) (mean float64, ok bool) {
	sum, finite := 0.0, 0
	for _, e := range x {
		if isFinite(e) {
			sum += float64(e)
			finite++
		}
	}
	if finite == 0 {
		return 0, false
	}
	mean = sum / float64(finite)
	for i, e := range x {
		if !isFinite(e) {
			x[i] = float32(mean)
		}
		ok = ok || x[i] != x[0]
	}
	return mean, ok
}

func isFinite(e float32) bool { return math.Float32bits(e)&0x7F800000 != 0x7F800000 }

// walshHadamard transforms v in place, unscaled.
func walshHadamard(v *[folded]float64) {
	for h := 1; h < folded; h *= 2 {
		for i := 0; i < folded; i += 2 * h {
			a, b := v[i:i+h], v[i+h:i+2*h]
			for j := range a {
				a[j], b[j] = a[j]+b[j], a[j]-b[j]
			}
		}
	}
}
