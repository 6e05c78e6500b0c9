package content

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"

	"coral/delta"
	"coral/delta/format"
	"coral/delta/format/detect"
	"coral/internal/oid"
	"coral/objstore"
	"coral/vcs/object"
)

// Backend is what the content store needs of objstore/local.
type Backend interface {
	objstore.Reader
	objstore.Writer
	Has(id oid.ID) bool
	Hint(key []byte) []byte
	SetHint(key, value []byte)
}

// Options of New.
type Options struct {
	CacheBytes int64          // decoded blocks kept in memory; 0 means 64 MiB
	Workers    int            // parallel encoders and decoders; 0 means GOMAXPROCS
	Strategy   delta.Strategy // how blobs are coded; see SetStrategy
	NoBases    bool           // every blob is coded alone; for measuring what bases are worth
	Logger     *slog.Logger
	Neighbours Neighbours // nil: bases are found by name alone
}

// Store writes and reads file content. Safe for concurrent use.
type Store struct {
	b       Backend
	near    Neighbours // may be nil
	objects *object.Store
	log     *slog.Logger
	workers int
	noBases bool
	parse   func(io.ReaderAt, int64) (*format.Layout, error)

	raw     *arena          // bytes read and not yet stored
	enc     *arena          // base and output of the blobs being encoded
	slots   chan *slot      // one for each blob that may be encoded at a time
	flights flights         // blobs being stored
	metas   *metaCache      // parsed headers of blobs
	plains  plains          // blobs that lie in plain files
	blocks  *blockCache     // decoded blocks
	scratch sync.Pool       // *scratch
	windows sync.Pool       // *[]byte of passWindow
	passes  chan struct{}   // one token for each window that whole-file passes have in memory
	directs chan struct{}   // one token for each long read that is decoded past the cache
	ahead   chan aheadTask  // read-ahead queue; a full one drops
	disk    prefetcher      // nil if the backend is none
	fetches chan fetchTask  // queue of what the disk is to read; a full one drops
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // read-ahead workers
	count   counters

	strategy atomic.Uint32 // delta.Strategy
}

// Memory bounds, for the daemon's 400 MiB. With w = min(workers, 4): w+1 extents read and waiting, w pairs of
// base and output. On two cores 48 + 64 MiB, on four or more 80 + 128 MiB; block cache and headers come on top.
const maxMemoryWorkers = 4

// New returns a Store. Close it.
func New(b Backend, objects *object.Store, opts Options) *Store {
	s := &Store{b: b, near: opts.Neighbours, objects: objects, log: opts.Logger, workers: opts.Workers, noBases: opts.NoBases, parse: detect.Parse}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.workers <= 0 {
		s.workers = runtime.GOMAXPROCS(0)
	}
	cacheBytes := opts.CacheBytes
	if cacheBytes <= 0 {
		cacheBytes = 64 << 20
	}
	w := int64(min(s.workers, maxMemoryWorkers))
	extent := bufferSize(delta.MaxBlob)
	s.raw = newArena((w + 1) * extent)
	s.enc = newArena(2 * w * extent)
	s.slots = make(chan *slot, s.workers)
	for range s.workers {
		s.slots <- &slot{}
	}
	s.strategy.Store(uint32(opts.Strategy))
	s.metas = newMetaCache()
	s.blocks = newBlockCache(cacheBytes)
	s.scratch.New = func() any { return &scratch{dec: delta.NewDecoder()} }
	s.windows.New = func() any { b := make([]byte, passWindow); return &b }
	s.passes = make(chan struct{}, s.workers+1)
	s.directs = make(chan struct{}, s.workers+1)
	s.ahead = make(chan aheadTask, aheadQueue)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for range s.workers {
		s.wg.Go(s.aheadWorker)
	}
	if s.disk, _ = b.(prefetcher); s.disk != nil {
		s.fetches = make(chan fetchTask, fetchQueue)
		s.wg.Go(s.fetcher)
	}
	return s
}

// Close ends the workers. Files must not be used afterwards. Ingests must have returned.
func (s *Store) Close() error {
	s.cancel()
	s.wg.Wait()
	s.DropCache()
	return nil
}

// SetStrategy changes how the files are coded whose Ingest begins from now on, and returns how they were before. What is stored stays as it is.
func (s *Store) SetStrategy(to delta.Strategy) (was delta.Strategy) {
	return delta.Strategy(s.strategy.Swap(uint32(to)))
}

// DropCache empties the decoded-block cache and forgets the headers of blobs.
func (s *Store) DropCache() {
	s.blocks.drop()
	s.metas.drop()
}

// Counters are totals since New, for status and for tests that prove how little a read decodes.
type Counters struct {
	BlocksDecoded int64 `json:"blocks_decoded"`
	BytesDecoded  int64 `json:"bytes_decoded"` // raw bytes of these blocks
	CacheHits     int64 `json:"cache_hits"`    // blocks found decoded
	CacheMisses   int64 `json:"cache_misses"`
	AheadBlocks   int64 `json:"ahead_blocks"` // misses taken by the read-ahead
	BlobsStored   int64 `json:"blobs_stored"`
	BlobsShared   int64 `json:"blobs_shared"` // stored before, or by another at the same time
	DeltasStored  int64 `json:"deltas_stored"`
	DerivedStored int64 `json:"derived_stored"`
	PlainRead     int64 `json:"plain_read"` // bytes of bases read from plain files instead of decoded
	BytesIngested int64 `json:"bytes_ingested"`
	BytesStored   int64 `json:"bytes_stored"`
}

type counters struct {
	blocksDecoded, bytesDecoded, cacheHits, cacheMisses, aheadBlocks                             atomic.Int64
	blobsStored, blobsShared, deltasStored, derivedStored, plainRead, bytesIngested, bytesStored atomic.Int64
}

// Counters returns the totals so far.
func (s *Store) Counters() Counters {
	c := &s.count
	return Counters{
		BlocksDecoded: c.blocksDecoded.Load(), BytesDecoded: c.bytesDecoded.Load(),
		CacheHits: c.cacheHits.Load(), CacheMisses: c.cacheMisses.Load(), AheadBlocks: c.aheadBlocks.Load(),
		BlobsStored: c.blobsStored.Load(), BlobsShared: c.blobsShared.Load(), DeltasStored: c.deltasStored.Load(), DerivedStored: c.derivedStored.Load(), PlainRead: c.plainRead.Load(),
		BytesIngested: c.bytesIngested.Load(), BytesStored: c.bytesStored.Load(),
	}
}
