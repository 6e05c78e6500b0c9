// Package bench measures what a directory of checkpoints takes in Coral and in other tools, and how fast each encodes and decodes it, in one run over the
// same files.
//
// Vocabulary. The corpus is the files in the order in which they are stored, copied into a work directory first so that all tools read the same names from
// the same disk. A row is one codec of ours or one peer: another program, run as a process of its own.
//
// Our rows store the corpus in a real repository: encoding ends when packs and index are synced. It is then closed, the kernel is asked to forget its packs,
// and everything is read back twice: into memory (decode), and into files that are compared with the corpus byte for byte. Peers write their output to
// files of the work directory, are not synced, and the start of a Python interpreter is not counted: where the comparison is uneven, it favours them.
//
// Memory is bounded by vcs/content's bounds and a few buffers. One Run at a time: it sets GOMAXPROCS when it is told how many cores to use. No goroutine and
// no child process outlives Run, and the work directory is removed.
package bench
