"""Makes the fixture repository of one format: format-N.tar.gz, and format-N.json with what must be read from it.

    .cache/venv/bin/python integration/testdata/repos/make.py BIN N

BIN is the coral binary of the version whose format N is. A fixture is made once, when its format is first released, and then kept as it is: every later
version must open, check, read and extend it (integration/compat_test.go). Each step is done twice, in the mount and in a plain directory beside
it; the expectations are taken from the plain directory, so that Coral is compared with the truth and not with itself.

The archive holds .coral/ without what a daemon leaves (lock, socket, log, cache). It is a tar since git keeps neither modes nor empty directories.
"""
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from urllib.parse import quote

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..")
T0 = 1_760_000_000_000_000_123  # mtime of the first step's files, nanoseconds
torch.manual_seed(1)


# ---- what the files hold


class Run:
    """A small training run. Each call of step moves the weights as a fine-tune does."""

    def __init__(self):
        r = np.random.default_rng(1)
        self.rng = r
        self.f32 = {
            "embed": r.normal(0, 0.02, (130, 150)).astype(np.float32),  # 76 KiB: two blocks, the second short
            "norm": np.ones(4096, np.float32),  # constant
            "zero": np.zeros((96, 256), np.float32),  # two blocks of zeros
            "upcast": torch.randn(48, 64).bfloat16().float().numpy(),  # F32 that is really BF16
            "noise": np.concatenate([np.zeros(65536, np.uint8), r.integers(0, 256, 1500, np.uint8)]),  # the second block is stored raw
            "ids": np.arange(512, dtype=np.int64),
            "scalar": np.array(3.5, np.float32),
        }
        self.bf16 = {"proj": (torch.randn(96, 224) * 0.02).bfloat16(), "half": torch.randn(40, 50).half(),
                     "codes": torch.from_numpy(r.integers(0, 4, 40_000) / 4).bfloat16()}
        self.model = torch.nn.Sequential(torch.nn.Linear(24, 24), torch.nn.ReLU(), torch.nn.Linear(24, 8))
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.train(2)

    def train(self, n):
        for _ in range(n):
            self.opt.zero_grad()
            self.model(torch.randn(6, 24)).square().sum().backward()
            self.opt.step()

    def step(self):
        e = self.f32["embed"]
        e *= (1 + self.rng.normal(0, 2e-6, e.shape)).astype(np.float32)  # all elements, a little
        self.f32["upcast"] = torch.from_numpy(self.f32["upcast"] * np.float32(1.004)).bfloat16().float().numpy()
        self.bf16["proj"].view(-1)[5000:5600] += 0.001  # a part: masks and same blocks
        self.bf16["codes"][-300:] *= 2  # in the second block: the first is the base's
        self.bf16["half"] *= 1.002
        self.train(2)

    def files(self):
        def saved(obj, **kw):
            b = io.BytesIO()
            torch.save(obj, b, **kw)
            return b.getvalue()

        w = self.model.state_dict()
        npz = io.BytesIO()
        np.savez(npz, weight=self.f32["embed"][:20], mean=np.linspace(0, 1, 77), flags=np.arange(9) % 2 == 0)
        tied = dict(w, tied=w["0.weight"])
        return {
            "model.safetensors": safetensors.numpy.save(self.f32, {"format": "np"}),
            "half.safetensors": safetensors.torch.save(self.bf16),
            "pytorch_model.bin": saved(tied),
            "optimizer.pt": saved({"optimizer": self.opt.state_dict(), "step": 3}),
            "legacy.pth": saved(w, _use_new_zipfile_serialization=False),
            "arrays.npz": npz.getvalue(),
        }


def gguf():
    with open(os.path.join(ROOT, "delta/format/gguf/testdata/tiny.gguf"), "rb") as f:
        return f.read()


def text(n):
    return "".join(f"line {i}: {i * i % 977} of the log\n" for i in range(n)).encode()


# ---- steps; each is run in the mount and in the plain directory


class Place:
    def __init__(self, root):
        self.root = os.fsencode(root)
        self.at = T0

    def path(self, name):
        return os.path.join(self.root, os.fsencode(name))

    def put(self, name, data, mode=0o644):
        p = self.path(name)
        os.makedirs(os.path.dirname(p), exist_ok=True)
        with open(p, "wb") as f:
            f.write(data)
        os.chmod(p, mode)
        self.at += 1_000_000_007
        os.utime(p, ns=(self.at, self.at))

    def put_all(self, where, files):
        for name, data in files.items():
            self.put(f"{where}/{name}", data)

    def link(self, name, target):
        os.symlink(os.fsencode(target), self.path(name))
        self.at += 1_000_000_007
        os.utime(self.path(name), ns=(self.at, self.at), follow_symlinks=False)


def first(p, one, **_):
    p.put_all("run/checkpoint-1", one)
    p.put("run/tiny.gguf", gguf())
    p.put("run/config.json", b'{"hidden": 24, "layers": 2}\n', 0o600)
    p.put("run/train.sh", b"#!/bin/sh\nexec python train.py\n", 0o755)
    p.put("run/readonly.txt", b"cannot be written\n", 0o444)
    p.put("run/setgid.bin", b"\x7fELF not really\n", 0o2755)
    p.put("run/private/key.txt", b"0600 in a 0700 directory\n", 0o600)
    os.chmod(p.path("run/private"), 0o700)
    p.put("run/empty", b"")
    p.put("train.log", text(900))
    p.put("noise.bin", np.random.default_rng(2).bytes(9000))
    p.put("zeros.bin", bytes(300_000))
    p.put(b"name-\xff\xfe.bin", b"a name that is not UTF-8\n")
    p.put("ünïcode – name.txt", "a name that is\n".encode())
    p.put("truncated.safetensors", one["half.safetensors"][:5000])  # opaque: its header lies
    os.makedirs(p.path("empty-dir/deeper"))
    p.link("latest", "run/checkpoint-1")
    p.link("dangling", "no/such/file")


def second(p, two, **_):
    p.put_all("run/checkpoint-2", two)
    p.put("train.log", text(1200))
    os.remove(p.path("latest"))
    p.link("latest", "run/checkpoint-2")
    os.remove(p.path("noise.bin"))


def third(p, three, **_):
    p.put_all("run/checkpoint-2", three)  # over the old ones
    os.rename(p.path("run/checkpoint-1"), p.path("run/first"))
    os.chmod(p.path("run/train.sh"), 0o644)


def other(p, other, **_):  # on branch exp/lr, from the second commit
    p.put("run/checkpoint-2/model.safetensors", other["model.safetensors"])
    shutil.rmtree(p.path("run/private"))
    shutil.rmtree(p.path("empty-dir"))
    p.put("empty-dir", b"a file where a directory was\n")


def live(p, four, **_):  # after the third commit, in the live tree only; ingested, and then dropped from the spool
    p.put("run/checkpoint-2/half.safetensors", four["half.safetensors"])
    p.put("added/model.safetensors", four["model.safetensors"])


def live_more(p, **_):  # in the spool
    p.put("added/notes.txt", b"not committed\n")
    os.link(p.path("added/notes.txt"), p.path("added/same.txt"))
    os.link(p.path("train.log"), p.path("added/train.log"))
    with open(p.path("train.log"), "ab") as f:  # copied up; both names see it
        f.write(b"one more line\n")
    os.utime(p.path("train.log"), ns=(T0 + 5, T0 + 5))
    os.remove(p.path("zeros.bin"))
    os.rename(p.path("run/first"), p.path("run/moved"))
    os.chmod(p.path("run/tiny.gguf"), 0o640)
    p.link("added/link", "../latest")
    with open(p.path("added/sparse.bin"), "wb") as f:
        f.truncate(50_000)
        f.seek(20_000)
        f.write(b"in the middle")
    os.utime(p.path("added/sparse.bin"), ns=(T0 + 9, T0 + 9))


# ---- what must be read


def look(root):
    """Everything below a plain directory. Names are percent-encoded, since they need not be UTF-8."""
    out = {}
    root = os.fsencode(root)
    for d, dirs, files in os.walk(root):
        for name in dirs + files:
            p = os.path.join(d, name)
            st = os.lstat(p)
            e = {"kind": "file", "mode": f"{stat.S_IMODE(st.st_mode):04o}", "mtime_ns": st.st_mtime_ns}
            if stat.S_ISDIR(st.st_mode):
                e = {"kind": "dir", "mode": e["mode"]}
            elif stat.S_ISLNK(st.st_mode):
                e = {"kind": "symlink", "mtime_ns": st.st_mtime_ns, "target": os.fsdecode(os.readlink(p))}
            else:
                with open(p, "rb") as f:
                    data = f.read()
                e.update(size=len(data), sha256=hashlib.sha256(data).hexdigest())
            out[quote(os.path.relpath(p, root))] = e
    return dict(sorted(out.items()))


def main(coral, number):
    coral = os.path.abspath(coral)
    with tempfile.TemporaryDirectory(prefix="coral-fixture-") as tmp:
        repo, mnt = os.path.join(tmp, "repo"), os.path.join(tmp, "mnt")
        os.mkdir(mnt)
        env = dict(os.environ, CORAL_REPO=repo, CORAL_AUTHOR="Fixture Maker <fixture@coral.test>")

        def run(*args):
            p = subprocess.run([coral, *args], env=env, capture_output=True, text=True)
            if p.returncode:
                sys.exit(f"coral {' '.join(args)}: {p.stderr}")
            return p.stdout

        train = Run()
        data = {}
        for name in ("one", "two", "three", "four"):
            data[name] = train.files()
            train.step()
        data["other"] = train.files()

        plain = {b: Place(os.path.join(tmp, b.replace("/", "-"))) for b in ("main", "exp/lr")}
        os.mkdir(plain["main"].root)
        mounted = {b: Place(os.path.join(mnt, "branches", b)) for b in plain}

        def do(step, branch="main"):
            step(plain[branch], **data)
            step(mounted[branch], **data)

        commits = []

        def snapshot(branch, message, *flags, **facts):
            out = json.loads(run("snapshot", "--json", "-b", branch, "-m", message, *flags))
            of = json.loads(run("log", "--json", "-n", "1", branch))[0]
            assert of["commit"] == out["commit"]
            kept = {k: of[k] for k in ("commit", "tree", "parents", "author", "time")}
            commits.append({**kept, "branch": branch, "message": message, **facts, "files": look(plain[branch].root)})

        run("init", repo)
        run("mount", mnt)
        do(first)
        snapshot("main", "first", "--metric", "loss=0.5", metrics={"loss": 0.5})
        do(second)
        snapshot("main", "second: a step on", "--metric", "loss=0.25", "--metric", "acc=1e-3", "--label", "run=a b",
                 metrics={"loss": 0.25, "acc": 0.001}, labels={"run": "a b"})
        run("tag", "v1.0", "main", "-m", "the paper's weights")
        run("branch", "scratch", "main")  # its file goes, and gc writes a sealed pack
        with open(os.path.join(mnt, "branches/scratch/garbage.bin"), "wb") as f:
            f.write(np.random.default_rng(3).bytes(50_000))
        run("snapshot", "-b", "scratch", "-m", "in no name soon")
        run("branch", "-D", "scratch")
        run("gc", "--full", "--keep", "0")
        run("branch", "exp/lr", "main")
        shutil.copytree(plain["main"].root, plain["exp/lr"].root, symlinks=True)
        plain["exp/lr"].at = mounted["exp/lr"].at = plain["main"].at
        do(third)
        snapshot("main", "third: over, moved, chmod")
        do(other, "exp/lr")
        snapshot("exp/lr", "on another branch\n\nwith a second paragraph – and ünïcode", "--label", "lr=1e-4", labels={"lr": "1e-4"})
        run("tag", "light", "exp/lr")
        do(live)
        run("sync")
        run("unmount", mnt)
        run("cache", "drop")
        run("mount", mnt)
        do(live_more)
        os.setxattr(os.path.join(mnt, "branches/main/added/notes.txt"), "user.fixture", b"live trees keep this")
        expect = {
            "format": number,
            "made": time.strftime("%Y-%m-%d"),
            "coral": json.loads(run("version", "--json")),
            "head": "main",
            "tags": {"v1.0": {"commit": commits[1]["commit"], "message": "the paper's weights"}, "light": {"commit": commits[3]["commit"]}},
            "commits": commits,
            "live": {b: look(plain[b].root) for b in plain},
            "live_links": [["added/notes.txt", "added/same.txt"], ["train.log", "added/train.log"]],
            "live_xattrs": {"added/notes.txt": {"user.fixture": "live trees keep this"}},
        }
        run("sync")
        expect["stats"] = {k: v for k, v in json.loads(run("stats", "--json")).items() if k in ("logical_bytes", "commits", "blobs", "deltas", "max_chain_depth")}
        run("unmount", mnt)
        run("fsck", "--full")
        pack(repo, os.path.join(HERE, f"format-{number}.tar.gz"))
    with open(os.path.join(HERE, f"format-{number}.json"), "w") as f:
        text = json.dumps(expect, indent=1, ensure_ascii=False)
        f.write(re.sub(r"\{\n\s+(\"kind\"[^{}]*?)\n\s+\}", lambda m: "{" + re.sub(r"\n\s+", " ", m.group(1)) + "}", text) + "\n")  # a line for each file


def pack(repo, to):
    """Writes .coral/ as an archive with nothing of this machine in it but times, which are exact: journals know those of spool files."""

    left_out = {"lock", "daemon.sock", "daemon.json"}
    with gzip.GzipFile(to, "wb", 9, mtime=0) as z, tarfile.open(fileobj=z, mode="w", format=tarfile.PAX_FORMAT) as t:

        def add(p):
            ti = t.gettarinfo(p, os.path.relpath(p, repo))
            ti.uid = ti.gid = 0
            ti.uname = ti.gname = ""
            at = os.stat(p).st_mtime_ns
            ti.pax_headers["mtime"] = f"{at // 10**9}.{at % 10**9:09d}"
            with open(p, "rb") if ti.isreg() else io.BytesIO() as f:
                t.addfile(ti, f)

        add(os.path.join(repo, ".coral"))
        for d, dirs, files in os.walk(os.path.join(repo, ".coral")):
            dirs.sort()
            top = os.path.relpath(d, os.path.join(repo, ".coral"))
            if top in ("cache", "log"):
                dirs[:], files = [], []
            for name in dirs + sorted(files):
                if name not in left_out:
                    add(os.path.join(d, name))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
