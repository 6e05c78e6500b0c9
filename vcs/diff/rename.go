package diff

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"coral/internal/oid"
	"coral/vcs/object"
)

// renames joins files that were deleted and added with the same content. Files of the disk are hashed if there is one of their size on the other side.
func (r *run) renames() error {
	gone, come := map[int64][]int{}, map[int64][]int{} // by size, in order of paths
	for i, p := range r.files {
		switch {
		case p.kind == FileDeleted && p.a.Kind == object.File && p.a.Size > 0:
			gone[p.a.Size] = append(gone[p.a.Size], i)
		case p.kind == FileAdded && p.b.Kind == object.File && p.b.Size > 0:
			come[p.b.Size] = append(come[p.b.Size], i)
		}
	}
	for size, bs := range come {
		as := gone[size]
		if len(as) == 0 {
			continue
		}
		at := map[oid.ID][]int{}
		for _, i := range as {
			id, err := r.hash(r.opts.Old, r.files[i].a)
			if err != nil {
				return err
			}
			at[id] = append(at[id], i)
		}
		for _, i := range bs {
			id, err := r.hash(r.opts.New, r.files[i].b)
			if err != nil {
				return err
			}
			if list := at[id]; len(list) > 0 {
				r.join(list[0], i)
				at[id] = list[1:]
			}
		}
	}
	r.compact()
	return nil
}

// join makes one renamed file of a deleted and an added one.
func (r *run) join(gone, come int) {
	r.files[come].kind, r.files[come].a = FileRenamed, r.files[gone].a
	r.files[gone].a = nil // forgotten by compact
}

func (r *run) compact() {
	r.files = slices.DeleteFunc(r.files, func(p *fileChange) bool { return p.a == nil && p.b == nil })
}

func (r *run) hash(t Tree, n *Node) (id oid.ID, err error) {
	c, err := t.Open(r.ctx, *n)
	if err != nil {
		return id, err
	}
	id, err = hashFile(r.ctx, c)
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	return id, err
}

// converted joins files that were deleted and added with the same tensors in another container: all names, dtypes, shapes and bytes are equal, as far as content
// keys tell.
func (r *run) converted() {
	at := map[oid.ID][]int{}
	for i, p := range r.files {
		if p.kind == FileDeleted && p.fa != nil {
			if sig := signature(p.fa); !sig.IsZero() {
				at[sig] = append(at[sig], i)
			}
		}
	}
	if len(at) == 0 {
		return
	}
	for i, p := range r.files {
		if p.kind != FileAdded || p.fb == nil {
			continue
		}
		sig := signature(p.fb)
		if list := at[sig]; !sig.IsZero() && len(list) > 0 {
			r.files[i].fa = r.files[list[0]].fa
			r.join(list[0], i)
			at[sig] = list[1:]
		}
	}
	r.compact()
}

// signature is a hash of a file's tensors; zero if the content of one of more than 4 KiB is not known.
func signature(f *file) oid.ID {
	const small = 4096 // scalars and short vectors may lie inside a segment with others
	lines := make([]string, 0, len(f.tensors))
	big := 0
	for i := range f.tensors {
		e := &f.tensors[i]
		line := fmt.Sprintf("%q %s %d", e.t.Name, e.t.DType, e.t.Shape)
		if e.t.Length > small {
			if e.key.how == unknown {
				return oid.ID{}
			}
			big++
			line += " " + e.key.id.String()
		}
		lines = append(lines, line)
	}
	if big == 0 {
		return oid.ID{}
	}
	slices.Sort(lines)
	return oid.Sum([]byte(strings.Join(lines, "\n")))
}

// settleFiles gives files of unknown content their kind: those that turn out equal are no change.
func (r *run) settleFiles(ctx context.Context) error {
	out := r.files[:0]
	for _, p := range r.files {
		if p.kind == FileModified && p.fa != nil && p.fb != nil && (p.a.ID.IsZero() || p.b.ID.IsZero()) {
			equal, err := equalBytes(ctx, p.fa.c, p.fb.c)
			switch {
			case err != nil:
				return err
			case equal && p.a.Mode != p.b.Mode:
				p.kind = FileMode
			case equal && !r.opts.Whole:
				continue
			case equal:
				p.kind = FileEqual
			}
		}
		out = append(out, p)
	}
	r.files = out
	slices.SortStableFunc(r.files, func(a, b *fileChange) int { return cmp.Compare(a.path(), b.path()) })
	return nil
}
