package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// peer is another tool. Its steps are processes; the directory of the corpus is their working directory.
type peer struct {
	name, what string
	install    string // how to get it
	program    string // found on PATH or among the tools; "" for a Python package
	module     string // the helper's name of it; "" for a program
	prepare    func(p *call) error
	encode     func(p *call) error
	decode     func(p *call) error
	check      func(p *call) error // compares what came back; nil: files in p.out with the corpus
}

// call is a peer at work on the corpus.
type call struct {
	*run
	ctx   context.Context // of the one Run it lives for
	peer  *peer
	row   *Row
	exe   string // program or interpreter
	store string // directory of what it stores
	out   string // directory of what it gives back
	took  spent
	cpu   time.Duration // of the last process, and its children
}

// PeerNames are the names of all peers.
func PeerNames() (names []string) {
	for _, p := range allPeers {
		names = append(names, p.name)
	}
	return names
}

// peer measures one peer. A missing one is no error.
func (r *run) peer(ctx context.Context, p *peer, row *Row) error {
	c := &call{run: r, ctx: ctx, peer: p, row: row, store: filepath.Join(r.dir, "store"), out: filepath.Join(r.dir, "out")}
	defer os.RemoveAll(c.store)
	defer os.RemoveAll(c.out)
	for _, d := range []string{c.store, c.out} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	found, err := c.find()
	if err != nil {
		return err
	}
	if !found {
		row.Missing = p.install
		return nil
	}
	if p.prepare != nil {
		if err := p.prepare(c); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	r.step(p.name+": encode", 0)
	c.took = spent{}
	if err := p.encode(c); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	row.encoded(c.took)
	n, err := treeSize(c.store)
	if err != nil {
		return err
	}
	row.stored(n)
	r.step(p.name+": decode", 0)
	c.took = spent{}
	if err := p.decode(c); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	row.written(c.took)
	r.step(p.name+": compare", 0)
	if p.check != nil {
		return p.check(c)
	}
	return c.compareFiles()
}

// compareFiles compares the files in c.out with the corpus.
func (c *call) compareFiles() error {
	c.row.Exact = &Exactness{}
	for i := range c.files {
		f := &c.files[i]
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if err := c.row.Exact.compare(c.staged(f), filepath.Join(c.out, f.name)); err != nil {
			return fmt.Errorf("compare %s: %w", f.from, err)
		}
	}
	return nil
}
