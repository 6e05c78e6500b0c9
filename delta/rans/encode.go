package rans

import (
	"encoding/binary"
	"math/bits"
)

var le = binary.LittleEndian

// symbol is what encoding needs of a symbol.
type symbol struct {
	recip uint64 // 2^64 / freq, rounded up: the high half of x * recip is x / freq for all 32-bit x (Lemire 2019)
	limit uint64 // from this state on a word is put out first
	freq  uint32 // 0: does not occur
	start uint32
}

// Encoder encodes streams with one table. It is used by one goroutine at a time.
type Encoder struct {
	syms  [256]symbol
	words []byte
}

// Init sets the table.
func (e *Encoder) Init(f *Freqs) {
	start := uint32(0)
	for s, n := range f {
		e.syms[s] = symbol{freq: uint32(n), start: start}
		if n > 0 {
			e.syms[s].recip = ^uint64(0)/uint64(n) + 1
			e.syms[s].limit = uint64(n) << 20
		}
		if n == 1 { // 2^64 does not fit
			e.syms[s].recip = 0
		}
		start += uint32(n)
	}
}

// Encode appends the stream of src to dst; false if a symbol does not occur in the table. Benchmark: BenchmarkEncode.
func (e *Encoder) Encode(dst, src []byte) (out []byte, ok bool) {
	// A symbol takes 12 bits at most, so puts out a word at most.
	if need := 2*len(src) + 2; len(e.words) < need {
		e.words = make([]byte, need)
	}
	words := e.words
	lanes := lanesOf(len(src))
	var state [wideLanes]uint64
	for i := range state {
		state[i] = lower
	}
	at := len(words)
	mask := lanes - 1
	for i := len(src) - 1; i >= 0; i-- {
		s := &e.syms[src[i]]
		x := state[i&mask&(wideLanes-1)]
		if s.freq == 0 {
			return dst, false
		}
		// The word is written in any case and counts if the state is at the limit: a branch would be mispredicted.
		le.PutUint16(words[at-2:at], uint16(x))
		full := uint(0)
		if x >= s.limit {
			full = 1
		}
		at -= int(full << 1)
		x >>= full << 4
		q, _ := bits.Mul64(x, s.recip)
		if s.recip == 0 {
			q = x
		}
		state[i&mask&(wideLanes-1)] = q<<probBits + (x - q*uint64(s.freq)) + uint64(s.start)
	}
	for _, x := range state[:lanes] {
		dst = le.AppendUint32(dst, uint32(x))
	}
	return append(dst, words[at:]...), true
}
