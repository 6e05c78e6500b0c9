package vcs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// minPrefix is how many hex digits of an id name a commit.
const minPrefix = 4

// maxCandidates is how many ids an ambiguous prefix's error lists.
const maxCandidates = 8

// Resolve finds the commit that rev names: a branch, tag, HEAD or @, full id or unique prefix of 4 or more hex digits, a branch or HEAD before its last n moves (main@{n}; @{n} of the
// current branch), each with any number of ~n, ^, ^n after it; "" is HEAD.
// branches/x, tags/x and commits/x say which is meant. A name goes before a prefix.
// errs.NotFound or errs.Invalid (ambiguous: the candidates are named).
func (r *Repo) Resolve(ctx context.Context, rev string) (oid.ID, error) {
	base, steps := rev, ""
	if i := strings.IndexAny(rev, "~^"); i >= 0 {
		base, steps = rev[:i], rev[i:]
	}
	id, err := r.resolveBase(ctx, base)
	if rev == "" {
		rev = "HEAD" // in what errors say
	}
	if err != nil {
		return oid.ID{}, fmt.Errorf("revision %q: %w", rev, err)
	}
	if id, err = r.walk(ctx, id, steps); err != nil {
		return oid.ID{}, fmt.Errorf("revision %q: %w", rev, err)
	}
	return id, nil
}

// walk applies ~n, ^ and ^n.
func (r *Repo) walk(ctx context.Context, id oid.ID, steps string) (oid.ID, error) {
	for steps != "" {
		op := steps[0]
		end := 1
		for end < len(steps) && steps[end] >= '0' && steps[end] <= '9' {
			end++
		}
		n := 1
		if end > 1 {
			var err error
			if n, err = strconv.Atoi(steps[1:end]); err != nil || n > 1<<30 {
				return oid.ID{}, fmt.Errorf("%q: too many steps: %w", steps[:end], errs.Invalid)
			}
		}
		steps = steps[end:]
		if steps != "" && steps[0] != '~' && steps[0] != '^' {
			return oid.ID{}, fmt.Errorf("%q after a step: want ~n or ^n: %w", steps, errs.Invalid)
		}
		var err error
		if op == '~' {
			id, err = r.ancestor(ctx, id, n)
		} else {
			id, err = r.parent(ctx, id, n)
		}
		if err != nil {
			return oid.ID{}, err
		}
	}
	return id, nil
}

func (r *Repo) ancestor(ctx context.Context, id oid.ID, n int) (oid.ID, error) {
	for i := range n {
		next, err := r.parent(ctx, id, 1)
		if errors.Is(err, errs.NotFound) {
			return oid.ID{}, fmt.Errorf("%d steps back is where history begins: %w", i, err)
		}
		if err != nil {
			return oid.ID{}, err
		}
		id = next
	}
	return id, nil
}

func (r *Repo) parent(ctx context.Context, id oid.ID, n int) (oid.ID, error) {
	c, err := r.Objects.Commit(ctx, id)
	switch {
	case err != nil:
		return oid.ID{}, err
	case n == 0:
		return id, nil
	case n > len(c.Parents):
		return oid.ID{}, fmt.Errorf("commit %s has %d parents, no parent %d: %w", id.Short(), len(c.Parents), n, errs.NotFound)
	}
	return c.Parents[n-1], nil
}

func (r *Repo) resolveBase(ctx context.Context, name string) (oid.ID, error) {
	if i := strings.Index(name, "@{"); i >= 0 && strings.HasSuffix(name, "}") {
		return r.movesAgo(name[:i], name[i+2:len(name)-1])
	}
	if name == "" || name == "@" || name == "HEAD" {
		return r.headCommit()
	}
	if rest, ok := strings.CutPrefix(name, "branches/"); ok {
		return r.branchCommit(rest)
	}
	if rest, ok := strings.CutPrefix(name, "tags/"); ok {
		t, err := r.Refs.Tag(rest)
		return t.ID, err
	}
	if rest, ok := strings.CutPrefix(name, "commits/"); ok {
		return r.resolveID(ctx, rest)
	}
	tag, terr := r.Refs.Tag(name)
	if terr != nil && !errors.Is(terr, errs.NotFound) {
		return oid.ID{}, terr
	}
	branch, berr := r.Refs.Branch(name)
	if berr != nil && !errors.Is(berr, errs.NotFound) {
		return oid.ID{}, berr
	}
	switch {
	case terr == nil && berr == nil && tag.ID != branch.ID:
		return oid.ID{}, fmt.Errorf("ambiguous: branches/%s is %s, tags/%s is %s: %w", name, shortOrNone(branch.ID), name, tag.ID.Short(), errs.Invalid)
	case terr == nil:
		return tag.ID, nil
	case berr == nil:
		return r.branchCommit(name)
	}
	return r.resolveID(ctx, name)
}

// movesAgo returns where a branch ("": the current one) or HEAD was before its last moves.
func (r *Repo) movesAgo(name, moves string) (oid.ID, error) {
	n, err := strconv.ParseUint(moves, 10, 31)
	if err != nil {
		return oid.ID{}, fmt.Errorf("@{%s}: want a number of moves: %w", moves, errs.Invalid)
	}
	switch {
	case name == "HEAD":
	case name == "":
		h, err := r.Refs.Head()
		if err != nil {
			return oid.ID{}, err
		}
		if name = "branches/" + h.Branch; h.Branch == "" {
			name = "HEAD"
		}
	case !strings.HasPrefix(name, "branches/"):
		name = "branches/" + name
	}
	id, err := r.Refs.At(name, int(n))
	if err == nil && id.IsZero() {
		err = fmt.Errorf("there was no commit then: %w", errs.NotFound)
	}
	return id, err
}

func shortOrNone(id oid.ID) string {
	if id.IsZero() {
		return "without commit"
	}
	return id.Short()
}

func (r *Repo) headCommit() (oid.ID, error) {
	h, err := r.Refs.Head()
	if err != nil {
		return oid.ID{}, err
	}
	if h.Branch == "" {
		return h.Commit, nil
	}
	return r.branchCommit(h.Branch)
}

func (r *Repo) branchCommit(name string) (oid.ID, error) {
	b, err := r.Refs.Branch(name)
	if err == nil && b.ID.IsZero() {
		err = fmt.Errorf("branch %q has no commit yet: %w", name, errs.NotFound)
	}
	return b.ID, err
}

// resolveID finds a commit by its id, its tag object's id, or the beginning of its id.
func (r *Repo) resolveID(ctx context.Context, s string) (oid.ID, error) {
	if id, err := oid.Parse(s); err == nil {
		return r.peel(ctx, id)
	}
	if len(s) < minPrefix || len(s) >= 2*oid.Size || !isHex(s) {
		return oid.ID{}, fmt.Errorf("no branch, tag or commit of this name: %w", errs.NotFound)
	}
	ids, err := r.Packs.Prefix(objstore.Commit, strings.ToLower(s), maxCandidates+1)
	if err != nil {
		return oid.ID{}, err
	}
	switch len(ids) {
	case 0:
		return oid.ID{}, fmt.Errorf("no branch, tag or commit of this name: %w", errs.NotFound)
	case 1:
		return ids[0], nil
	}
	var names []string
	for _, id := range ids {
		names = append(names, id.Short())
	}
	if len(ids) > maxCandidates {
		names[maxCandidates] = "…"
	}
	return oid.ID{}, fmt.Errorf("ambiguous: %s: %w", strings.Join(names, ", "), errs.Invalid)
}

// peel follows a tag object to its commit.
func (r *Repo) peel(ctx context.Context, id oid.ID) (oid.ID, error) {
	info, err := r.Packs.Stat(id)
	if err != nil {
		return oid.ID{}, fmt.Errorf("id %s: %w", id.Short(), err)
	}
	switch info.Kind {
	case objstore.Commit:
		return id, nil
	case objstore.Tag:
		t, err := r.Objects.Tag(ctx, id)
		if err != nil {
			return oid.ID{}, err
		}
		return t.Target, nil
	}
	return oid.ID{}, fmt.Errorf("id %s is a %s, not a commit: %w", id.Short(), info.Kind, errs.Invalid)
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
