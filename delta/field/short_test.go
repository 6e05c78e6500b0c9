package field

import (
	"bytes"
	"testing"

	"coral/delta/codectest"
	"coral/delta/format/dtype"
)

func TestUnsigned(t *testing.T) {
	for n := range 5 {
		rests := codectest.Blob("random", dtype.Bytes, n*restLen, 1)
		for i := range rests {
			if i%restLen >= 32 {
				rests[i] &= 0x55
			}
		}
		if signs(rests) {
			t.Fatal("signs where there are none")
		}
		r := reader{b: appendUnsigned(nil, rests)}
		if len(r.b) != n*unsignedLen {
			t.Fatalf("%d groups in %d bytes", n, len(r.b))
		}
		got := make([]byte, len(rests))
		if r.unsigned(got); r.fail || !bytes.Equal(got, rests) {
			t.Fatalf("%d groups do not come back", n)
		}
		if n > 0 {
			rests[len(rests)-1] |= 0x80
			if !signs(rests) {
				t.Fatal("a sign was not seen")
			}
		}
	}
}

// TestShort: low halves come back whatever their classes, and take what the classes say.
func TestShort(t *testing.T) {
	for n := range 200 {
		for _, zeros := range []uint{0, 7, 8, 12, 13, 14, 16} {
			low := codectest.Blob("random", dtype.Bytes, 2*n, uint64(n))
			for i := 0; i+2 <= len(low); i += 2 {
				v := le.Uint16(low[i:])
				if i/2/group%2 == 0 || n%3 > 0 { // every other group keeps all its bits
					v = v >> zeros << zeros
				}
				le.PutUint16(low[i:], v)
			}
			out := appendShort(nil, low)
			if len(out) != shortLen(low) {
				t.Fatalf("%d halves with %d zeros take %d bytes, expected %d", n, zeros, len(out), shortLen(low))
			}
			if n >= group && n%3 > 0 && zeros == 13 && len(out) > n/group*threeLen+2*(n%group)+2 {
				t.Errorf("%d halves with %d zeros take %d bytes", n, zeros, len(out))
			}
			r := reader{b: append(bytes.Clone(out), 7)}
			got := bytes.Repeat([]byte{0xa5}, len(low))
			if r.short(got); r.fail || len(r.b) != 1 || !bytes.Equal(got, low) {
				t.Fatalf("%d halves with %d zeros do not come back", n, zeros)
			}
			for cut := range out {
				r := reader{b: out[:cut]}
				if r.short(got); !r.fail {
					t.Fatalf("%d halves with %d zeros: read from %d of %d bytes", n, zeros, cut, len(out))
				}
			}
		}
	}
}
