package predict

import (
	"math"
	"math/bits"
	"slices"
)

const (
	runLen   = 16  // elements next to each other that must agree before they are believed
	maxRuns  = 128 // kept of each sort
	minRuns  = 3   // of a sort, before a predictor is looked for
	minShare = 1.0 / 100
	maxLearn = 1 << 20 // elements that Steps are learnt of
	edge     = 1 << 13 // mantissas nearer to either end may have changed their exponent, where units are others: not learnt of

	sameRatio = 1.0 / (1 << 18) // ratios of a run differ by less
	worth     = 1.0             // bits of an element that a predictor must save where it is of use
)

// A Fitter finds the predictor of a blob: Sample some blocks; if Fit wants to Learn, blocks to learn of; then Done. It keeps 80 KiB and is
// used by one goroutine at a time.
type Fitter struct {
	runs   int // sampled
	quiet  keep
	scaled keep
	ratios []float64 // of the scaled runs
	grow   int       // quiet runs that grew, less those that shrank

	learnt  int
	moves   [maxMove + 1]move
	scratch Predictor
}

// keep is what is kept of one sort of runs.
type keep struct {
	count int
	u, b  []uint32
}

func (k *keep) add(u, b *[runLen]uint32) {
	if k.count++; k.count <= maxRuns {
		k.u, k.b = append(k.u, u[:]...), append(k.b, b[:]...)
	}
}

// move is what is known of the elements that moved by so many units.
type move struct{ count, least, greatest uint32 }

// Reset forgets all.
func (f *Fitter) Reset() {
	f.runs, f.grow, f.learnt = 0, 0, 0
	f.quiet = keep{u: f.quiet.u[:0], b: f.quiet.b[:0]}
	f.scaled = keep{u: f.scaled.u[:0], b: f.scaled.b[:0]}
	f.ratios = f.ratios[:0]
}

// Sample looks at up to n runs of 16 elements, all over a block.
func (f *Fitter) Sample(raw, base []byte, n int) {
	elements := len(raw) / 4
	step := max(runLen, elements/n)
	for from, i := 0, 0; from+step <= elements; from, i = from+step, i+1 {
		at := from + i*53%(step-runLen+1) // not in step with rows
		f.look(raw[4*at:], base[4*at:])
	}
}

// look sorts a run: quiet if all elements moved the same way by few units, scaled if by the same factor.
func (f *Fitter) look(raw, base []byte) {
	f.runs++
	var u, b [runLen]uint32
	var most, up, down uint32
	for i := range u {
		u[i], b[i] = le.Uint32(raw[4*i:]), le.Uint32(base[4*i:])
		e := b[i] >> 23 & 255
		if (u[i]^b[i])>>31 != 0 || e == 0 || e == 255 {
			return
		}
		d := int32(u[i] - b[i])
		most = max(most, uint32(max(d, -d)))
		up, down = up|uint32(-d)>>31, down|uint32(d)>>31
	}
	if up == down { // both, or none moved
		return
	}
	if most <= maxMove {
		f.quiet.add(&u, &b)
		f.grow += int(up) - int(down)
		return
	}
	lo, hi := math.Inf(1), 0.0
	for i := range u {
		r := float64(math.Float32frombits(u[i])) / float64(math.Float32frombits(b[i]))
		lo, hi = min(lo, r), max(hi, r)
	}
	if hi-lo < sameRatio*hi {
		f.scaled.add(&u, &b)
		if len(f.ratios) < maxRuns {
			f.ratios = append(f.ratios, (lo+hi)/2)
		}
	}
}

// Wants reports whether blocks should be shown to Learn.
func (f *Fitter) Wants() bool { return f.enough(&f.quiet) && f.learnt < maxLearn }

func (f *Fitter) enough(k *keep) bool {
	return k.count >= minRuns && float64(k.count) >= minShare*float64(f.runs)
}

// Learn takes the moves of a block's quiet runs.
func (f *Fitter) Learn(raw, base []byte) {
	if f.learnt == 0 {
		clear(f.moves[:])
	}
	down := uint32(0)
	if f.grow < 0 {
		down = math.MaxUint32
	}
	var mant, units [runLen]uint32
next:
	for at := 0; at+4*runLen <= len(raw); at += 4 * runLen {
		r, b := raw[at:at+4*runLen], base[at:at+4*runLen]
		for i := range runLen {
			x, y := le.Uint32(r[4*i:]), le.Uint32(b[4*i:])
			d := (x - y) ^ down - down
			if d > maxMove || y&0x7f800000 == 0 {
				continue next
			}
			mant[i], units[i] = y&0x7fffff, d
		}
		for i, m := range mant {
			if m-edge >= 1<<23-2*edge {
				continue
			}
			k := &f.moves[units[i]&maxMove]
			if k.count == 0 {
				k.least, k.greatest = m, m
			}
			k.count++
			k.least, k.greatest = min(k.least, m), max(k.greatest, m)
		}
		f.learnt += runLen
	}
}

// Done makes p the best predictor found, or reports false if there is none worth it.
func (f *Fitter) Done(p *Predictor) bool {
	best := 0.0
	try := func(k *keep) {
		if saved := f.scratch.saves(k) * float64(k.count); saved > best && saved >= worth*float64(k.count) {
			best = saved
			p.copy(&f.scratch)
		}
	}
	if f.learnt > 0 && f.steps(&f.scratch) {
		try(&f.quiet)
	}
	if f.enough(&f.scaled) {
		slices.Sort(f.ratios)
		alpha := f.ratios[len(f.ratios)/2]
		for _, beta := range betas {
			n := math.Round(math.Log(alpha) / math.Log(beta))
			if n < 1 || n > maxTimes || math.Abs(math.Pow(beta, n)/alpha-1) > 1e-5 {
				continue
			}
			f.scratch.set(Scale, float32(beta), int(n))
			try(&f.scaled)
			if 1-beta >= minLerp {
				f.scratch.set(Lerp, float32(1-beta), int(n))
				try(&f.scaled)
			}
		}
		f.scratch.set(Scale, float32(alpha), 1)
		try(&f.scaled)
	}
	return best > 0
}

// betas are the decay rates of moments that optimizers are run with.
var betas = []float64{0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999, 0.8, 0.85, 0.97}

// steps makes p of what was learnt: from one number of units to the next there is a step halfway between the greatest
// mantissa of the one and the least of the other.
func (f *Fitter) steps(p *Predictor) bool {
	rare := uint32(f.learnt >> 16) // such moves are strays
	p.steps = p.steps[:0]
	first, last := -1, 0
	for k := range f.moves {
		m := &f.moves[k]
		if m.count <= rare {
			continue
		}
		if first < 0 {
			first, last = k, k
			continue
		}
		at := (f.moves[last].greatest + m.least + 1) / 2
		size := uint32(k - last)
		last = k
		n := len(p.steps)
		if n > 0 {
			at = max(at, p.steps[n-1].at)
		}
		if n > 0 && p.steps[n-1].at>>lowBits == at>>lowBits { // only one in a bin
			size += p.steps[n-1].size
			p.steps = p.steps[:n-1]
		}
		if size > maxStep {
			return false
		}
		p.steps = append(p.steps, step{at, size})
	}
	if first < 0 || last == 0 {
		return false
	}
	up := uint32(0)
	if f.grow > 0 {
		up = math.MaxUint32
	}
	p.setSteps(up, uint32(first))
	return true
}

// saves returns the mean number of bits that the differences of the runs' elements lose by p.
func (p *Predictor) saves(k *keep) float64 {
	var raw, out [4 * runLen]byte
	saved := 0
	for at := 0; at < len(k.b); at += runLen {
		for i := range runLen {
			le.PutUint32(raw[4*i:], k.b[at+i])
		}
		p.Apply(out[:], raw[:])
		for i := range runLen {
			d := int32(k.u[at+i] - k.b[at+i])
			e := int32(k.u[at+i] - le.Uint32(out[4*i:]))
			saved += bits.Len32(uint32(max(d, -d))) - bits.Len32(uint32(max(e, -e)))
		}
	}
	return float64(saved) / float64(max(1, len(k.b)))
}

func (p *Predictor) copy(q *Predictor) {
	steps := append(p.steps[:0], q.steps...)
	*p = *q
	p.steps = steps
}
