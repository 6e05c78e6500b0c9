package service

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
)

// ExportRequest is `coral export`.
type ExportRequest struct {
	Target Target       `json:"target"`
	Dir    control.Text `json:"dir"` // or the archive
}

// Flags implements Request.
func (r *ExportRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP((*string)(&r.Dir), "output", "o", "", "the `directory`, or archive (.tar, .tar.gz, .tar.zst), to write")
}

// SetArgs implements Request.
func (r *ExportRequest) SetArgs(args []string) (err error) {
	n := 2
	if r.Dir != "" {
		n = 1
	}
	if len(args) < n {
		return control.Usagef("export: give REV[:PATH] and a directory or archive to write")
	}
	if err := refuseEmpty("export", args); err != nil {
		return err
	}
	if r.Target, err = ParseTarget("export", args[0]); err != nil {
		return err
	}
	if n == 2 {
		r.Dir = control.Text(args[1])
	}
	return atMost("export", args, n)
}

// Access implements Request.
func (r *ExportRequest) Access() Access { return Reads }

// Localize implements Localizer.
func (r *ExportRequest) Localize() error {
	dir, err := realPath(string(r.Dir), false)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	r.Dir = control.Text(dir)
	return nil
}

// ExportResult says what was written. JSON names are a promise.
type ExportResult struct {
	Commit  oid.ID       `json:"commit"`
	Path    control.Text `json:"path,omitempty"`
	Dir     control.Text `json:"dir"`
	Files   int          `json:"files"`
	Bytes   int64        `json:"bytes"`
	Seconds float64      `json:"seconds"`
}

func (s *Service) export(ctx context.Context, r *ExportRequest, p Progress) (ExportResult, error) {
	if r.Target.Live {
		return ExportResult{}, fmt.Errorf("export %s: only commits can be exported: %w", r.Target, errs.Invalid)
	}
	dir := string(r.Dir)
	if err := absolute("export", dir); err != nil {
		return ExportResult{}, err
	}
	if err := s.outside("export to", dir); err != nil {
		return ExportResult{}, err
	}
	if within(dir, s.repo.Dir) {
		return ExportResult{}, fmt.Errorf("export to %s: inside the repository's own files: %w", r.Dir, errs.Invalid)
	}
	id, err := s.repo.Resolve(ctx, r.Target.Rev)
	if err != nil {
		return ExportResult{}, fmt.Errorf("export: %w", err)
	}
	start := time.Now()
	res := ExportResult{Commit: id, Path: control.Text(r.Target.Path), Dir: r.Dir}
	export := s.repo.Export
	if fi, err := os.Stat(dir); vcs.ArchiveName(dir) && (err != nil || !fi.IsDir()) {
		export = s.repo.ExportArchive
	}
	err = export(ctx, id, r.Target.Path, dir, func(files int, bytes int64) {
		res.Files, res.Bytes = files, bytes
		p(control.Progress{Step: "export", Done: bytes, Unit: "bytes", Files: files})
	})
	res.Seconds = time.Since(start).Seconds()
	return res, err
}
