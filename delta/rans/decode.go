package rans

// Table is a decoding table, immutable once made: for each value of the state's low 12 bits, the symbol (bits 31–24), its
// frequency (23–12) and how far the value is into the symbol (11–0).
type Table struct{ slot [probSum]uint32 }

// Init sets the table.
func (t *Table) Init(f *Freqs) {
	at := 0
	for s, n := range f {
		e := uint32(s)<<24 | uint32(n)<<12
		for i := range t.slot[at : at+int(n)] {
			t.slot[at+i] = e | uint32(i)
		}
		at += int(n)
	}
}

// Decode fills dst from stream, which must be all of it. Benchmark: BenchmarkDecode.
func (t *Table) Decode(dst, stream []byte) error {
	lanes := lanesOf(len(dst))
	if len(stream) < 4*lanes {
		return ErrStream
	}
	var state [wideLanes]uint32
	for i := range lanes {
		if state[i] = le.Uint32(stream[4*i:]); state[i] < lower {
			return ErrStream
		}
	}
	words := stream[4*lanes:]
	done := 0
	if lanes == wideLanes {
		var read int
		if done, read = fastDecode(dst, words, t, &state); read > len(words) {
			return ErrStream
		}
		words = words[read:]
	}
	words, ok := t.decode(dst[done:], words, &state, lanes)
	if !ok || len(words) != 0 {
		return ErrStream
	}
	for _, x := range state[:lanes] {
		if x != lower {
			return ErrStream
		}
	}
	return nil
}

// decode decodes symbols from lane 0 on, and returns the words that are left. It is what the vector loop is compared with.
func (t *Table) decode(dst, words []byte, state *[wideLanes]uint32, lanes int) ([]byte, bool) {
	i := 0
	mask := (lanes - 1) & (wideLanes - 1)
	for ; i+wideLanes <= len(dst) && len(words) >= 2*wideLanes; i += wideLanes {
		at := 0
		d := dst[i : i+wideLanes : i+wideLanes]
		for j := range d {
			x := state[j&mask]
			e := t.slot[x&(probSum-1)]
			d[j] = byte(e >> 24)
			x = e>>probBits&(probSum-1)*(x>>probBits) + e&(probSum-1)
			w := uint32(le.Uint16(words[at : at+2 : len(words)]))
			low := uint(0)
			if x < lower {
				low = 1
			}
			state[j&mask] = x<<(low<<4) | w&-uint32(low)
			at += int(low << 1)
		}
		words = words[at:]
	}
	for ; i < len(dst); i++ {
		x := state[i&mask]
		e := t.slot[x&(probSum-1)]
		dst[i] = byte(e >> 24)
		x = e>>probBits&(probSum-1)*(x>>probBits) + e&(probSum-1)
		if x < lower {
			if len(words) < 2 {
				return words, false
			}
			x, words = x<<16|uint32(le.Uint16(words)), words[2:]
		}
		state[i&mask] = x
	}
	return words, true
}
