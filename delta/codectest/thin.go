package codectest

import (
	"fmt"
	"hash/fnv"

	"coral/internal/race"
)

// Thin reports whether a case is left out. Under the race detector, which makes this code ten times slower and has nothing to find in what runs in one goroutine,
// one case of sixteen is run, always the same ones; `make race` runs all of them without it.
func Thin(name ...any) bool {
	if !race.Enabled {
		return false
	}
	h := fnv.New32a()
	fmt.Fprint(h, name...)
	return h.Sum32()%16 != 0
}
