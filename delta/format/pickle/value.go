package pickle

import (
	"strconv"

	"coral/delta/format"
	"coral/delta/format/dtype"
)

// The placeholders on the stack. Whatever holds no tensor and names nothing is a nothing.
type (
	nothing struct{}
	boolean bool
	integer int64
	text    string
	global  string // module and name with a space between
	tuple   struct {
		items []any
		seen  bool
	}
	// node is anything that is filled after it was made: a list, set, dict, or object.
	node struct {
		sort    sort
		seen    bool
		strings bool // a list to which only strings were added
		count   int  // items added so far, kept or not
		entries []entry
	}
	// entry is an item of a node that may hold tensors, or one of the first of a list.
	entry struct {
		key, value any
	}
	storage struct {
		index int   // into the result
		first int64 // element at which a legacy view begins
	}
	tensor struct {
		storage int
		offset  int64
		kind    dtype.Kind
		shape   []int64
		stride  []int64

		quantizer *Quantizer // of one that is quantised, where details are wanted
	}
)

type sort uint8

const (
	list sort = iota // or set
	dict
	object
)

// attributes is the key of an object's state, which BUILD sets.
type attributes struct{}

// holds reports whether v may hold tensors, now or when the pickle has gone on.
func holds(v any) bool {
	switch v := v.(type) {
	case *node, *tensor, *storage:
		return true
	case *tuple:
		for _, x := range v.items {
			switch x.(type) {
			case *node, *tensor, *storage, *tuple:
				return true
			}
		}
	}
	return false
}

// ints returns the numbers of a tuple of non-negative integers.
func ints(v any) ([]int64, bool) {
	t, ok := v.(*tuple)
	if !ok || len(t.items) > format.MaxDims {
		return nil, false
	}
	out := make([]int64, len(t.items))
	for i, x := range t.items {
		n, ok := x.(integer)
		if !ok || n < 0 {
			return nil, false
		}
		out[i] = int64(n)
	}
	return out, true
}

// label is the path component of a key; index stands in for a key that has no short form.
func label(key any, index int) string {
	switch k := key.(type) {
	case text:
		return string(k)
	case integer:
		return strconv.FormatInt(int64(k), 10)
	case boolean:
		if k {
			return "True"
		}
		return "False"
	case global:
		return string(k)
	}
	return "#" + strconv.Itoa(index)
}
