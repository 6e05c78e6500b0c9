package lossy

import (
	"fmt"
	"math"
	"strings"

	"coral/delta/element"
	"coral/delta/format/dtype"
	"coral/internal/errs"
)

// Method is a way to approximate.
type Method uint8

// The methods: those of coral-ml.
const (
	Int8    Method = iota // differences to the base, or values, as 8-bit multiples of a scale a block
	Int16                 // the same with 16 bits
	Sparse                // differences to the base (or values) of at most a threshold are dropped
	PerAxis               // base plus or minus one F16 scale for each row: one bit an element

	methods
)

var methodNames = [methods]string{"int8", "int16", "sparse", "per-axis"}

// String returns the name that ParseMethod takes.
func (m Method) String() string {
	if m < methods {
		return methodNames[m]
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// MethodNames lists the names that ParseMethod takes, besides coral-ml's own.
func MethodNames() []string { return methodNames[:] }

// ParseMethod returns the method of a name; coral-ml's int8_quantized, int16_quantized and per_axis_scaled are understood. An unknown one
// is errs.Invalid and lists those there are.
func ParseMethod(name string) (Method, error) {
	switch name {
	case "int8_quantized":
		return Int8, nil
	case "int16_quantized":
		return Int16, nil
	case "per_axis_scaled":
		return PerAxis, nil
	}
	for m, n := range methodNames {
		if n == name {
			return Method(m), nil
		}
	}
	return 0, fmt.Errorf("no lossy method %q: one of %s: %w", name, strings.Join(methodNames[:], ", "), errs.Invalid)
}

// NeedsBase reports whether the method works with a base only.
func (m Method) NeedsBase() bool { return m == PerAxis }

// Params say how to approximate.
type Params struct {
	Method    Method
	Threshold float64 // of Sparse: the largest difference that is dropped; finite, not negative
}

// Validate says whether the parameters make sense.
func (p Params) Validate() error {
	if p.Method >= methods {
		return fmt.Errorf("%s: %w", p.Method, errs.Invalid)
	}
	if p.Method == Sparse && !(p.Threshold > 0 && p.Threshold <= math.MaxFloat32) {
		return fmt.Errorf("method sparse with threshold %v: want a positive number: %w", p.Threshold, errs.Invalid)
	}
	return nil
}

// Approximator approximates blocks. It is used by one goroutine at a time.
type Approximator struct {
	x, y, z [MaxBlock / 2]float32
	out     [MaxBlock]byte
}

// Block overwrites raw, of at most MaxBlock bytes, with its approximation against base, which is as long, or nil. row is the length of a row in elements
// and first the place in its row of the block's first element (PerAxis only: 0 < row). The error is added to e. ok is false, and raw as it was, if
// the block or what would become of it has a NaN or an infinity, or if the kind is not a float that Codes knows.
func (a *Approximator) Block(raw, base []byte, k dtype.Kind, p Params, row, first int64, e *Errors) (ok bool) {
	w := element.Width(k)
	if !Codes(k) || len(raw) > MaxBlock || base != nil && len(base) != len(raw) || p.Method == PerAxis && (base == nil || row <= 0) {
		return false
	}
	n := len(raw) / w
	x, y, z := a.x[:n], a.y[:n], a.z[:n]
	element.Load(x, raw, k)
	clear(y)
	if base != nil {
		element.Load(y, base, k)
	}
	if !allFinite(x) || !allFinite(y) {
		return false
	}
	switch p.Method {
	case Int8, Int16:
		quantise(z, x, y, p.Method)
	case Sparse:
		for i := range z {
			if z[i] = x[i]; math.Abs(float64(x[i])-float64(y[i])) <= p.Threshold {
				z[i] = y[i]
			}
		}
	case PerAxis:
		for at := 0; at < n; {
			to := at + int(min(int64(n-at), row-first))
			scaleRow(z[at:to], x[at:to], y[at:to])
			at, first = to, 0
		}
	}
	// What is stored is rounded to the kind: the error is of that.
	element.Store(a.out[:], z, k)
	element.Load(z, a.out[:], k)
	if !allFinite(z) {
		return false
	}
	e.add(x, z)
	copy(raw[:n*w], a.out[:])
	return true
}

func allFinite(x []float32) bool {
	for _, f := range x {
		if !element.Finite(f) {
			return false
		}
	}
	return true
}

func quantise(z, x, y []float32, method Method) {
	levels := float32(levels8)
	if method == Int16 {
		levels = levels16
	}
	largest := float32(0)
	for i := range x {
		largest = max(largest, float32(math.Abs(float64(x[i])-float64(y[i]))))
	}
	s := element.FromBF16(ceilBF16(largest / levels))
	if largest == 0 {
		copy(z, x)
		return
	}
	for i := range z {
		q := nearest(float32(x[i]-y[i]), s)
		q = max(-float64(levels), min(q, float64(levels)))
		z[i] = value(y[i], float32(q), s)
	}
}

// scaleRow puts the row at one distance from the base: the mean of the distances, which is nearest to them in the sum of squares.
func scaleRow(z, x, y []float32) {
	sum := 0.0
	for i := range x {
		sum += math.Abs(float64(x[i]) - float64(y[i]))
	}
	bits := min(element.ToF16(float32(sum/float64(len(x)))), 0x7bff)
	s := element.FromF16(bits)
	for i := range z {
		if z[i] = float32(y[i] + s); x[i] < y[i] {
			z[i] = float32(y[i] - s)
		}
	}
}

// Errors adds up how far approximated tensors are from what they were.
type Errors struct {
	Elements int64
	MaxAbs   float64 // the largest difference

	square, energy, approx, product float64 // sums of d², x², z², xz
}

func (e *Errors) add(x, z []float32) {
	e.Elements += int64(len(x))
	for i := range x {
		a, b := float64(x[i]), float64(z[i])
		d := a - b
		e.MaxAbs = max(e.MaxAbs, math.Abs(d))
		e.square += d * d
		e.energy += a * a
		e.approx += b * b
		e.product += a * b
	}
}

// Add adds the elements of o.
func (e *Errors) Add(o Errors) {
	e.Elements += o.Elements
	e.MaxAbs = max(e.MaxAbs, o.MaxAbs)
	e.square += o.square
	e.energy += o.energy
	e.approx += o.approx
	e.product += o.product
}

// RelativeL2 returns the length of the difference as a part of the length of what was: 0 is exact.
func (e *Errors) RelativeL2() float64 {
	switch {
	case e.square == 0:
		return 0
	case e.energy == 0:
		return 1
	}
	return math.Sqrt(e.square / e.energy)
}

// Cosine returns the cosine of the angle between both: 1 is the same direction.
func (e *Errors) Cosine() float64 {
	if e.square == 0 {
		return 1
	}
	if e.energy == 0 || e.approx == 0 {
		return 0
	}
	return max(-1, min(1, e.product/math.Sqrt(e.energy)/math.Sqrt(e.approx)))
}
