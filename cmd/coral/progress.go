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
	b := &bar{a: a}
	timer := time.AfterFunc(progressAfter, b.show)
	return b.report, func() {
		timer.Stop()
		b.done()
	}
}

// bar is a progress bar on the terminal.
type bar struct {
	a *app

	drawing sync.Mutex // before mu
	p       *mpb.Progress
	bar     *mpb.Bar
	over    bool

	mu   sync.Mutex // of what the bar's goroutine reads while it draws: not held over calls of the bar, which wait for it
	last control.Progress
}

// show makes the bar.
func (b *bar) show() {
	b.drawing.Lock()
	defer b.drawing.Unlock()
	if b.over {
		return
	}
	b.p = mpb.New(mpb.WithOutput(b.a.err), mpb.WithWidth(min(b.a.width, 120)), mpb.WithRefreshRate(120*time.Millisecond))
	b.bar = b.p.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return b.left() })),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return b.right() })),
		mpb.BarRemoveOnComplete())
	b.mu.Lock()
	pr := b.last
	b.mu.Unlock()
	b.set(pr)
}

// set moves the bar; drawing is held. Its total is never reached: what ends the bar is done.
func (b *bar) set(pr control.Progress) {
	if pr.Total <= 0 {
		pr.Done, pr.Total = 0, 1
	}
	b.bar.SetTotal(max(pr.Total, pr.Done)+1, false)
	b.bar.SetCurrent(pr.Done)
}

func (b *bar) report(pr control.Progress) {
	b.mu.Lock()
	b.last = pr
	b.mu.Unlock()
	b.drawing.Lock()
	defer b.drawing.Unlock()
	if b.bar != nil && !b.over {
		b.set(pr)
	}
}

// left is what stands before the bar.
func (b *bar) left() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.last.Step
	if s == "" {
		s = "working"
	}
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
	s := ""
	switch {
	case b.last.Total > 0:
		s = " " + amount(b.last.Done) + " of " + amount(b.last.Total)
	case b.last.Done > 0:
		s = " " + amount(b.last.Done)
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
