#!/usr/bin/env python3
"""What real checkpoints take in Coral and in other tools: runs `coral bench` over the corpora of integration/python/corpora.py.

  ratios.py CORAL_BINARY [--data DIR] [--small] [--codecs LIST] [--peers LIST | --no-peers] [--cores N] [--peer-limit TIME] [NAME...]

DIR holds the corpora (default .cache/corpora in the checkout); what is missing there is trained first, about five minutes. NAME: only these sets.
Prints a Markdown table for each set, then one of the aims, and last one line of JSON."""
import argparse
import json
import os
import platform
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
WEIGHTS = "model.safetensors"

# name: what it is, corpus, arguments of coral bench, aim of the ratio (None: to report only)
SETS = {
    "f32": ("MiniLM F32, weights of base and 4 checkpoints", "minilm", ["--base", "base", "run", "--include", WEIGHTS], 0.40),
    "adam": ("MiniLM F32, 4 checkpoints with Adam state", "minilm", ["run", "--include", WEIGHTS + ",optimizer.pt"], 0.43),
    "frozen": ("MiniLM F32, frozen backbone, base and 3 checkpoints", "frozen", ["--base", "base", "run", "--include", WEIGHTS], 0.25),
    "bf16": ("MiniLM BF16, casts of base and 6 checkpoints", "bf16", ["bf16"], 0.145),
    "f32-7": ("MiniLM F32, base and 6 checkpoints", "bf16", ["f32"], None),
    "f32-bf16": ("the same 7 and then their BF16 casts", "bf16", ["--keep-order", "f32", "bf16"], None),
    "coralml": ("the 18 models of coral-ml's benchmark", "coralml", ["."], 0.535),
    "gpt": ("GPT from scratch, 8 checkpoints with AdamW", "gpt", ["."], None),
}
OUR_OWN = ("f32-7", "f32-bf16")  # only to see what the casts add: no peers


def run_set(a, name, env):
    what, corpus, args, _ = SETS[name]
    cmd = [os.path.abspath(a.coral), "bench", "--json", "--tools", os.path.join(ROOT, ".cache"), "--python", sys.executable, "--peer-limit", a.peer_limit, "--dir", a.data]
    if a.no_peers or name in OUR_OWN:
        cmd.append("--no-peers")
    elif a.peers:
        cmd += ["--peers", a.peers]
    if name in OUR_OWN:
        cmd += ["--codecs", "auto"]
    elif a.codecs:
        cmd += ["--codecs", a.codecs]
    if a.cores:
        cmd += ["--cores", str(a.cores)]
    p = subprocess.run(cmd + args, cwd=os.path.join(a.data, corpus), env=env, stdout=subprocess.PIPE, text=True)
    if p.returncode:
        print(p.stdout)
        sys.exit(f"ratios: {name}: exit code {p.returncode}")
    r = json.loads(p.stdout)
    print(f"\n### {what}: {r['files']} files, {r['bytes'] / 1e6:,.1f} MB\n\n| | of raw | encode | decode | to files | exact |\n|---|---|---|---|---|---|")
    for row in r["rows"]:
        if "missing" in row:
            print(f"| {row['name']} | not installed: {row['missing']} | | | | |")
        else:
            print(f"| {row['name']} {row.get('version', '')} | {row.get('ratio', 0):.4f} | {rate(row, 'encode')} | {rate(row, 'decode')} | {rate(row, 'write')} | {exact(row)} |")
    sys.stdout.flush()
    return r


def rate(row, what):
    v = row.get(what + "_mbps", 0)
    return f"{v:,.0f} MB/s" if v >= 100 else f"{v:,.1f} MB/s" if v else ""


def exact(row):
    e = row.get("exact")
    if "failed" in row:
        return row["failed"].replace("|", "/")
    if e is None:
        return ""
    if e.get("not_files"):
        return f"{e['tensors_differ']} of {e['tensors']} tensors differ; no files"
    if e["files_differ"] == 0:
        return "yes"
    return f"{e['files_differ']} of {e['files']} files differ, {e['tensors_differ']} of their {e['tensors']} tensors"


def find(r, name):
    return next((row for row in r["rows"] if row["name"] == name and row.get("ratio")), None)


def aims(res):
    print("\n### Aims\n\n| figure | aim | measured |\n|---|---|---|")
    for name, r in res.items():
        what, _, _, aim = SETS[name]
        auto = find(r, "auto")
        if auto and name not in OUR_OWN:
            print(f"| {what} | {'≤ %g' % aim if aim else ''} | {auto['ratio']:.4f} |")
        lmz = find(r, "lmz")
        if auto and lmz and name in ("bf16", "adam"):
            less = 25 if name == "bf16" else 8
            print(f"| – smaller than lmz by | ≥ {less} % | {100 * (1 - auto['ratio'] / lmz['ratio']):.1f} % |")
            print(f"| – encode speed, times lmz's | ≥ 3 | {auto['encode_mbps'] / lmz['encode_mbps']:.2f} (by processor time {lmz['encode_cpu_seconds'] / auto['encode_cpu_seconds']:.2f}) |")
    if all(n in res for n in OUR_OWN):
        both, f32 = find(res["f32-bf16"], "auto"), find(res["f32-7"], "auto")
        raw = res["f32-bf16"]["bytes"] - res["f32-7"]["bytes"]
        print(f"| the BF16 casts where the F32 files are in the repository | ≤ 0.01 | {(both['stored_bytes'] - f32['stored_bytes']) / raw:.4f} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("coral")
    p.add_argument("names", nargs="*", metavar="NAME", default=[])
    p.add_argument("--data")
    p.add_argument("--small", action="store_true")
    p.add_argument("--codecs")
    p.add_argument("--peers")
    p.add_argument("--no-peers", action="store_true")
    p.add_argument("--cores", type=int)
    p.add_argument("--peer-limit", default="30m")
    a = p.parse_intermixed_args()
    a.data = os.path.abspath(a.data or os.path.join(ROOT, ".cache", "corpora-small" if a.small else "corpora"))
    names = a.names or list(SETS)
    for n in names:
        if n not in SETS:
            p.error(f"no set {n}: {', '.join(SETS)}")
    os.makedirs(a.data, exist_ok=True)
    corpora = sorted({SETS[n][1] for n in names})
    subprocess.run([sys.executable, os.path.join(ROOT, "integration/python/corpora.py"), a.data, *corpora, *(["--small"] if a.small else [])], check=True, stdout=sys.stderr)
    version = subprocess.run([a.coral, "version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"{version}, {time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {a.cores or os.cpu_count()} of {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}; `{' '.join(sys.argv)}`")
    res = {n: run_set(a, n, os.environ.copy()) for n in names}
    aims(res)
    print("\n" + json.dumps(res))


if __name__ == "__main__":
    main()
