"""The bars that a mount is held to, each against the same operation on the disk under it: tables for bench.py."""
import json
import mmap
import os
import random
import shutil
import statistics
import subprocess
import sys
import threading
import time

import bench

PAGE = 4096


def median(f, n=5):
    return statistics.median(f() for _ in range(n))


def child(code, *args):
    """Runs Python code in a process of its own; it prints seconds."""
    return float(subprocess.run([sys.executable, "-c", code, *args], check=True, env=bench.ENV, capture_output=True, text=True).stdout.split()[-1])


def read_mmap(path):
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        for off in range(0, len(m), 1 << 20):
            m[off:off + (1 << 20)]


def read_random(path, n=1000):
    """Reads n pages at random through a mapping."""
    rnd = random.Random(5)
    with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        m.madvise(mmap.MADV_RANDOM)
        for _ in range(n):
            m[rnd.randrange(len(m) // PAGE) * PAGE]


FIRST = "import sys,time\nt=time.perf_counter()\nopen(sys.argv[1],'rb',buffering=0).read(4096)\nprint(time.perf_counter()-t)"
LOAD = "import sys,time,torch\nfrom transformers import AutoModel\nt=time.perf_counter()\nm=AutoModel.from_pretrained(sys.argv[1])\nsum(float(p.sum()) for p in m.parameters())\nprint(time.perf_counter()-t)"
SAVE = "import sys,time,os,torch\nx={f'layer.{i}':torch.randn(1024,4096) for i in range(32)}\nt=time.perf_counter()\ntorch.save(x,sys.argv[1])\nprint(time.perf_counter()-t)"
# Rows and columns of each copy in an order of their own, so that no tensor is near another: a model that Coral has nothing to compare with.
SOLO = """import sys,torch
from safetensors.torch import load_file,save_file
g=torch.Generator().manual_seed(7)
def shuffled(v):
    for d in range(v.dim()): v=v.index_select(d,torch.randperm(v.shape[d],generator=g))
    return v.bfloat16() if v.is_floating_point() else v
x=load_file(sys.argv[1])
save_file({f'{k}.{i}':shuffled(v) for i in range(8) for k,v in x.items()},sys.argv[2])
print(0)"""


def reads(b, data):
    print("\n### Reads of committed files\n\n| what | plain disk | Coral | Coral ÷ disk |\n|---|---|---|---|")
    src = os.path.join(b.base, "reads")
    os.mkdir(src)
    base = os.path.join(data, "0-base", "model.safetensors")
    child(SOLO, base, os.path.join(src, "solo-bf16.safetensors"))
    for i, ck in enumerate(sorted(os.listdir(data))[:4]):
        shutil.copytree(os.path.join(data, ck), os.path.join(src, f"ck{i}"))
        shutil.copytree(os.path.join(src, f"ck{i}"), os.path.join(b.live, f"ck{i}"))
        b.run("sync")  # one after the other, as in training: each is a delta of the one before
    shutil.copy(os.path.join(src, "solo-bf16.safetensors"), b.live)
    commit = os.path.join(b.mnt, "commits", b.snapshot("reads"))
    deltas = [f"ck{i}/model.safetensors" for i in range(4)]

    def cold():
        b.run("cache", "drop")
        bench.drop_page_cache()

    def both(name, fn, prepare, files, bytes_=True, rounds=5):
        times = {src: [], commit: []}
        for _ in range(rounds):
            for where in (src, commit):
                prepare()
                times[where].append(bench.timed(lambda: [fn(os.path.join(where, f)) for f in files]))
        n = sum(os.path.getsize(os.path.join(src, f)) for f in files) if bytes_ else None
        bench.row(name, statistics.median(times[src]), statistics.median(times[commit]), n)

    both("cold, BF16 solo", bench.cat_file, cold, ["solo-bf16.safetensors"])
    both("cold, F32 base and 3 deltas in a chain", bench.cat_file, cold, deltas)
    both("cold, 1,000 random pages of a mapping", read_random, cold, ["ck2/model.safetensors"], bytes_=False)
    first = {src: [], commit: []}
    for f in deltas + ["solo-bf16.safetensors"]:
        for where in (src, commit):
            cold()
            first[where].append(child(FIRST, os.path.join(where, f)))
    bench.row("cold, first 4 KiB of a file", statistics.median(first[src]), statistics.median(first[commit]))
    for name, prepare in (("cold", cold), ("warm", lambda: None)):
        t = {src: [], commit: []}
        for _ in range(3):
            for where in (src, commit):
                prepare()
                t[where].append(child(LOAD, os.path.join(where, "ck3")))
        bench.row(f"transformers from_pretrained, {name}", statistics.median(t[src]), statistics.median(t[commit]))
    for f in deltas:
        bench.cat_file(os.path.join(commit, f))
    b.settle()
    for where in (src, commit):
        for f in deltas:
            bench.cat_file(os.path.join(where, f))
    both("again, read(2)", bench.cat_file, lambda: None, deltas, rounds=9)
    both("again, mmap", read_mmap, lambda: None, deltas, rounds=9)
    both("again, 20,000 random pages of a mapping", lambda path: read_random(path, 20_000), lambda: None, ["ck2/model.safetensors"], bytes_=False, rounds=9)


class Writer(threading.Thread):
    """Writes 1 MiB at a time, over and over, and keeps count; or 4 KiB each 2 ms, and keeps the longest time that one took."""

    def __init__(self, path, small=False):
        super().__init__()
        self.path, self.small, self.done, self.longest, self.stop = path, small, 0, 0.0, False

    def run(self):
        buf = os.urandom(PAGE if self.small else 1 << 20)
        with open(self.path, "wb", buffering=0) as f:
            while not self.stop:
                if f.tell() > 512 << 20:
                    f.seek(0)
                t = time.perf_counter()
                self.done += f.write(buf)
                self.longest = max(self.longest, time.perf_counter() - t)
                if self.small:
                    time.sleep(0.002)

    def end(self):
        self.stop = True
        self.join()
        os.remove(self.path)


def writes(b, data):
    print("\n### Writes while others work\n\n| what | alone | beside | beside ÷ alone |\n|---|---|---|---|")
    plain, live = os.path.join(b.base, "w.pt"), os.path.join(b.live, "w.pt")
    t = {plain: [], live: []}
    for _ in range(5):
        for p in (plain, live):
            if os.path.exists(p):
                os.remove(p)
            b.run("sync")
            os.sync()
            t[p].append(child(SAVE, p))
    bench.row("torch.save of 537 MB (disk, Coral)", statistics.median(t[plain]), statistics.median(t[live]), 32 * 1024 * 4096 * 4)
    os.remove(live)
    b.run("sync")
    w = Writer(os.path.join(b.live, "alone"))
    w.start()
    time.sleep(3)
    w.end()
    alone = w.done / 3
    shutil.copytree(data, os.path.join(b.live, "again"))
    shutil.rmtree(os.path.join(b.live, "again"))
    new = os.path.join(b.base, "new")  # bytes that the repository has not seen
    shutil.copytree(data, new)
    n = bench.size(new)
    for d, _, fs in os.walk(new):
        for f in fs:
            if f.endswith((".safetensors", ".pt")):
                subprocess.run([sys.executable, "-c", PERTURB, os.path.join(d, f)], check=True, env=bench.ENV)
    b.run("sync")
    shutil.copytree(new, os.path.join(b.live, "new"))
    w = Writer(os.path.join(b.live, "beside"))
    w.start()
    t0 = time.perf_counter()
    b.snapshot("beside a writer")
    dt = time.perf_counter() - t0
    w.end()
    print(f"| a program that writes 1 MiB at a time | {alone / 1e6:,.0f} MB/s | {w.done / dt / 1e6:,.0f} MB/s | {w.done / dt / alone:.2f} |")
    print(f"| ingest to snapshot meanwhile | | {bench.mbs(n, dt)} | |")
    bench.result["foreground"] = round(w.done / dt / alone, 2)
    bench.result["ingest_beside_MBps"] = round(n / 1e6 / dt)
    w = Writer(os.path.join(b.live, "stall"), small=True)
    w.start()
    time.sleep(0.5)
    before, w.longest = w.longest, 0.0
    for i in range(10):
        with open(os.path.join(b.live, "changed"), "w") as f:
            f.write(str(i))
        b.snapshot("stall")
    after = w.longest
    w.end()
    print(f"| longest write of 4 KiB, beside ten snapshots | {before * 1e3:.1f} ms | {after * 1e3:.1f} ms | |")
    bench.result["stall_ms"] = round(after * 1e3, 1)


PERTURB = """import sys
import numpy as np
m=np.memmap(sys.argv[1],dtype=np.uint8,mode='r+')
end=len(m)//4*4
x=m[65536:end].view(np.uint32) if end>1<<20 else m[:0].view(np.uint32)
x^=(np.random.default_rng(3).random(len(x))<.5).astype(np.uint32)
m.flush()"""


def metadata(b):
    n = 10000
    print(f"\n### Names: operations a second, {n:,} empty files in 10 directories\n\n| what | plain disk | go-fuse's loopback | Coral | Coral ÷ loopback |\n|---|---|---|---|---|")
    tools = os.path.join(b.base, "bin")
    os.mkdir(tools)
    for pkg in ("github.com/hanwen/go-fuse/v2/example/loopback", "./integration/bench/metaops"):
        bench.sh("go", "build", "-o", tools + "/", pkg, cwd=bench.ROOT)
    back, mnt, disk = (os.path.join(b.base, x) for x in ("back", "lo", "names"))
    for d in (back, mnt):
        os.mkdir(d)
    loop = subprocess.Popen([tools + "/loopback", "-q", mnt, back], env=bench.ENV)
    try:
        while not os.path.ismount(mnt):
            if loop.poll() is not None:
                sys.exit("bench: go-fuse's loopback did not mount: is fusermount3 there?")
            time.sleep(0.05)
        got = {}
        for where in (disk, mnt + "/x", os.path.join(b.live, "names")) * 3:
            one = json.loads(bench.sh(tools + "/metaops", "-n", str(n), where))
            for k, v in one.items():
                got.setdefault(k, {}).setdefault(where, []).append(v)
        for k in ("create", "stat", "open", "rename", "unlink"):
            d, l, c = (statistics.median(got[k][w]) for w in (disk, mnt + "/x", os.path.join(b.live, "names")))
            print(f"| {k} | {d:,.0f} | {l:,.0f} | {c:,.0f} | {c / l:.2f} |", flush=True)
            bench.result["names " + k] = round(c / l, 2)
    finally:
        subprocess.run(["umount", mnt], check=False)
        loop.wait(10)


def tree(b, n=100_000):
    print(f"\n### {n:,} small files in 100 directories\n\n| what | plain disk | Coral | Coral ÷ disk |\n|---|---|---|---|")
    src = os.path.join(b.base, "tree")
    for d in range(100):
        os.makedirs(f"{src}/d{d}")
        for i in range(n // 100):
            with open(f"{src}/d{d}/f{i}", "w") as f:
                f.write(f"file {d} {i}\n")
    b.run("add", src)
    commit = os.path.join(b.mnt, "commits", b.snapshot("tree"), "tree")

    def rss():
        pid = json.loads(b.run("status", "--json"))["daemon"]["pid"]
        with open(f"/proc/{pid}/status") as f:
            return int(f.read().split("VmRSS:")[1].split()[0]) >> 10

    b.run("cache", "drop")
    bench.drop_page_cache()
    idle = rss()
    for where, what in ((commit, "of a commit"), (os.path.join(b.live, "tree"), "of a live tree")):
        bench.drop_page_cache()
        cold_n = bench.timed(lambda: bench.sh("ls", "-lR", src))
        bench.drop_page_cache()
        cold_c = bench.timed(lambda: bench.sh("ls", "-lR", where))
        bench.row(f"ls -lR {what}, first", cold_n, cold_c)
        bench.row(f"ls -lR {what}, again", bench.timed(lambda: bench.sh("ls", "-lR", src)), bench.timed(lambda: bench.sh("ls", "-lR", where)))
    full = rss()
    one = []
    for i in range(9):
        with open(os.path.join(b.live, "tree", "d5", "f7"), "w") as f:
            f.write(f"changed {i}\n")
        one.append(bench.timed(lambda: b.run("snapshot", "-m", "one")))
    print(f"| snapshot of 1 changed file, the command as a whole | | {statistics.median(one) * 1e3:.0f} ms | |")
    bench.drop_page_cache()
    time.sleep(6)
    print(f"| daemon's memory before, with {2 * n:,} inodes looked up, and after they were given back | | {idle}, {full}, {rss()} MiB | |")
    bench.result.update({"snapshot_one_ms": round(statistics.median(one) * 1e3), "rss_MiB": [idle, full, rss()]})
