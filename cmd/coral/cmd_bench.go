package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/bench"
	"coral/internal/control"
	"coral/internal/errs"
)

const benchLong = `Store the checkpoints in FILEs and DIRs (everything below them) with each codec of Coral and with each other tool that is installed, read
everything back, and print one table: the part of the raw bytes that is stored, speeds in millions of raw bytes a second, and whether every byte came back.

The files are stored in order of their paths, with numbers compared as numbers, after those of --base. They are copied to a work directory first, which
needs three times their size and is removed at the end. "encode" of Coral's rows ends when everything is synced to the disk; "decode" reads into memory
after the kernel was told to forget the packs; "to files" writes the files out, and each is compared with the original. Of other tools, the start of
a Python interpreter is not counted.

Codecs: %s.
Other tools: %s.`

func newBenchCmd(a *app) *cobra.Command {
	var o bench.Options
	cmd := &cobra.Command{
		Use:   "bench FILE|DIR...",
		Short: "Measure codecs and other tools on your checkpoints",
		Long:  fmt.Sprintf(benchLong, strings.Join(bench.CodecNames(), ", "), strings.Join(bench.PeerNames(), ", ")),
		Example: `  coral bench ~/run                                  # all checkpoints of a run, all tools that are installed
  coral bench --base ~/llama ~/run --include '*.safetensors' --no-peers
  coral bench ~/run --codecs auto --peers zstd,lmz --cores 1 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Paths = args
			return runBench(cmd.Context(), a, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Base, "base", "", "store this file or directory first: the model that the others were trained from")
	f.StringSliceVar(&o.Include, "include", nil, "only files whose names match one of these `globs`")
	f.BoolVar(&o.KeepOrder, "keep-order", false, "store the arguments in the order given")
	f.StringSliceVar(&o.Codecs, "codecs", nil, "only these `codecs` of Coral (default all)")
	f.StringSliceVar(&o.Peers, "peers", nil, "only these other `tools` (default all)")
	f.BoolVar(&o.NoPeers, "no-peers", false, "no other tools")
	f.IntVar(&o.Cores, "cores", 0, "how many processors to use (default all)")
	f.StringVar(&o.Dir, "dir", "", "where to make the work `directory` (default $TMPDIR, or /var/tmp)")
	f.StringVar(&o.Tools, "tools", "", "a `directory` with other tools, as make peers fills .cache")
	f.StringVar(&o.Python, "python", "", "the Python `interpreter` of the tools that are Python packages")
	f.DurationVar(&o.PeerLimit, "peer-limit", bench.DefaultPeerLimit, "give another tool up after this `time`")
	return cmd
}

func runBench(ctx context.Context, a *app, o bench.Options) error {
	switch {
	case len(o.Paths) == 0 && o.Base == "":
		return control.Usagef("bench: name at least one file or directory")
	case o.Cores < 0 || o.PeerLimit < 0:
		return control.Usagef("bench: less than nothing")
	case o.NoPeers && len(o.Peers) > 0:
		return control.Usagef("bench: --peers and --no-peers exclude each other")
	}
	report, done := a.progress()
	if report != nil {
		o.Progress = func(step string, n, total int64) {
			report(control.Progress{Step: step, Done: n, Total: total, Unit: "bytes"})
		}
	}
	r, err := bench.Run(ctx, o)
	done()
	if errors.Is(err, errs.Invalid) {
		return control.Usagef("bench: %v", err)
	}
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err := a.result(r, func(p *printer) { printBench(p, r, runtime.NumCPU()) }); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if !row.Peer && (row.Failed != "" || row.Exact == nil || !row.Exact.Exact()) {
			return &resultError{} // ours: anything but exact is a defect
		}
	}
	return nil
}

func printBench(p *printer, r *bench.Report, processors int) {
	p.line("%s, %s; %s of %d, %s, %s", count(int64(r.Files), "file"), size(r.Bytes), count(int64(r.Cores), "processor"), processors, safe(r.CPU), r.System)
	table := [][]string{{"", "of raw", "encode", "decode", "to files", "exact"}}
	var missing, notes []string
	for _, row := range r.Rows {
		name := row.Name
		if row.Peer && row.Version != "" {
			name += " " + row.Version
		}
		if row.Missing != "" {
			missing = append(missing, fmt.Sprintf("%s is not installed: %s", row.Name, row.Missing))
			continue
		}
		table = append(table, []string{name, fraction(row.Ratio), rate(row.EncodeMBps), rate(row.DecodeMBps), rate(row.WriteMBps), exactness(row.Exact)})
		note := row.What
		if row.Note != "" {
			note += "; " + row.Note
		}
		if row.Failed != "" {
			note = "failed: " + row.Failed
		}
		notes = append(notes, fmt.Sprintf("%s: %s", row.Name, note))
	}
	p.table(table, 1, 2, 3, 4)
	p.line("")
	for _, n := range append(notes, missing...) {
		p.line("%s", safe(n))
	}
}

func fraction(f float64) string {
	if f == 0 {
		return "-"
	}
	return strconv.FormatFloat(f, 'f', 4, 64)
}

func rate(mbps float64) string {
	if mbps == 0 {
		return "-"
	}
	digits := 0
	if mbps < 100 {
		digits = 1
	}
	return strconv.FormatFloat(mbps, 'f', digits, 64) + " MB/s"
}

// exactness says in words what differs.
func exactness(e *bench.Exactness) string {
	switch {
	case e == nil:
		return "-"
	case e.Exact():
		return "yes"
	case e.NotFiles && e.TensorsDiffer == 0:
		return fmt.Sprintf("all %s; no files", count(int64(e.Tensors), "tensor"))
	case e.NotFiles:
		return fmt.Sprintf("no: %d of %s differ; no files", e.TensorsDiffer, count(int64(e.Tensors), "tensor"))
	case e.FilesMissing > 0:
		return fmt.Sprintf("no: %d of %s differ, %d missing", e.FilesDiffer, count(int64(e.Files), "file"), e.FilesMissing)
	case e.Tensors > 0:
		return fmt.Sprintf("no: %d of %s differ, %d of their %s", e.FilesDiffer, count(int64(e.Files), "file"), e.TensorsDiffer, count(int64(e.Tensors), "tensor"))
	}
	return fmt.Sprintf("no: %d of %s differ", e.FilesDiffer, count(int64(e.Files), "file"))
}
