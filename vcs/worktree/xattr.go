package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"coral/internal/errs"
)

const (
	capabilityXattr = "security.capability"
	selinuxXattr    = "security.selinux"
	maxXattrTotal   = 256 << 10 // names and values of one inode
)

// CheckXattr says whether an attribute may be set by users: errs.Unsupported for what no inode can have. To that belongs security.selinux: the kernel gives all of a FUSE
// mount one label. (Programs ask once for what is not supported, and for every file if it is: ls -l was three times as slow for it.)
func CheckXattr(name string) error {
	switch {
	case len(name) > maxName:
		return fmt.Errorf("attribute name of %d bytes: %w", len(name), errs.NameTooLong)
	case strings.HasPrefix(name, "user.coral."):
		return fmt.Errorf("attribute %s is coral's own: %w", name, errs.Permission)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("attribute name: %w", errs.Invalid)
	}
	for _, p := range []string{"user.", "trusted.", "security."} {
		if name == selinuxXattr {
			break
		}
		if strings.HasPrefix(name, p) && len(name) > len(p) {
			return nil
		}
	}
	return fmt.Errorf("attribute %s: %w", name, errs.Unsupported)
}

// Getxattr returns a copy of an attribute's value. User attributes (any name in user., trusted., security.; user.coral. is refused) belong to
// the live tree: a commit does not carry them. errs.NoAttr, or errs.Unsupported as CheckXattr says.
func (t *Tree) Getxattr(ctx context.Context, ino Ino, name string) ([]byte, error) {
	var value []byte
	err := t.view(ctx, func() error {
		n, err := t.get(ino)
		if err != nil {
			return err
		}
		if n.x == nil || n.x.xattrs[name] == nil {
			if err := CheckXattr(name); errors.Is(err, errs.Unsupported) {
				return err
			}
			return errs.NoAttr
		}
		value = bytes.Clone(n.x.xattrs[name])
		return nil
	})
	return value, opError(err, "getxattr", name)
}

// Listxattr returns the names of an inode's attributes, sorted.
func (t *Tree) Listxattr(ctx context.Context, ino Ino) ([]string, error) {
	var names []string
	err := t.view(ctx, func() error {
		n, err := t.get(ino)
		if err == nil && n.x != nil {
			names = slices.Sorted(maps.Keys(n.x.xattrs))
		}
		return err
	})
	return names, opError(err, "listxattr", "")
}

// Setxattr sets an attribute. flags are setxattr(2)'s.
func (t *Tree) Setxattr(ctx context.Context, ino Ino, name string, value []byte, flags int) error {
	if err := CheckXattr(name); err != nil {
		return opError(err, "setxattr", "")
	}
	if len(value) > maxXattr {
		return fmt.Errorf("setxattr %s: %d bytes: %w", name, len(value), errs.TooLarge)
	}
	now := clock()
	err := t.update(ctx, func() error {
		n, err := t.get(ino)
		if err != nil {
			return err
		}
		var old []byte
		total := len(name) + len(value)
		if n.x != nil {
			old = n.x.xattrs[name]
			for k, v := range n.x.xattrs {
				total += len(k) + len(v)
			}
		}
		switch {
		case flags&unix.XATTR_CREATE != 0 && old != nil:
			return errs.Exist
		case flags&unix.XATTR_REPLACE != 0 && old == nil:
			return errs.NoAttr
		case total > maxXattrTotal:
			return fmt.Errorf("attributes of %d bytes: %w", total, errs.NoSpace)
		}
		return t.setxattr(n, name, value, now)
	})
	return opError(err, "setxattr", name)
}

func (t *Tree) setxattr(n *node, name string, value []byte, now int64) error {
	if n.named() {
		if err := t.log(&record{kind: recSetxattr, time: now, path: n.path(), name: name, value: value}); err != nil {
			return err
		}
	}
	x := n.ext()
	if x.xattrs == nil {
		x.xattrs = map[string][]byte{}
	}
	x.xattrs[name] = append([]byte{}, value...)
	n.ctime = now
	n.flags |= flagTouched
	return nil
}

// Removexattr removes an attribute.
func (t *Tree) Removexattr(ctx context.Context, ino Ino, name string) error {
	now := clock()
	err := t.update(ctx, func() error {
		n, err := t.get(ino)
		if err == nil {
			err = t.removexattr(n, name, now)
		}
		return err
	})
	return opError(err, "removexattr", name)
}

func (t *Tree) removexattr(n *node, name string, now int64) error {
	if n.x == nil || n.x.xattrs[name] == nil {
		return errs.NoAttr
	}
	if n.named() {
		if err := t.log(&record{kind: recRemovexattr, time: now, path: n.path(), name: name}); err != nil {
			return err
		}
	}
	delete(n.x.xattrs, name)
	n.ctime = now
	n.flags |= flagTouched
	n.slim()
	return nil
}
