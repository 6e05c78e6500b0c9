package service

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"coral/internal/errs"
	"coral/vcs"
	"coral/vcs/merge"
)

// TestMergeResultPaths: paths that are not UTF-8 come back as they are.
func TestMergeResultPaths(t *testing.T) {
	raw, err := json.Marshal(mergeResult(&vcs.MergeResult{
		Branch: "main", Conflicts: []merge.Conflict{{Path: "a\xff/x", Why: "so"}, {Path: "b", Why: "so"}}, Files: []merge.File{{Path: "\xfe", Action: "taken"}},
	}, nil))
	if err != nil || !strings.Contains(string(raw), `"a\udcff/x"`) {
		t.Fatalf("%s, %v", raw, err)
	}
	var got MergeResult
	if err := json.Unmarshal(raw, &got); err != nil || got.Conflicts[0].Path != "a\xff/x" || got.Files[0].Path != "\xfe" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := got.Err(); !errors.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "a\xff/x: so, and 1 more") {
		t.Error(err)
	}
}
