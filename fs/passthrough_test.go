package fs

import (
	"io"
	"testing"

	"pgregory.net/rapid"
)

type countCloser struct{ n int }

func (c *countCloser) Close() error { c.n++; return nil }

// TestServingRules drives a serving as the library does, in any order, and checks the rules that the kernel enforces with
// EIO, and that no handle is closed while its backing file is registered and no other handle is open.
func TestServingRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s serving
		type handle struct {
			c    *countCloser
			pass bool // how the kernel serves it
		}
		var open, all []*handle
		backing, refs := int32(0), 0
		nextID := int32(0)
		closeAll := func(cs []io.Closer) {
			for _, c := range cs {
				c.Close()
			}
		}
		unref := func() {
			if refs--; refs == 0 {
				backing = 0
				closeAll(s.unregistered())
			}
		}
		var pending []*handle
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0: // open
				h := &handle{c: &countCloser{}}
				_, _, loose := s.enter(rapid.Bool().Draw(t, "eligible"))
				closeAll(loose)
				// The library: an id that is registered is used again; else the handle is asked for a file.
				if backing == 0 && s.passing() {
					if rapid.IntRange(0, 4).Draw(t, "registers") > 0 {
						nextID++
						backing = nextID
						s.registered(backing)
					} else {
						s.lazily()
					}
				}
				if h.pass = backing != 0; h.pass {
					refs++
				}
				for _, o := range open {
					if o.pass != h.pass {
						t.Fatalf("handles of both kinds are open: EIO")
					}
				}
				open, all = append(open, h), append(all, h)
			case 1: // release, our part
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				h := open[i]
				open = append(open[:i:i], open[i+1:]...)
				if c := s.leave(h.c); c != nil {
					if len(open) == 0 && backing != 0 {
						t.Fatal("the last handle was closed while its backing file is registered")
					}
					c.Close()
				}
				pending = append(pending, h)
			case 2: // release, the library's part
				if len(pending) == 0 {
					continue
				}
				if pending[0].pass {
					unref()
				}
				pending = pending[1:]
			}
		}
		for _, h := range open {
			if c := s.leave(h.c); c != nil {
				c.Close()
			}
			pending = append(pending, h)
		}
		for _, h := range pending {
			if h.pass {
				unref()
			}
		}
		for _, h := range all {
			if h.c.n != 1 {
				t.Fatalf("a handle was closed %d times", h.c.n)
			}
		}
	})
}
