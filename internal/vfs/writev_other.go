//go:build !linux

package vfs

// WritevAt implements File with one write a buffer.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	done := 0
	for _, b := range bufs {
		n, err := f.WriteAt(b, off+int64(done))
		done += n
		if err != nil {
			return done, Class(err)
		}
	}
	return done, nil
}
