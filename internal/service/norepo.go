package service

import (
	"context"
	"encoding/json"
	"fmt"

	"coral/internal/control"
)

// withoutRepo is a Request that may need no repository.
type withoutRepo interface{ NeedsNoRepo() bool }

// NeedsNoRepo reports whether a request, after Localize, can be carried out where there is no repository: a comparison of what is on the disk.
func NeedsNoRepo(req Request) bool {
	w, ok := req.(withoutRepo)
	return ok && w.NeedsNoRepo()
}

// WithoutRepo runs a request that NeedsNoRepo in this process. The result goes to out by way of its JSON, as over the socket.
func WithoutRepo(ctx context.Context, v *Verb, req Request, out any, progress func(control.Progress)) error {
	if !NeedsNoRepo(req) {
		return fmt.Errorf("%s: %w", v.Name, ErrNoRepo)
	}
	if progress == nil {
		progress = func(control.Progress) {}
	}
	res, err := v.run(ctx, &Service{}, req, progress)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(res)
	if err != nil {
		return fmt.Errorf("%s: result: %w", v.Name, err)
	}
	return json.Unmarshal(raw, out)
}

// NeedsNoRepo reports that all sides are on the disk.
func (r *DiffRequest) NeedsNoRepo() bool {
	if r.Soup {
		return false
	}
	for _, d := range append([]Side{r.From, r.To}, r.SoupOf...) {
		if d.Disk == "" {
			return false
		}
	}
	return true
}
