package similar

import (
	"encoding/binary"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	simhash "coral/delta/similar"
)

var began = time.Now()

func testTime() int64 { return int64(time.Since(began)) }

// cpuTime is what this process has used, in nanoseconds.
func cpuTime(t testing.TB) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func randomSketch(rng *rand.Rand) simhash.Sketch {
	s := simhash.Sketch{Count: 147456}
	for i := 0; i < simhash.Size; i += 8 {
		binary.LittleEndian.PutUint64(s.Fingerprint[i:], rng.Uint64())
	}
	return s
}

// flip changes n bits at random places.
func flip(s *simhash.Sketch, rng *rand.Rand, n int) {
	for range n {
		at := rng.IntN(simhash.Bits)
		s.Fingerprint[at/8] ^= 1 << (at % 8)
	}
}
