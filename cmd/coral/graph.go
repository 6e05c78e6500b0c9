package main

import (
	"slices"
	"strings"

	"coral/internal/oid"
)

// graph draws how commits hang together, beside a list of them, in the way of `git log --graph`. The rules are those of git's graph.c (2.25 and later), so that people find what
// they are used to: each open line of history has a column, a merge opens columns to its right, and lines move left one place a row until each is where the
// next commit wants it. graph_test.go compares with git itself.
//
// For each commit, in an order where none comes before its children: next, then rows until done.
type graph struct {
	commit  oid.ID
	parents []oid.ID

	columns, after []oid.ID // the open lines: what commit each leads to, before this commit and after it
	mapping, old   []int    // for each place of the row: which column of after the edge there goes to, or -1
	width          int

	index, lastIndex int // of the commit's column
	layout           int // of a merge: 0 if its first parent is to its left, 1 if right below
	added, lastAdded int // edges that a merge adds
	expansion        int // rows done that make room for an octopus
	state, last      graphState
}

type graphState int

const (
	graphPadding graphState = iota
	graphExpand             // makes room for a merge of three and more
	graphCommit
	graphMerge    // the edges right below a merge
	graphCollapse // edges move left
)

func (g *graph) set(s graphState) { g.last, g.state = g.state, s }

// next goes on to a commit.
func (g *graph) next(commit oid.ID, parents []oid.ID) {
	g.commit, g.parents = commit, parents
	g.lastIndex = g.index
	g.layoutColumns()
	g.expansion = 0
	g.state = graphCommit // not set: last stays the state of the last row that was drawn
	if g.needsExpansion() {
		g.state = graphExpand
	}
}

// places calls fn for every column, with the commit in one of its own at the end if no column leads to it.
func (g *graph) places(fn func(i int, id oid.ID)) {
	seen := false
	for i, id := range g.columns {
		seen = seen || id == g.commit
		fn(i, id)
	}
	if !seen {
		fn(len(g.columns), g.commit)
	}
}

func (g *graph) layoutColumns() {
	g.columns, g.after = g.after, g.columns[:0]
	g.mapping = make([]int, 2*(len(g.columns)+len(g.parents))+2)
	for i := range g.mapping {
		g.mapping[i] = -1
	}
	g.width, g.lastAdded, g.added = 0, g.added, 0
	g.places(func(i int, id oid.ID) {
		if id != g.commit {
			g.open(id, -1)
			return
		}
		g.index, g.layout = i, -1
		for _, p := range g.parents {
			g.open(p, i)
		}
		if len(g.parents) == 0 {
			g.width += 2
		}
	})
	g.trim()
}

// trim drops empty places at the end.
func (g *graph) trim() {
	for len(g.mapping) > 1 && g.mapping[len(g.mapping)-1] < 0 {
		g.mapping = g.mapping[:len(g.mapping)-1]
	}
}

// open makes an edge to id; from is the commit's column if the edge comes from it, else -1.
func (g *graph) open(id oid.ID, from int) {
	i := slices.Index(g.after, id)
	if i < 0 {
		i = len(g.after)
		g.after = append(g.after, id)
	}
	at := g.width
	switch {
	case len(g.parents) > 1 && from >= 0 && g.layout < 0: // the first parent of a merge decides how it looks
		distance, shift := from-i, 1
		if distance > 1 {
			shift = 2*distance - 3
		}
		g.layout = 1
		if distance > 0 {
			g.layout = 0
		}
		g.added = len(g.parents) + g.layout - 2
		at = g.width + (g.layout-1)*shift
		g.width += 2 * g.layout
	case g.added > 0 && g.width >= 2 && i == g.mapping[g.width-2]: // joins the merge's last edge at once
		at = g.width - 2
		g.added = -1
	default:
		g.width += 2
	}
	g.mapping[at] = i
}

func (g *graph) dashed() int { return len(g.parents) + g.layout - 3 }

func (g *graph) needsExpansion() bool {
	return len(g.parents) >= 3 && g.index < len(g.columns)-1 && g.expansion < 2*g.dashed()
}

// settled says whether every edge is where it is to be.
func (g *graph) settled() bool {
	for i, to := range g.mapping {
		if to >= 0 && to != i/2 {
			return false
		}
	}
	return true
}

func (g *graph) rest() {
	if g.settled() {
		g.set(graphPadding)
	} else {
		g.set(graphCollapse)
	}
}

// row draws the next row, as wide as all rows of the commit, and says whether it is the one with the commit.
func (g *graph) row() (text string, commit bool) {
	var b strings.Builder
	switch g.state {
	case graphPadding:
		b.WriteString(strings.Repeat("| ", len(g.after)))
	case graphExpand:
		g.expand(&b)
	case graphCommit:
		g.commitRow(&b)
		commit = true
	case graphMerge:
		g.mergeRow(&b)
	case graphCollapse:
		g.collapseRow(&b)
	}
	if n := g.width - b.Len(); n > 0 {
		b.WriteString(strings.Repeat(" ", n))
	}
	return b.String(), commit
}

// done says whether only padding is left.
func (g *graph) done() bool { return g.state == graphPadding }

func (g *graph) expand(b *strings.Builder) {
	seen := false
	for i, id := range g.columns {
		switch {
		case id == g.commit:
			seen = true
			b.WriteByte('|')
			b.WriteString(strings.Repeat(" ", g.expansion))
		case seen && (g.expansion > 0 || g.last == graphMerge && g.lastIndex < i):
			b.WriteByte('\\')
		default:
			b.WriteByte('|')
		}
		b.WriteByte(' ')
	}
	if g.expansion++; !g.needsExpansion() {
		g.set(graphCommit)
	}
}

func (g *graph) commitRow(b *strings.Builder) {
	seen := false
	g.places(func(i int, id oid.ID) {
		switch {
		case id == g.commit:
			seen = true
			b.WriteByte('*')
			if n := g.dashed(); len(g.parents) > 2 && n > 0 {
				b.WriteString(strings.Repeat("-", 2*n-1) + ".")
			}
		case seen && g.added > 1, seen && g.added == 1 && g.last == graphMerge && g.lastAdded > 0 && g.lastIndex < i:
			b.WriteByte('\\')
		case !(seen && g.added == 1) && g.last == graphCollapse && 2*i+1 < len(g.old) && g.old[2*i+1] == i && g.mapping[2*i] < i:
			b.WriteByte('/')
		default:
			b.WriteByte('|')
		}
		b.WriteByte(' ')
	})
	if len(g.parents) > 1 {
		g.set(graphMerge)
	} else {
		g.rest()
	}
}

func (g *graph) mergeRow(b *strings.Builder) {
	seen, underline := false, false
	g.places(func(i int, id oid.ID) {
		switch {
		case id == g.commit:
			seen = true
			edge := g.layout
			for j := range g.parents {
				b.WriteByte(`/|\`[edge])
				if edge < 2 {
					edge++
				} else if g.added > 0 || j < len(g.parents)-1 {
					b.WriteByte(' ')
				}
			}
			if g.added == 0 {
				b.WriteByte(' ')
			}
		case seen && g.added > 0:
			b.WriteString(`\ `)
		case seen:
			b.WriteString("| ")
		default:
			b.WriteByte('|')
			if g.layout != 0 || i != g.index-1 {
				if underline {
					b.WriteByte('_')
				} else {
					b.WriteByte(' ')
				}
			}
		}
		underline = underline || id == g.parents[0]
	})
	g.rest()
}

func (g *graph) collapseRow(b *strings.Builder) {
	was := g.mapping
	now := make([]int, len(was))
	for i := range now {
		now[i] = -1
	}
	edge, target := -1, -1 // the one edge that may go several places in this row, with underscores
	run := func(at, from, to int) {
		if edge >= 0 {
			return
		}
		edge, target = at, to
		for j := 2*to + 3; j < from-2; j += 2 {
			now[j] = to
		}
	}
	for i, to := range was {
		switch {
		case to < 0:
		case 2*to == i:
			now[i] = to
		case now[i-1] < 0:
			now[i-1] = to
			run(i, i, to)
		case now[i-1] == to: // joins the line to its left
		default: // crosses it
			now[i-2] = to
			run(i-1, i, to)
		}
	}
	g.old = slices.Clone(now)
	if now[len(now)-1] < 0 {
		now = now[:len(now)-1]
	}
	underscored := false
	for i, to := range now {
		switch {
		case to < 0:
			b.WriteByte(' ')
		case 2*to == i:
			b.WriteByte('|')
		case to == target && i != edge-1:
			if i != 2*to+3 { // only its beginning goes on in the next row
				now[i] = -1
			}
			underscored = true
			b.WriteByte('_')
		default:
			if underscored && i < edge {
				now[i] = -1
			}
			b.WriteByte('/')
		}
	}
	g.mapping = now
	if g.settled() {
		g.set(graphPadding)
	}
}
