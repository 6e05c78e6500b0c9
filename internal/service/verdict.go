package service

import (
	"context"
	"fmt"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/diff"
	"coral/vcs/object"
)

// failedOn names the first tensors for which a condition holds.
func failedOn(list []DiffTensor, failed int) error {
	const most = 5
	var names []string
	for _, t := range list {
		if len(t.Failed) > 0 && len(names) < most {
			names = append(names, t.Name+" ("+strings.Join(t.Failed, ", ")+")")
		}
	}
	more := ""
	if failed > len(names) {
		more = fmt.Sprintf(" and %d more", failed-len(names))
	}
	return fmt.Errorf("--fail-on holds for %s%s: %w", strings.Join(names, ", "), more, errs.Conflict)
}

// SharedBytes is how much two sides have in common. JSON names are a promise.
type SharedBytes struct {
	Tensors      int64       `json:"tensor_bytes"` // of the new side
	EqualTensors int64       `json:"equal_tensor_bytes"`
	EqualShare   diff.Number `json:"equal_share"`          // of all tensors, those whose bytes are equal
	Stored       int64       `json:"bytes"`                // of the blobs of the new side, each once
	Shared       int64       `json:"shared_bytes"`         // of these, in blobs that the old side has too: they take room once
	SharedShare  diff.Number `json:"shared_share"`         // null if a side is not stored
	Unstored     bool        `json:"not_stored,omitempty"` // a side is on the disk, or not ingested yet
}

// maxShared bounds the blobs of a side that are remembered to find the shared ones: 128 MiB of them.
const maxShared = 1 << 21

// sharedBytes compares the blobs of two sides.
func sharedBytes(ctx context.Context, objects *object.Store, old, new diff.Tree, found *diff.Result) (*SharedBytes, error) {
	out := &SharedBytes{Tensors: found.Bytes, EqualTensors: found.EqBytes}
	if c := found.Total.Counts; c.Tensors > 0 {
		out.EqualShare = diff.Number(float64(c.Equal+c.Renamed) / float64(c.Tensors))
	}
	blobs, err := diff.Blobs(ctx, objects, old, maxShared)
	if err != nil {
		return nil, err
	}
	seen := map[oid.ID]bool{}
	for _, id := range blobs.IDs {
		seen[id] = true
	}
	var news diff.BlobSet
	if news, err = diff.Blobs(ctx, objects, new, maxShared); err != nil {
		return nil, err
	}
	out.Unstored = !blobs.Whole || !news.Whole
	out.Stored = news.Bytes
	for i, id := range news.IDs {
		if seen[id] {
			out.Shared += news.Lengths[i]
		}
	}
	out.SharedShare = diff.NoNumber()
	if !out.Unstored && out.Stored > 0 {
		out.SharedShare = diff.Number(float64(out.Shared) / float64(out.Stored))
	}
	return out, nil
}
