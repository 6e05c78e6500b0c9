package content

import (
	"fmt"
	"io"
	"sync"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm

	"coral/delta"
)

// Bytes without known structure are cut by FastCDC with normalised chunking. The algorithm name, its gear table and these sizes decide
// what files share and are fixed; TestChunkCutsAreFixed holds them.
//
// go-cdc-chunkers 1.1.0 and not jotfs/fastcdc-go 0.2.0: random bytes are cut at 0.9-1.3 GB/s a core here against 1.3-1.6 (November 2026, 256 MB,
// both far above the encoder), but the latter writes to a package variable whenever a chunker is made: a data race between two ingests.
const chunkAlgorithm = "fastcdc-v1.0.0"

const (
	avgChunk = 64 << 10
	// A file of 16 GiB is 262,144 average chunks, about 10 MB of manifest. Longer ones are cut coarser.
	chunksOfAvg = 16 << 30
)

// chunkAvg returns the average chunk length for size bytes to cut; the least is a quarter, the most four times as much.
func chunkAvg(size int64) int {
	avg := avgChunk
	for limit := int64(chunksOfAvg); size > limit && 4*avg < delta.MaxBlob; limit *= 8 {
		avg *= 4
	}
	return avg
}

// chunkerPool keeps chunkers, whose buffer is twice the largest chunk, for the common average.
var chunkerPool sync.Pool

// cutter gives the chunks of a stream.
type cutter struct {
	c   *chunkers.Chunker
	avg int
	eof bool
}

func newCutter(r io.Reader, size int64) (*cutter, error) {
	avg := chunkAvg(size)
	if avg == avgChunk {
		if c, ok := chunkerPool.Get().(*chunkers.Chunker); ok {
			c.Reset(r)
			return &cutter{c: c, avg: avg}, nil
		}
	}
	c, err := chunkers.NewChunker(chunkAlgorithm, r, &chunkers.ChunkerOpts{MinSize: avg / 4, NormalSize: avg, MaxSize: 4 * avg})
	if err != nil {
		return nil, fmt.Errorf("content-defined chunks of %d: %w", avg, err)
	}
	return &cutter{c: c, avg: avg}, nil
}

// next returns the next chunk, valid until the next call, or io.EOF.
func (c *cutter) next() ([]byte, error) {
	if c.eof {
		return nil, io.EOF
	}
	b, err := c.c.Next()
	if err == io.EOF { // may come with the last chunk
		c.eof = true
		if len(b) > 0 {
			return b, nil
		}
	}
	return b, err
}

// free gives the cutter's buffer back.
func (c *cutter) free() {
	if c.avg == avgChunk {
		c.c.Reset(nil)
		chunkerPool.Put(c.c)
	}
	c.c = nil
}
