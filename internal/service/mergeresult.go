package service

import (
	"coral/internal/control"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/merge"
)

// MergeResult says what merge did, or would do. JSON names are a promise.
type MergeResult struct {
	Branch      string           `json:"branch"`
	Commit      oid.ID           `json:"commit,omitzero"` // what the branch is at now; zero after a dry run and with conflicts
	Head        oid.ID           `json:"head,omitzero"`   // what it was at
	Sides       []oid.ID         `json:"sides"`           // ours first; of a greedy soup what was chosen, before that the candidates
	Base        oid.ID           `json:"base,omitzero"`
	Bases       int              `json:"bases"` // best common ancestors: several after criss-cross merges, Base is the newest then
	UpToDate    bool             `json:"up_to_date,omitempty"`
	FastForward bool             `json:"fast_forward,omitempty"`
	Tree        oid.ID           `json:"tree,omitzero"`
	Conflicts   []MergeConflict  `json:"conflicts"`
	Files       []MergeFile      `json:"files"`
	Omitted     int              `json:"omitted,omitempty"` // rows that the lists have no room for
	Taken       int              `json:"tensors_taken"`
	Computed    int              `json:"tensors_computed"`
	Bytes       int64            `json:"bytes"`        // of files made
	StoredBytes int64            `json:"stored_bytes"` // what their content added to the store
	Recipe      *vcs.MergeRecipe `json:"recipe,omitempty"`
	DryRun      bool             `json:"dry_run,omitempty"`
	Seconds     float64          `json:"seconds"`
	Notes       []string         `json:"notes,omitempty"`
}

// MergeConflict is what a merge cannot decide. JSON names are a promise.
type MergeConflict struct {
	Path   control.Text `json:"path"`
	Tensor string       `json:"tensor,omitempty"`
	Why    string       `json:"why"`
}

// MergeFile is a path whose content differs from ours after the merge. JSON names are a promise.
type MergeFile struct {
	Path     control.Text `json:"path"`
	Action   string       `json:"action"`             // "added", "taken", "deleted", "merged"
	Taken    int          `json:"taken,omitempty"`    // of a merged file: tensors of other sides
	Computed int          `json:"computed,omitempty"` // tensors computed
	Added    int          `json:"added,omitempty"`
	Removed  int          `json:"removed,omitempty"`
}

// Err is errs.Conflict if there are conflicts.
func (r MergeResult) Err() error {
	if len(r.Conflicts) == 0 {
		return nil
	}
	c := r.Conflicts[0]
	return vcs.MergeResult{Branch: r.Branch, Conflicts: []merge.Conflict{{Path: string(c.Path), Tensor: c.Tensor, Why: c.Why}}, Omitted: len(r.Conflicts) - 1 + r.Omitted}.Err()
}

// mergeResult is what the repository did, as others see it.
func mergeResult(r *vcs.MergeResult, notes []string) MergeResult {
	out := MergeResult{
		Branch: r.Branch, Commit: r.Commit, Head: r.Head, Sides: r.Sides, Base: r.Base, Bases: r.Bases, UpToDate: r.UpToDate, FastForward: r.FastForward, Tree: r.Tree,
		Conflicts: []MergeConflict{}, Files: []MergeFile{}, Omitted: r.Omitted, Taken: r.Taken, Computed: r.Computed, Bytes: r.Bytes, StoredBytes: r.StoredBytes,
		Recipe: r.Recipe, DryRun: r.DryRun, Seconds: r.Seconds, Notes: notes,
	}
	for _, c := range r.Conflicts {
		out.Conflicts = append(out.Conflicts, MergeConflict{control.Text(c.Path), c.Tensor, c.Why})
	}
	for _, f := range r.Files {
		out.Files = append(out.Files, MergeFile{control.Text(f.Path), f.Action, f.Taken, f.Computed, f.Added, f.Removed})
	}
	return out
}
