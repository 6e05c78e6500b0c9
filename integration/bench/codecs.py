#!/usr/bin/env python3
"""Speed of each codec on one core, with assembly and without: runs the benchmarks of delta/ in both builds and prints one table.

  codecs.py [--small] [--time 1s] [--count 3]

Rows are dtype, shape of the data and its relation to the base (none: alone); encoding includes the choice and the verification. Each figure is the best of
COUNT runs: on a machine that does other work too, the one least disturbed. Without assembly means -tags purego,noasm: also Huffman and hashes in plain Go."""
import argparse
import os
import platform
import re
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GO = os.environ.get("GO", "go")
LINE = re.compile(r"^Benchmark(Encode|Decode)/(\S+?)(?:-\d+)?\s+\d+\s.*?([\d.]+) MB/s\s+([\d.]+) ratio")


def measure(a, tags):
    out = subprocess.run([GO, "test", "-tags", tags, "-run", "^$", "-bench", "^Benchmark(Encode|Decode)$", "-cpu", "1", "-benchtime", a.time, "-count", str(a.count), "./delta"],
                         cwd=ROOT, check=True, capture_output=True, text=True).stdout
    best, ratio = {}, {}
    for line in out.splitlines():
        m = LINE.match(line)
        if m:
            key = m[2], m[1]
            best[key] = max(best.get(key, 0), float(m[3]))
            ratio[m[2]] = float(m[4])
    if not best:
        raise SystemExit("codecs: go test printed no benchmark:\n" + out)
    return best, ratio


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--small", action="store_true")
    p.add_argument("--time")
    p.add_argument("--count", type=int)
    a = p.parse_args()
    a.time, a.count = a.time or ("0.1s" if a.small else "1s"), a.count or (1 if a.small else 3)
    fast, ratio = measure(a, "")
    plain, _ = measure(a, "purego,noasm")
    go = subprocess.run([GO, "version"], check=True, capture_output=True, text=True).stdout.split()[2]
    print(f"{time.strftime('%Y-%m-%d')}, {go}, {platform.machine()}, Linux {platform.release()}, 1 core, best of {a.count} × {a.time}, load {os.getloadavg()[0]:.1f}\n")
    print("| dtype-data/base | of raw | decode MB/s | without assembly | encode MB/s | without assembly |\n|---|---|---|---|---|---|")
    for name, r in ratio.items():
        d, e = (name, "Decode"), (name, "Encode")
        print(f"| {name} | {r:.3f} | {fast.get(d, 0):,.0f} | {plain.get(d, 0):,.0f} | {fast.get(e, 0):,.0f} | {plain.get(e, 0):,.0f} |")


if __name__ == "__main__":
    main()
