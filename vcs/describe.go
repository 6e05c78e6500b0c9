package vcs

import (
	"context"
	"fmt"
	"path"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
)

// DescribeOptions of Describe.
type DescribeOptions struct {
	Match string // a glob that tags must match; "" is all but the backups that compact makes
}

// Description names a commit by a tag before it. JSON field names are a promise.
type Description struct {
	Commit   oid.ID `json:"commit"`
	Tag      string `json:"tag"`      // "" if no tag is at the commit or before it
	Distance int    `json:"distance"` // how many commits are reached from the commit and not from the tag
}

// describeCandidates is how many tags are weighed against each other, as in git.
const describeCandidates = 10

// Describe finds the tag from which the fewest commits lead to id; of those alike the one that is met first going back, and of one commit the first by name.
// errs.Invalid for a glob that is none; no tag is no error.
func (r *Repo) Describe(ctx context.Context, id oid.ID, opts DescribeOptions) (Description, error) {
	d := Description{Commit: id}
	tags, err := r.describingTags(opts)
	if err != nil {
		return d, fmt.Errorf("describe: %w", err)
	}
	reached := map[oid.ID]bool{}
	var candidates []oid.ID
	err = r.eachCommit(ctx, []oid.ID{id}, nil, func(c oid.ID, _ *object.Commit) (bool, error) {
		reached[c] = true
		if tags[c] != "" && len(candidates) < describeCandidates {
			candidates = append(candidates, c)
		}
		return c != id || tags[c] == "", nil // one at the commit itself is the nearest
	})
	if err != nil {
		return d, fmt.Errorf("describe: %w", err)
	}
	best := -1
	for _, c := range candidates {
		n := len(reached)
		if c == id {
			n = 0
		} else if err := r.eachCommit(ctx, []oid.ID{c}, nil, func(oid.ID, *object.Commit) (bool, error) { n--; return true, nil }); err != nil {
			return d, fmt.Errorf("describe: %w", err)
		}
		if best < 0 || n < best {
			best, d.Tag, d.Distance = n, tags[c], n
		}
	}
	return d, nil
}

// describingTags returns a tag for each commit that has one to be described by.
func (r *Repo) describingTags(opts DescribeOptions) (map[oid.ID]string, error) {
	list, err := r.Refs.Tags()
	if err != nil {
		return nil, err
	}
	out := map[oid.ID]string{}
	for _, t := range list { // by name
		ok := opts.Match != ""
		if ok {
			if ok, err = path.Match(opts.Match, t.Name); err != nil {
				return nil, fmt.Errorf("glob %q: %w", opts.Match, errs.Invalid)
			}
		} else {
			ok = !strings.HasPrefix(t.Name, CompactTags)
		}
		if ok && out[t.ID] == "" {
			out[t.ID] = t.Name
		}
	}
	return out, nil
}
