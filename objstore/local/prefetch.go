package local

import "coral/objstore"

// Prefetch tells the disk that n bytes of the payload of info from off (what is outside of it is left out) are read soon. It does not wait
// for them. A record that has moved since, or cannot be read, is left to who reads it.
func (s *Store) Prefetch(info objstore.Info, off, n int64) {
	off = max(off, 0)
	if n = min(n, info.Stored-off); n <= 0 || info.Offset < 0 {
		return
	}
	r, release, err := s.files.acquire(info.Pack)
	if err != nil {
		return
	}
	defer release()
	r.Prefetch(info.Offset+off, n)
}
