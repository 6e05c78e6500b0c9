package vfs

// Prefetcher is a File that can be told what is read soon. It is a hint: nothing comes of it if it cannot be followed.
type Prefetcher interface {
	// Prefetch starts reading n bytes from off, and does not wait for them.
	Prefetch(off, n int64)
}
