// Package service is what Coral can be asked to do: one typed request and one typed result for each command, shared by
// the command line, the control socket and the control file of a mount, so that the three cannot drift apart.
//
// A Service wraps an open repository and, in the daemon, its mounts. Verbs is the table of what it understands: a verb's
// request knows its own flags (bound with pflag), its positional arguments, and what it does to the repository (Access).
// The command line fills a request, resolves in it what belongs to the caller (paths, author: Localize), and sends it to
// the daemon or runs it in-process; the control file parses a line into the same request.
//
// Concurrency: a Service is safe for concurrent use. Commands that only read take no lock. Commands that write share
// the gate, and gc takes it whole, since a collector must see no object that is stored and not yet referred to.
// Lock order: gate, then mu; nothing is done under mu but looking at and changing the list of mounts.
package service
