#!/usr/bin/env python3
"""What Coral recognises in real model files, and how fast: cuts every file of a directory by delta/format/detect and prints a table.

  formats.py DIR [--files] [--bench 0.5s]

One row a format: files, bytes, tensors, the share of the bytes that lies in tensors, microseconds a file (the best of three, from the page cache; opening included) and
what that makes of the bytes in GB/s: payloads are not read, so that it grows with the tensors' size. --files has a row for each file. --bench runs the Go benchmark of
the same, with allocations. Files of wheels: unpack `pip download --no-deps` of silero-vad openwakeword rapidocr-onnxruntime mediapipe basic-pitch magika nudenet piper-tts."""
import argparse
import os
import subprocess

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


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir")
    p.add_argument("--files", action="store_true")
    p.add_argument("--bench", metavar="TIME")
    a = p.parse_args()
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
