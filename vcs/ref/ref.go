// Package ref keeps the names of a repository: branches, tags and HEAD, and the log of their moves, in refs.db (bbolt).
// Every change is one transaction with its line of the log, durable when the call returns. Safe for concurrent use by one process;
// the repository's lock keeps others out. It does not know what an id stands for: that a commit exists is the caller's to check.
package ref

import (
	"fmt"
	"strings"
	"time"

	"coral/internal/oid"
)

// Ref is one name and what it points to.
type Ref struct {
	Name string // "main", "exp/a": without a prefix
	ID   oid.ID // a commit; zero for a branch that has no commit yet; for a tag, what it tags after peeling
	Tag  oid.ID // of an annotated tag: the tag object; else zero
}

// Head says where HEAD points: to a branch, or detached to a commit.
type Head struct {
	Branch string // "" if detached
	Commit oid.ID // if detached
}

// Move is one line of the ref log.
type Move struct {
	Seq      uint64    // its number, from 1; kept in the log's key
	Time     time.Time // moves of one transaction have the same, those of two never
	Ref      string    // "branches/main", "tags/v1", "HEAD"
	Old, New oid.ID
	Who      string // one line, at most MaxWho bytes
	Why      string // "snapshot: step 500", "branch: created"; one line, at most MaxWhy bytes
}

// Bounds of the ref log. Longer texts are cut, older moves are forgotten.
const (
	MaxMoves = 100_000
	MaxWho   = 256
	MaxWhy   = 1024
)

// The prefixes of Move.Ref.
const (
	branchPrefix = "branches/"
	tagPrefix    = "tags/"
	headName     = "HEAD"
)

// String returns the line of the log as people read it: time, ref, old and new id (a row of "-" for none), who and why.
func (m Move) String() string {
	short := func(id oid.ID) string {
		if id.IsZero() {
			return strings.Repeat("-", oid.ShortLen)
		}
		return id.Short()
	}
	return fmt.Sprintf("%s %s %s..%s %s: %s", m.Time.UTC().Format(time.RFC3339), m.Ref, short(m.Old), short(m.New), m.Who, m.Why)
}
