package delta

import "coral/delta/ordint"

// deltaCost is what is known of a block after its differences were counted.
type deltaCost struct{ block, coded, extra int }

const keepDelta = 0.97 // a difference must be this much smaller than coding alone

// planDeltas decides which open blocks are coded as differences to the base.
func (e *encoderState) planDeltas(k ordint.Kind) {
	p := &e.p
	if e.ord == nil {
		e.ord = ordint.NewModel()
	}
	ow := k.Width()
	soloBits := p.bits / float64(p.width) * float64(ow) // a complex number is two elements here
	e.ord.Reset(k, e.p.commonZeros(k))
	for i, c := range p.codec {
		base := p.blockBase(i)
		if c != codecOpen || base == nil {
			continue
		}
		// A difference of b bits takes about b + 2: its sign and place among its neighbours.
		if float64(e.ord.Gate(p.blockRaw(i), base))/256+1 < soloBits {
			p.order = append(p.order, deltaCost{block: i})
		}
	}
	if len(p.order) == 0 {
		return
	}
	total := 0
	for j := range p.order {
		c := &p.order[j]
		c.coded, c.extra = e.ord.Count(p.blockRaw(c.block), p.blockBase(c.block))
		total += c.coded
	}
	codeBits, ok := e.ord.Build()
	if !ok {
		return
	}
	e.ordTable = e.ord.AppendTable(e.ordTable[:0])
	mean := float64(codeBits) / float64(total)
	saved := 0.0
	for _, c := range p.order {
		n := float64(len(p.blockRaw(c.block)) / ow)
		bits := float64(c.extra) + float64(c.coded)*mean + n/64
		if s := soloBits * n; bits < keepDelta*s {
			p.codec[c.block] = codecOrdint
			saved += s - bits
		}
	}
	p.hasOrd = saved > float64(8*len(e.ordTable))
	if !p.hasOrd {
		for _, c := range p.order {
			p.codec[c.block] = codecOpen
		}
	}
}

// commonZeros returns how many low bits of all elements of the open blocks and their bases are 0.
func (p *plan) commonZeros(k ordint.Kind) int {
	zeros := 32
	for i, c := range p.codec {
		if k != ordint.F32 || zeros == 0 {
			return 0
		}
		if base := p.blockBase(i); c == codecOpen && base != nil {
			zeros = ordint.CommonZeros(ordint.CommonZeros(zeros, p.blockRaw(i)), base)
		}
	}
	return zeros
}
