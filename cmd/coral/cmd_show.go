package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newShowCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [REV[:PATH] | FILE | TENSOR] [TENSOR]",
		Short: "One commit and what it changed, one file and its tensors, or one tensor",
		Long: `Show a commit and the files it changed against its first parent. With :PATH show one file of it, and the tensors in it and how each is stored, or list a
directory. :PATH alone means the live tree of the current branch, and branches/NAME:PATH that of another. A file of the disk is shown likewise; that needs no repository.

With a second word show one tensor of the file: its statistics, a histogram, and the commits that changed it. A word that is no revision is a path of
HEAD, or of -c REV, or a tensor that only one file there has. --stats reads the tensors. --heatmap shows the root mean square of each, or with --against the relative
change from another revision or file, layers by kinds; -o writes that, or --histogram, as a picture.`,
		Example: `  coral show
  coral show main~1:checkpoint-500/model.safetensors --sort stored -n 20
  coral show embeddings.LayerNorm.weight -c v1 --stats
  coral show :checkpoint-500/model.safetensors --heatmap --against v1 -o change.svg`,
	}
	v := service.Find("show")
	req := v.New().(*service.ShowRequest)
	req.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := req.SetArgs(args); err != nil {
			return err
		}
		if err := req.Localize(); err != nil {
			return err
		}
		if _, err := a.dir(); err != nil && req.Disk != "" && req.Commit == "" {
			return showDisk(cmd.Context(), a, req)
		}
		return run(cmd.Context(), a, v, req, args, printShow(a))
	}
	return cmd
}

// showDisk shows a file of the disk where there is no repository.
func showDisk(ctx context.Context, a *app, req *service.ShowRequest) error {
	progress, done := a.progress()
	res, err := service.ShowDisk(ctx, req, progress)
	done()
	if err != nil {
		return err
	}
	if a.json {
		return a.result(res, nil)
	}
	p := a.printer()
	err = printShow(a)(p, req, *res)
	if ferr := p.flush(); err == nil {
		err = ferr
	}
	return err
}

func printShow(a *app) func(*printer, service.Request, service.ShowResult) error {
	return func(p *printer, request service.Request, r service.ShowResult) error {
		req := request.(*service.ShowRequest)
		switch {
		case r.Tensor != nil:
			p.tensor(string(r.Path), r.Tensor)
		case r.Heatmap != nil:
			p.heatmap(r.Heatmap, a.outColor)
		case r.File != nil:
			p.file(string(r.Path), r.File)
		case r.CommitInfo != nil && r.Path == "" && r.Entries == nil:
			p.commit(r.CommitInfo)
			p.changes(r.Changes)
		default:
			p.entries(r.Entries)
		}
		return writePicture(req.Out, &r)
	}
}

// changes writes what a commit changed.
func (p *printer) changes(list []service.FileChange) {
	if len(list) == 0 {
		return
	}
	p.line("")
	rows := [][]string{}
	for _, c := range list {
		amount := size(c.Size)
		switch c.Kind {
		case "deleted":
			amount = size(c.OldSize)
		case "modified":
			if c.OldSize != c.Size {
				amount = size(c.OldSize) + " -> " + amount
			}
		case "mode":
			amount = ""
		}
		rows = append(rows, []string{"  " + c.Kind + ":", safe(c.Path), amount})
	}
	p.table(rows)
}

// file writes one file and its tensor table.
func (p *printer) file(path string, f *service.FileInfo) {
	p.line("%s", safe(path))
	p.line("Kind:    %s", f.Kind)
	if f.Target != "" {
		p.line("Target:  %s", safe(f.Target))
	}
	p.line("Mode:    %s", f.Mode)
	p.line("Size:    %s (%d bytes)", size(f.Size), f.Size)
	if f.MTime != nil {
		p.line("Changed: %s", p.time(*f.MTime))
	}
	switch {
	case f.Kind != "file":
		return
	case f.ID.IsZero():
		if !filepath.IsAbs(path) { // of a live tree, not of the disk
			p.line("Content: not stored yet")
		}
		p.line("Format:  %s", f.Format)
		p.tensors(f)
		return
	}
	p.line("Id:      %s", f.ID)
	p.line("BLAKE3:  %s", f.Hash)
	p.line("Format:  %s, in %s", f.Format, count(int64(f.Segments), "segment"))
	if f.Stored != nil {
		p.line("Stored:  %s (%s)", size(*f.Stored), share(*f.Stored, f.Size))
	}
	p.tensors(f)
}

// shape is "[768, 3072]"; a scalar's is "[]".
func shape(dims []int64) string {
	var s []string
	for _, d := range dims {
		s = append(s, strconv.FormatInt(d, 10))
	}
	return "[" + strings.Join(s, ", ") + "]"
}

func newLsCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "ls [REV[:PATH]]",
		Short: "List a directory of a commit or live tree",
		Long: `List the files of a commit, or of the directory PATH in it. :PATH means the live tree of the current branch, and
branches/NAME[:PATH] that of another; what is not stored yet is marked with *. -l shows sizes in bytes, what the store keeps for a file (its distinct blobs),
its format and how many tensors are in it.`,
		Example: `  coral ls v1
  coral ls -l :checkpoint-500
  coral ls -r main --json`,
	}, func(p *printer, req service.Request, list []service.EntryInfo) error {
		if req.(*service.ListRequest).Long {
			p.longEntries(list)
		} else {
			p.entries(list)
		}
		return nil
	})
}

func (p *printer) entries(list []service.EntryInfo) {
	rows := [][]string{}
	for _, e := range list {
		amount := ""
		if e.Kind == "file" {
			amount = size(e.Size)
		}
		rows = append(rows, []string{typeLetter(e.Kind) + modeText(e.Mode), amount, p.entryTime(&e), entryName(&e)})
	}
	p.table(rows, 1)
}

// longEntries writes the table of ls -l.
func (p *printer) longEntries(list []service.EntryInfo) {
	rows := [][]string{{"mode", "bytes", "stored", "format", "tensors", "time", "name"}}
	for _, e := range list {
		amount, stored, tensors := "", "", ""
		if e.Kind == "file" {
			amount = strconv.FormatInt(e.Size, 10)
		}
		if e.Stored != nil {
			stored = strconv.FormatInt(*e.Stored, 10)
		}
		if e.Tensors > 0 {
			tensors = strconv.Itoa(e.Tensors)
		}
		rows = append(rows, []string{typeLetter(e.Kind) + modeText(e.Mode), amount, stored, e.Format, tensors, p.entryTime(&e), entryName(&e)})
	}
	p.table(rows, 1, 2, 4)
}

// entryName is the name as ls shows it: with / behind a directory, the target of a link, and * behind what is not stored yet.
func entryName(e *service.EntryInfo) string {
	name := safe(e.Name)
	switch e.Kind {
	case "dir":
		name += "/"
	case "symlink":
		name += " -> " + safe(e.Target)
	}
	if e.Dirty {
		name += " *"
	}
	return name
}

func (p *printer) entryTime(e *service.EntryInfo) string {
	if e.MTime == nil {
		return ""
	}
	return e.MTime.In(p.loc).Format("2006-01-02 15:04")
}

func typeLetter(kind string) string {
	switch kind {
	case "dir":
		return "d"
	case "symlink":
		return "l"
	case "file":
		return "-"
	}
	return "?"
}

// modeText is rwxr-xr-x for "0755".
func modeText(octal string) string {
	m, err := strconv.ParseUint(octal, 8, 32)
	if err != nil {
		return octal
	}
	return os.FileMode(m & 0o777).String()[1:]
}

func newCatCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cat ID | REV:PATH",
		Short: "Print a file's bytes, or an object as JSON",
		Long: `Print the bytes of a file of a commit (REV:PATH) or of a live tree (:PATH, branches/NAME:PATH); or an object by its id, a prefix of it,
or a revision: commits, trees, tags and manifests as JSON, blobs as their raw bytes.`,
		Example: `  coral cat main:config.json
  coral cat v1:model.safetensors | sha256sum
  coral cat 3f9a12 | jq .tree`,
	}
	v := service.Find("cat")
	req := v.New()
	req.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := req.SetArgs(args); err != nil {
			return err
		}
		c, err := a.caller()
		if err != nil {
			return err
		}
		return c.Stream(cmd.Context(), v, req, a.out)
	}
	return cmd
}
