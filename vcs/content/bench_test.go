package content

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"coral/delta/format/dtype"
)

// benchModel is 8 tensors of 4 MiB and a checkpoint some steps later.
func benchModel(dt dtype.Kind) (first, second []byte) {
	r := testRand(1)
	var a, b []tensor
	for i := range 8 {
		w := gauss(r, dt, 4<<20/dt.Width(), 0.02)
		a = append(a, tensor{fmt.Sprint("w", i), dt, w})
		b = append(b, tensor{fmt.Sprint("w", i), dt, tuned(r, dt, w, 0.0002)})
	}
	return safetensors(a...), safetensors(b...)
}

func BenchmarkIngest(b *testing.B) {
	for _, dt := range []dtype.Kind{dtype.F32, dtype.BF16} {
		first, second := benchModel(dt)
		for _, c := range []struct {
			name string
			base []byte
			data []byte
		}{{"alone", nil, first}, {"near", first, second}, {"unchanged", first, first}} {
			b.Run(dt.String()+"/"+c.name, func(b *testing.B) {
				b.SetBytes(int64(len(c.data)))
				b.ReportAllocs()
				var stored int64
				for b.Loop() {
					b.StopTimer()
					s, _ := newStore(b, Options{})
					s.parse = jsonLayout
					var hint Hint
					if c.base != nil {
						hint.Prev = mustIngest(b, s, c.base, Hint{}).Manifest
					}
					b.StartTimer()
					stored = mustIngest(b, s, c.data, hint).New
				}
				b.ReportMetric(float64(stored)/float64(len(c.data)), "stored/raw")
			})
		}
	}
	b.Run("opaque", func(b *testing.B) {
		data := noise(1, 32<<20)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			s, _ := newStore(b, Options{})
			mustIngest(b, s, data, Hint{})
		}
	})
	b.Run("small", func(b *testing.B) { // 4 KiB files: the cost a file
		s, _ := newStore(b, Options{})
		data := noise(2, 4000)
		for i := 0; b.Loop(); i++ {
			data[0], data[1], data[2] = byte(i), byte(i>>8), byte(i>>16)
			mustIngest(b, s, data, Hint{})
		}
	})
}

func BenchmarkRead(b *testing.B) {
	for _, dt := range []dtype.Kind{dtype.F32, dtype.BF16} {
		first, second := benchModel(dt)
		s, _ := newStore(b, Options{})
		s.parse = jsonLayout
		one := mustIngest(b, s, first, Hint{})
		two := mustIngest(b, s, second, Hint{Prev: one.Manifest})
		for _, c := range []struct {
			name string
			res  IngestResult
			data []byte
		}{{"alone", one, first}, {"delta", two, second}} {
			f := mustOpen(b, s, c.res.Manifest)
			b.Run(dt.String()+"/"+c.name+"/ReadAt128K", func(b *testing.B) {
				b.SetBytes(f.Size())
				b.ReportAllocs()
				buf := make([]byte, 128<<10)
				for b.Loop() {
					s.DropCache()
					for off := int64(0); off < f.Size(); off += int64(len(buf)) {
						n, _ := f.ReadAt(b.Context(), buf, off)
						if !bytes.Equal(buf[:n], c.data[off:off+int64(n)]) {
							b.Fatal("bytes differ")
						}
					}
				}
			})
			b.Run(dt.String()+"/"+c.name+"/Page", func(b *testing.B) {
				b.SetBytes(4096)
				r := testRand(9)
				buf := make([]byte, 4096)
				for b.Loop() {
					s.blocks.drop()
					if _, err := f.ReadAt(b.Context(), buf, r.Int64N(f.Size()/4096-1)*4096); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(dt.String()+"/"+c.name+"/Materialize", func(b *testing.B) {
				b.SetBytes(f.Size())
				b.ReportAllocs()
				path := filepath.Join(b.TempDir(), "out")
				for b.Loop() {
					materializeTo(b, f, path, true)
				}
			})
		}
	}
}
