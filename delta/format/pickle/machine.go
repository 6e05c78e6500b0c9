package pickle

import (
	"fmt"

	"coral/delta/format"
	"coral/delta/format/scan"
)

// Bounds of one scan. An ordinary checkpoint retains less than 1 KiB for each tensor.
const (
	maxStack    = 1 << 20   // values
	maxMarks    = 1 << 20   // open marks
	maxRetained = 192 << 20 // bytes of all placeholders ever made, garbage included
)

var errBounds = fmt.Errorf("more memory needed than a scan may use: %w", format.ErrDamaged)

// machine is the interpreter. The first error of it or of its reader ends the run.
type machine struct {
	r        *scan.Reader
	stack    []any
	marks    []int // stack heights
	memo     []any
	sparse   map[uint32]any // memo entries that do not follow the ones before
	retained int
	keys     map[string]int // storage key → index into storages
	storages []Storage
	stopped  bool
	details  *Details // nil if they are not wanted
}

// Scan interprets the pickle at r up to its STOP. It fails with format.ErrDamaged where the pickle is damaged or needs more
// than a scan may use; the result still has what was found until then, which is worth using.
func Scan(r *scan.Reader) (*Result, error) {
	return (&machine{r: r, keys: map[string]int{}}).run()
}

func (m *machine) run() (*Result, error) {
	r := m.r
	for !m.stopped && r.Err() == nil {
		m.step()
	}
	res := &Result{Storages: m.storages}
	if n := len(m.stack); n > 0 && m.stopped {
		res.walk(m.stack[n-1], m.details)
	} else if n > 0 {
		res.walk(m.stack[0], m.details) // damaged: the outermost container, as far as it was filled
	}
	if err := r.Err(); err != nil {
		return res, fmt.Errorf("scan pickle: %w", err)
	}
	return res, nil
}

func (m *machine) fail(what string) {
	m.r.Fail(format.Damaged("pickle", m.r.Pos(), "%s", what))
}

// spend counts n retained bytes.
func (m *machine) spend(n int) {
	if m.retained += n; m.retained > maxRetained {
		m.r.Fail(errBounds)
	}
}

func (m *machine) push(v any) {
	if len(m.stack) >= maxStack {
		m.r.Fail(errBounds)
		return
	}
	m.stack = append(m.stack, v)
}

// floor is the height below which the current mark's values lie.
func (m *machine) floor() int {
	if n := len(m.marks); n > 0 {
		return m.marks[n-1]
	}
	return 0
}

func (m *machine) pop() any {
	n := len(m.stack)
	if n <= m.floor() {
		m.fail("stack is empty")
		return nothing{}
	}
	v := m.stack[n-1]
	m.stack[n-1] = nil
	m.stack = m.stack[:n-1]
	return v
}

// top returns the topmost value without removing it.
func (m *machine) top() any {
	n := len(m.stack)
	if n <= m.floor() {
		m.fail("stack is empty")
		return nothing{}
	}
	return m.stack[n-1]
}

// toMark removes the values above the last mark and returns them. They are part of the stack: valid until the next push.
func (m *machine) toMark() []any {
	n := len(m.marks)
	if n == 0 {
		m.fail("no mark")
		return nil
	}
	from := m.marks[n-1]
	m.marks = m.marks[:n-1]
	items := m.stack[from:]
	m.stack = m.stack[:from]
	return items
}

func (m *machine) mark() {
	if len(m.marks) >= maxMarks {
		m.r.Fail(errBounds)
		return
	}
	m.marks = append(m.marks, len(m.stack))
}

// put stores the topmost value in the memo.
func (m *machine) put(i uint32) {
	v := m.top()
	if m.r.Err() != nil {
		return
	}
	switch n := uint32(len(m.memo)); {
	case i < n:
		m.memo[i] = v
	case i == n:
		m.spend(16)
		m.memo = append(m.memo, v)
	default:
		m.spend(64)
		if m.sparse == nil {
			m.sparse = map[uint32]any{}
		}
		m.sparse[i] = v
	}
}

func (m *machine) get(i uint32) {
	if i < uint32(len(m.memo)) {
		m.push(m.memo[i])
		return
	}
	v, ok := m.sparse[i]
	if !ok {
		m.fail("unknown memo entry")
	}
	m.push(v)
}

// tuple makes a tuple of a copy of items.
func (m *machine) tuple(items []any) *tuple {
	m.spend(40 + 16*len(items))
	return &tuple{items: append([]any(nil), items...)}
}

// tupleOf replaces the n topmost values by a tuple of them.
func (m *machine) tupleOf(n int) {
	from := len(m.stack) - n
	if from < m.floor() {
		m.fail("stack is empty")
		return
	}
	t := m.tuple(m.stack[from:])
	m.stack = m.stack[:from]
	m.push(t)
}

func (m *machine) node(s sort) *node {
	m.spend(64)
	return &node{sort: s, strings: s == list}
}

// add appends items to a list or set, or to an object that acts as one.
func (m *machine) add(to any, items ...any) {
	n, ok := to.(*node)
	if !ok {
		return // of a kind that is not followed
	}
	for _, v := range items {
		_, isText := v.(text)
		n.strings = n.strings && isText
		// The first two are kept: a list may be a pair of key and value. A list of strings may be a legacy file's keys.
		if n.count < 2 || n.strings || holds(v) || m.details != nil {
			m.spend(48)
			n.entries = append(n.entries, entry{integer(n.count), v})
		}
		n.count++
	}
}

// set stores pairs of key and value in a dict, or in an object that acts as one.
func (m *machine) set(in any, pairs []any) {
	if len(pairs)%2 != 0 {
		m.fail("key without a value")
		return
	}
	n, ok := in.(*node)
	if !ok {
		return
	}
	for i := 0; i < len(pairs); i += 2 {
		_, flag := pairs[i+1].(boolean)
		if flag || holds(pairs[i+1]) || m.details != nil {
			m.spend(32)
			n.entries = append(n.entries, entry{pairs[i], pairs[i+1]})
		}
		n.count++
	}
}
