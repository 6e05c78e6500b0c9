package service

import (
	"errors"
	"testing"

	"coral/internal/control"
	"coral/internal/errs"
)

func TestImportHistoryFiles(t *testing.T) {
	noSettings(t)
	s := open(t, newRepo(t), Options{})
	const commit = `{"id": "k1", "parents": [], "author": "A <x>", "email": "a@b", "time": "2024-01-02T03:04:05.5+01:00", "message": "m", "tags": ["x"], "file": "w"}`
	with := func(history string) string {
		return Quote(files(t, map[string]string{historyFile: history, "w": "weights"}))
	}
	for history, class := range map[string]error{
		"": errs.Invalid, "{": errs.Invalid, `{"format": 2}`: errs.Unsupported,
		`{"format": 1, "commits": [{"id": "k", "file": "../w", "time": "2024-01-02T03:04:05Z"}]}`: errs.Invalid,
		`{"format": 1, "commits": [{"id": "", "file": "w", "time": "2024-01-02T03:04:05Z"}]}`:     errs.Invalid,
		`{"format": 1, "commits": [` + commit + `], "branches": {"main": "k2"}}`:                  errs.Invalid,
		`{"format": 1, "commits": [` + commit + `], "branches": {"main": "k1", "zz..bad": "k1"}}`: errs.Invalid,
	} {
		if _, err := s.Run(t.Context(), "import --coral-ml "+with(history)); !errors.Is(err, class) {
			t.Errorf("%s: %v, want %v", history, err, class)
		}
	}
	if b, err := s.Repo().Refs.Branch("main"); err != nil || !b.ID.IsZero() {
		t.Errorf("an import that failed moved main: %+v, %v", b, err)
	}
	fails(t, s, "import --coral-ml a b", control.ErrUsage, "one repository")
	var r ImportResult
	do(t, s, "import --coral-ml "+with(`{"format": 1, "head": "main", "commits": [`+commit+`], "branches": {"main": "k1"}, "tags": [{"name": "v1", "commit": "k1", "metrics": {"loss": NaN}}]}`), &r)
	if len(r.Commits) != 1 || r.Branch != "main" || r.Bytes != 7 || len(r.Commits[0].Metrics) != 1 {
		t.Errorf("%+v", r)
	}
	var log []CommitInfo
	if do(t, s, "log", &log); len(log) != 1 || log[0].Author != "A x <a@b>" || log[0].Labels[coralMLLabel] != "k1" || log[0].Labels[coralMLTags] != "x" || log[0].Time.Hour() != 2 {
		t.Errorf("%+v", log)
	}
}
