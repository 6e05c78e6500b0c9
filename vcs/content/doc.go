// Package content is where delta meets objstore: it cuts a file into blobs, stores them, and gives any byte of it back.
//
// Vocabulary. A payload is the bytes of one tensor storage; it is cut at delta.MaxBlob into extents. What lies between
// payloads is literal. Extents, long literals and the content-defined chunks of what has no tensors become blobs, named by the
// BLAKE3-256 of their bytes; short literals stay inline in the manifest. A blob is coded in blocks, alone or against a
// base blob; a base may have a base: the chain.
//
// Ingest (ingest.go, plan.go, feed.go, encode.go, base.go). One goroutine reads the file front to back into batches, and hashes
// the whole-file BLAKE3 over the very buffers that are then hashed as blobs and stored, so a manifest describes exactly
// the bytes read even while the file changes. Batches are stored in parallel by at most Workers goroutines of the
// ingest's own errgroup.
//
// A blob may be computed from others (guess.go finds how by values.go, rows.go, family.go and flat.go; derived.go reads): then its base is what a recipe gives.
//
// Read (file.go, block.go, blockcache.go, prefetch.go). A read finds its segments by binary search and decodes the blocks it
// touches, and for each the same byte range of the chain below. Decoded blocks are kept in an LRU bounded in bytes, with one
// decoder a block at a time. Whole-file passes (materialize.go, verify.go) go past the cache with
// buffers of their own (decode.go).
//
// Invariants. No byte is returned that was not checked: a block against its checksum, a raw frame against its blob's id. Depth
// falls strictly along a chain, so chains end, and waits for blocks of a chain cannot form a circle. Damage is errs.Corrupt and names the blob.
//
// Waiting order, so that nothing deadlocks: raw arena → slot → blob flight → encode arena → cached block → its base. Who holds a later one never
// waits for an earlier one. Locks (arena, flights, metaCache, block shards, a file's streams) are leaves: nothing is called under them.
//
// The package keeps no format of its own on disk: manifests are vcs/object's, payloads delta's. Two things it decides do show
// there and are fixed: where files are cut (plan.go, chunk.go) and the key of a hint (base.go).
package content
