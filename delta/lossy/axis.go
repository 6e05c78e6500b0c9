package lossy

import (
	"math"

	"coral/delta/element"
	"coral/delta/format/dtype"
)

// run is some elements that differ from the base by the same scale.
type run struct {
	n int
	s uint16 // F16
}

// maxRuns bounds the runs of a block: with more, the scales take more than the signs.
const maxRuns = MaxBlock / 32

// findRuns cuts the block into as long runs as it can, from the front, and leaves them in m.runs and the signs (1 for minus) in m.q.
func (m *Coder) findRuns(k dtype.Kind, raw []byte, n int) bool {
	m.runs = m.runs[:0]
	for at := 0; at < n; {
		r, ok := m.nextRun(k, at, n)
		if !ok || len(m.runs) == maxRuns {
			return false
		}
		m.runs = append(m.runs, r)
		at += r.n
	}
	return m.signs(k, raw)
}

// nextRun returns the longest run from at. Of every element the scales that give it are an interval; a run goes on while there is an F16
// in all of them. The intervals may be a rounding error off: signs checks what comes of it.
func (m *Coder) nextRun(k dtype.Kind, at, n int) (r run, ok bool) {
	lo, hi := 0.0, float64(element.FromF16(0x7bff))
	for i := at; i < n; i++ {
		a, b := scales(k, m.x[i], m.y[i])
		a, b = max(a, lo), min(b, hi)
		s := ceilF16(a)
		if !(a <= b) || s >= 0x7c00 || float64(element.FromF16(s)) > b {
			break
		}
		lo, hi = a, b
		r = run{n: i + 1 - at, s: s}
	}
	if r.n == 0 {
		return r, false
	}
	// The middle of the interval is farthest from its rounding errors.
	if s := element.ToF16(float32(lo + (hi-lo)/2)); s < 0x7c00 && float64(element.FromF16(s)) >= lo && float64(element.FromF16(s)) <= hi {
		r.s = s
	}
	return r, true
}

// scales returns the least and largest s for which y+s or y−s rounds to x; none if they are not finite.
func scales(k dtype.Kind, x, y float32) (lo, hi float64) {
	if !element.Finite(x) || !element.Finite(y) {
		return 1, 0
	}
	below, above, odd := neighbours(k, x)
	from, to := (float64(x)+below)/2-float64(y), (float64(x)+above)/2-float64(y)
	if odd { // what lies half way is rounded to the neighbour
		from, to = math.Nextafter(from, math.Inf(1)), math.Nextafter(to, math.Inf(-1))
	}
	switch {
	case from >= 0:
		return from, to
	case to <= 0:
		return -to, -from
	}
	return 0, max(-from, to)
}

// neighbours returns the numbers of kind k next to x, and whether x's last bit is 1.
func neighbours(k dtype.Kind, x float32) (below, above float64, odd bool) {
	a := math.Abs(float64(x))
	var less, more float64
	switch k {
	case dtype.F32:
		more = float64(math.Nextafter32(float32(a), math.MaxFloat32))
		less = float64(math.Nextafter32(float32(a), -math.MaxFloat32))
		odd = math.Float32bits(x)&1 == 1
	case dtype.BF16:
		u := element.ToBF16(float32(a))
		odd = u&1 == 1
		less, more = -float64(element.FromBF16(1)), float64(element.FromBF16(u+1))
		if u > 0 {
			less = float64(element.FromBF16(u - 1))
		}
	default:
		u := element.ToF16(float32(a))
		odd = u&1 == 1
		less, more = -float64(element.FromF16(1)), float64(element.FromF16(u+1))
		if u > 0 {
			less = float64(element.FromF16(u - 1))
		}
	}
	if math.Signbit(float64(x)) {
		return -more, -less, odd
	}
	return less, more, odd
}

// signs finds the sign of each element and proves the runs.
func (m *Coder) signs(k dtype.Kind, raw []byte) bool {
	w, at := element.Width(k), 0
	var pair [2]float32
	var got [8]byte
	for _, r := range m.runs {
		s := element.FromF16(r.s)
		for i := at; i < at+r.n; i++ {
			pair = [2]float32{float32(m.y[i] + s), float32(m.y[i] - s)}
			element.Store(got[:2*w], pair[:], k)
			want := string(raw[i*w : (i+1)*w])
			switch {
			case string(got[:w]) == want:
				m.q[i] = 0
			case string(got[w:2*w]) == want:
				m.q[i] = 1
			default:
				return false
			}
		}
		at += r.n
	}
	return true
}

func (m *Coder) appendAxis(dst []byte, n int) []byte {
	dst = le.AppendUint16(dst, uint16(len(m.runs)))
	for _, r := range m.runs {
		dst = le.AppendUint16(dst, uint16(r.n-1))
		dst = le.AppendUint16(dst, r.s)
	}
	signs := m.lo[:(n+7)/8]
	clear(signs)
	for i, v := range m.q[:n] {
		signs[i/8] |= byte(v) << (i % 8)
	}
	return append(dst, signs...)
}

// axis computes the elements into m.x.
func (r *reader) axis(n int) {
	m := r.m
	count := int(le.Uint16(r.take(2)))
	if count > n {
		r.fail = true
		return
	}
	runs, signs := r.take(4*count), r.take((n+7)/8)
	if r.fail || n%8 != 0 && signs[n/8]>>(n%8) != 0 {
		r.fail = true
		return
	}
	at := 0
	for ; len(runs) > 0; runs = runs[4:] {
		to, bits := at+int(le.Uint16(runs))+1, le.Uint16(runs[2:])
		if to > n || bits >= 0x7c00 {
			r.fail = true
			return
		}
		s := element.FromF16(bits)
		for i := at; i < to; i++ {
			if signs[i/8]>>(i%8)&1 == 0 {
				m.x[i] = float32(m.y[i] + s)
			} else {
				m.x[i] = float32(m.y[i] - s)
			}
		}
		at = to
	}
	r.fail = r.fail || at != n
}

// ceilBF16 returns the least BF16 that is not below f, which is not negative.
func ceilBF16(f float32) uint16 {
	u := math.Float32bits(f)
	if u&0xffff != 0 {
		u += 1 << 16
	}
	return uint16(u >> 16)
}

// ceilF16 returns the least F16 that is not below f, which is not negative; infinity if there is none.
func ceilF16(f float64) uint16 {
	u := element.ToF16(float32(f))
	if u < 0x7c00 && float64(element.FromF16(u)) < f {
		u++
	}
	return u
}
