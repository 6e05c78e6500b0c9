//go:build !race

// Package race says whether the race detector is built in, as the package of that name in the standard library does. Tests ask it: the detector
// makes codecs ten times slower and has nothing to find in what one goroutine does alone, so the largest of that is left to the run without it.
package race

// Enabled is whether the race detector is built in.
const Enabled = false
