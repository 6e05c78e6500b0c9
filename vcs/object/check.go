package object

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"coral/internal/errs"
)

// CheckName says why name cannot be a directory entry; errs.NameTooLong or errs.Invalid.
func CheckName(name string) error {
	switch {
	case len(name) > MaxName:
		return fmt.Errorf("name of %d bytes, at most %d: %w", len(name), MaxName, errs.NameTooLong)
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q: %w", name, errs.Invalid)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, errs.Invalid)...)
}

// check compares lengths without ever adding past Size, so nothing overflows.
func (m *Manifest) check() error {
	if m.Size < 0 || len(m.Segments) > MaxEntries || len(m.Tensors) > MaxTensors {
		return invalid("manifest of size %d with %d segments and %d tensors", m.Size, len(m.Segments), len(m.Tensors))
	}
	if err := checkText("manifest format", m.Format); err != nil {
		return err
	}
	left := m.Size
	for i := range m.Segments {
		s := &m.Segments[i]
		if s.Length <= 0 || s.Length > left {
			return invalid("manifest segment %d: length %d, %d bytes of the file are left", i, s.Length, left)
		}
		if s.Blob.IsZero() && (int64(len(s.Inline)) != s.Length || s.Length > MaxInline) {
			return invalid("manifest segment %d: length %d with %d inline bytes", i, s.Length, len(s.Inline))
		}
		if !s.Blob.IsZero() && len(s.Inline) != 0 {
			return invalid("manifest segment %d: both blob and inline bytes", i)
		}
		left -= s.Length
	}
	if left != 0 {
		return invalid("manifest segments end %d bytes before the file's end", left)
	}
	for i := range m.Tensors {
		if err := m.Tensors[i].check(m.Size); err != nil {
			return fmt.Errorf("manifest tensor %d: %w", i, err)
		}
	}
	return nil
}

func (t *Tensor) check(size int64) error {
	if len(t.Name) > MaxText {
		return invalid("name of %d bytes", len(t.Name))
	}
	if t.Offset < 0 || t.Length < 0 || t.Offset > size || t.Length > size-t.Offset {
		return invalid("bytes %d+%d of a file of %d", t.Offset, t.Length, size)
	}
	if len(t.Shape) > MaxDims || len(t.Stride) > MaxDims {
		return invalid("%d dimensions and %d strides", len(t.Shape), len(t.Stride))
	}
	for _, n := range t.Shape {
		if n < 0 {
			return invalid("dimension %d", n)
		}
	}
	return nil
}

func (t *Tree) check() error {
	if len(t.Entries) > MaxEntries {
		return invalid("tree of %d entries, at most %d", len(t.Entries), MaxEntries)
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		if i > 0 && t.Entries[i-1].Name >= e.Name {
			return invalid("tree entry %q after %q: not sorted or not unique", e.Name, t.Entries[i-1].Name)
		}
		if err := e.check(); err != nil {
			return fmt.Errorf("tree entry: %w", err)
		}
	}
	return nil
}

func (e *Entry) check() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if e.Mode > 0o7777 {
		return invalid("%q: mode %o", e.Name, e.Mode)
	}
	switch e.Kind {
	case File:
		if e.ID.IsZero() || e.Size < 0 || e.Target != "" {
			return invalid("%q: file of size %d without manifest, or with a target", e.Name, e.Size)
		}
	case Dir:
		if e.ID.IsZero() || e.Size != 0 || e.Target != "" || !e.MTime.IsZero() {
			return invalid("%q: directory without tree, or with size, target or time", e.Name)
		}
	case Symlink:
		if !e.ID.IsZero() || e.Target == "" || len(e.Target) > MaxTarget || strings.Contains(e.Target, "\x00") || e.Size != int64(len(e.Target)) {
			return invalid("%q: symlink of size %d with a target of %d bytes", e.Name, e.Size, len(e.Target))
		}
	default:
		return invalid("%q: unknown %s", e.Name, e.Kind)
	}
	return nil
}

func (c *Commit) check() error {
	if c.Tree.IsZero() {
		return invalid("commit without tree")
	}
	if len(c.Parents) > MaxParents || len(c.Metrics) > MaxFacts || len(c.Labels) > MaxFacts {
		return invalid("commit with %d parents, %d metrics, %d labels", len(c.Parents), len(c.Metrics), len(c.Labels))
	}
	for _, p := range c.Parents {
		if p.IsZero() {
			return invalid("commit with a zero parent")
		}
	}
	for name := range c.Metrics {
		if err := checkKey("commit metric", name); err != nil {
			return err
		}
	}
	for name, value := range c.Labels {
		if err := checkKey("commit label", name); err != nil {
			return err
		}
		if err := checkText("commit label "+name, value); err != nil {
			return err
		}
	}
	if err := checkText("commit author", c.Author); err != nil {
		return err
	}
	return checkText("commit message", c.Message)
}

func (t *Tag) check() error {
	if t.Target.IsZero() {
		return invalid("tag without target")
	}
	if err := checkText("tagger", t.Tagger); err != nil {
		return err
	}
	return checkText("tag message", t.Message)
}

func checkKey(what, s string) error {
	if s == "" {
		return invalid("%s without name", what)
	}
	return checkText(what+" name", s)
}

func checkText(what, s string) error {
	if len(s) > MaxText {
		return invalid("%s: %d bytes, at most %d", what, len(s), MaxText)
	}
	if !utf8.ValidString(s) {
		return invalid("%s: not UTF-8", what)
	}
	return nil
}
