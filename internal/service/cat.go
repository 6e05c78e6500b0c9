package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/objstore"
)

// CatRequest is `coral cat`.
type CatRequest struct {
	Target Target `json:"target"`
}

// Flags implements Request.
func (r *CatRequest) Flags(*pflag.FlagSet) {}

// SetArgs implements Request.
func (r *CatRequest) SetArgs(args []string) (err error) {
	if len(args) == 0 {
		return control.Usagef("cat: name an object id or REV:PATH")
	}
	if r.Target, err = ParseTarget("cat", args[0]); err != nil {
		return err
	}
	return atMost("cat", args, 1)
}

// Access implements Request.
func (r *CatRequest) Access() Access { return Reads }

// cat writes the bytes of a file, the raw bytes of a blob, or any other object as JSON.
func (s *Service) cat(ctx context.Context, r *CatRequest, w io.Writer) error {
	if r.Target.HasPath {
		return s.catFile(ctx, r.Target, w)
	}
	id, kind, err := s.object(ctx, r.Target.Rev)
	if err != nil {
		return fmt.Errorf("cat %s: %w", r.Target, err)
	}
	if kind == objstore.Blob {
		b, err := s.repo.Content.BlobBytes(ctx, id)
		if err != nil {
			return fmt.Errorf("cat: %w", err)
		}
		_, err = w.Write(b)
		return err
	}
	_, o, err := s.repo.Objects.Any(ctx, id)
	if err != nil {
		return fmt.Errorf("cat: %w", err)
	}
	return writeObject(w, kind, id, o)
}

// writeObject writes {"kind", "id", and the object's own fields}.
func writeObject(w io.Writer, kind objstore.Kind, id oid.ID, o any) error {
	raw, err := MarshalJSON(o)
	if err != nil {
		return fmt.Errorf("cat %s: %w", id, err)
	}
	head := fmt.Sprintf(`{"kind":%q,"id":%q`, kind, id)
	if string(raw) != "{}" {
		head += ","
	}
	var out bytes.Buffer
	if err := json.Indent(&out, append([]byte(head), raw[1:]...), "", "  "); err != nil {
		return fmt.Errorf("cat %s: %w", id, err)
	}
	out.WriteByte('\n')
	_, err = w.Write(out.Bytes())
	return err
}

// object finds what name means: an id of any kind in full or by prefix, else a revision.
func (s *Service) object(ctx context.Context, name string) (oid.ID, objstore.Kind, error) {
	if id, err := oid.Parse(name); err == nil {
		info, err := s.repo.Packs.Stat(id)
		return id, info.Kind, err
	}
	id, err := s.repo.Resolve(ctx, name)
	if err == nil {
		return id, objstore.Commit, nil
	}
	if !isPrefix(name) {
		return oid.ID{}, 0, err
	}
	found, kind, n := oid.ID{}, objstore.Kind(0), 0
	for _, k := range []objstore.Kind{objstore.Commit, objstore.Tag, objstore.Tree, objstore.Manifest, objstore.Blob} {
		ids, perr := s.repo.Packs.Prefix(k, strings.ToLower(name), 2)
		if perr != nil {
			return oid.ID{}, 0, perr
		}
		if len(ids) > 0 {
			found, kind = ids[0], k
			n += len(ids)
		}
	}
	switch n {
	case 0:
		return oid.ID{}, 0, err
	case 1:
		return found, kind, nil
	}
	return oid.ID{}, 0, fmt.Errorf("%s begins the ids of several objects: %w", name, errs.Invalid)
}

func isPrefix(s string) bool {
	return len(s) >= 4 && len(s) <= 64 && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

func (s *Service) catFile(ctx context.Context, t Target, w io.Writer) error {
	l, err := s.locate(ctx, "cat", t)
	if err != nil {
		return err
	}
	f, size, closeFile, err := s.open(ctx, l)
	if err != nil {
		return fmt.Errorf("cat %s: %w", t, err)
	}
	err = copyContent(ctx, w, f, size)
	if cerr := closeFile(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("cat %s: %w", t, err)
	}
	return nil
}

// copyContent copies the first size bytes of f.
func copyContent(ctx context.Context, w io.Writer, f content, size int64) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.ReadAt(ctx, buf[:min(int64(len(buf)), size-off)], off)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		off += int64(n)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case n == 0 || errors.Is(err, io.EOF) && off < size:
			return io.ErrUnexpectedEOF // a live file that shrank meanwhile
		}
	}
	return nil
}
