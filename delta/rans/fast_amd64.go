//go:build !purego

package rans

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// vector says whether the loop of fast_amd64.s is used. Tests turn it off.
var vector = cpu.X86.HasAVX2 && cpu.X86.HasPOPCNT

// takes says for each set of lanes that need a word which of the next words each of them takes.
var takes = func() (t [256][8]uint8) {
	for m := range t {
		for j := range 8 {
			t[m][j] = uint8(bits.OnesCount8(uint8(m) & (1<<j - 1)))
		}
	}
	return t
}()

const turnBytes = 32 // that a turn may read

// decodeAVX2 decodes up to turns times 16 symbols while at least 32 bytes of the length bytes of words are left; it
// returns the turns done and the bytes read.
//
//go:noescape
func decodeAVX2(dst, words *byte, length int, slot, state *uint32, takes *uint8, turns int) (done, read int)

// fastDecode decodes the first symbols of dst and returns how many, and how many bytes of words they took: more than there
// are if the stream is malformed.
func fastDecode(dst, words []byte, t *Table, state *[wideLanes]uint32) (done, read int) {
	turns := len(dst) / wideLanes
	if !vector || turns == 0 {
		return 0, 0
	}
	if len(words) >= turnBytes {
		done, read = decodeAVX2(&dst[0], &words[0], len(words), &t.slot[0], &state[0], &takes[0][0], turns)
	}
	if done == turns {
		return done * wideLanes, read
	}
	// The last words, with zeros behind them that a valid stream does not reach.
	var last [3 * turnBytes]byte
	copy(last[:], words[read:])
	d, r := decodeAVX2(&dst[done*wideLanes], &last[0], len(last), &t.slot[0], &state[0], &takes[0][0], turns-done)
	return (done + d) * wideLanes, read + r
}
