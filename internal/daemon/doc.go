// Package daemon is the life of Coral's processes around one repository: who owns it, and how commands find the owner.
//
// The owner holds a flock on .coral/lock. A daemon holds it while anything is mounted; it listens on .coral/daemon.sock
// (internal/control) and describes itself in .coral/daemon.json. Without a daemon each command holds the lock while it
// works (Caller). Both kinds of holder write who they are into the lock file. The lock file is never removed: another
// process may be waiting on it.
//
// Run is the daemon: it opens the repository, mounts, answers, and ends on a signal, on `coral unmount` of the last
// mount, or when the last mount goes away by other means. In ending it takes no new commands, unmounts, drains the ingest
// queue for a bounded time (what is not drained stays in the spool and is ingested later), and closes. Start runs the daemon
// detached and waits until it is live.
//
// The daemon never opens, stats or lists a path of its own mounts: it would wait for itself. What it must know of them it
// reads in /proc.
package daemon
