// Package worktree holds the live trees: for each branch, the mutable state that a mount shows under branches/<name>.
// It knows POSIX semantics and no FUSE types.
//
// A live tree is a base tree (of a commit) and a journal of what was changed since. In memory it is a table of inodes whose
// directories are loaded from the base when first looked into. A regular file is in one of three states:
//
//	A  manifest only       content is read from the store
//	B  manifest and spool  clean; reads come from the spool file, a 1:1 copy that is private to the inode
//	C  spool only          dirty: what is in the spool file is the truth
//
// Opening for write moves A to C (copy up) or B to C (a journal record); the ingest queue moves C to B after the last writer has closed;
// DropSpool and the spool quota move B to A.
//
// # What survives what
//
// Every change of names and attributes is one write(2) to the journal before the operation returns, so it survives the death of the process.
// A sync makes it survive a power cut, in this order: the spool directory, then the journal. A spool file is only removed after the record that
// made it unnecessary is synced, so that a journal cut short by a power failure never refers to a file that is gone.
// layout.go has the bytes, docs/format-live.md the story.
//
// # Recovery
//
// Open replays the valid prefix of each journal; what follows a torn record is cut off (and kept beside the journal if it holds valid records).
// Spool files whose last name was removed by a record are removed; other unknown ones with content are kept and listed (SpoolStats.LostFound).
//
// # Locks, in the order they are taken
//
//	Set.mu          the table of trees
//	Tree.snapMu     one snapshot of a tree at a time
//	Tree.compactMu  one compaction of a tree at a time; held over its disk writes
//	journal.syncMu  one fsync of a journal at a time; held over it
//	Tree.mu         names, attributes and inode states. Never held over store reads, file data, copy up or fsync,
//	                but by Switch over the one small transaction that moves refs with the tree
//	queue.mu        the ingest queue
//	Set.cleanMu     the list of clean spool copies
//
// An inode being copied up holds a latch (extra.latch) on which other writers of that inode wait without holding a lock.
package worktree
