package ordint

import (
	"math"
)

// cluster is a run of exponents with one code. Its bounds are those of the exponents seen.
type cluster struct {
	first int // least exponent of the base
	last  int // greatest
	count [256]uint32
	total uint32
	cost  int64 // bits of its symbols and its code, times logOne
}

const (
	logOne     = 1 << 16 // fixed point of log2
	codeCost   = 24      // bits of a stored code, whatever its symbols
	symbolCost = 4       // bits of a stored length
	rareCount  = 1 << 6  // exponents rarer than this are not looked at alone
)

// log2 returns the logarithm of n > 0 in fixed point.
func log2(n uint32) uint32 { return uint32(math.Log2(float64(n)) * logOne) }

func (m *Model) log2(n uint32) int64 {
	if n < uint32(len(m.logs)) {
		return int64(m.logs[n])
	}
	return int64(log2(n))
}

// costOf returns the bits that the sum of two histograms takes, code included.
func (m *Model) costOf(a, b *[256]uint32) int64 {
	var bits int64
	var total uint32
	lo, hi, used := 256, 0, 0
	for s := range a {
		n := a[s] + b[s]
		if n == 0 {
			continue
		}
		lo, hi = min(lo, s), s
		used++
		total += n
		bits -= int64(n) * m.log2(n)
	}
	if total == 0 {
		return 0
	}
	bits += int64(total) * m.log2(total)
	if used > 1 { // a Huffman code takes a bit at least, and about 1/32 above the entropy
		bits = max(bits+bits>>5, int64(total)*logOne)
	}
	return bits + int64(codeCost+symbolCost*(hi-lo))*logOne
}

// cluster joins neighbouring exponents until there are at most maxContexts, and further
// while that saves bits: a code of its own must pay for being stored.
func (m *Model) cluster() bool {
	m.ctxs = m.ctxs[:0]
	var none [256]uint32
	for top := range m.count {
		var total uint32
		for _, n := range m.count[top] {
			total += n
		}
		if total == 0 {
			continue
		}
		e := int(m.kind.exponent(uint8(top)))
		if k := len(m.ctxs); k > 0 && (m.ctxs[k-1].last == e || total < rareCount || m.ctxs[k-1].total < rareCount) {
			m.ctxs[k-1].add(&m.count[top], total)
			m.ctxs[k-1].last = e
			continue
		}
		m.ctxs = append(m.ctxs, cluster{first: e, last: e, count: m.count[top], total: total})
	}
	if len(m.ctxs) == 0 {
		return false
	}
	for c := range m.ctxs {
		m.ctxs[c].cost = m.costOf(&m.ctxs[c].count, &none)
	}
	// gain[c] is what joining c and c+1 saves.
	var joined, gain [256]int64
	price := func(c int) {
		if c >= 0 && c+1 < len(m.ctxs) {
			joined[c] = m.costOf(&m.ctxs[c].count, &m.ctxs[c+1].count)
			gain[c] = m.ctxs[c].cost + m.ctxs[c+1].cost - joined[c]
		}
	}
	for c := range m.ctxs {
		price(c)
	}
	for len(m.ctxs) > 1 {
		best := 0
		for c := range len(m.ctxs) - 1 {
			if gain[c] > gain[best] {
				best = c
			}
		}
		if gain[best] <= 0 && len(m.ctxs) <= maxContexts {
			break
		}
		next := &m.ctxs[best+1]
		m.ctxs[best].add(&next.count, next.total)
		m.ctxs[best].last = next.last
		m.ctxs[best].cost = joined[best]
		m.ctxs = append(m.ctxs[:best+1], m.ctxs[best+2:]...)
		copy(joined[best+1:], joined[best+2:])
		copy(gain[best+1:], gain[best+2:])
		price(best - 1)
		price(best)
	}
	return true
}

func (c *cluster) add(count *[256]uint32, total uint32) {
	for s, n := range count {
		c.count[s] += n
	}
	c.total += total
}
