// Package local is the store of a repository on disk: packs and their index as one objstore.Reader and objstore.Writer.
//
// Put appends a frame to the active pack with one system call and publishes it in a map in memory (pending). Sync makes
// it durable in this order, which golden tests keep: fsync of the packs, fsync of packs/ if it has new names, then one
// index transaction with everything pending. A crash therefore leaves frames that the index does not know, which Open
// finds, and never an index entry without its frame. A full pack is sealed; sealed packs never change.
//
// Locks, in order: the token in syncing (one Sync, Collect or Close at a time), appendMu (the active pack), mu (maps in memory). The
// first two are held over disk writes, which is what they serialise; mu never is. Readers take only mu and the locks of files and infos.
//
// A write that failed is remembered and refuses every later one, as the state on disk is then unknown until the store is opened again.
// Not so when the disk is full: the torn frame is cut and the store goes on.
package local
