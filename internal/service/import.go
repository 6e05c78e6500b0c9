package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/object"
)

// ImportRequest is `coral import`.
type ImportRequest struct {
	Dirs   []control.Text `json:"dirs"`
	Branch string         `json:"branch,omitempty"`
	To     control.Text   `json:"to,omitempty"`
	By     string         `json:"by,omitempty"`
	Author string         `json:"author,omitempty"`
	DryRun bool           `json:"dry_run,omitempty"`

	// CoralML: the one of Dirs is what contrib/coralml/export.py made of a repository of coral-ml.
	CoralML bool `json:"coral_ml,omitempty"`
}

// Flags implements Request.
func (r *ImportRequest) Flags(f *pflag.FlagSet) {
	f.StringVarP(&r.Branch, "branch", "b", "", "onto this `branch` (default the current one), which is made, without history, if there is none")
	f.StringVar((*string)(&r.To), "to", "", "put each checkpoint into this `dir` of the branch (default its top)")
	f.StringVar(&r.By, "by", "name", "the order: `name`, numbers compared as numbers, or mtime")
	f.StringVar(&r.Author, "author", "", "`\"Name <email>\"` of the commits (default $CORAL_AUTHOR, or the user at this host)")
	f.BoolVar(&r.DryRun, "dry-run", false, "only list what would be imported")
	f.BoolVar(&r.CoralML, "coral-ml", false, "DIR is a repository of coral-ml: import its history, branches and tags")
}

// SetArgs implements Request.
func (r *ImportRequest) SetArgs(args []string) error {
	switch {
	case len(args) == 0:
		return control.Usagef("import: name a directory of checkpoints")
	case r.By != "name" && r.By != "mtime":
		return control.Usagef("import: --by %q is neither name nor mtime", r.By)
	case r.CoralML && (len(args) != 1 || r.Branch != "" || r.To != ""):
		return control.Usagef("import --coral-ml: name one repository; --branch and --to do not go with it")
	}
	for _, d := range args {
		r.Dirs = append(r.Dirs, control.Text(d))
	}
	return refuseEmpty("import", args)
}

// Access implements Request.
func (r *ImportRequest) Access() Access {
	if r.DryRun {
		return Reads
	}
	return Writes
}

// Localize implements Localizer.
func (r *ImportRequest) Localize() error {
	for i, d := range r.Dirs {
		abs, err := realPath(string(d), false)
		if err != nil {
			return fmt.Errorf("import %s: %w", d, err)
		}
		r.Dirs[i] = control.Text(abs)
	}
	if r.Author == "" {
		r.Author = vcs.DefaultAuthor()
	}
	return nil
}

// ImportResult says what became commits. JSON names are a promise.
type ImportResult struct {
	Branch  string           `json:"branch"`
	Commits []ImportedCommit `json:"commits"` // in order; of a dry run those that would be made
	Skipped int              `json:"skipped"` // were imported before
	Bytes   int64            `json:"bytes"`
	DryRun  bool             `json:"dry_run,omitempty"`
	Seconds float64          `json:"seconds"`
}

// ImportedCommit is one checkpoint. JSON names are a promise.
type ImportedCommit struct {
	Commit  oid.ID       `json:"commit,omitzero"`
	Source  control.Text `json:"source"`
	Message string       `json:"message"`
	Metrics metrics      `json:"metrics,omitempty"`
	Files   int          `json:"files"`
	Bytes   int64        `json:"bytes"`
}

// importLabel names where a commit's files came from; what is in the history of the branch with it is not imported again.
const importLabel = "import"

func (s *Service) importDirs(ctx context.Context, r *ImportRequest, p Progress) (ImportResult, error) {
	if r.CoralML {
		return s.importHistory(ctx, r, p)
	}
	start := time.Now()
	res := ImportResult{DryRun: r.DryRun, Commits: []ImportedCommit{}}
	to, err := treePath("import", string(r.To))
	if err != nil {
		return res, err
	}
	var list []checkpoint
	for _, d := range r.Dirs {
		dir := filepath.Clean(string(d))
		if err := s.addable("import", dir); err != nil {
			return res, err
		}
		more, err := findCheckpoints(dir, r.By == "mtime")
		if err != nil {
			return res, fmt.Errorf("import %s: %w", d, err)
		}
		list = append(list, more...)
	}
	im := &importer{s: s, r: r, to: to, progress: p, res: &res}
	if err := im.open(ctx); err != nil {
		return res, err
	}
	for i := range list {
		if err := im.one(ctx, &list[i]); err != nil {
			return res, err
		}
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

// importer is one import.
type importer struct {
	s        *Service
	r        *ImportRequest
	to       string
	progress Progress
	res      *ImportResult
	known    map[string]bool // sources in the branch's history
	prev     *checkpoint     // the one whose files the branch has now
	resumed  string          // the source that a killed import was at
	clean    bool            // the live tree was looked at
}

// open finds the branch, and what was imported onto it before.
func (im *importer) open(ctx context.Context) error {
	branch := im.r.Branch
	if branch == "" {
		var err error
		if branch, err = im.s.branchOr(""); err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	im.res.Branch = branch
	im.known = map[string]bool{}
	b, err := im.s.repo.Refs.Branch(branch)
	if errors.Is(err, errs.NotFound) && im.r.Branch != "" {
		if im.r.DryRun {
			return nil
		}
		return im.s.repo.CreateBranch(ctx, branch, oid.ID{})
	}
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	err = im.s.repo.Log(ctx, b.ID, false, func(_ oid.ID, c *object.Commit) bool {
		if src := c.Labels[importLabel]; src != "" {
			im.known[src] = true
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	im.resumed = readImportMark(im.s.repo.Dir, branch)
	return nil
}

// one makes a commit of a checkpoint, unless there is one.
func (im *importer) one(ctx context.Context, c *checkpoint) error {
	if im.known[validText(c.source)] {
		im.res.Skipped++
		im.prev = c
		return nil
	}
	facts, err := c.facts()
	if err != nil {
		return fmt.Errorf("import %s: %w", c.source, err)
	}
	done := ImportedCommit{Source: control.Text(c.source), Message: facts.message, Metrics: facts.metrics}
	if im.r.DryRun {
		done.Files, done.Bytes = len(c.files), c.bytes
		im.res.Commits = append(im.res.Commits, done)
		im.res.Bytes += c.bytes
		return nil
	}
	if err := im.checkClean(ctx, c); err != nil {
		return err
	}
	if err := writeImportMark(im.s.repo.Dir, im.res.Branch, c.source); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer im.s.liveChanged(im.res.Branch)
	if im.prev != nil {
		if err := im.s.removeGone(ctx, im.res.Branch, im.to, im.prev, c); err != nil {
			return fmt.Errorf("import %s: %w", c.source, err)
		}
	}
	for _, f := range c.files {
		files, bytes, err := im.s.repo.Add(ctx, im.res.Branch, f.src, path.Join(im.to, f.dst), func(files int, bytes int64) {
			im.progress(control.Progress{Step: "import", Done: im.res.Bytes + done.Bytes + bytes, Unit: "bytes", Files: done.Files + files, What: c.name})
		})
		done.Files += files
		done.Bytes += bytes
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
	}
	im.res.Bytes += done.Bytes
	snap, err := im.s.repo.Snapshot(ctx, vcs.SnapshotOptions{
		Branch: im.res.Branch, Message: facts.message, Author: im.r.Author, Metrics: facts.metrics, Labels: map[string]string{importLabel: validText(c.source)}, AllowEmpty: true,
		Progress: func(q QueueStatus) {
			im.progress(control.Progress{Step: "ingest", Done: im.res.Bytes - q.Bytes, Total: im.res.Bytes, Unit: "bytes", What: c.name})
		},
	})
	if err != nil {
		return fmt.Errorf("import %s: %w", c.source, err)
	}
	if err := removeImportMark(im.s.repo.Dir); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	done.Commit = snap.Commit
	im.res.Commits = append(im.res.Commits, done)
	im.prev, im.known[validText(c.source)] = c, true
	return nil
}

// checkClean refuses a live tree with changes before the first of them is made, unless they are of an import of the same checkpoint that was cut short.
func (im *importer) checkClean(ctx context.Context, c *checkpoint) error {
	if im.clean || im.resumed == c.source {
		im.clean = true
		return nil
	}
	im.s.settle(ctx)
	_, dirty, err := im.s.changes(ctx, im.res.Branch)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if len(dirty) > 0 {
		return fmt.Errorf("import: the live tree of %s has changes (%s): snapshot them first, or import onto another branch with -b: %w", im.res.Branch, dirty[0].Path, errs.Conflict)
	}
	im.clean = true
	return nil
}

// removeGone removes from the live tree what the last checkpoint had and this one has not.
func (s *Service) removeGone(ctx context.Context, branch, to string, last, now *checkpoint) error {
	tree, err := s.repo.LiveTree(ctx, branch)
	if err != nil {
		return err
	}
	has := map[string]bool{}
	for _, f := range now.files {
		for dir := f.dst; dir != "."; dir = path.Dir(dir) {
			has[dir] = true
		}
	}
	for _, f := range last.files {
		for p := f.dst; p != "." && !has[p]; p = path.Dir(p) {
			full := path.Join(to, p)
			dir := path.Dir(full)
			if dir == "." {
				dir = ""
			}
			at, err := walkLive(ctx, tree, dir)
			switch {
			case errors.Is(err, errs.NotFound) || errors.Is(err, errs.NotDir):
				continue
			case err != nil:
				return err
			case p == f.dst:
				err = tree.Unlink(ctx, at.Ino, path.Base(full))
			default:
				err = tree.Rmdir(ctx, at.Ino, path.Base(full)) // as far as it is empty
			}
			if err != nil && !errors.Is(err, errs.NotFound) && !errors.Is(err, errs.NotEmpty) && !errors.Is(err, errs.IsDir) {
				return err
			}
		}
	}
	return nil
}

// importMark is the file in .coral that says which import is in work: after a kill, what its live tree has is known to be of it.
const importMark = "import.json"

type importMarkJSON struct {
	Branch string       `json:"branch"`
	Source control.Text `json:"source"`
}

// readImportMark returns the source that an import onto branch was at when it was cut short, or "". What cannot be read counts as none.
func readImportMark(dir, branch string) string {
	b, err := os.ReadFile(filepath.Join(dir, importMark))
	var m importMarkJSON
	if err != nil || json.Unmarshal(b, &m) != nil || m.Branch != branch {
		return ""
	}
	return string(m.Source)
}

func writeImportMark(dir, branch, source string) error {
	b, err := json.Marshal(importMarkJSON{branch, control.Text(source)})
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, importMark+".new")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, importMark))
}

func removeImportMark(dir string) error {
	if err := os.Remove(filepath.Join(dir, importMark)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
