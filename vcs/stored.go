package vcs

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strconv"
	"strings"

	"coral/delta"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

// StoredTensor says how the bytes of a tensor are stored.
type StoredTensor struct {
	How     string // "raw", "zstd", "solo", "delta", "derived", "inline"; "mixed" of extents that differ
	Bytes   int64  // payloads of its blobs
	Depth   int    // of the deepest
	Blobs   []oid.ID
	Bases   []oid.ID // of delta and derived blobs, each once
	Shared  bool     // its blobs hold other bytes too: of a larger storage, or between tensors
	Formula string   // of the first derived blob: "cast", "copy", "transpose", "0.5, 0.5" (the coefficients of a sum)
}

// StoredTensors says how each tensor of a manifest is stored, and what its distinct blobs take in all. Nothing is decoded.
func (r *Repo) StoredTensors(ctx context.Context, m *object.Manifest) (list []StoredTensor, total int64, err error) {
	starts := segmentStarts(m)
	list = make([]StoredTensor, len(m.Tensors))
	for i := range m.Tensors {
		if err := r.storedTensor(ctx, m, starts, &m.Tensors[i], &list[i]); err != nil {
			return nil, 0, err
		}
	}
	seen := map[oid.ID]bool{{}: true}
	for i := range m.Segments {
		if id := m.Segments[i].Blob; !seen[id] {
			seen[id] = true
			info, err := r.Packs.Stat(id)
			if err != nil {
				return nil, 0, err
			}
			total += info.Stored
		}
	}
	return list, total, nil
}

func (r *Repo) storedTensor(ctx context.Context, m *object.Manifest, starts []int64, t *object.Tensor, out *StoredTensor) error {
	i := max(0, sort.Search(len(starts), func(i int) bool { return starts[i] > t.Offset })-1)
	how := map[string]bool{}
	for end := t.Offset + t.Length; t.Length > 0 && i < len(starts) && starts[i] < end; i++ {
		seg := &m.Segments[i]
		if seg.Blob.IsZero() {
			how["inline"] = true
			continue
		}
		if starts[i] < t.Offset || starts[i]+seg.Length > end {
			out.Shared = true
		}
		if slices.Contains(out.Blobs, seg.Blob) {
			continue
		}
		info, err := r.Packs.Stat(seg.Blob)
		if err != nil {
			return err
		}
		out.Blobs = append(out.Blobs, seg.Blob)
		out.Bytes += info.Stored
		out.Depth = max(out.Depth, int(info.Depth))
		kind := frameName(delta.FrameCodec(info.Codec), info.Base)
		how[kind] = true
		bases := []oid.ID{info.Base}
		if kind == "derived" {
			if bases, err = r.Content.References(ctx, seg.Blob); err != nil {
				return err
			}
			if out.Formula == "" {
				if out.Formula, err = r.Content.Formula(ctx, seg.Blob); err != nil {
					return err
				}
			}
		}
		for _, b := range bases {
			if !b.IsZero() && !slices.Contains(out.Bases, b) {
				out.Bases = append(out.Bases, b)
			}
		}
	}
	switch len(how) {
	case 0:
		out.How = "inline" // no bytes at all
	case 1:
		for out.How = range how {
		}
	default:
		out.How = "mixed"
	}
	return nil
}

func frameName(c delta.FrameCodec, base oid.ID) string {
	switch {
	case c == delta.FrameDerived:
		return "derived"
	case !base.IsZero():
		return "delta"
	case c == delta.FrameRaw:
		return "raw"
	case c == delta.FrameZstd:
		return "zstd"
	case c == delta.FrameBlocks:
		return "solo"
	}
	return "codec " + strconv.Itoa(int(c))
}

// BlobPlace is a tensor that a blob belongs to.
type BlobPlace struct {
	Place
	Tensor string // "" of bytes between tensors
}

// maxBlobPlaces bounds the files that BlobPlaces looks at.
const maxBlobPlaces = 20_000

// BlobPlaces finds, for each wanted blob, a tensor that it belongs to: the nearest in the history of commit from, then in other refs and live trees. It looks at
// 20,000 files at most, and reads manifests only; what it does not find is missing in the answer.
func (r *Repo) BlobPlaces(ctx context.Context, wanted map[oid.ID]bool, from oid.ID) (map[oid.ID]BlobPlace, error) {
	p := &blobPlaces{r: r, wanted: wanted, found: map[oid.ID]BlobPlace{}, seen: map[oid.ID]bool{{}: true}, left: maxBlobPlaces}
	w := treeWalk{r: r, seen: p.seen, file: p.file, done: p.done}
	tips, err := r.tips()
	if err != nil {
		return nil, err
	}
	for _, roots := range [][]oid.ID{{from}, tips} {
		pass := func(oid.ID, error) error { return nil } // damage is fsck's
		err := r.eachCommit(ctx, roots, pass, func(id oid.ID, c *object.Commit) (bool, error) {
			return !p.done(), w.tree(ctx, c.Tree, Place{Commit: id}, 0)
		})
		if err != nil {
			return nil, err
		}
	}
	for _, branch := range r.Live.Branches() {
		if p.done() {
			break
		}
		t, err := r.LiveTree(ctx, branch)
		if errors.Is(err, errs.NotFound) {
			continue // deleted meanwhile
		}
		if err == nil {
			err = p.live(ctx, t, branch)
		}
		if err != nil {
			return nil, err
		}
	}
	return p.found, nil
}

type blobPlaces struct {
	r      *Repo
	wanted map[oid.ID]bool
	found  map[oid.ID]BlobPlace
	seen   map[oid.ID]bool // trees and manifests
	left   int
}

func (p *blobPlaces) done() bool { return len(p.found) == len(p.wanted) || p.left <= 0 }

// live looks at the files of a live tree by way of the walk that similar uses.
func (p *blobPlaces) live(ctx context.Context, t *worktree.Tree, branch string) error {
	w := &places{r: p.r, wanted: p.wanted, of: map[oid.ID][]extentPlace{}, seen: map[oid.ID]bool{{}: true}}
	if err := w.live(ctx, t, t.Root(), Place{Branch: branch}, 0); err != nil {
		return err
	}
	for id, list := range w.of {
		if _, ok := p.found[id]; !ok && len(list) > 0 {
			p.found[id] = BlobPlace{list[0].file.place, list[0].tensor.Name}
		}
	}
	return nil
}

func (p *blobPlaces) file(ctx context.Context, manifest oid.ID, at Place) error {
	if p.seen[manifest] || p.done() {
		return nil
	}
	p.seen[manifest] = true
	p.left--
	m, err := p.r.Objects.Manifest(ctx, manifest)
	if err != nil {
		return passDamage(ctx, err)
	}
	start := int64(0)
	for i := range m.Segments {
		seg := &m.Segments[i]
		if _, ok := p.found[seg.Blob]; !ok && p.wanted[seg.Blob] {
			p.found[seg.Blob] = BlobPlace{at, tensorAt(m, start, seg.Length)}
		}
		start += seg.Length
	}
	return nil
}

// tensorAt returns the name of the first tensor that has bytes in a range.
func tensorAt(m *object.Manifest, off, n int64) string {
	for i := range m.Tensors {
		if t := &m.Tensors[i]; t.Offset < off+n && t.Offset+t.Length > off {
			return t.Name
		}
	}
	return ""
}

// TensorVersion is a commit that brought a version of a tensor.
type TensorVersion struct {
	Commit   oid.ID
	Manifest oid.ID // of the file
	Tensor   *object.Tensor
}

// TensorHistory returns the versions of a tensor of a file along first parents, the newest first, at most n of them (0: all): for each the oldest commit that has it. Tensors are
// told apart as Blame does. It ends where the file or the tensor is missing.
func (r *Repo) TensorHistory(ctx context.Context, commit oid.ID, path, name string, n int) ([]TensorVersion, error) {
	b := &blamer{r: r, tables: map[oid.ID]*blameTable{}}
	var out []TensorVersion
	var last, manifest oid.ID
	var ferr error
	err := r.Log(ctx, commit, false, func(id oid.ID, c *object.Commit) bool {
		e, err := r.Lookup(ctx, c.Tree, path)
		if errors.Is(err, errs.NotFound) || errors.Is(err, errs.NotDir) || err == nil && e.Kind != object.File {
			return false
		}
		if ferr = err; err != nil {
			return false
		}
		if e.ID == manifest && len(out) > 0 {
			out[len(out)-1].Commit = id
			return true
		}
		t, err := b.table(ctx, e.ID)
		if ferr = err; err != nil {
			return false
		}
		i, ok := t.byName[name]
		if !ok {
			return false
		}
		manifest = e.ID
		if len(out) > 0 && t.sums[i] == last {
			out[len(out)-1].Commit, out[len(out)-1].Manifest, out[len(out)-1].Tensor = id, e.ID, &t.m.Tensors[i]
			return true
		}
		if n > 0 && len(out) == n {
			return false
		}
		last = t.sums[i]
		out = append(out, TensorVersion{id, e.ID, &t.m.Tensors[i]})
		return true
	})
	return out, errors.Join(err, ferr)
}

// FindTensor returns the paths of the files of a commit that have a tensor of a name, sorted, at most n.
func (r *Repo) FindTensor(ctx context.Context, tree oid.ID, name string, n int) (paths []string, err error) {
	var walk func(id oid.ID, dir string, depth int) error
	walk = func(id oid.ID, dir string, depth int) error {
		t, err := r.Objects.Tree(ctx, id)
		if err != nil {
			return err
		}
		for i := range t.Entries {
			e := &t.Entries[i]
			if len(paths) >= n || depth > maxDepth {
				return nil
			}
			switch e.Kind {
			case object.Dir:
				err = walk(e.ID, join(dir, e.Name), depth+1)
			case object.File:
				var m *object.Manifest
				if m, err = r.Objects.Manifest(ctx, e.ID); err == nil && slices.ContainsFunc(m.Tensors, func(t object.Tensor) bool { return t.Name == name }) {
					paths = append(paths, join(dir, e.Name))
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if tree.IsZero() {
		return nil, nil
	}
	err = walk(tree, "", 0)
	return paths, err
}

// Layer returns the part of a tensor's name up to its first number, by which tensors are put together: "encoder.layer.0" of
// "encoder.layer.0.output.dense.weight", "blk.3" of "blk.3.attn_q.weight"; without a number the first part. kind is the rest.
func Layer(name string) (layer, kind string) {
	parts := strings.Split(name, ".")
	cut := 1
	for i, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 32); err == nil {
			cut = i + 1
			break
		}
	}
	return strings.Join(parts[:cut], "."), strings.Join(parts[cut:], ".")
}
