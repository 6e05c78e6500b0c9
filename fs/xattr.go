package fs

import (
	"encoding/json"
	"errors"
	"strconv"
	"syscall"

	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs/object"
	"coral/vcs/worktree"
)

// The attributes of ours. They are read-only and computed when asked for by name. listxattr(2) does not tell them: cp -a,
// shutil.copy2 and tar --xattrs copy what is listed, and ext4 answers ENOSPC to a tensor table of more than 4 KiB.
const (
	xattrPrefix  = "user.coral."
	xattrID      = xattrPrefix + "id"      // BLAKE3 of the whole file, hex
	xattrStored  = xattrPrefix + "stored"  // bytes of packs that hold the file, decimal
	xattrFormat  = xattrPrefix + "format"  // what kind of file it is
	xattrTensors = xattrPrefix + "tensors" // JSON list
	xattrCommit  = xattrPrefix + "commit"  // of a branch's or commit's directory: the commit, hex
	xattrMessage = xattrPrefix + "message" // and its message
)

// maxXattr is the kernel's limit on a value (XATTR_SIZE_MAX).
const maxXattr = 64 << 10

// noXattr is the answer for an attribute that is not there: ENOTSUP for one that never is, so that programs do not ask again for every file.
func noXattr(name string) syscall.Errno {
	if errors.Is(worktree.CheckXattr(name), errs.Unsupported) {
		return syscall.ENOTSUP
	}
	return syscall.ENODATA
}

// copyXattr answers getxattr(2): ERANGE and the length if dest is too small.
func copyXattr(dest, value []byte) (uint32, syscall.Errno) {
	if len(value) > len(dest) {
		return uint32(len(value)), syscall.ERANGE
	}
	return uint32(copy(dest, value)), 0
}

// listXattrs answers listxattr(2): names, each ended by a NUL.
func listXattrs(dest []byte, names []string) (uint32, syscall.Errno) {
	var list []byte
	for _, n := range names {
		list = append(append(list, n...), 0)
	}
	return copyXattr(dest, list)
}

// xattr returns an attribute of a commit's directory.
func (s *snapshot) xattr(name string) ([]byte, bool) {
	switch name {
	case xattrCommit:
		return []byte(s.id.String()), true
	case xattrMessage:
		return []byte(s.message[:min(len(s.message), maxXattr)]), true
	}
	return nil, false
}

// fileXattr answers getxattr(2) for the content of a file.
func (m *Mount) fileXattr(manifest oid.ID, name string, dest []byte) (uint32, syscall.Errno) {
	switch name {
	case xattrID, xattrStored, xattrFormat, xattrTensors:
	default:
		return 0, noXattr(name)
	}
	mf, err := m.repo.Objects.Manifest(m.base, manifest)
	if err != nil {
		return 0, m.fail("getxattr", manifest.Short(), err)
	}
	var v []byte
	switch name {
	case xattrID:
		v = []byte(mf.Hash.String())
	case xattrFormat:
		v = []byte(mf.Format)
	case xattrTensors:
		v = tensorsXattr(mf.Tensors)
	case xattrStored:
		n, err := m.storedBytes(mf)
		if err != nil {
			return 0, m.fail("getxattr", manifest.Short(), err)
		}
		v = strconv.AppendInt(nil, n, 10)
	}
	return copyXattr(dest, v)
}

// storedBytes sums what the distinct blobs of a file take in packs.
func (m *Mount) storedBytes(mf *object.Manifest) (int64, error) {
	seen := map[oid.ID]bool{}
	var sum int64
	for _, s := range mf.Segments {
		if s.Blob.IsZero() || seen[s.Blob] {
			continue
		}
		seen[s.Blob] = true
		info, err := m.repo.Packs.Stat(s.Blob)
		if err != nil {
			return 0, err
		}
		sum += info.Stored
	}
	return sum, nil
}

// tensorJSON is one element of user.coral.tensors. The names are a promise.
type tensorJSON struct {
	Name   string  `json:"name"`
	DType  string  `json:"dtype"`
	Shape  []int64 `json:"shape"`
	Offset int64   `json:"offset"`
	Length int64   `json:"length"`
}

// omittedJSON is the last element of a list that did not fit.
type omittedJSON struct {
	Omitted int `json:"omitted"`
}

// tensorsXattr returns the tensor table as JSON of at most maxXattr bytes.
func tensorsXattr(tensors []object.Tensor) []byte {
	const tail = len(`,{"omitted":}]`) + 20 // room for the last element and its number
	out := []byte{'['}
	for i, t := range tensors {
		shape := t.Shape
		if shape == nil {
			shape = []int64{}
		}
		one, err := json.Marshal(tensorJSON{t.Name, t.DType.String(), shape, t.Offset, t.Length})
		if err != nil || len(out)+1+len(one)+tail > maxXattr {
			rest, _ := json.Marshal(omittedJSON{len(tensors) - i})
			return append(appendElement(out, rest), ']')
		}
		out = appendElement(out, one)
	}
	return append(out, ']')
}

// appendElement appends an element to an unfinished JSON list.
func appendElement(list, one []byte) []byte {
	if len(list) > 1 {
		list = append(list, ',')
	}
	return append(list, one...)
}
