package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"coral/delta"
	"coral/internal/oid"
	"coral/vcs"
	"coral/vcs/content"
)

// Codec is one way of ours to store the corpus.
type Codec struct {
	Name string
	What string // for people
	opts vcs.Options
}

// Codecs are ours, the default one first: then the same without bases, and each strategy by name.
var Codecs = listCodecs()

func listCodecs() []Codec {
	list := []Codec{
		{"auto", "what coral does: the smallest of all, with bases", vcs.Options{}},
		{"solo", "the same without bases", vcs.Options{NoBases: true}},
	}
	for _, n := range delta.StrategyNames() {
		s, err := delta.ParseStrategy(n)
		if err != nil || s == delta.Auto {
			continue
		}
		list = append(list, Codec{n, "by this strategy alone: coral add --codec " + n, vcs.Options{Strategy: s}})
	}
	return list
}

// ours measures one codec of ours.
func (r *run) ours(ctx context.Context, c Codec, row *Row) (err error) {
	dir := filepath.Join(r.dir, "repository")
	defer os.RemoveAll(dir)
	if err := vcs.Init(dir); err != nil {
		return err
	}
	dir = filepath.Join(dir, vcs.DirName)
	ids, err := r.encode(ctx, dir, c, row)
	if err != nil {
		return err
	}
	if err := forget(filepath.Join(dir, "packs")); err != nil {
		return err
	}
	repo, err := vcs.Open(ctx, dir, vcs.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := repo.Close(context.WithoutCancel(ctx)); err == nil {
			err = cerr
		}
	}()
	if err := r.decode(ctx, repo, ids, row); err != nil {
		return err
	}
	row.Exact = &Exactness{}
	return r.export(ctx, repo, ids, row)
}

// encode stores the corpus and closes the repository.
func (r *run) encode(ctx context.Context, dir string, c Codec, row *Row) (ids []oid.ID, err error) {
	repo, err := vcs.Open(ctx, dir, c.opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := repo.Close(context.WithoutCancel(ctx)); err == nil {
			err = cerr
		}
	}()
	watch := startClock()
	for i := range r.files {
		id, err := r.ingest(ctx, repo, &r.files[i])
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
		r.step(row.Name+": encode", r.files[i].size)
	}
	if err := repo.Packs.Sync(ctx); err != nil {
		return nil, err
	}
	row.encoded(watch.stop())
	st, err := repo.Packs.Stats(ctx)
	if err != nil {
		return nil, err
	}
	row.stored(st.PackBytes)
	row.IndexBytes, row.Deltas, row.MaxDepth = st.IndexBytes, st.Deltas, st.MaxDepth
	return ids, nil
}

func (r *run) ingest(ctx context.Context, repo *vcs.Repo, f *file) (oid.ID, error) {
	src, err := os.Open(r.staged(f))
	if err != nil {
		return oid.ID{}, err
	}
	defer src.Close()
	res, err := repo.Content.Ingest(ctx, reopener{src}, f.size, content.Hint{Path: f.name})
	return res.Manifest, err
}

// reopener is a file that stays as it is, as a spool file mostly does.
type reopener struct{ *os.File }

// Reopen implements content.Reopener.
func (f reopener) Reopen() (*os.File, error) { return os.Open(f.Name()) }

// decode reads everything into memory.
func (r *run) decode(ctx context.Context, repo *vcs.Repo, ids []oid.ID, row *Row) error {
	watch := startClock()
	for i, id := range ids {
		f, err := repo.Content.Open(ctx, id)
		if err != nil {
			return err
		}
		if err := f.Decode(ctx, func(int64, []byte) error { return nil }); err != nil {
			return err
		}
		r.step(row.Name+": decode", r.files[i].size)
	}
	row.decoded(watch.stop())
	return nil
}

// export writes each file, and compares it with the corpus. Only the writing is timed.
func (r *run) export(ctx context.Context, repo *vcs.Repo, ids []oid.ID, row *Row) error {
	out := filepath.Join(r.dir, "out")
	defer os.Remove(out)
	if err := forget(filepath.Join(repo.Dir, "packs")); err != nil {
		return err
	}
	repo.Content.DropCache()
	var took spent
	for i, id := range ids {
		d, err := exportOne(ctx, repo, id, out)
		if err != nil {
			return err
		}
		took.add(d)
		if err := row.Exact.compare(r.staged(&r.files[i]), out); err != nil {
			return fmt.Errorf("compare %s: %w", r.files[i].from, err)
		}
		r.step(row.Name+": to files", r.files[i].size)
	}
	row.written(took)
	return nil
}

func exportOne(ctx context.Context, repo *vcs.Repo, id oid.ID, out string) (took spent, err error) {
	dst, err := os.Create(out)
	if err != nil {
		return took, err
	}
	watch := startClock()
	f, err := repo.Content.Open(ctx, id)
	if err == nil {
		err = f.Materialize(ctx, dst, false)
	}
	took = watch.stop()
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	return took, err
}

// forget asks the kernel to drop its pages of the files in dir, which needs no right. What it does not drop makes a figure better, never an error.
func forget(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, d := range list {
		f, err := os.Open(filepath.Join(dir, d.Name()))
		if err != nil {
			return err
		}
		dropPages(f)
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
