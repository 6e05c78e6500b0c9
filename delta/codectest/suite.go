package codectest

import (
	"bytes"
	"math/rand/v2"

	"coral/delta/format/dtype"
)

// T is what the suite needs of *testing.T.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Block is a coder of single blocks with their table, as the suite sees it.
type Block struct {
	// Encode returns the table and the block; ok is false if it cannot be coded.
	Encode func(dt dtype.Kind, raw, base []byte) (table, stored []byte, ok bool)
	// Decode decodes into dst. It must not panic, whatever it is given.
	Decode func(dt dtype.Kind, table, dst, stored, base []byte) error
}

// Run is the suite: every shape and relation at lengths around groups, lanes and words must come
// back as it was, twice with the same stored bytes, and damaged input must be an error or decode to something.
func Run(t T, c Block, kinds []dtype.Kind, relations []string) {
	t.Helper()
	lengths := []int{0, 1, 2, 3, 7, 8, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 4095, 4096, 4097, 65535, 65536}
	for _, dt := range kinds {
		for _, shape := range Shapes {
			for _, relation := range relations {
				for _, n := range lengths {
					if Thin(dt, shape, relation, n) {
						continue
					}
					raw := Blob(shape, dt, n, 5)
					base := Base(relation, raw, dt, 6)
					c.roundTrip(t, dt, raw, base, shape+"/"+relation)
				}
			}
		}
	}
}

func (c *Block) roundTrip(t T, dt dtype.Kind, raw, base []byte, name string) {
	t.Helper()
	table, stored, ok := c.Encode(dt, raw, base)
	if !ok {
		return
	}
	table, stored = bytes.Clone(table), bytes.Clone(stored)
	table2, stored2, _ := c.Encode(dt, raw, base)
	if !bytes.Equal(table, table2) || !bytes.Equal(stored, stored2) {
		t.Errorf("%s of %d bytes of %s: encoding again gives other bytes", name, len(raw), dt)
	}
	got := make([]byte, len(raw))
	if err := c.Decode(dt, table, got, stored, base); err != nil {
		t.Fatalf("%s of %d bytes of %s: %v", name, len(raw), dt, err)
	}
	if !bytes.Equal(got, raw) {
		t.Fatalf("%s of %d bytes of %s: decoded bytes differ", name, len(raw), dt)
	}
	c.damage(dt, table, got, stored, base)
}

// damage decodes damaged forms, for the panics they could cause.
func (c *Block) damage(dt dtype.Kind, table, dst, stored, base []byte) {
	r := rand.New(rand.NewPCG(uint64(len(stored)), 3))
	if len(stored) == 0 {
		return
	}
	_ = c.Decode(dt, table, dst, stored[:r.IntN(len(stored))], base)
	_ = c.Decode(dt, table, dst, append(bytes.Clone(stored), 0), base)
	for range 3 {
		bad := bytes.Clone(stored)
		bad[r.IntN(min(len(bad), 1+r.IntN(len(bad))))] ^= 1 << r.IntN(8)
		_ = c.Decode(dt, table, dst, bad, base)
		if len(table) > 0 {
			bad := bytes.Clone(table)
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			_ = c.Decode(dt, bad, dst, stored, base)
		}
	}
}
