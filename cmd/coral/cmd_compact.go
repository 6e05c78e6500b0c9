package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

// compactRows is how many tensors, the worst first, a report for people has.
const compactRows = 10

func newCompactCmd(a *app) *cobra.Command {
	v := service.Find("compact")
	req := v.New().(*service.CompactRequest)
	cmd := &cobra.Command{
		Use:   "compact --lossy METHOD --keep-last N",
		Short: "Approximate the weights of old commits",
		Long: `Make a branch's history anew with approximated float tensors in all but its newest N commits: int8 and int16 keep differences to the
nearest exact commit as whole multiples of a scale, sparse drops differences up to --threshold, per-axis keeps one sign an element and one scale a
row. THE VALUES CHANGE. The error of every tensor is reported before anything is done; --dry-run does no more than that.

Only tensors of two or more dimensions change; vectors, optimizer states and what other branches, tags or the kept commits hold stay exact.
The new commits say so in their labels (lossy, lossy.of). The old ones stay under a tag compact/BRANCH/ID until you delete it; then
'coral gc --keep 0' frees them.`,
		Example: `  coral compact --lossy int8 --keep-last 5 --dry-run
  coral compact --lossy per-axis --keep-last 2 -b exp/a --include '*.safetensors'`,
	}
	req.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return runCompact(cmd.Context(), a, v, req, args)
	}
	return cmd
}

// runCompact lets people see a dry run's report before the work; with --json there is one result.
func runCompact(ctx context.Context, a *app, v *service.Verb, req *service.CompactRequest, args []string) error {
	if a.json || req.DryRun {
		return run(ctx, a, v, req, args, printCompact)
	}
	if err := req.SetArgs(args); err != nil {
		return err
	}
	c, err := a.caller()
	if err != nil {
		return err
	}
	look := *req
	look.DryRun = true
	progress, done := a.progress()
	var raw json.RawMessage
	err = c.Call(ctx, v, &look, &raw, progress)
	done()
	if err != nil {
		return err
	}
	var would service.CompactResult
	if err := json.Unmarshal(raw, &would); err != nil {
		return fmt.Errorf("compact: reply: %w", err)
	}
	p := a.printer()
	perr := printCompact(p, &look, would)
	if err := cmp.Or(p.flush(), perr); err != nil || would.Unchanged() {
		return err
	}
	req.Head = would.Head
	return run(ctx, a, v, req, args, func(p *printer, _ service.Request, r service.CompactResult) error {
		p.line("done: %s is at %s (%s)", safe(r.Branch), short(r.NewHead), seconds(r.Seconds))
		if r.Backup != "" {
			p.line("the exact commits stay under tag %s; to free them: coral tag -d %s && coral gc --keep 0", safe(r.Backup), service.Quote(r.Backup))
		}
		return nil
	})
}

func printCompact(p *printer, _ service.Request, r service.CompactResult) error {
	if r.Unchanged() {
		p.line("%s: nothing to approximate: %s exact, %s approximated before", safe(r.Branch), count(int64(r.Kept), "commit"), count(int64(r.Already), "commit"))
		return reasons(p, r.Left)
	}
	rows := [][]string{{"relative L2", "max abs", "cosine", "bits", "commit", "tensor"}}
	for _, t := range r.Tensors[:min(len(r.Tensors), compactRows)] {
		bits := "-"
		if n := elements(t.Shape); n > 0 {
			bits = fmt.Sprintf("%.2f", 8*float64(t.Now)/float64(n))
		}
		rows = append(rows, []string{fmt.Sprintf("%.3g", t.RelativeL2), fmt.Sprintf("%.3g", t.MaxAbs), fmt.Sprintf("%.6f", t.Cosine), bits, short(t.Commit), safe(t.Path + ":" + t.Tensor)})
	}
	p.table(rows, 0, 1, 2, 3)
	if more := len(r.Tensors) - compactRows; more > 0 {
		p.line("… and %s with less error", count(int64(more), "tensor"))
	}
	p.line("all: relative L2 %.3g, max abs %.3g, cosine %.6f over %s of %s", r.RelativeL2, r.MaxAbs, r.Cosine, size(r.Bytes), count(int64(len(r.Tensors)+r.Omitted), "tensor"))
	for _, e := range r.Exact[:min(len(r.Exact), compactRows)] {
		p.line("left exact: %s %s: %s", short(e.Commit), safe(e.Path+":"+e.Tensor), e.Why)
	}
	if err := reasons(p, r.Left); err != nil {
		return err
	}
	verb := "approximates"
	if !r.DryRun {
		verb = "approximated"
	}
	p.line("%s %s of %s by %s, %s exact: %s in place of %s", verb, count(int64(r.Lossy), "commit"), safe(r.Branch), r.Method, count(int64(r.Kept), "commit"), size(r.NewBytes), size(r.FreedBytes+r.HeldBytes))
	p.line("gc then frees %s, once the exact commits are dropped; %s are held back by exact tensors that are differences to them", size(r.FreedBytes), size(r.HeldBytes))
	return nil
}

// reasons lists why tensors were left as they are.
func reasons(p *printer, left map[string]int) error {
	for _, why := range slices.Sorted(maps.Keys(left)) {
		p.line("left exact: %s: %s", count(int64(left[why]), "tensor"), why)
	}
	return nil
}

func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}
