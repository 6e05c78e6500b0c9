package vcs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"coral/delta"
	"coral/delta/format"
	"coral/delta/format/detect"
	"coral/delta/format/dtype"
	simhash "coral/delta/similar"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/content"
	"coral/vcs/object"
	"coral/vcs/similar"
)

// Bounds of a search.
const (
	maxSimilarCandidates = 24      // tensors that are compared with each, on samples
	compareChunk         = 1 << 18 // elements that are read at a time
	sampleChunk          = 8192    // elements of each of sampleChunks places
	sampleChunks         = 8
)

// SimilarQuery says what FindSimilar looks for.
type SimilarQuery struct {
	Source    SimilarSource
	Size      int64
	Manifest  oid.ID  // of the source if it is stored; it is left out of the answers. Zero: the source is parsed
	Tensor    string  // only this one; "" means all
	N         int     // matches of each tensor, and files
	Threshold float64 // the least correlation
	Progress  func(done, total int64, what string)
}

// SimilarSource is the file whose tensors are looked for; content.File is one.
type SimilarSource interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// SimilarTensor is a tensor of the source and what resembles it.
type SimilarTensor struct {
	object.Tensor
	Skipped string // why it was not looked for; "" if it was
	Matches []SimilarMatch
}

// SimilarMatch is a stored tensor that resembles one of the source.
type SimilarMatch struct {
	Tensor      object.Tensor
	Cosine      float64 // of all elements
	Correlation float64 // the same with the means taken away
	Identical   bool    // the same bytes
	Place       Place
}

// SimilarFile is a stored file and how much of the source it resembles.
type SimilarFile struct {
	Place       Place
	Tensors     int     // of the source that it has one like
	Bytes       int64   // of these
	Share       float64 // of the bytes that were looked for
	Correlation float64 // mean over these bytes, estimated from samples
}

// SimilarResult is what FindSimilar found.
type SimilarResult struct {
	Tensors []SimilarTensor // in file order
	Files   []SimilarFile   // the likeliest parent first
}

// FindSimilar finds stored tensors that resemble those of a file, whatever they are called, in commits and live trees. The source is read once from front to back and again where a tensor has
// matches; candidates come from the index, are ranked by samples and the best compared in full. errs.NotFound if there is no tensor of the wanted name.
func (r *Repo) FindSimilar(ctx context.Context, q SimilarQuery) (SimilarResult, error) {
	f := &finder{r: r, q: q}
	if err := f.run(ctx); err != nil {
		return SimilarResult{}, err
	}
	return f.result(), nil
}

// finder is one search.
type finder struct {
	r       *Repo
	q       SimilarQuery
	wanted  []*wantedTensor
	places  *places
	buffers [2][]byte
	floats  [2][]float32
}

// wantedTensor is a tensor of the source.
type wantedTensor struct {
	SimilarTensor
	extents []extentAnswer
	cands   []*candidate
}

// extentAnswer is what the index says of one extent.
type extentAnswer struct {
	k       int
	matches []similar.Match
}

// candidate is a stored tensor: all places that hold it are one.
type candidate struct {
	t        object.Tensor
	file     *foundFile // the first that has it
	files    []*foundFile
	distance float64 // mean over the extents that matched
	moments  simhash.Moments
	equal    bool
}

func (f *finder) run(ctx context.Context) error {
	if err := f.listTensors(ctx); err != nil {
		return err
	}
	blobs := map[oid.ID]bool{}
	done := int64(0)
	for _, w := range f.wanted {
		f.q.Progress(done, f.q.Size, w.Name)
		if err := f.look(ctx, w, blobs); err != nil {
			return fmt.Errorf("tensor %q: %w", w.Name, err)
		}
		done += w.Length
	}
	var err error
	if f.places, err = f.r.findPlaces(ctx, blobs, f.q.Manifest); err != nil {
		return err
	}
	done = 0
	for _, w := range f.wanted {
		f.q.Progress(done, f.q.Size, w.Name)
		if err := f.compare(ctx, w); err != nil {
			return fmt.Errorf("tensor %q: %w", w.Name, err)
		}
		done += w.Length
	}
	return nil
}

// listTensors fills wanted.
func (f *finder) listTensors(ctx context.Context) error {
	var tensors []object.Tensor
	if !f.q.Manifest.IsZero() {
		m, err := f.r.Objects.Manifest(ctx, f.q.Manifest)
		if err != nil {
			return err
		}
		tensors = m.Tensors
	} else {
		l, err := detect.Parse(sourceReader{ctx, f.q.Source}, f.q.Size)
		if err != nil && !errors.Is(err, format.ErrUnknown) && !errors.Is(err, format.ErrDamaged) {
			return err
		}
		for _, t := range l.Tensors {
			tensors = append(tensors, object.Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape, Offset: t.Offset, Length: t.Length, Stride: t.Stride})
		}
	}
	if len(tensors) == 0 {
		return fmt.Errorf("no tensors in it that can be read: %w", errs.Invalid)
	}
	for i := range tensors {
		if f.q.Tensor == "" || tensors[i].Name == f.q.Tensor {
			f.wanted = append(f.wanted, &wantedTensor{SimilarTensor: SimilarTensor{Tensor: tensors[i]}})
		}
	}
	if len(f.wanted) == 0 {
		return fmt.Errorf("tensor %q: %w", f.q.Tensor, errs.NotFound)
	}
	return nil
}

// sourceReader is a source as io.ReaderAt, for parsers.
type sourceReader struct {
	ctx context.Context // of the one call that parses
	s   SimilarSource
}

// ReadAt implements io.ReaderAt.
func (r sourceReader) ReadAt(p []byte, off int64) (int, error) { return r.s.ReadAt(r.ctx, p, off) }

// look asks the index for the tensor's extents.
func (f *finder) look(ctx context.Context, w *wantedTensor, blobs map[oid.ID]bool) error {
	switch {
	case w.Length < simhash.MinBytes:
		w.Skipped = fmt.Sprintf("shorter than %d KiB", simhash.MinBytes>>10)
	case w.Stride != nil:
		w.Skipped = "not contiguous"
	case content.FirstMoment(w.Name):
		w.Skipped = "a first moment: not indexed"
	}
	if w.Skipped != "" {
		return nil
	}
	w.Skipped = "nothing to go by: all equal, or no numbers"
	for k, at := 0, int64(0); at < w.Length; k, at = k+1, at+delta.MaxBlob {
		raw := f.buffer(0, int(min(delta.MaxBlob, w.Length-at)))
		if err := readAll(ctx, f.q.Source, raw, w.Offset+at); err != nil {
			return err
		}
		s, ok := simhash.Make(raw, w.DType)
		if !ok || len(raw) < simhash.MinBytes {
			continue
		}
		w.Skipped = ""
		a := extentAnswer{k: k, matches: f.r.Similar.Near(similar.Query{
			Sketch: &s, MaxDistance: simhash.MaxDistance(f.q.Threshold), N: maxSimilarCandidates,
		})}
		for _, m := range a.matches {
			blobs[m.ID] = true
		}
		w.extents = append(w.extents, a)
	}
	return nil
}

// compare finds out what the tensor's candidates are, and fills in its matches.
func (f *finder) compare(ctx context.Context, w *wantedTensor) error {
	w.cands = f.places.candidates(w)
	whole := int64(0)
	if width := w.DType.Width(); width > 0 {
		whole = w.Length / int64(width)
	}
	sampled := whole > sampleChunk*sampleChunks
	for _, c := range w.cands {
		if err := f.measure(ctx, w, c, sampled); err != nil {
			return err
		}
	}
	byCorrelation := func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(b.moments.Correlation(), a.moments.Correlation()), cmp.Compare(a.distance, b.distance))
	}
	slices.SortStableFunc(w.cands, byCorrelation)
	w.cands = slices.DeleteFunc(w.cands, func(c *candidate) bool { return c.moments.Correlation() < f.q.Threshold })
	best := slices.Clone(w.cands[:min(f.q.N, len(w.cands))])
	for _, c := range best {
		estimate := c.moments
		if sampled {
			if err := f.measure(ctx, w, c, false); err != nil {
				return err
			}
		}
		if r := c.moments.Correlation(); r >= f.q.Threshold {
			w.Matches = append(w.Matches, SimilarMatch{Tensor: c.t, Cosine: c.moments.Cosine(), Correlation: r, Identical: c.equal, Place: c.file.place})
		}
		c.moments = estimate // files are ranked by what is known of all candidates
	}
	slices.SortStableFunc(w.Matches, func(a, b SimilarMatch) int { return cmp.Compare(b.Correlation, a.Correlation) })
	return nil
}

// measure compares the tensor with a candidate: on samples, or in full. A candidate that cannot be read counts as unlike: it is damage, and fsck names it.
func (f *finder) measure(ctx context.Context, w *wantedTensor, c *candidate, sampled bool) error {
	c.moments = simhash.Moments{}
	a, b := int64(w.DType.Width()), int64(c.t.DType.Width())
	if a == 0 || b == 0 {
		return nil
	}
	n := min(w.Length/a, c.t.Length/b)
	c.equal = w.DType == c.t.DType && w.Length == c.t.Length
	file, err := f.r.Content.Open(ctx, c.file.manifest)
	if err == nil {
		err = f.eachChunk(n, sampled, func(at, n int64) error { return f.add(ctx, w, c, file, at, n) })
	}
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	var source *sourceError
	if errors.As(err, &source) {
		return err
	}
	if err != nil {
		f.r.log.Warn("similar tensor passed over", "op", "similar", "path", c.file.place.Path, "err", err)
		c.moments = simhash.Moments{}
	}
	return nil
}

// sourceError is an error of the file that is asked about.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// eachChunk calls fn for ranges of n elements: all of them, or places spread evenly.
func (f *finder) eachChunk(n int64, sampled bool, fn func(at, n int64) error) error {
	if sampled && n > sampleChunk*sampleChunks {
		for i := range int64(sampleChunks) {
			if err := fn((n-sampleChunk)*i/(sampleChunks-1), sampleChunk); err != nil {
				return err
			}
		}
		return nil
	}
	for at := int64(0); at < n; at += compareChunk {
		if err := fn(at, min(compareChunk, n-at)); err != nil {
			return err
		}
	}
	return nil
}

// add compares n elements from the at-th on.
func (f *finder) add(ctx context.Context, w *wantedTensor, c *candidate, file SimilarSource, at, n int64) error {
	sides := [2]struct {
		s SimilarSource
		t *object.Tensor
	}{{f.q.Source, &w.Tensor}, {file, &c.t}}
	var raw [2][]byte
	for i, side := range sides {
		width := int64(side.t.DType.Width())
		raw[i] = f.buffer(i, int(n*width))
		if err := readAll(ctx, side.s, raw[i], side.t.Offset+at*width); err != nil {
			if i == 0 {
				err = &sourceError{err}
			}
			return err
		}
		parts := int(n)
		if side.t.DType == dtype.C64 || side.t.DType == dtype.C128 {
			parts *= 2
		}
		if cap(f.floats[i]) < parts {
			f.floats[i] = make([]float32, parts)
		}
		f.floats[i] = f.floats[i][:parts]
		simhash.Floats(f.floats[i], raw[i], side.t.DType)
	}
	if len(f.floats[0]) != len(f.floats[1]) { // complex against real: never in one bucket of the index
		return nil
	}
	c.moments.Add(f.floats[0], f.floats[1])
	c.equal = c.equal && string(raw[0]) == string(raw[1])
	return nil
}

func (f *finder) buffer(i, n int) []byte {
	if cap(f.buffers[i]) < n {
		f.buffers[i] = make([]byte, n)
	}
	return f.buffers[i][:n]
}

// readAll fills p or fails.
func readAll(ctx context.Context, s SimilarSource, p []byte, off int64) error {
	n, err := s.ReadAt(ctx, p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}

// result ranks the files and takes the rest as it is.
func (f *finder) result() SimilarResult {
	var res SimilarResult
	total := int64(0)
	score := map[*foundFile]*SimilarFile{}
	for _, w := range f.wanted {
		res.Tensors = append(res.Tensors, w.SimilarTensor)
		if w.Skipped != "" {
			continue
		}
		total += w.Length
		counted := map[*foundFile]bool{} // the best candidate of each file
		for _, c := range w.cands {
			for _, file := range c.files {
				if counted[file] {
					continue
				}
				counted[file] = true
				s := score[file]
				if s == nil {
					s = &SimilarFile{Place: file.place}
					score[file] = s
				}
				s.Tensors++
				s.Bytes += w.Length
				s.Correlation += float64(w.Length) * c.moments.Correlation()
			}
		}
	}
	for _, s := range score {
		res.Files = append(res.Files, *s)
	}
	slices.SortFunc(res.Files, func(a, b SimilarFile) int {
		return cmp.Or(cmp.Compare(b.Correlation, a.Correlation), cmp.Compare(a.Place.Path, b.Place.Path))
	})
	res.Files = res.Files[:min(f.q.N, len(res.Files))]
	for i := range res.Files {
		s := &res.Files[i]
		s.Share = float64(s.Bytes) / float64(total)
		s.Correlation = math.Min(1, s.Correlation/float64(s.Bytes))
	}
	return res
}
