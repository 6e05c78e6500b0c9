// Package similar is the index of sketches: it finds stored blobs that resemble a tensor, whatever they are called.
//
// Vocabulary. A record is a blob's id and its sketch (delta/similar). A posting is an LSH key and the number of a record. A run is a
// file of records and, for each LSH table, their postings sorted by key; it never changes. The tail is a file of the records since the
// last run, which are also in memory. A full tail is sealed to a run, and neighbouring runs of similar size are merged, so that n records lie in about log₂(n/1024) runs.
//
// It is derived data. Nothing here is needed to read anything; a wrong or missing answer costs ratio, never bytes, and every answer is checked against the
// blobs themselves by who asked. So nothing here fails an ingest: the first error of writing is logged and ends writing. What is
// damaged is dropped, and the index is then Incomplete until it is made again from the blobs. Records survive the death of the process; a power cut may lose those of the tail.
//
// Why not bbolt: a record has 16 postings at random keys, each of which would rewrite a page of 4 KiB; here they are sorted in memory and written
// front to back, 270 bytes a record and merge.
//
// Bounds. Memory: up to 16,384 records of the tail (72 bytes each), one byte a record of fences, and while runs are merged 4 bytes a record of these. A query looks at no more than
// maxExamined records, and a key keeps the newest maxBucket postings in a run: of a thousand checkpoints of one tensor the latest are found, which are the likelier bases.
//
// An Index may be used from any number of goroutines; one process at a time writes (the repository's lock), others may read. Lock order: writer, then mu. Files are read with no lock held and written
// under writer alone.
package similar
