package worktree

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"coral/internal/oid"
)

// digest lists a live tree: everything that must survive, as text.
func digest(t failer, tree *Tree) string {
	t.Helper()
	var b strings.Builder
	var walk func(dir Ino, path string)
	walk = func(dir Ino, path string) {
		list, err := tree.Readdir(bg, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			a, err := tree.Getattr(bg, x.Ino)
			if err != nil {
				t.Fatal(err)
			}
			p := join(path, x.Name)
			fmt.Fprintf(&b, "%q %o %d %d %d %d", p, a.Mode, a.Nlink, a.UID, a.GID, a.Size)
			if a.Mtime.Year() < 2001 {
				fmt.Fprintf(&b, " %d", a.Mtime.UnixNano())
			}
			names, _ := tree.Listxattr(bg, x.Ino)
			for _, name := range names {
				v, _ := tree.Getxattr(bg, x.Ino, name)
				fmt.Fprintf(&b, " %s=%q", name, v)
			}
			switch a.Mode & typeMask {
			case typeReg:
				c, err := readFile(tree, x.Ino)
				fmt.Fprintf(&b, " %s %v\n", oid.Sum([]byte(c)).Short(), err)
			case typeLink:
				target, _ := tree.Readlink(bg, x.Ino)
				fmt.Fprintf(&b, " -> %q\n", target)
			case typeDir:
				b.WriteByte('\n')
				walk(x.Ino, p)
			default:
				fmt.Fprintf(&b, " %d\n", a.Rdev)
			}
		}
	}
	walk(tree.Root(), "")
	return b.String()
}

// TestJournalCutAnywhere cuts the journal of a recorded run at every byte. What is replayed must be the state after some number of operations, and
// never fewer for a longer prefix.
func TestJournalCutAnywhere(t *testing.T) {
	e := newEnvAt(t, memDir(t)) // a thousand restarts, each with an fsync
	defer e.close()
	e.mkdir("base")
	e.write("base/old", big(6000, 1))
	e.write("base/tiny", "tiny")
	e.mkdir("base/sub")
	e.compact(e.snapshot())
	e.close()
	e.opts.IngestDelay, e.opts.SyncInterval = time.Hour, time.Hour // nothing may be synced, else removed spool files are gone for good
	e.open(oid.ID{})

	states := []string{digest(t, e.tree)}
	step := func(err error) {
		t.Helper()
		e.ok(err)
		states = append(states, digest(t, e.tree))
	}
	root := e.tree.Root()
	base := e.ino("base")
	at, mode, uid := time.Unix(1e8, 7), uint32(0o600), uint32(7)
	ops := []func() error{
		func() error { _, err := e.tree.Mkdir(bg, root, "d\xff", 0o750, 1, 2); return err },
		func() error { e.write("d\xff/f", big(9000, 2)); return nil },
		func() error { _, err := e.tree.Symlink(bg, root, "l", "target", 0, 0); return err },
		func() error { _, err := e.tree.Mknod(bg, root, "fifo", syscall.S_IFIFO|0o644, 0, 0, 0); return err },
		func() error { _, err := e.tree.Mknod(bg, root, "dev", syscall.S_IFCHR|0o644, 0x103, 0, 0); return err },
		func() error { _, err := e.tree.Link(bg, e.ino("base/old"), root, "hard"); return err },
		func() error { return e.tree.Rename(bg, base, "tiny", root, "moved", 0) },
		func() error { return e.tree.Setxattr(bg, e.ino("moved"), "user.k", []byte{0, 255}, 0) },
		func() error { _, err := e.tree.Setattr(bg, e.ino("moved"), SetAttr{Mtime: &at}); return err },
		func() error {
			_, err := e.tree.Setattr(bg, e.ino("moved"), SetAttr{Mode: &mode, UID: &uid})
			return err
		},
		func() error { return openClose(e.tree, e.ino("hard"), os.O_RDWR) },
		func() error { return e.tree.Rename(bg, root, "moved", base, "sub", RenameExchange) },
		func() error { return e.tree.Rename(bg, e.ino("d\xff"), "f", base, "sub", 0) },
		func() error { return e.tree.Removexattr(bg, e.ino("base"), "user.none") },
		func() error { return e.tree.Rmdir(bg, root, "d\xff") },
		func() error { return e.tree.Unlink(bg, base, "old") },
		func() error { return e.tree.Unlink(bg, root, "hard") },
		func() error {
			_, h, err := e.tree.CreateUnnamed(bg, 0o600, 0, 0, os.O_RDWR)
			if err == nil {
				defer h.Close()
				_, err = e.tree.Link(bg, h.Ino(), root, "named")
			}
			return err
		},
	}
	for _, op := range ops {
		if err := op(); err != nil && !strings.Contains(err.Error(), "no such attribute") {
			t.Fatal(err)
		}
		step(nil)
	}
	journal, err := os.ReadFile(e.set.journalPath("main"))
	e.ok(err)
	_, head, err := decodeHeader(journal)
	e.ok(err)

	dir := filepath.Join(e.dir, "cut")
	e.ok(os.MkdirAll(filepath.Join(dir, "live", "main"), 0o700))
	e.ok(os.Mkdir(filepath.Join(dir, "spool"), 0o700))
	var spool []spoolID
	e.ok(e.set.spool.list(func(id spoolID) { spool = append(spool, id) }, nil))
	reached := 0
	for n := head; n <= len(journal); n++ {
		got := digestOfCut(t, e, dir, spool, journal[:n])
		for reached < len(states) && states[reached] != got {
			reached++
		}
		if reached == len(states) {
			t.Fatalf("cut at %d of %d: no operation left this state:\n%s", n, len(journal), got)
		}
	}
	if states[reached] != states[len(states)-1] {
		t.Errorf("the whole journal gives state %d of %d", reached, len(states)-1)
	}
}

// memDir returns a directory that is fast to sync, if there is one.
func memDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "worktree-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestRecoveredRecordsAreSynced: records that a killed process wrote are in the kernel's hands only. An fsync after the restart must cover them, and a
// spool file must not go before.
func TestRecoveredRecordsAreSynced(t *testing.T) {
	e := newEnv(t)
	e.write("f", big(5000, 1))
	e.drain()
	e.reopen()
	j := e.tree.j
	if j.synced.Load() >= j.seq.Load() {
		t.Fatal("records count as synced after a restart")
	}
	e.tree.mu.Lock()
	freed := e.tree.dropCopy(e.tree.inodes[e.tree.root.children["f"].ino])
	e.tree.mu.Unlock()
	if freed != 0 {
		t.Error("a spool copy was dropped before the records were synced")
	}
	h, err := e.tree.Open(bg, e.ino("f"), os.O_RDONLY)
	e.ok(err)
	e.ok(h.Fsync(bg))
	e.ok(h.Close())
	if j.synced.Load() < j.seq.Load() || e.set.spool.grown.Load() {
		t.Error("fsync left them")
	}
}

func openClose(t *Tree, ino Ino, flags int) error {
	h, err := t.Open(bg, ino, flags)
	if err != nil {
		return err
	}
	return h.Close()
}

// digestOfCut opens a copy of the live tree, in dir, with another journal. Spool files that an earlier recovery removed there are put back.
func digestOfCut(t *testing.T, e *env, dir string, spool []spoolID, journal []byte) string {
	cut := &env{t: t, dir: dir, deps: e.deps, opts: e.opts}
	e.ok(os.WriteFile(filepath.Join(dir, "live", "main", "journal"), journal, 0o600))
	for _, id := range spool {
		if err := os.Link(e.set.spool.path(id), filepath.Join(dir, "spool", id.String())); !errors.Is(err, fs.ErrExist) {
			e.ok(err)
		}
	}
	cut.open(oid.ID{})
	defer cut.close()
	return digest(t, cut.tree)
}

// TestDamagedMiddle keeps what follows damage beside the journal, and the spool files that only it knew.
func TestDamagedMiddle(t *testing.T) {
	e := newEnv(t)
	e.opts.IngestDelay = time.Hour
	e.reopen()
	e.write("first", big(5000, 1))
	size := e.tree.j.size
	e.write("second", big(5000, 2))
	e.write("third", big(5000, 3))
	e.close()
	path := filepath.Join(e.dir, "live", "main", "journal")
	b, err := os.ReadFile(path)
	e.ok(err)
	b[size+6] ^= 1
	e.ok(os.WriteFile(path, b, 0o600))
	e.open(oid.ID{})
	if got := e.read("first"); got != big(5000, 1) {
		t.Error("first differs")
	}
	if _, err := findIno(e.tree, "third"); err == nil {
		t.Error("third is there: its record came after the damage")
	}
	if lost := e.set.Spool().LostFound; len(lost) != 2 {
		t.Errorf("lost and found: %v, want two files", lost)
	}
	torn, _ := filepath.Glob(path + ".torn-*")
	if len(torn) != 1 {
		t.Errorf("torn tails kept: %v, want one", torn)
	}
	e.reopen()
	if lost := e.set.Spool().LostFound; len(lost) != 2 {
		t.Errorf("lost and found after another restart: %v, want two files", lost)
	}
}

// The child of TestKill does steps, forever; each is acknowledged by a line on its standard output.
const killEnv = "CORAL_WORKTREE_KILL"

func TestMain(m *testing.M) {
	if arg := os.Getenv(killEnv); arg != "" {
		dir, start, _ := strings.Cut(arg, "|")
		seed, _ := strconv.ParseUint(start, 10, 64)
		if err := killChild(dir, seed); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func killChild(dir string, seed uint64) error {
	deps := newMemDeps()
	deps.dir = filepath.Join(dir, "store")
	set, err := Open(bg, dir, deps, Options{IngestDelay: time.Millisecond, SyncInterval: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	tree, err := set.Tree(bg, "main", oid.ID{})
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := 0; ; i++ {
		if err := killStep(rng).run(set, tree); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		fmt.Println("step", i)
	}
}

// killOp is a step: what, on which paths, with which content.
type killOp struct {
	what, path, path2 string
	content           string
}

func killStep(rng *rand.Rand) killOp {
	name := func() string { return fmt.Sprintf("d%d/f%d", rng.IntN(3), rng.IntN(8)) }
	kinds := []string{"write", "write", "write", "patch", "unlink", "rename", "link", "snapshot", "rebase", "drop", "sync", "save"}
	return killOp{what: kinds[rng.IntN(len(kinds))], path: name(), path2: name(), content: big(1+rng.IntN(3)*5000, rng.Uint64())}
}

func (op killOp) run(set *Set, tree *Tree) error {
	dir, name := splitPath(op.path)
	dir2, name2 := splitPath(op.path2)
	d, err := mkdirIf(tree, dir)
	if err != nil {
		return err
	}
	d2, err := mkdirIf(tree, dir2)
	if err != nil {
		return err
	}
	a, err := tree.Lookup(bg, d, name)
	there := err == nil
	switch op.what {
	case "write":
		if there {
			return writeInto(tree, a.Ino, os.O_WRONLY|os.O_TRUNC, op.content)
		}
		_, h, err := tree.Create(bg, d, name, 0o644, 0, 0, os.O_WRONLY)
		if err != nil {
			return err
		}
		_, err = h.WriteAt(bg, []byte(op.content), 0)
		return errors.Join(err, h.Close())
	case "patch":
		if there {
			return writeInto(tree, a.Ino, os.O_RDWR, op.content[:1])
		}
	case "unlink":
		if there {
			return tree.Unlink(bg, d, name)
		}
	case "rename":
		if there {
			return tree.Rename(bg, d, name, d2, name2, 0)
		}
	case "link":
		if _, err := tree.Lookup(bg, d2, name2); err != nil && there {
			_, err := tree.Link(bg, a.Ino, d2, name2)
			return err
		}
	case "save": // as safetensors does: a temporary file, fsync, rename over
		_, h, err := tree.Create(bg, d, name+".tmp", 0o600, 0, 0, os.O_WRONLY)
		if err != nil {
			return err
		}
		_, err = h.WriteAt(bg, []byte(op.content), 0)
		err = errors.Join(err, h.Fsync(bg), h.Close())
		if err != nil {
			return err
		}
		return tree.Rename(bg, d, name+".tmp", d, name, 0)
	case "snapshot", "rebase":
		res, err := tree.Snapshot(bg, false, nil)
		if err != nil || op.what == "snapshot" {
			return err
		}
		return compactTo(tree, res.Root)
	case "drop":
		_, err := set.DropSpool(bg)
		return err
	case "sync":
		return set.Drain(bg, nil)
	}
	return nil
}

func mkdirIf(tree *Tree, name string) (Ino, error) {
	a, err := tree.Lookup(bg, tree.Root(), name)
	if err != nil {
		a, err = tree.Mkdir(bg, tree.Root(), name, 0o755, 0, 0)
	}
	return a.Ino, err
}

func writeInto(tree *Tree, ino Ino, flags int, content string) error {
	h, err := tree.Open(bg, ino, flags)
	if err != nil {
		return err
	}
	_, err = h.WriteAt(bg, []byte(content), 0)
	return errors.Join(err, h.Close())
}

// killModel is what the parent of TestKill knows: path → content, by inode, as links share it.
type killModel map[string]*string

// apply does a step that was acknowledged; it returns the paths it touched.
func (m killModel) apply(op killOp) {
	was := m[op.path]
	switch op.what {
	case "write":
		if was != nil {
			*was = op.content
		} else {
			m[op.path] = &op.content
		}
	case "patch":
		if was != nil {
			*was = op.content[:1] + (*was)[min(1, len(*was)):]
		}
	case "unlink":
		delete(m, op.path)
	case "rename":
		if was != nil && m[op.path2] != was {
			m[op.path2] = was
			delete(m, op.path)
		}
	case "link":
		if was != nil && m[op.path2] == nil {
			m[op.path2] = was
		}
	case "save":
		m[op.path] = &op.content
	}
}

func (m killModel) clone() killModel {
	out, same := killModel{}, map[*string]*string{}
	for p, c := range m {
		if same[c] == nil {
			v := *c
			same[c] = &v
		}
		out[p] = same[c]
	}
	return out
}

// TestKill kills a process that works on a live tree with SIGKILL, twenty times, and wants every acknowledged step back.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	e := &env{t: t, dir: dir, deps: newMemDeps(), opts: Options{IngestDelay: time.Hour}}
	e.deps.dir = filepath.Join(dir, "store")
	e.ok(os.Mkdir(e.deps.dir, 0o700))
	model := killModel{}
	start := uint64(time.Now().UnixNano()) // where the signal arrives is random anyhow
	t.Logf("seed %d", start)
	rng := rand.New(rand.NewPCG(42, start))
	total := 0
	for round := range 20 {
		seed := rng.Uint64()
		steps := runAndKill(t, dir, seed, 1+rng.IntN(120))
		total += steps
		child := rand.New(rand.NewPCG(seed, 1))
		for range steps {
			model.apply(killStep(child))
		}
		e.open(oid.ID{})
		model = checkKilled(t, e, model, killStep(child), round)
		if lost := e.set.Spool().LostFound; len(lost) > 0 {
			t.Fatalf("round %d: lost and found: %v", round, lost)
		}
		e.close()
	}
	t.Logf("%d steps in 20 rounds", total)
}

// runAndKill runs a child until it has acknowledged about n steps and returns how many it had when it died.
func runAndKill(t *testing.T, dir string, seed uint64, n int) int {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", killEnv, dir, seed))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps := 0
	for sc := bufio.NewScanner(out); sc.Scan(); {
		if !strings.HasPrefix(sc.Text(), "step ") {
			t.Fatalf("child: %s", sc.Text())
		}
		if steps++; steps == n {
			cmd.Process.Kill() // it goes on until the signal arrives: in the middle of whatever comes
		}
	}
	cmd.Wait()
	return steps
}

// checkKilled compares the live tree with the model; what the step that was in work touches may be in between. It returns the state as it is.
func checkKilled(t *testing.T, e *env, model killModel, inWork killOp, round int) killModel {
	after := model.clone()
	after.apply(inWork)
	loose := map[string]bool{inWork.path: true, inWork.path + ".tmp": true, inWork.path2: true}
	for p, c := range model { // other names of what it touches
		if c == model[inWork.path] || c == model[inWork.path2] {
			loose[p] = true
		}
	}
	got, inos := killModel{}, map[Ino]*string{}
	dirs, err := e.tree.Readdir(bg, e.tree.Root())
	e.ok(err)
	for _, d := range dirs {
		list, err := e.tree.Readdir(bg, d.Ino)
		e.ok(err)
		for _, x := range list {
			c, err := readFile(e.tree, x.Ino)
			if err != nil {
				t.Fatalf("round %d: %s/%s: %v", round, d.Name, x.Name, err)
			}
			if inos[x.Ino] == nil {
				inos[x.Ino] = &c
			}
			p := d.Name + "/" + x.Name
			if strings.HasSuffix(p, ".tmp") && loose[p] {
				e.ok(e.tree.Unlink(bg, d.Ino, x.Name))
				continue
			}
			got[p] = inos[x.Ino]
			want := model[p]
			switch {
			case loose[p]:
				if want == nil && after[p] == nil {
					t.Fatalf("round %d: %s is there, not before nor after %s", round, p, inWork.what)
				}
			case want == nil:
				t.Fatalf("round %d: %s is there", round, p)
			case c != *want:
				t.Fatalf("round %d: content of %s differs (%d bytes, want %d)", round, p, len(c), len(*want))
			}
		}
	}
	for p := range model {
		if got[p] == nil && !(loose[p] && (after[p] == nil || inWork.what == "rename")) {
			t.Fatalf("round %d: %s is gone (in work: %s %s)", round, p, inWork.what, inWork.path)
		}
	}
	return got
}
