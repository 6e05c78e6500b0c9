package view

import (
	"context"

	"coral/delta/format/detect"
	"coral/delta/format/pickle"
	"coral/vcs/object"
	"coral/vcs/tensor"
)

// Details is what a file holds beside its tensors.
type Details = pickle.Details

// HasDetails reports whether a file may hold something beside its tensors that a view shows: then ReadDetails reads it.
func HasDetails(m *object.Manifest) bool { return detect.HasDetails(m.Format) }

// ReadDetails reads what the file that m describes holds beside its tensors: its pickles, 4 MiB of them at most, and no tensor. nil is none.
func ReadDetails(ctx context.Context, src tensor.Source, m *object.Manifest) (*Details, error) {
	return detect.Details(m.Format, tensor.ReaderAt(ctx, src), m.Size)
}
