package delta

import (
	"bytes"
	"math"

	"coral/delta/ordint"
)

// places is what is to be coded of a block with few changes.
type places struct {
	raw, base []byte // the changed elements
	bits      int    // that their places take
}

const (
	sparseShare = 6   // one element in so many may have changed
	placeBits   = 1.5 // of a place, besides the logarithm of the distance to the next
	sparseHead  = 96  // bits of a sparse block besides its lanes: counts, and lanes that end in part of a byte
)

// sparser reports whether a block of which few elements changed is smaller by their places than by groups, where each unchanged neighbour of a
// changed element takes a bit.
func (e *encoderState) sparser(k ordint.Kind, raw, base []byte) (places, bool) {
	w := k.Width()
	n := len(raw) / w
	if mostChanged(raw, base, w) {
		return places{}, false
	}
	r, b, ok := e.few.Gather(raw, base, w, n/sparseShare)
	c := e.few.Changed()
	if !ok || c == 0 {
		return places{}, false
	}
	bits := sparseHead + float64(c)*(math.Log2(float64(n)/float64(c))+placeBits)
	in := n - matches(raw, base, w*ordint.Group)*ordint.Group
	if bits > float64(in-c)+float64(n)/ordint.Group {
		return places{}, false
	}
	return places{r, b, int(bits)}, true
}

// mostChanged reports whether far more elements changed than a sparse block may have, by a look at a few.
func mostChanged(raw, base []byte, w int) bool {
	const looks = 128
	n := len(raw) / w
	step := max(1, n/looks)
	changed := 0
	for from, seen := 0, 0; from+step <= n; from, seen = from+step, seen+1 {
		i := (from + seen*29%step) * w // not in step with rows
		if !bytes.Equal(raw[i:i+w], base[i:i+w]) {
			changed++
		}
	}
	return 2*changed > 3*looks/sparseShare
}

// writeSparse appends a block by its changed elements.
func (e *encoderState) writeSparse(dst, raw, base []byte) ([]byte, bool) {
	k, _ := ordKind(e.p.dtype)
	w := k.Width()
	r, b, ok := e.few.Gather(raw, base, w, len(raw)/w/sparseShare)
	if !ok {
		return dst, false
	}
	out, ok := e.few.Append(dst)
	if ok {
		out, ok = e.ord.Encode(out, r, b)
	}
	if !ok {
		return dst, false
	}
	return append(out, raw[len(raw)/w*w:]...), true
}
