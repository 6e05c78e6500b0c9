package field

import (
	"fmt"

	"coral/delta/rans"
)

// Tables are a blob's tables for reading. They are immutable once parsed.
type Tables struct {
	col    [MaxColumns]*rans.Table // nil: none
	mem    [MaxColumns]*rans.Table
	window uint8 // 0: none
}

// Reset forgets the tables and keeps their memory.
func (t *Tables) Reset() { t.col, t.window = [MaxColumns]*rans.Table{}, 0 }

// ParseColumn reads the frequencies of column i.
func (t *Tables) ParseColumn(l *Layout, i int, b []byte) error {
	if i < 0 || i >= len(l.columns) || t.col[i] != nil || l.columns[i].store != anyMode {
		return fmt.Errorf("frequencies of column %d: out of place", i)
	}
	var f rans.Freqs
	if err := f.Parse(b); err != nil {
		return fmt.Errorf("frequencies of column %d: %w", i, err)
	}
	if t.mem[i] == nil {
		t.mem[i] = new(rans.Table)
	}
	t.col[i] = t.mem[i]
	t.col[i].Init(&f)
	return nil
}

// ParseWindow reads the window.
func (t *Tables) ParseWindow(l *Layout, b []byte) error {
	if !l.window || t.window != 0 || len(b) != 1 || b[0] < 1 || int(b[0]) > maxWindow {
		return fmt.Errorf("window of exponents: out of place, or % x", b)
	}
	t.window = b[0]
	return nil
}

// Complete reports whether blocks of the layout can be read: those with a window need it.
func (t *Tables) Complete(l *Layout) bool { return !l.window || t.window != 0 }
