package main

import (
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"coral/internal/service"
)

func newShowCmd(a *app) *cobra.Command {
	return verb(a, &cobra.Command{
		Use:   "show [REV[:PATH]]",
		Short: "One commit and what it changed, or one file and its tensors",
		Long: `Show a commit and the files it changed against its first parent. With :PATH show one file of it, and the tensors in it, or list a
directory. :PATH alone means the live tree of the current branch, and branches/NAME:PATH that of another.`,
		Example: `  coral show
  coral show main~1:checkpoint-500/model.safetensors
  coral show :checkpoint-500/optimizer.pt --json`,
	}, printShow)
}

func printShow(p *printer, _ service.Request, r service.ShowResult) error {
	if r.CommitInfo != nil && r.Path == "" && r.File == nil && r.Entries == nil {
		p.commit(r.CommitInfo)
		p.changes(r.Changes)
		return nil
	}
	if r.File != nil {
		p.file(string(r.Path), r.File)
		return nil
	}
	p.entries(r.Entries)
	return nil
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
		p.line("Content: not stored yet")
		return
	}
	p.line("Id:      %s", f.ID)
	p.line("BLAKE3:  %s", f.Hash)
	p.line("Format:  %s, in %s", f.Format, count(int64(f.Segments), "segment"))
	if len(f.Tensors) == 0 {
		return
	}
	p.line("")
	var total int64
	rows := [][]string{{"tensor", "dtype", "shape", "bytes"}}
	for _, t := range f.Tensors {
		total += t.Bytes
		rows = append(rows, []string{safe(t.Name), t.DType, shape(t.Shape), strconv.FormatInt(t.Bytes, 10)})
	}
	p.table(rows, 3)
	p.line("%s, %s", count(int64(len(f.Tensors)), "tensor"), size(total))
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
branches/NAME[:PATH] that of another; what is not stored yet is marked with *.`,
		Example: `  coral ls v1
  coral ls :checkpoint-500`,
	}, func(p *printer, _ service.Request, list []service.EntryInfo) error {
		p.entries(list)
		return nil
	})
}

func (p *printer) entries(list []service.EntryInfo) {
	rows := [][]string{}
	for _, e := range list {
		name, amount, when := safe(e.Name), "", ""
		switch e.Kind {
		case "dir":
			name += "/"
		case "symlink":
			name += " -> " + safe(e.Target)
		case "file":
			amount = size(e.Size)
		}
		if e.Dirty {
			name += " *"
		}
		if e.MTime != nil {
			when = e.MTime.In(p.loc).Format("2006-01-02 15:04")
		}
		rows = append(rows, []string{typeLetter(e.Kind) + modeText(e.Mode), amount, when, name})
	}
	p.table(rows, 1)
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
