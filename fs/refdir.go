package fs

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"coral/internal/errs"
	"coral/vcs/ref"
)

// refDir is branches/, tags/ or history/, or a directory in one for the part of names before a "/".
type refDir struct {
	readOnly
	kind   string // branchesName, tagsName or historyName
	prefix string // "" or "exp/"
}

func newRefDir(m *Mount, kind, prefix string) *refDir {
	return &refDir{readOnly: m.readOnly(), kind: kind, prefix: prefix}
}

func (d *refDir) attr(out *fuse.Attr) {
	mode := uint32(0o755)
	if d.kind == historyName || d.m.opts.ReadOnly {
		mode = 0o555
	}
	d.m.owned(out, syscall.S_IFDIR|mode, 0, d.m.changedAt())
}

func (d *refDir) ttl() time.Duration { return brief }

// Getattr serves stat(2).
func (d *refDir) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(d, out)
}

// names returns the names of all refs of the kind that is listed here.
func (d *refDir) names() ([]string, error) {
	var refs []ref.Ref
	var err error
	if d.kind == tagsName {
		refs, err = d.m.repo.Refs.Tags()
	} else {
		refs, err = d.m.repo.Refs.Branches()
	}
	if err != nil {
		return nil, err
	}
	out := make([]string, len(refs))
	for i, r := range refs {
		out[i] = r.Name
	}
	return out, nil
}

// children returns the names in the directory prefix, sorted, and for each whether it is a ref (else it is a directory).
func children(refs []string, prefix string) (names []string, isRef map[string]bool) {
	isRef = map[string]bool{}
	for _, full := range refs {
		rest, ok := strings.CutPrefix(full, prefix)
		if !ok || rest == "" {
			continue
		}
		name, _, deeper := strings.Cut(rest, "/")
		isRef[name] = isRef[name] || !deeper
	}
	for name := range isRef {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, isRef
}

// get finds the ref called name in this directory.
func (d *refDir) get(name string) (ref.Ref, error) {
	if d.kind == tagsName {
		return d.m.repo.Refs.Tag(d.prefix + name)
	}
	return d.m.repo.Refs.Branch(d.prefix + name)
}

// Lookup serves path lookup: a ref, or a directory of refs.
func (d *refDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	r, err := d.get(name)
	if err == nil {
		return d.ref(ctx, r, out)
	}
	if !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.Invalid) {
		return nil, d.m.fail("lookup", d.kind+"/"+d.prefix+name, err)
	}
	refs, err := d.names()
	if err != nil {
		return nil, d.m.fail("lookup", d.kind+"/"+d.prefix+name, err)
	}
	sub := d.prefix + name + "/"
	if !slices.ContainsFunc(refs, func(s string) bool { return strings.HasPrefix(s, sub) }) {
		return nil, syscall.ENOENT
	}
	return d.enter(ctx, newRefDir(d.m, d.kind, sub), d.key(sub), syscall.S_IFDIR, brief, out), 0
}

// key identifies the directory of refs below prefix.
func (d *refDir) key(prefix string) key { return newKey("refdir", d.kind, prefix) }

// ref makes the node of a ref.
func (d *refDir) ref(ctx context.Context, r ref.Ref, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	switch d.kind {
	case branchesName:
		tree, err := d.m.repo.LiveTree(d.m.base, r.Name)
		if err != nil {
			return nil, d.m.fail("lookup", branchesName+"/"+r.Name, err)
		}
		a, err := tree.Getattr(d.m.base, tree.Root())
		if err != nil {
			return nil, d.m.fail("lookup", branchesName+"/"+r.Name, err)
		}
		return d.liveInode(ctx, tree, a, out), 0
	case historyName:
		n := newHistoryNode(d.m, r.Name)
		return d.enter(ctx, n, n.key, syscall.S_IFDIR, brief, out), 0
	}
	snap, err := d.m.snapshot(r.ID)
	if err != nil {
		return nil, d.m.fail("lookup", tagsName+"/"+r.Name, err)
	}
	return d.enterCommit(ctx, snap, newKey(tagsName, r.Name), brief, out), 0
}

// OpendirHandle serves opendir(3).
func (d *refDir) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return plainDir{d.opendir(func() ([]fuse.DirEntry, syscall.Errno) {
		refs, err := d.names()
		if err != nil {
			return nil, d.m.fail("readdir", d.kind, err)
		}
		names, _ := children(refs, d.prefix)
		list := make([]fuse.DirEntry, len(names))
		for i, name := range names {
			// Inode numbers of branches are known only when their live trees are loaded: any number but 0 will do.
			list[i] = fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: d.key(d.prefix + name).stable(syscall.S_IFDIR).Ino}
		}
		return list, 0
	})}, 0, 0
}

// denied is the errno for a change that this directory has no meaning for, or that a read-only mount refuses.
func (d *refDir) denied() syscall.Errno {
	if d.kind == historyName || d.m.opts.ReadOnly {
		return syscall.EROFS
	}
	return syscall.EPERM
}

// Mkdir serves mkdir(2): in branches/, it makes a branch from HEAD.
func (d *refDir) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if d.kind != branchesName || d.m.opts.ReadOnly {
		return nil, d.denied()
	}
	full := d.prefix + name
	at, err := d.m.headCommit()
	if err == nil {
		err = d.m.repo.CreateBranch(d.m.base, full, at)
	}
	if err != nil {
		return nil, d.m.fail("mkdir", branchesName+"/"+full, err)
	}
	d.m.RefsChanged()
	r, err := d.get(name)
	if err != nil {
		return nil, d.m.fail("mkdir", branchesName+"/"+full, err)
	}
	return d.ref(ctx, r, out)
}

// Rmdir serves rmdir(2): in branches/, it deletes a branch without changes (ENOTEMPTY with, EBUSY if it is HEAD's); in
// tags/, a tag.
func (d *refDir) Rmdir(_ context.Context, name string) syscall.Errno {
	if d.kind == historyName || d.m.opts.ReadOnly {
		return d.denied()
	}
	full := d.prefix + name
	if _, err := d.get(name); err != nil {
		refs, err2 := d.names()
		if _, isRef := children(refs, d.prefix); err2 == nil {
			if _, ok := isRef[name]; ok {
				return syscall.ENOTEMPTY // a directory of refs
			}
		}
		return d.m.fail("rmdir", d.kind+"/"+full, err)
	}
	err := d.remove(full)
	if err == nil {
		d.m.RefsChanged()
		return 0
	}
	if errors.Is(err, errs.Conflict) && !errors.Is(err, errs.Busy) && !d.m.isHead(full) {
		return syscall.ENOTEMPTY
	}
	return d.m.fail("rmdir", d.kind+"/"+full, err)
}

func (d *refDir) remove(full string) error {
	if d.kind == tagsName {
		return d.m.repo.Refs.DeleteTag(full, d.m.who(), "rmdir in the mount")
	}
	return d.m.repo.DeleteBranch(d.m.base, false, full)
}

// who is what the ref log says of changes made through the mount.
func (m *Mount) who() string { return "mount" }

// isHead says whether HEAD is on the branch called name.
func (m *Mount) isHead(name string) bool {
	h, err := m.repo.Refs.Head()
	return err == nil && h.Branch == name
}

// Unlink serves unlink(2): in tags/, while the kernel still takes a new tag for the link that made it, it deletes the tag.
func (d *refDir) Unlink(ctx context.Context, name string) syscall.Errno {
	if d.kind == tagsName {
		return d.Rmdir(ctx, name)
	}
	return d.denied()
}

// Symlink serves symlink(2): in tags/, a link to a commit, branch or tag of the mount makes a tag.
func (d *refDir) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if d.kind != tagsName || d.m.opts.ReadOnly {
		return nil, d.denied()
	}
	full := d.prefix + name
	rev, ok := revOfTarget(target)
	if !ok {
		return nil, syscall.EINVAL
	}
	id, err := d.m.repo.Resolve(d.m.base, rev)
	if err == nil {
		err = d.m.repo.CreateTag(d.m.base, full, id, "", "")
	}
	if err != nil {
		return nil, d.m.fail("symlink", tagsName+"/"+full, err)
	}
	d.m.RefsChanged()
	// The kernel wants a link as the answer. It does not keep it: the next lookup finds the tag's directory.
	l := &linkNode{readOnly: d.m.readOnly(), target: target, mtime: time.Now()}
	return d.enter(ctx, l, newKey("newtag", full), syscall.S_IFLNK, 0, out), 0
}

// revOfTarget returns the revision that a link in tags/ points to: "../commits/3f9a…", "/mnt/branches/main", or a bare revision.
func revOfTarget(target string) (string, bool) {
	target = strings.TrimRight(target, "/")
	for _, dir := range []string{commitsName, branchesName, tagsName} {
		rest := ""
		if i := strings.LastIndex("/"+target, "/"+dir+"/"); i >= 0 {
			rest = target[i+len(dir)+1:]
		}
		if rest == "" {
			continue
		}
		if dir == commitsName {
			return rest, !strings.Contains(rest, "/")
		}
		return dir + "/" + rest, true
	}
	return target, target != "" && !strings.Contains(target, "/") && target != "." && target != ".."
}

// The rest has no meaning here.

func (d *refDir) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, d.denied()
}

func (d *refDir) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, d.denied()
}

func (d *refDir) Link(context.Context, fusefs.InodeEmbedder, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, d.denied()
}

// Rename is refused: coral branch -m renames a branch.
func (d *refDir) Rename(context.Context, string, fusefs.InodeEmbedder, string, uint32) syscall.Errno {
	return d.denied()
}
