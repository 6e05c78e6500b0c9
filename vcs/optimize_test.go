package vcs

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"coral/delta"
	"coral/internal/errs"
	"coral/internal/natural"
	"coral/internal/oid"
	"coral/internal/race"
	"coral/objstore"
	"coral/vcs/object"
)

// run is a training run: some tensors, most of which change a little with each step.
type run struct {
	rng     *rand.Rand
	tensors map[string][]float32
}

func newRun(seed uint64, n int) *run {
	r := &run{rng: rand.New(rand.NewPCG(seed, 1)), tensors: map[string][]float32{}}
	for name, n := range map[string]int{"wte": n, "h.0.w": n / 2, "h.1.w": n / 2, "frozen": n / 4, "state.exp_avg": n / 4, "b": 8} {
		t := make([]float32, n)
		for i := range t {
			t[i] = float32(r.rng.NormFloat64() * 0.02)
		}
		r.tensors[name] = t
	}
	return r
}

func (r *run) step() {
	for _, name := range []string{"wte", "h.0.w", "h.1.w", "state.exp_avg", "b"} {
		t := r.tensors[name]
		for i := range t {
			if name == "state.exp_avg" {
				t[i] = float32(r.rng.NormFloat64())
			} else if r.rng.IntN(4) > 0 {
				t[i] += float32(r.rng.NormFloat64() * 1e-5)
			}
		}
	}
}

// file returns the tensors as a safetensors file.
func (r *run) file() string {
	head, data := map[string]any{}, []byte{}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range r.tensors {
			if !yield(name) {
				return
			}
		}
	}) {
		from := len(data)
		for _, x := range r.tensors[name] {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
		}
		head[name] = map[string]any{"dtype": "F32", "shape": []int{len(r.tensors[name])}, "data_offsets": []int{from, len(data)}}
	}
	b, _ := json.Marshal(head)
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(b)))) + string(b) + string(data)
}

// train commits so many steps, and returns the files.
func train(t *testing.T, r *Repo, tr *run, steps int) (files []string) {
	t.Helper()
	for range steps {
		files = append(files, tr.file())
		add(t, r, map[string]string{"model.safetensors": files[len(files)-1]})
		snap(t, r, "step")
		tr.step()
	}
	return files
}

func optimize(t *testing.T, r *Repo, opts OptimizeOptions) OptimizeResult {
	t.Helper()
	if opts.batch == 0 {
		opts.batch = 1 << 20
	}
	res, err := r.Optimize(bg, opts)
	must(t, err)
	return res
}

// settle optimizes until a run finds nothing to do, a few times at most: what one leaves as it was may find a better base once others have changed.
func settle(t *testing.T, r *Repo) (res OptimizeResult) {
	t.Helper()
	for range 5 {
		if res = optimize(t, r, OptimizeOptions{Solo: 1}); res.Recoded+res.Deepened == 0 {
			break
		}
	}
	return res
}

func wholeRepo(t *testing.T, r *Repo) {
	t.Helper()
	rep, err := r.Fsck(bg, FsckOptions{Full: true})
	if err != nil || len(rep.Damage)+len(rep.Damaged) > 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
}

func TestOptimize(t *testing.T) {
	r := newRepo(t)
	train(t, r, newRun(1, 30_000), 14)
	dry := optimize(t, r, OptimizeOptions{Solo: 1, DryRun: true})
	if again := optimize(t, r, OptimizeOptions{Solo: 1, DryRun: true}); again.Before != dry.Before {
		t.Errorf("a dry run changed something: %+v, then %+v", dry, again)
	}
	res := optimize(t, r, OptimizeOptions{Solo: 1})
	t.Logf("%+v", res)
	if res.Families != 4 || res.Blobs != 3*14+1 || res.Recoded < 20 || res.Left+res.Unreadable > 0 {
		t.Errorf("%+v", res)
	}
	if res.After.NewestBytes != res.After.NewestRaw || res.Before.NewestBytes <= res.Before.NewestRaw {
		t.Errorf("the newest: %+v", res)
	}
	if res.After.MaxDepth > delta.MaxDepth || res.After.StoredBytes > res.Before.StoredBytes*103/100 || res.FreedBytes < -res.Before.StoredBytes/4 {
		t.Errorf("%+v", res)
	}
	wholeRepo(t, r)
	if again := settle(t, r); again.Recoded+again.Deepened > 0 {
		t.Errorf("runs go on finding work: %+v", again)
	}
	if more := optimize(t, r, OptimizeOptions{Solo: 3}); more.Recoded < 6 || more.After.StoredBytes <= res.After.StoredBytes {
		t.Errorf("three alone: %+v", more)
	}
	r = reopen(t, r)
	wholeRepo(t, r)
}

// Run after every snapshot, it keeps the newest fast, and older ones stay deltas.
func TestOptimizeAfterEach(t *testing.T) {
	r := newRepo(t)
	tr := newRun(2, 40_000)
	var res OptimizeResult
	deepened := int64(0)
	for range 14 {
		train(t, r, tr, 1)
		res = optimize(t, r, OptimizeOptions{Solo: 1})
		deepened += res.Deepened
		if res.After.NewestBytes != res.After.NewestRaw {
			t.Fatalf("%+v", res)
		}
	}
	t.Logf("%+v", res)
	if deepened == 0 || res.After.MeanDepth < 1.5 || res.After.MaxDepth > delta.MaxDepth {
		t.Errorf("%d deepened, %+v", deepened, res)
	}
	all, err := r.GC(bg, 0, true, false)
	must(t, err)
	if all.Dropped != 0 {
		t.Errorf("%+v", all)
	}
	wholeRepo(t, r)
}

func TestOptimizePath(t *testing.T) {
	r := newRepo(t)
	a, b := newRun(3, 20_000), newRun(4, 20_000)
	b.tensors["other"], b.tensors["wte"] = b.tensors["wte"], b.tensors["wte"][:9000]
	for range 4 {
		add(t, r, map[string]string{"a/m.safetensors": a.file(), "b/m.safetensors": b.file()})
		snap(t, r, "x")
		a.step()
		b.step()
	}
	all := optimize(t, r, OptimizeOptions{Solo: 1, DryRun: true})
	one := optimize(t, r, OptimizeOptions{Solo: 1, DryRun: true, Path: "a/*"})
	if one.Families != 4 || all.Families <= 4 {
		t.Errorf("%d and %d families", one.Families, all.Families)
	}
	if none := optimize(t, r, OptimizeOptions{Solo: 1, Path: "*.pt"}); none.Blobs != 0 {
		t.Errorf("%+v", none)
	}
	_, err := r.Optimize(bg, OptimizeOptions{Path: "["})
	wantErr(t, err, errs.Invalid, "[")
}

// Killed or cancelled at any moment, nothing is lost, and the next run goes on.
func TestOptimizeCutShort(t *testing.T) {
	r := newRepo(t)
	train(t, r, newRun(5, 12_000), 10)
	rng := rand.New(rand.NewPCG(5, 5))
	most := 5
	if race.Enabled { // each is a whole check, and more
		most = 2
	}
	var copies []string
	for cuts := 0; ; cuts++ {
		ctx, cancel := context.WithCancel(bg)
		left := 3 + rng.IntN(12)
		if cuts == most {
			left = math.MaxInt
		}
		_, err := r.Optimize(ctx, OptimizeOptions{Solo: 1, batch: 80 << 10, Progress: func(done, total int64, _ string) {
			if left--; left == 0 {
				to := filepath.Join(t.TempDir(), DirName)
				must(t, os.CopyFS(to, os.DirFS(r.Dir)))
				copies = append(copies, to)
				cancel()
			}
		}})
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		wholeRepo(t, r)
		if err == nil {
			break
		}
	}
	for _, dir := range copies {
		k, err := Open(bg, dir, Options{})
		must(t, err)
		wholeRepo(t, k)
		res := settle(t, k)
		if res.Recoded+res.Deepened > 0 || res.After.NewestBytes != res.After.NewestRaw {
			t.Errorf("%+v", res)
		}
		wholeRepo(t, k)
		must(t, k.Close(bg))
	}
	if len(copies) == 0 {
		t.Error("nothing was cut short")
	}
}

// Readers see the right bytes all the while bases change under them, and so do files that come in.
func TestOptimizeUnderReaders(t *testing.T) {
	r := newRepo(t)
	tr := newRun(6, 20_000)
	files := train(t, r, tr, 8)
	ids := manifests(t, r)
	stop, bad := make(chan struct{}), make(chan error, 4)
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(k), 6))
			for {
				select {
				case <-stop:
					return
				default:
				}
				i := rng.IntN(len(ids))
				f, err := r.Content.Open(bg, ids[i])
				if err == nil {
					off := rng.IntN(len(files[i]))
					b := make([]byte, min(1+rng.IntN(300<<10), len(files[i])-off))
					if _, err = f.ReadAt(bg, b, int64(off)); err == nil && string(b) != files[i][off:off+len(b)] {
						err = errors.New("wrong bytes")
					}
				}
				if err != nil {
					bad <- fmt.Errorf("file %d: %w", i, err)
					return
				}
			}
		})
	}
	for i := range 3 {
		optimize(t, r, OptimizeOptions{Solo: 1 + i%2*4, batch: 100 << 10})
		_, err := r.GC(bg, 0, true, false)
		must(t, err)
		train(t, r, tr, 1)
	}
	close(stop)
	wg.Wait()
	select {
	case err := <-bad:
		t.Error(err)
	default:
	}
	wholeRepo(t, r)
}

// manifests returns those of model.safetensors, the oldest first.
func manifests(t *testing.T, r *Repo) (ids []oid.ID) {
	t.Helper()
	head, err := r.Refs.Branch("main")
	must(t, err)
	must(t, r.Log(bg, head.ID, false, func(_ oid.ID, c *object.Commit) bool {
		e, err := r.Lookup(bg, c.Tree, "model.safetensors")
		must(t, err)
		ids = append(ids, e.ID)
		return true
	}))
	slices.Reverse(ids)
	return ids
}

func TestOptimizeExcludes(t *testing.T) {
	r := newRepo(t)
	r.checks.Lock()
	_, err := r.Optimize(bg, OptimizeOptions{})
	wantErr(t, err, errs.Busy)
	r.checks.Unlock()
}

// A blob that cannot be read is left alone, and so is what is based on it; the rest is optimized.
func TestOptimizeDamaged(t *testing.T) {
	r := newRepo(t)
	train(t, r, newRun(7, 30_000), 6)
	var victim objstore.Info
	must(t, r.Packs.ForEach(bg, objstore.Blob, func(i objstore.Info) error {
		if i.Depth == 2 && i.Stored > 10_000 {
			victim = i
		}
		return nil
	}))
	undo := flip(t, r, victim)
	res := optimize(t, r, OptimizeOptions{Solo: 1})
	if res.Unreadable == 0 || res.Recoded == 0 {
		t.Errorf("%+v", res)
	}
	undo()
	r = reopen(t, r)
	wholeRepo(t, r)
	if res := optimize(t, r, OptimizeOptions{Solo: 1}); res.Unreadable > 0 || res.After.NewestBytes != res.After.NewestRaw {
		t.Errorf("%+v", res)
	}
}

// TestGraph compares the arrays with a plain map.
func TestGraph(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 12
		g := &baseGraph{ids: make([]oid.ID, n), stored: make([]uint32, n), raw: make([]uint32, n), depth: make([]uint8, n), flags: make([]uint8, n), roof: make([]uint8, n),
			base: fill32(n), child: fill32(n), next: fill32(n), prev: fill32(n)}
		for i := range n {
			g.ids[i][0] = byte(i + 1)
			g.stored[i], g.roof[i] = 10, uint8(rapid.IntRange(4, delta.MaxDepth).Draw(t, "roof"))
		}
		base := map[int32]int32{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.Int32Range(0, n-1).Draw(t, "blob")
			b := rapid.Int32Range(-1, n-1).Draw(t, "base")
			if b == noBlob {
				if order, ok := g.deepen(i, 0, 1000); !ok || len(order) > 0 {
					t.Fatalf("depth 0 needs %v, %v", order, ok)
				}
				g.set(i, 0, 10, oid.ID{})
				delete(base, i)
				continue
			}
			if g.under(b, i) || g.depth[b] >= delta.MaxDepth {
				continue
			}
			depth := g.depth[b] + 1
			order, ok := g.deepen(i, depth, 1000)
			if !ok {
				continue
			}
			o := &optimizer{g: g}
			for k, d := range o.depths(i, depth, order) {
				if g.depth[order[k]] >= d || d > g.roof[order[k]] {
					t.Fatalf("blob %d from depth %d to %d", order[k], g.depth[order[k]], d)
				}
				g.depth[order[k]] = d
			}
			g.set(i, depth, 10, g.ids[b])
			base[i] = b
			for i := range int32(n) {
				kids := 0
				for c := g.child[i]; c != noBlob; c = g.next[c] {
					if kids++; base[c] != i || g.base[c] != i || g.depth[c] <= g.depth[i] {
						t.Fatalf("%d under %d: %v, depths %v", c, i, base, g.depth)
					}
				}
				for _, b := range base {
					if b == i {
						kids--
					}
				}
				if kids != 0 {
					t.Fatalf("blob %d: wrong list, off by %d", i, kids)
				}
			}
		}
	})
}

func TestNaturally(t *testing.T) {
	want := []string{"a", "a1", "a2b", "a02c", "a10", "checkpoint-60", "checkpoint-100", "checkpoint-100b", "checkpoint-x", "z"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, natural.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A blob that is computed from several others holds these where it can be decoded with them.
func TestOptimizeMindsDerived(t *testing.T) {
	r := newRepo(t)
	tr := newRun(8, 20_000)
	var kept []map[string][]float32
	for range 8 {
		train(t, r, tr, 1)
		copied := map[string][]float32{}
		for name, w := range tr.tensors {
			copied[name] = slices.Clone(w)
		}
		kept = append(kept, copied)
	}
	add(t, r, map[string]string{"model.safetensors": tr.file()})
	soup := &run{tensors: map[string][]float32{}}
	for name, w := range kept[5] {
		for i := range w {
			soup.tensors[name] = append(soup.tensors[name], 0.5*w[i]+0.5*kept[6][name][i])
		}
	}
	add(t, r, map[string]string{"soup.safetensors": soup.file()})
	snap(t, r, "soup")
	derived := func() (n int) {
		must(t, r.Packs.ForEach(bg, objstore.Blob, func(i objstore.Info) error {
			if delta.FrameCodec(i.Codec) == delta.FrameDerived {
				n++
			}
			return nil
		}))
		return n
	}
	if derived() == 0 {
		t.Fatal("the soup is not derived")
	}
	n := derived()
	res := optimize(t, r, OptimizeOptions{Solo: 1})
	if res.Left > 0 || res.Recoded == 0 || derived() != n {
		t.Errorf("%d derived, then %d: %+v", n, derived(), res)
	}
	wholeRepo(t, r)
	settle(t, r)
	_, err := r.GC(bg, 0, true, false)
	must(t, err)
	wholeRepo(t, r)
}
