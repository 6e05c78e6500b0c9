package ref

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"coral/internal/errs"
	"coral/internal/oid"
)

// refs.db is a bbolt file with these buckets. All integers are big endian; every value but meta's begins with a version byte, 1.
//
//	meta      "format" → 1 byte: the format of the file, 1
//	          "head"   → 1, 0, branch name, or 1, 1, id of a commit (detached)
//	          "switch/" and a branch → 1, the mark of the last switch of its live tree that a transaction came with
//	branches  name → 1, 32 bytes: a commit, or zeros for none yet
//	tags      name → 1, 32 bytes: a commit, 32 bytes: the tag object, or zeros
//	log       8 bytes: number of the move, from 1 → 1, 8 bytes: unix nanoseconds, 32: old id, 32: new id,
//	          then ref, who and why, each as 2 bytes: length, and its bytes
const (
	fileFormat   = 1
	valueVersion = 1
	maxMark      = 64 // bytes

	headBranch = 0
	headCommit = 1
)

var (
	bucketMeta     = []byte("meta")
	bucketBranches = []byte("branches")
	bucketTags     = []byte("tags")
	bucketLog      = []byte("log")
	keyFormat      = []byte("format")
	keyHead        = []byte("head")
	keySwitch      = []byte("switch/") // a branch follows
)

func switchKey(branch string) []byte { return slices.Concat(keySwitch, []byte(branch)) }

func corrupt(what, detail string) error {
	return &errs.CorruptError{Where: "refs.db: " + what, Offset: -1, Detail: detail}
}

// body returns the value behind the version byte.
func body(what string, v []byte) ([]byte, error) {
	if len(v) == 0 {
		return nil, corrupt(what, "empty value")
	}
	if v[0] != valueVersion {
		return nil, fmt.Errorf("refs.db: %s: version %d, this coral knows version %d, use a newer one: %w", what, v[0], valueVersion, errs.Unsupported)
	}
	return v[1:], nil
}

func encodeBranch(r Ref) []byte { return append([]byte{valueVersion}, r.ID[:]...) }

func decodeBranch(name string, v []byte) (Ref, error) {
	b, err := body("branch "+name, v)
	if err != nil {
		return Ref{}, err
	}
	if len(b) != oid.Size {
		return Ref{}, corrupt("branch "+name, fmt.Sprintf("value of %d bytes", len(b)))
	}
	return Ref{Name: name, ID: oid.ID(b)}, nil
}

func encodeTag(r Ref) []byte {
	return append(append([]byte{valueVersion}, r.ID[:]...), r.Tag[:]...)
}

func decodeTag(name string, v []byte) (Ref, error) {
	b, err := body("tag "+name, v)
	if err != nil {
		return Ref{}, err
	}
	if len(b) != 2*oid.Size {
		return Ref{}, corrupt("tag "+name, fmt.Sprintf("value of %d bytes", len(b)))
	}
	return Ref{Name: name, ID: oid.ID(b[:oid.Size]), Tag: oid.ID(b[oid.Size:])}, nil
}

func encodeHead(h Head) []byte {
	if h.Branch != "" {
		return append([]byte{valueVersion, headBranch}, h.Branch...)
	}
	return append([]byte{valueVersion, headCommit}, h.Commit[:]...)
}

func decodeHead(v []byte) (Head, error) {
	b, err := body(headName, v)
	if err != nil {
		return Head{}, err
	}
	switch {
	case len(b) > 1 && b[0] == headBranch && CheckName(string(b[1:])) == nil:
		return Head{Branch: string(b[1:])}, nil
	case len(b) == 1+oid.Size && b[0] == headCommit:
		return Head{Commit: oid.ID(b[1:])}, nil
	}
	return Head{}, corrupt(headName, fmt.Sprintf("value %x", clip(string(b), 64)))
}

func encodeMove(m Move) []byte {
	b := binary.BigEndian.AppendUint64([]byte{valueVersion}, uint64(m.Time.UnixNano()))
	b = append(append(b, m.Old[:]...), m.New[:]...)
	for _, s := range []string{m.Ref, m.Who, m.Why} {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
	}
	return b
}

func decodeMove(v []byte) (Move, error) {
	b, err := body("log", v)
	if err != nil {
		return Move{}, err
	}
	const fixed = 8 + 2*oid.Size
	if len(b) < fixed {
		return Move{}, corrupt("log", fmt.Sprintf("entry of %d bytes", len(v)))
	}
	m := Move{Time: time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC(), Old: oid.ID(b[8 : 8+oid.Size]), New: oid.ID(b[8+oid.Size : fixed])}
	b = b[fixed:]
	for _, s := range []*string{&m.Ref, &m.Who, &m.Why} {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return Move{}, corrupt("log", "entry ends inside a text")
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		*s, b = string(b[2:n]), b[n:]
	}
	if len(b) != 0 {
		return Move{}, corrupt("log", fmt.Sprintf("%d bytes after an entry", len(b)))
	}
	return m, nil
}
