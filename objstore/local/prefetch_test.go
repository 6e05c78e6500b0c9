package local

import (
	"math"
	"testing"
)

// Prefetch is a hint: whatever it is called with, nothing breaks, and records stay readable.
func TestPrefetch(t *testing.T) {
	s := open1(t, t.TempDir(), Options{}, env{})
	put(t, s, seq(0, 40)...)
	ok(t, s.Sync(t.Context()))
	for i := range 40 {
		info, err := s.Stat(rec(i).ID)
		ok(t, err)
		for _, w := range [][2]int64{{0, info.Stored}, {0, math.MaxInt64}, {-5, 10}, {info.Stored, 1}, {info.Stored + 9, 9}, {3, -1}, {1, 100}} {
			s.Prefetch(info, w[0], w[1])
		}
		info.Pack += 1000
		s.Prefetch(info, 0, 100)
	}
	whole(t, s)
	has(t, s, seq(0, 40)...)
	ok(t, s.Close())
}
