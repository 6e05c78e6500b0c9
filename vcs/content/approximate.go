package content

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"coral/delta"
	"coral/delta/format"
	"coral/delta/format/dtype"
	"coral/delta/lossy"
	"coral/internal/oid"
	"coral/objstore"
)

// Approximation says how files are approximated.
type Approximation struct {
	lossy.Params
	DryRun bool // only report: nothing is stored
	// Stays reports whether a blob stays stored as it is, whatever becomes of the file: it is then left in the file, too.
	Stays func(blob oid.ID) bool
	// Bases returns blobs that extent k of a tensor of the file at path may be a difference to, the likelier first. They must be exact.
	Bases func(path, tensor string, dt dtype.Kind, k int) []oid.ID
}

// ApproximatedTensor is one whose values were changed, or would be.
type ApproximatedTensor struct {
	Name   string
	DType  dtype.Kind
	Shape  []int64
	Bytes  int64 // of the extents that were changed
	Was    int64 // bytes stored for these
	Now    int64 // bytes stored for what is in their place
	Errors lossy.Errors
}

// ExactTensor is one that was left as it is.
type ExactTensor struct{ Name, Why string }

// The reasons for which tensors are left as they are.
const (
	WhyKind    = "no floats of 32 or 16 bits"
	WhyVector  = "fewer than two dimensions"
	WhyState   = "state of an optimizer"
	WhyStays   = "stays stored exactly elsewhere"
	WhyValues  = "holds NaN, infinity or values that would become one"
	WhyBase    = "no exact tensor of a later commit to be a difference to"
	WhyGain    = "takes no less space approximated"
	WhyPlace   = "does not begin a stored blob"
	WhyArchive = "in an archive whose checksums cannot be set"
)

// Approximated is what became of a file, or would.
type Approximated struct {
	Manifest oid.ID // of the new file; the old one's if nothing changed, or in a dry run
	Tensors  []ApproximatedTensor
	Exact    []ExactTensor
	Replaced []oid.ID // blobs that the new file has no more in their places
	Bases    []oid.ID // blobs that the new ones are differences to
}

// Approximator makes approximated copies of stored files: float tensors of two or more dimensions are changed as Approximation says, the rest of the file is kept, and
// checksums in ZIP archives follow. What it stores is neither remembered for names nor ever a base. It is used by one goroutine; its memory is three blobs' (48 MiB).
type Approximator struct {
	s              *Store
	how            Approximation
	enc            *delta.Encoder
	approx         lossy.Approximator
	raw, base, out []byte
}

// NewApproximator returns an Approximator. how.Params must be valid.
func (s *Store) NewApproximator(how Approximation) *Approximator {
	strategy := delta.Auto
	switch how.Method {
	case lossy.Int8:
		strategy = delta.Quantised8
	case lossy.Int16:
		strategy = delta.Quantised16
	case lossy.PerAxis:
		strategy = delta.AxisScaled
	}
	return &Approximator{s: s, how: how, enc: delta.NewEncoder(delta.WithStrategy(strategy))}
}

// File approximates the file of a manifest, which is at path. A file without tensors is left as it is.
func (a *Approximator) File(ctx context.Context, path string, manifest oid.ID) (Approximated, error) {
	res, err := a.file(ctx, path, manifest)
	if err != nil {
		return Approximated{}, fmt.Errorf("approximate %s: %w", path, err)
	}
	return res, nil
}

func (a *Approximator) file(ctx context.Context, path string, manifest oid.ID) (Approximated, error) {
	res := Approximated{Manifest: manifest}
	f, err := a.s.Open(ctx, manifest)
	if err != nil || f.m.Format == format.Opaque {
		return res, err
	}
	layout, err := a.s.parse(readerAt{ctx, f}, f.Size())
	if err != nil || layout == nil || layout.Check(f.Size()) != nil {
		return res, ctx.Err() // it was parsed when it was stored; what fails now is left exact
	}
	tensors := matrices(layout)
	sums, err := a.archive(ctx, f, layout)
	if err != nil {
		return res, err
	}
	var all []replacement
	for i := range layout.Payloads {
		p := &layout.Payloads[i]
		t, ok := tensors[p.Offset]
		why := unfit(p, t, ok)
		if why == "" && !sums.settable(p) {
			why = WhyArchive
		}
		var done []replacement
		var made ApproximatedTensor
		if why == "" {
			if made, done, why, err = a.payload(ctx, f, path, p, t); err != nil {
				return res, err
			}
		}
		if why != "" {
			res.Exact = append(res.Exact, ExactTensor{p.Name, why})
			continue
		}
		res.Tensors = append(res.Tensors, made)
		for _, r := range done {
			res.Replaced = append(res.Replaced, f.m.Segments[r.seg].Blob)
			if !r.base.IsZero() {
				res.Bases = append(res.Bases, r.base)
			}
		}
		all = append(all, done...)
	}
	if len(all) == 0 || a.how.DryRun {
		return res, nil
	}
	res.Manifest, err = a.assemble(ctx, f, all, sums)
	return res, err
}

// matrices returns the tensors that a payload can be approximated as, by offset.
func matrices(l *format.Layout) map[int64]*format.Tensor {
	at := make(map[int64]*format.Tensor, len(l.Tensors))
	for i := range l.Tensors {
		t := &l.Tensors[i]
		if have := at[t.Offset]; have == nil || len(have.Shape) < len(t.Shape) {
			at[t.Offset] = t
		}
	}
	return at
}

// optimizerState lists last components of names of state that training cannot go on with once it is changed: a second moment becomes negative.
var optimizerState = []string{"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "grad_avg", "acc_delta"}

// optimizerFolder lists components of names below which all is an optimizer's: Keras, Keras before 3, optax in flax, DeepSpeed and others in torch. There
// last components say nothing: optimizer/vars/7.
var optimizerFolder = []string{"optimizer", "optimizer_weights", "opt_state", "optimizer_state", "optimizer_states", "optimizer_state_dict"}

// isOptimizerState reports whether a payload of this name is state of an optimizer.
func isOptimizerState(name string) bool {
	if slices.Contains(optimizerState, lastComponent(name)) {
		return true
	}
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '.' || r == '/' }) {
		if slices.Contains(optimizerFolder, part) {
			return true
		}
	}
	return false
}

// unfit says why a payload cannot be approximated, or "".
func unfit(p *format.Payload, t *format.Tensor, ok bool) string {
	switch {
	case !lossy.Codes(p.DType):
		return WhyKind
	case isOptimizerState(p.Name):
		return WhyState
	case !ok || t.DType != p.DType || t.Length > p.Length || len(t.Shape) < 2 || t.Shape[0] <= 0:
		return WhyVector
	}
	return ""
}

// replacement is a segment of a file that gets another blob.
type replacement struct {
	seg        int
	blob, base oid.ID
}

// payload approximates the extents of one payload. why is "" if at least one of them was changed.
func (a *Approximator) payload(ctx context.Context, f *File, path string, p *format.Payload, t *format.Tensor) (made ApproximatedTensor, done []replacement, why string, err error) {
	made = ApproximatedTensor{Name: p.Name, DType: p.DType, Shape: t.Shape}
	row := max(1, t.Length/int64(p.DType.Width())/t.Shape[0])
	for k, at := 0, int64(0); at < p.Length; k, at = k+1, at+extentLen {
		n := min(extentLen, p.Length-at)
		i, start := f.segment(p.Offset + at)
		seg := &f.m.Segments[i]
		if start != p.Offset+at || seg.Length != n || seg.Blob.IsZero() {
			return made, nil, WhyPlace, nil
		}
		if a.how.Stays(seg.Blob) {
			why = WhyStays
			continue
		}
		base, err := a.load(ctx, seg.Blob, a.how.Bases(path, p.Name, p.DType, k), p.DType, n)
		if err != nil {
			return made, nil, "", err
		}
		if base.ID.IsZero() && a.how.Method.NeedsBase() {
			return made, nil, WhyBase, nil
		}
		var e lossy.Errors
		if !a.blocks(p.DType, row, at/int64(p.DType.Width())%row, &e) {
			return made, nil, WhyValues, nil
		}
		r := replacement{seg: i, base: base.ID}
		now, smaller, err := a.put(ctx, &r, seg.Blob, p.DType, base)
		if err != nil {
			return made, nil, "", err
		}
		if !smaller {
			why = WhyGain
			continue
		}
		info, err := a.s.b.Stat(seg.Blob)
		if err != nil {
			return made, nil, "", err
		}
		made.Bytes += n
		made.Was += info.Stored
		made.Now += now
		made.Errors.Add(e)
		done = append(done, r)
	}
	if len(done) > 0 {
		why = ""
	}
	return made, done, why, nil
}

// load decodes a blob of n bytes into a.raw, and the first base that can be one into a.base, which is nil if there is none.
func (a *Approximator) load(ctx context.Context, blob oid.ID, bases []oid.ID, dt dtype.Kind, n int64) (base objstore.Info, err error) {
	a.base = a.base[:0]
	if err := a.s.decodeBlob(ctx, blob, sized(&a.raw, int(n))); err != nil {
		return base, err
	}
	if got := oid.Sum(a.raw); got != blob {
		return base, corrupt(blob, "decoded bytes have id %s", got)
	}
	for _, id := range bases {
		info, err := a.s.b.Stat(id)
		if err != nil || info.Kind != objstore.Blob || info.DType != uint8(dt) || info.RawSize != n || int(info.Depth) >= delta.MaxDepth || id == blob || a.s.Approximated(ctx, id) {
			continue
		}
		if err := a.s.decodeBlob(ctx, id, sized(&a.base, int(n))); err != nil {
			if ctx.Err() != nil {
				return base, ctx.Err()
			}
			a.s.log.Warn("base passed over", "op", "compact", "id", id, "err", err)
			a.base = a.base[:0]
			continue
		}
		return info, nil
	}
	return base, nil
}

// blocks approximates a.raw in place; first is the place in its row of the first element.
func (a *Approximator) blocks(dt dtype.Kind, row, first int64, e *lossy.Errors) bool {
	for at := 0; at < len(a.raw); at += delta.BlockSize {
		to := min(at+delta.BlockSize, len(a.raw))
		var base []byte
		if len(a.base) > 0 {
			base = a.base[at:to]
		}
		if !a.approx.Block(a.raw[at:to], base, dt, a.how.Params, row, (first+int64(at/dt.Width()))%row, e) {
			return false
		}
	}
	return true
}

// put stores a.raw as r.blob, unless it takes no less than was does, or is the same.
func (a *Approximator) put(ctx context.Context, r *replacement, was oid.ID, dt dtype.Kind, base objstore.Info) (now int64, smaller bool, err error) {
	if r.blob = oid.Sum(a.raw); r.blob == was {
		return 0, false, nil
	}
	if a.s.b.Has(r.blob) {
		r.base = oid.ID{}
		return 0, true, nil
	}
	var under []byte
	if len(a.base) > 0 {
		under = a.base
	}
	payload, res, err := a.enc.Encode(a.out[:0], a.raw, under, dt)
	if err != nil {
		return 0, false, fmt.Errorf("encode blob %s: %w", r.blob, err)
	}
	a.out = payload
	info, err := a.s.b.Stat(was)
	if err != nil {
		return 0, false, err
	}
	rec := objstore.Record{Kind: objstore.Blob, ID: r.blob, Codec: uint16(res.Codec), DType: uint8(dt), RawSize: int64(len(a.raw)), Payload: payload}
	if res.UsesBase {
		rec.Base, rec.Depth = base.ID, base.Depth+1
	} else {
		r.base = oid.ID{}
	}
	now = int64(len(payload))
	if now >= info.Stored || a.how.DryRun {
		return now, now < info.Stored, nil
	}
	a.s.b.SetHint(approximatedKey(r.blob), []byte{1})
	if err := a.s.b.Put(ctx, rec); err != nil {
		return 0, false, fmt.Errorf("store blob %s: %w", r.blob, err)
	}
	return now, true, nil
}

// assemble stores the manifest of the file with the replacements, and what else changes with them.
func (a *Approximator) assemble(ctx context.Context, f *File, all []replacement, sums *checksums) (oid.ID, error) {
	m := *f.m
	m.Segments = slices.Clone(f.m.Segments)
	for _, r := range all {
		m.Segments[r.seg].Blob = r.blob
	}
	g := &File{s: f.s, id: f.id, m: &m, ends: f.ends}
	if sums != nil {
		if err := a.setChecksums(ctx, g, f, sums); err != nil {
			return oid.ID{}, err
		}
	}
	h := oid.NewHasher()
	err := g.pass(ctx, decoded, func(w *window) error {
		_, err := h.Write(w.buf)
		return err
	})
	if err != nil {
		return oid.ID{}, err
	}
	m.Hash = h.Sum()
	return a.s.objects.PutManifest(ctx, &m)
}

// decoded reports the first part of a window that could not be decoded.
func decoded(w *window) error {
	for i := range w.parts {
		if err := w.parts[i].err; err != nil {
			return err
		}
	}
	return nil
}

// approximatedKey is the key of the hint that marks a blob as an approximation.
func approximatedKey(id oid.ID) []byte { return append([]byte("content/approximated/"), id[:]...) }

// Approximated reports whether a blob was made by an Approximator. It is known from a hint, or, when a rebuilt index has lost that, from how the blob is coded,
// which tells all but most of method sparse. Nothing exact is coded as a difference to such a blob.
func (s *Store) Approximated(ctx context.Context, id oid.ID) bool {
	if s.marked(id) {
		return true
	}
	m, err := s.meta(ctx, id)
	return err == nil && m.hdr != nil && m.hdr.Approximated()
}

// marked reports whether there is a hint that the blob is an approximation.
func (s *Store) marked(id oid.ID) bool { return s.b.Hint(approximatedKey(id)) != nil }

// readerAt is a File as an io.ReaderAt for one call.
type readerAt struct {
	ctx context.Context
	f   *File
}

// ReadAt implements io.ReaderAt.
func (r readerAt) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(r.ctx, p, off) }
