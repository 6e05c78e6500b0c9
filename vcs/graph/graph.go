// Package graph keeps the shape of history at hand: for each commit its time and parents, in memory and in the file `commits` of the repository, so that
// walking 100,000 commits does not read 100,000 objects. Everything in it is derived: an entry that is missing is read from the object store, and a file that
// is missing or damaged is made again.
package graph

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"coral/internal/oid"
	"coral/vcs/object"
)

// FileName is the file in the repository's directory.
const FileName = "commits"

// Node is what a walk needs of a commit. It is shared and must not be changed.
type Node struct {
	Time    int64 // nanoseconds since 1970, the committer's clock
	Parents []oid.ID
}

// Source reads commits; *object.Store is one.
type Source interface {
	Commit(ctx context.Context, id oid.ID) (*object.Commit, error)
}

// Graph is an open commit graph. Safe for concurrent use.
type Graph struct {
	src Source
	log *slog.Logger

	mu    sync.Mutex
	nodes map[oid.ID]Node
	file  *os.File // nil if nothing is to be written
	fresh []byte   // records not written yet
}

// flushAt is how much may wait to be written.
const flushAt = 64 << 10

// Open reads the graph of the repository at dir. A file that cannot be read or written costs time later, no more.
func Open(dir string, src Source, readOnly bool, logger *slog.Logger) *Graph {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	g := &Graph{src: src, log: logger, nodes: map[oid.ID]Node{}}
	flags := os.O_RDWR | os.O_CREATE
	if readOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(filepath.Join(dir, FileName), flags, 0o600)
	if err != nil {
		if !readOnly {
			logger.Warn("no file of the commit graph", "err", err)
		}
		return g
	}
	end, err := g.load(f)
	if readOnly {
		_ = f.Close()
		return g
	}
	if err == nil {
		err = g.prepare(f, end)
	}
	if err != nil {
		logger.Warn("the commit graph is not kept", "err", err)
		_ = f.Close()
		return g
	}
	g.file = f
	return g
}

// prepare makes f ready for appending behind its valid part.
func (g *Graph) prepare(f *os.File, end int64) error {
	if end == 0 {
		if err := f.Truncate(0); err != nil {
			return err
		}
		if _, err := f.WriteAt([]byte(magic), 0); err != nil {
			return err
		}
		end = int64(len(magic))
	}
	if err := f.Truncate(end); err != nil {
		return err
	}
	_, err := f.Seek(end, 0)
	return err
}

// Node returns what is known of commit id, reading it from the store the first time.
func (g *Graph) Node(ctx context.Context, id oid.ID) (Node, error) {
	g.mu.Lock()
	n, ok := g.nodes[id]
	g.mu.Unlock()
	if ok {
		return n, nil
	}
	c, err := g.src.Commit(ctx, id)
	if err != nil {
		return Node{}, fmt.Errorf("commit graph: %w", err)
	}
	n = Node{Time: c.Time.UnixNano(), Parents: c.Parents}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.nodes[id]; !ok {
		g.nodes[id] = n
		g.keep(id, n)
	}
	return n, nil
}

// keep adds a record to the file, sooner or later. g.mu is held.
func (g *Graph) keep(id oid.ID, n Node) {
	if g.file == nil || len(n.Parents) > maxParents {
		return
	}
	g.fresh = appendRecord(g.fresh, id, n)
	if len(g.fresh) >= flushAt {
		g.flush()
	}
}

// flush writes what waits. g.mu is held.
func (g *Graph) flush() {
	if g.file == nil || len(g.fresh) == 0 {
		return
	}
	if _, err := g.file.Write(g.fresh); err != nil { // a full disk; a torn record is cut at the next Open
		g.log.Warn("the commit graph is not kept", "err", err)
		_ = g.file.Close()
		g.file = nil
	}
	g.fresh = g.fresh[:0]
}

// Close writes what waits and closes the file.
func (g *Graph) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flush()
	if g.file == nil {
		return nil
	}
	err := g.file.Close()
	g.file = nil
	return err
}
