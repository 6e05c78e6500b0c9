package format

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"coral/delta/format/dtype"
)

// Check reports the first rule of Layout that l breaks for a file of size bytes. detect.Parse calls
// it on whatever a parser returns, so that nobody behind it needs to look again.
func (l *Layout) Check(size int64) error {
	if len(l.Payloads) > MaxTensors || len(l.Tensors) > MaxTensors {
		return fmt.Errorf("%d payloads and %d tensors, more than %d: %w", len(l.Payloads), len(l.Tensors), MaxTensors, ErrDamaged)
	}
	if err := l.checkPayloads(size); err != nil {
		return err
	}
	return l.checkTensors(size)
}

func (l *Layout) checkPayloads(size int64) error {
	end, names := int64(0), 0
	for i, p := range l.Payloads {
		switch {
		case p.Offset < end:
			return fmt.Errorf("payload %d at %d begins before %d, where the one before it ends: %w", i, p.Offset, end, ErrDamaged)
		case p.Length <= 0 || p.Offset > size || p.Length > size-p.Offset:
			return fmt.Errorf("payload %d of %d bytes at %d in a file of %d: %w", i, p.Length, p.Offset, size, ErrDamaged)
		}
		if err := checkName(p.Name, &names); err != nil {
			return fmt.Errorf("payload %d: %w", i, err)
		}
		end = p.Offset + p.Length
	}
	return nil
}

func (l *Layout) checkTensors(size int64) error {
	last, names, dims := int64(0), 0, 0
	for i := range l.Tensors {
		t := &l.Tensors[i]
		if err := checkName(t.Name, &names); err != nil {
			return fmt.Errorf("tensor %d: %w", i, err)
		}
		if t.Offset < last {
			return fmt.Errorf("tensor %d at %d is not in file order: %w", i, t.Offset, ErrDamaged)
		}
		last = t.Offset
		if dims += len(t.Shape); dims > MaxAllDims {
			return fmt.Errorf("more than %d dimensions: %w", MaxAllDims, ErrDamaged)
		}
		if err := t.check(size); err != nil {
			return fmt.Errorf("tensor %d: %w", i, err)
		}
		if t.Length > 0 && !l.covers(t.Offset, t.Length) {
			return fmt.Errorf("tensor %d of %d bytes at %d is in no payload: %w", i, t.Length, t.Offset, ErrDamaged)
		}
	}
	return nil
}

// covers reports whether one payload holds all of [off, off+n).
func (l *Layout) covers(off, n int64) bool {
	i := sort.Search(len(l.Payloads), func(i int) bool { return l.Payloads[i].Offset > off }) - 1
	return i >= 0 && off+n <= l.Payloads[i].Offset+l.Payloads[i].Length
}

func (t *Tensor) check(size int64) error {
	if t.Offset < 0 || t.Length < 0 || t.Offset > size || t.Length > size-t.Offset {
		return fmt.Errorf("%d bytes at %d in a file of %d: %w", t.Length, t.Offset, size, ErrDamaged)
	}
	if len(t.Shape) > MaxDims || t.Stride != nil && len(t.Stride) != len(t.Shape) {
		return fmt.Errorf("%d dimensions and %d strides: %w", len(t.Shape), len(t.Stride), ErrDamaged)
	}
	for _, d := range t.Shape {
		if d < 0 {
			return fmt.Errorf("dimension %d: %w", d, ErrDamaged)
		}
	}
	w := t.DType.Width()
	if w == 0 || t.DType == dtype.Bytes {
		return nil // the shape does not tell the length
	}
	if n, ok := Extent(t.Shape, t.Stride, w); !ok || n != t.Length {
		return fmt.Errorf("%s of shape %v in %d bytes: %w", t.DType, t.Shape, t.Length, ErrDamaged)
	}
	return nil
}

func checkName(name string, total *int) error {
	if *total += len(name); *total > MaxNames {
		return fmt.Errorf("more than %d bytes of names: %w", MaxNames, ErrDamaged)
	}
	if len(name) > MaxNameBytes || !utf8.ValidString(name) {
		return fmt.Errorf("name of %d bytes is too long or not UTF-8: %w", len(name), ErrDamaged)
	}
	return nil
}

// Sort puts payloads and tensors in file order, as Check wants them.
func (l *Layout) Sort() {
	slices.SortStableFunc(l.Payloads, func(a, b Payload) int { return cmp.Compare(a.Offset, b.Offset) })
	slices.SortStableFunc(l.Tensors, func(a, b Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
}

// CleanName makes a name of a foreign file fit for a Layout: valid UTF-8, at most MaxNameBytes long.
func CleanName(name string) string {
	name = strings.ToValidUTF8(name, "\uFFFD")
	if len(name) <= MaxNameBytes {
		return name
	}
	cut := MaxNameBytes
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut]
}
