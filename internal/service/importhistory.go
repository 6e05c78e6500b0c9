package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"coral/internal/control"
	"coral/internal/errs"
	"coral/vcs"
)

// historyFile is what contrib/coralml/export.py writes beside the weights; its format is told there.
const (
	historyFile = "history.json"
	maxHistory  = 1 << 30
)

type historyJSON struct {
	Format   int               `json:"format"`
	Head     string            `json:"head"`
	Branches map[string]string `json:"branches"`
	Tags     []struct {
		Name        string  `json:"name"`
		Commit      string  `json:"commit"`
		Description string  `json:"description"`
		Metrics     metrics `json:"metrics"`
	} `json:"tags"`
	Commits []struct {
		ID      string    `json:"id"`
		Parents []string  `json:"parents"`
		Author  string    `json:"author"`
		Email   string    `json:"email"`
		Time    time.Time `json:"time"`
		Message string    `json:"message"`
		Tags    []string  `json:"tags"`
		File    string    `json:"file"`
	} `json:"commits"`
}

// coralMLLabel names the commit of coral-ml that a commit was.
const coralMLLabel = "coral-ml"

// coralMLTags are the words that were given to `commit -t` there.
const coralMLTags = "coral-ml.tags"

// weightsName is what the weights of each commit are called: one path, so that history and deltas follow it.
const weightsName = "model.safetensors"

// HasHistory reports whether dir is what `coral import --coral-ml` reads: the output of its script.
func HasHistory(dir string) bool { return isFile(filepath.Join(dir, historyFile)) }

// importHistory is `coral import --coral-ml` of a directory that export.py has written.
func (s *Service) importHistory(ctx context.Context, r *ImportRequest, p Progress) (ImportResult, error) {
	start := time.Now()
	dir := filepath.Clean(string(r.Dirs[0]))
	res := ImportResult{Commits: []ImportedCommit{}, DryRun: r.DryRun}
	if err := s.addable("import", dir); err != nil {
		return res, err
	}
	h, err := readHistory(dir)
	if err != nil {
		return res, fmt.Errorf("import %s: %w", dir, err)
	}
	res.Branch = h.Head
	commits := make([]vcs.HistoryCommit, len(h.Commits))
	for i, c := range h.Commits {
		if c.File != filepath.Base(c.File) || c.ID == "" {
			return res, fmt.Errorf("import %s: commit %d: file %q is no name, or there is no id: %w", dir, i, c.File, errs.Invalid)
		}
		labels := map[string]string{coralMLLabel: validText(c.ID)}
		if len(c.Tags) > 0 {
			labels[coralMLTags] = validText(strings.Join(c.Tags, ","))
		}
		commits[i] = vcs.HistoryCommit{
			Key: c.ID, Parents: c.Parents, Author: historyAuthor(c.Author, c.Email), Time: c.Time, Message: validText(c.Message), Labels: labels,
			Files: map[string]string{weightsName: filepath.Join(dir, c.File)},
		}
		one := ImportedCommit{Source: control.Text(c.ID), Message: commits[i].Message, Files: 1}
		if info, err := os.Stat(filepath.Join(dir, c.File)); err == nil {
			one.Bytes = info.Size()
		}
		res.Commits = append(res.Commits, one)
		res.Bytes += one.Bytes
	}
	var tags []vcs.HistoryTag
	for _, t := range h.Tags {
		tags = append(tags, vcs.HistoryTag{Name: t.Name, Key: t.Commit, Message: validText(t.Description), Tagger: r.Author})
		for i := range commits {
			if commits[i].Key == t.Commit && len(t.Metrics) > 0 { // a version's metrics there are the commit's here
				commits[i].Metrics, res.Commits[i].Metrics = t.Metrics, t.Metrics
			}
		}
	}
	if r.DryRun {
		return res, nil
	}
	ids, err := s.repo.ImportHistory(ctx, commits, h.Branches, tags, func(n int, bytes int64) {
		p(control.Progress{Step: "import", Done: bytes, Total: res.Bytes, Unit: "bytes", Files: n})
	})
	if err != nil {
		return ImportResult{}, err
	}
	for i := range res.Commits {
		res.Commits[i].Commit = ids[commits[i].Key]
	}
	for b := range h.Branches {
		s.liveChanged(b)
	}
	res.Seconds = time.Since(start).Seconds()
	return res, nil
}

func readHistory(dir string) (*historyJSON, error) {
	f, err := os.Open(filepath.Join(dir, historyFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHistory+1))
	if err != nil {
		return nil, err
	}
	h := &historyJSON{}
	if err := json.Unmarshal(quoteNaN(b), h); err != nil || len(b) > maxHistory {
		return nil, fmt.Errorf("%s: not as contrib/coralml/export.py writes it (%v): %w", historyFile, err, errs.Invalid)
	}
	if h.Format != 1 {
		return nil, fmt.Errorf("%s: format %d, this coral knows format 1: %w", historyFile, h.Format, errs.Unsupported)
	}
	return h, nil
}

// historyAuthor is "Name <email>" of two fields that may be anything.
func historyAuthor(name, email string) string {
	plain := func(s string) string {
		return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
			if r == '<' || r == '>' {
				return -1
			}
			return r
		}, validText(s))), " ")
	}
	if name = plain(name); name == "" {
		name = "unknown"
	}
	return name + " <" + plain(email) + ">"
}
