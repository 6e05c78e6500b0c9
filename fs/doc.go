// Package fs turns kernel requests into calls on a repository: the mount. It is the only package that imports go-fuse.
//
//	HEAD               symlink to branches/<current>, or to commits/<id>
//	branches/<name>/   live trees, read-write: wdir.go, wfile.go over vcs/worktree
//	commits/<id>/      every commit, read-only: commits.go, dir.go, file.go
//	tags/<name>/       tagged commits, read-only
//	history/<branch>/<path>/NNNN-<id>   every version of a file, newest first: history.go
//	views/safetensors/{branches,commits,tags}/   the same trees with weights files of other kinds as safetensors: view*.go
//	.coral/            control, last, status, log, repo; not listed: ctlfile.go
//
// Caching. What a commit holds never changes: its entries, attributes and pages are the kernel's for a day. Branches get
// a second, names that may move (tags, revision expressions) too, and a notifier goroutine tells the kernel when a ref
// moved (notify.go). Lookup, Getattr and Readdir never decode content.
//
// Serving. An inode is served by passthrough (the kernel reads and writes a file of ours itself) or lazily (READ and
// WRITE requests); the kernel allows one way at a time. It is chosen at an open that finds no other handle and kept
// while one lives: passthrough.go.
//
// Interrupts are ignored: a request runs to its end, with Mount.base as its context. Go programs get a SIGURG for
// each preemption, and the kernel passes it on as an interrupt; half-done updates and repeated commands would follow.
//
// Locks. liveNodes.gate is held for reading over a whole request that makes nodes known, see forget.go. All other locks of
// ours are leaves: none is taken under another, and none is held over store reads, disk writes or the Controller.
// notifier.mu is held over a notification and is wanted by nobody who serves a request. Nothing here opens a path in the mount.
//
// Not supported: POSIX ACLs, NFS export, copy_file_range inside the daemon (the kernel copies instead), writing to
// anything but branches/, tags/ and .coral/control.
package fs
