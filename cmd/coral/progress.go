package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"coral/internal/control"
)

// progressAfter is how long work goes on before a bar is shown: what is over at once shows none.
const progressAfter = 400 * time.Millisecond

// progress returns where to report and what to call at the end. Without a terminal nothing is shown.
func (a *app) progress() (report func(control.Progress), done func()) {
	if !a.errTTY {
		return nil, func() {}
	}
	b := &bar{a: a, start: time.Now()}
	return b.report, b.done
}

// bar is a progress bar on the terminal, made when the first report comes after progressAfter.
type bar struct {
	a     *app
	start time.Time

	drawing sync.Mutex // before mu
	p       *mpb.Progress
	bar     *mpb.Bar
	over    bool

	mu   sync.Mutex
	last control.Progress
}

func (b *bar) report(pr control.Progress) {
	b.drawing.Lock()
	defer b.drawing.Unlock()
	b.mu.Lock()
	b.last = pr
	b.mu.Unlock() // the bar's goroutine takes it in left and right, and SetTotal waits for that goroutine
	if b.over || b.p == nil && time.Since(b.start) < progressAfter {
		return
	}
	if b.p == nil {
		b.p = mpb.New(mpb.WithOutput(b.a.err), mpb.WithWidth(min(b.a.width, 100)), mpb.WithRefreshRate(120*time.Millisecond))
		b.bar = b.p.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
			mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.left() })),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.right() })),
			mpb.BarRemoveOnComplete())
	}
	b.bar.SetTotal(max(pr.Total, pr.Done+1), false)
	b.bar.SetCurrent(pr.Done)
}

// left is what stands before the bar.
func (b *bar) left() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.last.Step
	if b.last.Files > 0 {
		s += " " + count(int64(b.last.Files), "file")
	}
	return s + " "
}

// right is what stands behind it.
func (b *bar) right() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	amount := func(n int64) string {
		if b.last.Unit == "bytes" {
			return size(n)
		}
		return strings.TrimSpace(fmt.Sprintf("%d %s", n, b.last.Unit))
	}
	s := " " + amount(b.last.Done)
	if b.last.Total > 0 {
		s += " of " + amount(b.last.Total)
	}
	if what := []rune(safe(b.last.What)); len(what) > 0 {
		if most := max(b.a.width/3, 10); len(what) > most {
			what = append([]rune("…"), what[len(what)-most+1:]...)
		}
		s += " " + string(what)
	}
	return s
}

func (b *bar) done() {
	b.drawing.Lock()
	defer b.drawing.Unlock()
	b.over = true
	if b.p != nil {
		b.bar.Abort(true)
		b.p.Wait()
	}
}
