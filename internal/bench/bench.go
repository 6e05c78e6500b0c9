package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"coral/internal/errs"
)

// Options of Run.
type Options struct {
	Paths     []string // files and directories
	Base      string   // stored first; "" if there is none
	Include   []string // globs for the names of files; none means all
	KeepOrder bool     // Paths in the order given
	Codecs    []string // names of Codecs; none means all
	Peers     []string // names of peers; none means all
	NoPeers   bool
	Cores     int           // how many are used, of ours and of each peer's process; 0 means all
	Dir       string        // where the work directory is made; "" means a temporary one on a disk
	Tools     string        // what `make peers` made: Tools/tools has programs, Tools/peers Python packages, Tools/venv a Python
	Python    string        // the interpreter that peers run in; "" means that of Tools, or python3
	PeerLimit time.Duration // a peer is ended when one step takes longer; 0 means 30 minutes

	// Progress is told of each step and how much of the corpus it has done. It may be nil and does not block.
	Progress func(step string, done, total int64)
}

// DefaultPeerLimit is how long one step of a peer may take.
const DefaultPeerLimit = 30 * time.Minute

// Report is what Run found. JSON names are a promise.
type Report struct {
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	Cores  int    `json:"cores"`
	CPU    string `json:"cpu"`
	System string `json:"system"`
	Rows   []*Row `json:"rows"`
}

// Row is one codec or peer. Speeds are in millions of raw bytes a second. JSON names are a promise.
type Row struct {
	Name    string `json:"name"`
	Peer    bool   `json:"peer"`
	What    string `json:"what"`
	Version string `json:"version,omitempty"`
	Missing string `json:"missing,omitempty"` // how to get a peer that is not here; then there are no figures
	Failed  string `json:"failed,omitempty"`  // why there are no figures, or not all
	Note    string `json:"note,omitempty"`    // what the figures do not say

	StoredBytes int64   `json:"stored_bytes,omitempty"`
	IndexBytes  int64   `json:"index_bytes,omitempty"` // of ours, on top: it can be made again from the packs
	Ratio       float64 `json:"ratio,omitempty"`       // stored by raw
	EncodeMBps  float64 `json:"encode_mbps,omitempty"` // to durable, for ours
	DecodeMBps  float64 `json:"decode_mbps,omitempty"` // into memory, from a disk whose pages were dropped; ours only
	WriteMBps   float64 `json:"write_mbps,omitempty"`  // the same into files
	// Processor time, of all cores together: what to compare on a machine that does other work too.
	EncodeCPU float64 `json:"encode_cpu_seconds,omitempty"`
	DecodeCPU float64 `json:"decode_cpu_seconds,omitempty"`
	WriteCPU  float64 `json:"write_cpu_seconds,omitempty"`

	PeakBytes int64 `json:"peak_bytes,omitempty"` // memory of the larger of a peer's processes
	Deltas    int64 `json:"deltas,omitempty"`
	MaxDepth  int   `json:"max_depth,omitempty"`

	Exact *Exactness `json:"exact,omitempty"` // nil if nothing came back

	raw int64
}

func (w *Row) stored(n int64) {
	w.StoredBytes = n
	if w.raw > 0 {
		w.Ratio = float64(n) / float64(w.raw)
	}
}

func (w *Row) encoded(t spent) { w.EncodeMBps, w.EncodeCPU = w.speed(t.wall), t.cpu.Seconds() }
func (w *Row) decoded(t spent) { w.DecodeMBps, w.DecodeCPU = w.speed(t.wall), t.cpu.Seconds() }
func (w *Row) written(t spent) { w.WriteMBps, w.WriteCPU = w.speed(t.wall), t.cpu.Seconds() }

func (w *Row) speed(d time.Duration) float64 {
	return float64(w.raw) / 1e6 / max(d.Seconds(), 1e-9)
}

// run is one Run.
type run struct {
	o     Options
	dir   string // the work directory
	files []file
	total int64

	label string // of the step in work
	done  int64
}

// staged is where a file of the corpus is in the work directory.
func (r *run) staged(f *file) string { return filepath.Join(r.corpus(), f.name) }

func (r *run) corpus() string { return filepath.Join(r.dir, "corpus") }

// step reports that n more bytes of the step are done.
func (r *run) step(label string, n int64) {
	if label != r.label {
		r.label, r.done = label, 0
	}
	r.done += n
	if r.o.Progress != nil {
		r.o.Progress(label, r.done, r.total)
	}
}

// Run measures. A codec or peer that fails has that in its row; an error means that there is no report. Wrong names are errs.Invalid.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	codecs, peers, err := choose(&o)
	if err != nil {
		return nil, err
	}
	r := &run{o: o}
	if r.files, err = collect(&o); err != nil {
		return nil, err
	}
	r.total = totalSize(r.files)
	if err := r.makeDir(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if err := stage(ctx, r.corpus(), r.files, func(n int64) { r.step("copy", n-r.done) }); err != nil {
		return nil, fmt.Errorf("copy the files to %s: %w", r.dir, err)
	}
	r.total = totalSize(r.files)
	rep := &Report{Files: len(r.files), Bytes: r.total, Cores: runtime.GOMAXPROCS(0), CPU: cpuName(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if o.Cores > 0 {
		rep.Cores = min(o.Cores, runtime.NumCPU())
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(rep.Cores))
	}
	r.o.Cores = rep.Cores
	for _, c := range codecs {
		row := &Row{Name: c.Name, What: c.What, raw: r.total}
		rep.Rows = append(rep.Rows, row)
		row.fail(r.ours(ctx, c, row))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	for _, p := range peers {
		row := &Row{Name: p.name, Peer: true, What: p.what, raw: r.total}
		rep.Rows = append(rep.Rows, row)
		row.fail(r.peer(ctx, p, row))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return rep, nil
}

func (w *Row) fail(err error) {
	if err != nil {
		w.Failed = err.Error()
	}
}

// choose finds the codecs and peers that are wanted.
func choose(o *Options) (codecs []Codec, peers []*peer, err error) {
	codecs = Codecs
	if len(o.Codecs) > 0 {
		codecs = nil
		for _, n := range o.Codecs {
			i := slices.IndexFunc(Codecs, func(c Codec) bool { return c.Name == n })
			if i < 0 {
				return nil, nil, fmt.Errorf("no codec %q: %s: %w", n, strings.Join(CodecNames(), ", "), errs.Invalid)
			}
			codecs = append(codecs, Codecs[i])
		}
	}
	if o.NoPeers {
		return codecs, nil, nil
	}
	if len(o.Peers) == 0 {
		return codecs, allPeers, nil
	}
	for _, n := range o.Peers {
		i := slices.IndexFunc(allPeers, func(p *peer) bool { return p.name == n })
		if i < 0 {
			return nil, nil, fmt.Errorf("no peer %q: %s: %w", n, strings.Join(PeerNames(), ", "), errs.Invalid)
		}
		peers = append(peers, allPeers[i])
	}
	return codecs, peers, nil
}

// CodecNames are the names of Codecs.
func CodecNames() (names []string) {
	for _, c := range Codecs {
		names = append(names, c.Name)
	}
	return names
}

// makeDir makes the work directory, on a disk with room for it: the corpus, what is stored of it, and what comes back.
func (r *run) makeDir() error {
	dir := r.o.Dir
	if dir == "" {
		if dir = os.TempDir(); inMemory(dir) {
			dir = "/var/tmp"
		}
	}
	free, err := freeBytes(dir)
	if err != nil {
		return fmt.Errorf("work directory in %s: %w", dir, err)
	}
	if need := 3 * r.total; need > free {
		return fmt.Errorf("work directory in %s: %d MB may be needed, %d are free: %w", dir, need>>20, free>>20, errs.NoSpace)
	}
	if r.dir, err = os.MkdirTemp(dir, "coral-bench-"); err != nil {
		return err
	}
	if r.dir, err = filepath.Abs(r.dir); err != nil {
		return err
	}
	return os.Mkdir(r.corpus(), 0o700)
}

// cpuName is the processor as the kernel calls it.
func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return runtime.GOARCH
}
