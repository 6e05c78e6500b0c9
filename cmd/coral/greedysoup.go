package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"coral/internal/control"
	"coral/internal/daemon"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/internal/service"
	"coral/vcs"
)

// runGreedySoup is `coral merge --strategy greedy-soup`: it has the candidates tested, alone and in soups, and the best soup committed. No lock is held while a command
// runs, which may use the repository itself.
func runGreedySoup(ctx context.Context, a *app, req *service.MergeRequest, args []string) error {
	if err := req.SetArgs(args); err != nil {
		return err
	}
	if err := req.Localize(); err != nil {
		return err
	}
	c, err := a.caller()
	if err != nil {
		return err
	}
	s := &soupMaker{a: a, c: c, req: *req}
	plan, err := s.call(ctx, &service.SoupStep{})
	if err != nil {
		return err
	}
	if req.DryRun || len(plan.Conflicts) > 0 {
		return a.mergeEnd(req, &plan)
	}
	res, err := s.make(ctx, &plan)
	if err != nil {
		return err
	}
	return a.mergeEnd(req, &res)
}

// mergeEnd prints the result of a merge that took several calls.
func (a *app) mergeEnd(req *service.MergeRequest, r *service.MergeResult) error {
	if err := a.result(r, func(p *printer) { _ = printMerge(p, req, *r) }); err != nil {
		return err
	}
	return verdict(*r)
}

// soupMaker makes one greedy soup.
type soupMaker struct {
	a       *app
	c       daemon.Caller
	req     service.MergeRequest
	plan    *service.MergeResult
	soup    *vcs.Soup
	scratch *service.Scratch
	runs    int
}

// call asks for one step.
func (s *soupMaker) call(ctx context.Context, step *service.SoupStep) (res service.MergeResult, err error) {
	req := s.req
	req.Soup = step
	if s.plan != nil {
		step.Head = s.plan.Head
		step.Base = s.plan.Base
	}
	progress, done := s.a.progress()
	err = s.c.Call(ctx, service.Find("merge"), &req, &res, progress)
	done()
	return res, err
}

// make chooses the ingredients and commits their soup. The temporary directory is gone before.
func (s *soupMaker) make(ctx context.Context, plan *service.MergeResult) (service.MergeResult, error) {
	s.plan, s.soup = plan, plan.Recipe.Soup
	var err error
	if s.scratch, err = service.NewScratch(s.c.Dir); err != nil {
		return service.MergeResult{}, fmt.Errorf("merge: %w", err)
	}
	chosen, err := service.ChooseSoup(s.soup, func(members []int) (float64, error) { return s.score(ctx, members) })
	if cerr := s.scratch.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("merge: %w", cerr)
	}
	if err != nil {
		return service.MergeResult{}, err
	}
	return s.call(ctx, &service.SoupStep{Members: s.commits(chosen), Record: s.soup})
}

func (s *soupMaker) commits(members []int) []oid.ID {
	var out []oid.ID
	for _, i := range members {
		out = append(out, s.soup.Candidates[i].Commit)
	}
	return out
}

// score tests one candidate, or a soup of several.
func (s *soupMaker) score(ctx context.Context, members []int) (float64, error) {
	s.runs++
	what := "a soup of " + strconv.Itoa(len(members))
	var alone oid.ID
	dir := ""
	var err error
	if len(members) == 1 {
		c := s.soup.Candidates[members[0]]
		what, alone = safe(c.Name)+" ("+short(c.Commit)+")", c.Commit
		if dir, err = mountedCommit(ctx, s.c, c.Commit); err != nil {
			return 0, err
		}
	}
	s.a.notice(fmt.Sprintf("testing %s, %d of %d", what, s.runs, 2*len(s.soup.Candidates)-1))
	if dir == "" {
		dir = filepath.Join(s.scratch.Dir, strconv.Itoa(s.runs))
		defer func() { _ = service.RemoveTree(dir) }() // what is left goes with the scratch directory
		res, err := s.call(ctx, &service.SoupStep{Members: s.commits(members), Dir: control.Text(dir)})
		if err == nil {
			err = res.Err()
		}
		if err != nil {
			return 0, err
		}
	}
	v, err := s.run(ctx, dir, alone)
	if err != nil {
		return 0, fmt.Errorf("merge: nothing was changed: the score of %s: %w", what, err)
	}
	s.a.notice(fmt.Sprintf("%s has %v", what, v))
	return v, nil
}

// run runs the command on a directory.
func (s *soupMaker) run(ctx context.Context, dir string, commit oid.ID) (float64, error) {
	var last lastNumber
	cmd := s.a.look(ctx, s.c, []string{"/bin/sh", "-c", s.req.Score + ` "$@"`, "sh", dir}, dir, commit)
	said := &oneByOne{w: s.a.err}
	cmd.Stdout = io.MultiWriter(&last, said)
	if _, file := s.a.err.(*os.File); !file { // a file can be written to by several, and what is a terminal stays one
		cmd.Stderr = said
	}
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, fmt.Errorf("the command ended with %v: %w", err, errs.Invalid)
	}
	return last.score()
}

// oneByOne lets several write.
type oneByOne struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (o *oneByOne) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// soup writes how a greedy soup was chosen.
func (p *printer) soup(r *service.MergeResult) {
	s := r.Recipe.Soup
	if r.DryRun {
		for _, c := range s.Candidates {
			p.line("candidate %s %s", short(c.Commit), safe(c.Name))
		}
		p.line("%s: would run the command %d times at most, and commit the average of those that are chosen", safe(r.Branch), 2*len(s.Candidates)-1)
		return
	}
	soups := map[oid.ID]vcs.SoupTrial{}
	for _, t := range s.Trials {
		soups[t.Added] = t
	}
	rows := [][]string{{"candidate", "", "alone", "in the soup", ""}}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 8, 64) }
	for _, c := range s.Candidates {
		row := []string{safe(c.Name), short(c.Commit), number(c.Score), "", "left out"}
		if t, ok := soups[c.Commit]; ok {
			row[3] = number(t.Score)
		}
		if c.Chosen {
			row[4] = "chosen"
		}
		rows = append(rows, row)
	}
	p.table(rows, 2, 3)
}
