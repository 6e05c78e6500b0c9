// Package vcs is a repository: objects, refs, content and live trees put together.
//
// A Repo's parts may be read from directly; changes that touch more than one part go through its methods, which keep these promises:
//
//   - Order. Pack bytes, fsync of packs, index transaction, then the ref by compare-and-set. What a crash leaves behind is
//     unreferenced bytes, never a ref to something that is not there.
//   - Whole history. A name is only ever given to a commit from which everything can be reached.
//   - Collection is alone. What makes objects reachable (snapshots, new names) and GC exclude each other.
//
// Locks, in the order they are taken: Repo.checks (Fsck and GC; tried, not waited for), Repo.snapshots (one snapshot of a branch at a time), Repo.gate (shared by what makes objects
// reachable, exclusive for GC), Repo.names (changes of branches, and of their live trees with them). All are
// waited for with the caller's context but names, which is held for a few small disk writes only.
//
// A Repo is safe for concurrent use by one process. Others are kept out by the lock that internal/daemon holds.
package vcs
