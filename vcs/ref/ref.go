// Package ref keeps the names of a repository: branches, tags and HEAD, and the log of their moves, in refs.db (bbolt).
// Every change is one transaction, durable when the call returns. Safe for concurrent use.
package ref

import (
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
	Time     time.Time
	Ref      string // "branches/main", "tags/v1", "HEAD"
	Old, New oid.ID
	Who      string
	Why      string // "snapshot: step 500", "branch: created from main"
}

// Store is the open set of names.
type Store struct{}

// Open opens refs.db in dir, creating it with HEAD at branch "main" (which exists and has no commit) unless readOnly.
func Open(dir string, readOnly bool) (*Store, error) { panic("unwritten") }

// Close closes the store.
func (s *Store) Close() error { panic("unwritten") }

// CheckName says whether name may be a branch or tag: git's rules (slash-separated, no empty, "." or ".." parts, no part that begins with "." or ends in ".lock", no control characters,
// space ~ ^ : ? * [ \ @{), at most 200 bytes, not HEAD, and not 64 hex digits. errs.Invalid says why not.
func CheckName(name string) error { panic("unwritten") }

// Head returns HEAD.
func (s *Store) Head() (Head, error) { panic("unwritten") }

// SetHead points HEAD to a branch that exists, or to a commit.
func (s *Store) SetHead(h Head, who, why string) error { panic("unwritten") }

// Branch returns a branch; errs.NotFound names it.
func (s *Store) Branch(name string) (Ref, error) { panic("unwritten") }

// Branches lists branches by name.
func (s *Store) Branches() ([]Ref, error) { panic("unwritten") }

// CreateBranch makes a branch at id (zero: no commit yet). errs.Exist if it exists; errs.Conflict when it would need a name that is a directory of
// branches, or the other way round ("a" and "a/b").
func (s *Store) CreateBranch(name string, id oid.ID, who, why string) error { panic("unwritten") }

// MoveBranch sets the branch to new if it is at old; else errs.Conflict.
func (s *Store) MoveBranch(name string, old, new oid.ID, who, why string) error { panic("unwritten") }

// RenameBranch renames a branch, and HEAD with it.
func (s *Store) RenameBranch(from, to string, who string) error { panic("unwritten") }

// DeleteBranch deletes a branch that is at old; errs.Conflict if it moved or if HEAD is on it.
func (s *Store) DeleteBranch(name string, old oid.ID, who, why string) error { panic("unwritten") }

// Tag, Tags, CreateTag, DeleteTag do the same for tags, which never move.
func (s *Store) Tag(name string) (Ref, error)                 { panic("unwritten") }
func (s *Store) Tags() ([]Ref, error)                         { panic("unwritten") }
func (s *Store) CreateTag(r Ref, who, why string) error       { panic("unwritten") }
func (s *Store) DeleteTag(name string, who, why string) error { panic("unwritten") }

// Log returns up to limit moves of refName ("" for all), newest first. The log is bounded: at most 100,000 moves are kept.
func (s *Store) Log(refName string, limit int) ([]Move, error) { panic("unwritten") }

// Generation changes whenever a ref does; cheap.
func (s *Store) Generation() uint64 { panic("unwritten") }
