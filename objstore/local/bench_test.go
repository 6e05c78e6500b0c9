package local

import (
	"encoding/binary"
	"fmt"
	"testing"

	"coral/internal/oid"
	"coral/objstore"
)

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s := open1(b, b.TempDir(), Options{PackSize: DefaultPackSize}, env{})
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				n++
				binary.LittleEndian.PutUint64(payload, n)
				id := oid.Sum(payload[:8])
				ok(b, s.Put(b.Context(), objstore.Record{Kind: objstore.Blob, ID: id, RawSize: int64(size), Payload: payload}))
			}
			ok(b, s.Close())
		})
	}
}

// filled returns a store with n records of size bytes, and their ids.
func filled(b *testing.B, n, size int) (*Store, []oid.ID) {
	s := open1(b, b.TempDir(), Options{PackSize: DefaultPackSize}, env{})
	payload := make([]byte, size)
	var ids []oid.ID
	for i := range n {
		binary.LittleEndian.PutUint64(payload, uint64(i))
		ids = append(ids, oid.Sum(payload[:8]))
		ok(b, s.Put(b.Context(), objstore.Record{Kind: objstore.Blob, ID: ids[i], RawSize: int64(size), Payload: payload}))
	}
	ok(b, s.Sync(b.Context()))
	b.Cleanup(func() { ok(b, s.Close()) })
	return s, ids
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			s, ids := filled(b, 64, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				if _, _, err := s.Get(b.Context(), ids[i%len(ids)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStat: cached is every block of a file that is being read; uncached asks the index of 100,000 records.
func BenchmarkStat(b *testing.B) {
	s, ids := filled(b, 100_000, 16)
	for _, cached := range []bool{true, false} {
		b.Run(fmt.Sprintf("cached=%v", cached), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				id := ids[i%1000]
				if !cached {
					id = ids[i*7919%len(ids)]
					if i%512 == 0 {
						s.infos.clear()
					}
				}
				i++
				if _, err := s.Stat(id); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReadPayload(b *testing.B) {
	s, ids := filled(b, 64, 1<<20)
	p := make([]byte, 4<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		info, err := s.Stat(ids[i%len(ids)])
		if err != nil {
			b.Fatal(err)
		}
		if err := s.ReadPayload(b.Context(), info, p, int64(i%200)*4096); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen opens a store of 100,000 records, whose index is walked and verified twice: by us, and by bbolt.
func BenchmarkOpen(b *testing.B) {
	s, _ := filled(b, 100_000, 16)
	dir := s.dir
	ok(b, s.Close())
	for b.Loop() {
		s := open1(b, dir, Options{}, env{})
		ok(b, s.Close())
	}
}
