#!/usr/bin/env python3
"""What Coral recognises in real model files, and how fast: cuts every file of a directory by delta/format/detect and prints a table.

  formats.py DIR [--files] [--bench 0.5s]
  formats.py MODEL.safetensors --views CORAL [--dir DIR] [--rounds 3]

One row a format: files, bytes, tensors, the share of the bytes that lies in tensors, microseconds a file (the best of three, from the page cache; opening included) and
what that makes of the bytes in GB/s: payloads are not read, so that it grows with the tensors' size. --files has a row for each file. --bench runs the Go benchmark of
the same, with allocations. Files of wheels: unpack `pip download --no-deps` of silero-vad openwakeword rapidocr-onnxruntime mediapipe basic-pitch magika nudenet piper-tts.

--views makes files of each container of one model by `coral convert` (that of torch before 1.6 by torch, if it is there), stores them in a repository below DIR, and reads each in its commit and its view in
views/safetensors, cold (every cache of coral and the pages of its packs dropped) and a second time: MB/s of the bytes read, the median of the rounds. stat is the first one of the view, which makes its header."""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GO = os.environ.get("GO", "go")


def run(directory, *args):
    env = {**os.environ, "CORAL_FORMATS": os.path.abspath(directory)}
    out = subprocess.run([GO, "test", "-count=1", *args, "./delta/format/detect"], cwd=ROOT, env=env, capture_output=True, text=True)
    if out.returncode:
        raise SystemExit("formats: go test failed:\n" + out.stdout + out.stderr)
    return out.stdout


def row(name, files, size, tensors, cut, us):
    gbs = size / us / 1000 if us else 0
    print(f"| {name} | {files} | {size:,} | {tensors:,} | {cut / size if size else 0:.1%} | {us / max(1, files):,.0f} | {gbs:.1f} |")


def containers(coral, model, out):
    """Files of the model, by what they are called in the table."""
    files = {"safetensors, the file itself": "itself.safetensors", "torch zip": "zip.pt", "npz": "arrays.npz", "GGUF F32": "f32.gguf", "GGUF F16": "f16.gguf", "GGUF Q8_0": "q8.gguf"}
    for name in files.values():
        dtype = ["--dtype", {"f16": "f16", "q8": "q8_0"}[name[:-5]]] if name in ("f16.gguf", "q8.gguf") else []
        subprocess.run([coral, "convert", model, os.path.join(out, name), *dtype], check=True, stdout=subprocess.DEVNULL)
    script = "import sys, torch; torch.save(torch.load(sys.argv[1]), sys.argv[2], _use_new_zipfile_serialization=False)"
    if subprocess.run([sys.executable, "-c", script, f"{out}/zip.pt", f"{out}/legacy.pth"], stderr=subprocess.DEVNULL).returncode == 0:
        files["torch before 1.6"] = "legacy.pth"
    script = "import sys, torch; torch.save({k: v.t().contiguous().t() if v.dim() == 2 else v for k, v in torch.load(sys.argv[1]).items()}, sys.argv[2])"
    if subprocess.run([sys.executable, "-c", script, f"{out}/zip.pt", f"{out}/strided.pt"], stderr=subprocess.DEVNULL).returncode == 0:
        files["torch zip, matrices transposed"] = "strided.pt"
    return files


def forget(path):
    """Drops the pages of a file, or of all below a directory."""
    paths = [path] if os.path.isfile(path) else [os.path.join(d, f) for d, _, names in os.walk(path) for f in names]
    for p in paths:
        fd = os.open(p, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def views(a):
    import bench
    with tempfile.TemporaryDirectory(dir=a.where) as base:
        data = os.path.join(base, "data")
        os.mkdir(data)
        files = containers(a.views, a.dir, data)
        b = bench.Bench(a.views, base)
        try:
            subprocess.run(["cp", "-r", data, b.live], check=True)
            commit = b.snapshot("formats")
            print("| container | bytes | original cold | warm | view bytes | view cold | warm | stat µs |\n|---|---|---|---|---|---|---|---|")
            for what, name in files.items():
                view = name if name.endswith(".safetensors") else os.path.splitext(name)[0] + ".safetensors"
                paths = [os.path.join(b.mnt, "commits", commit, "data", name), os.path.join(b.mnt, "views", "safetensors", "commits", commit, "data", view)]
                b.run("cache", "drop")
                stat = bench.timed(lambda: os.stat(paths[1]))
                sizes, times = [os.path.getsize(p) for p in paths], [[], [], [], []]
                for _ in range(a.rounds):
                    for i, p in enumerate(paths):
                        forget(p)  # first: a file of a commit is materialised when it is opened
                        b.run("cache", "drop")
                        forget(os.path.join(b.repo, ".coral", "packs"))
                        for k in range(2):
                            times[2 * i + k].append(bench.timed(lambda: bench.cat_file(p)))
                speed = [f"{sizes[i // 2] / 1e6 / statistics.median(t):,.0f}" for i, t in enumerate(times)]
                print(f"| {what} | {sizes[0]:,} | {speed[0]} | {speed[1]} | {sizes[1]:,} | {speed[2]} | {speed[3]} | {stat * 1e6:,.0f} |", flush=True)
        finally:
            b.close()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir")
    p.add_argument("--files", action="store_true")
    p.add_argument("--bench", metavar="TIME")
    p.add_argument("--views", metavar="CORAL")
    p.add_argument("--dir", dest="where")
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    if a.views:
        return views(a)
    rows = [line.split("\t") for line in run(a.dir, "-v", "-run", "^TestRealFiles$").splitlines() if line.startswith("FILE\t")]
    if not rows:
        raise SystemExit(f"formats: no files in {a.dir}")
    files = [(f, int(size), int(tensors), int(cut), int(us), err, os.path.relpath(path, a.dir)) for _, f, size, tensors, cut, us, err, path in rows]
    print("| format | files | bytes | tensors | in tensors | µs a file | GB/s |\n|---|---|---|---|---|---|---|")
    for name in sorted({f[0] for f in files}):
        of = [f for f in files if f[0] == name]
        row(name, len(of), *(sum(f[i] for f in of) for i in range(1, 5)))
    row("all", len(files), *(sum(f[i] for f in files) for i in range(1, 5)))
    if a.files:
        print("\n| file | format | bytes | tensors | in tensors |\n|---|---|---|---|---|")
        for name, size, tensors, cut, _, _, path in sorted(files, key=lambda f: f[-1]):
            print(f"| {path} | {name} | {size:,} | {tensors:,} | {cut / size if size else 0:.1%} |")
    for name, size, _, _, _, err, path in files:
        if err != "<nil>":
            print(f"{path}: {err}")
    if a.bench:
        print("\n" + run(a.dir, "-run", "^$", "-bench", "^BenchmarkRealFiles$", "-benchtime", a.bench, "-cpu", "1"))


if __name__ == "__main__":
    main()
