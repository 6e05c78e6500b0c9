#!/usr/bin/env python3
"""Writes a repository of coral-ml (the Python package, 1.x) as files that `coral import --coral-ml` reads.

    export.py REPOSITORY OUT          # needs coral-ml, which brings h5py and NumPy

REPOSITORY is the directory with its .coral. OUT, new or empty, gets a .safetensors file of the weights of each commit, in the order of their
names, as coral-ml gives them back (with its lossy strategies these are not the bits that went in), and history.json:

    {"format": 1, "head": BRANCH, "branches": {NAME: COMMIT}, "tags": [{"name", "commit", "description", "metrics"}],
     "commits": [{"id", "parents", "author", "email", "time", "message", "tags", "file"}]}     # parents before children

One commit's weights are in memory at a time. Nothing in REPOSITORY is changed."""
import json
import os
import shutil
import struct
import sys
import tempfile

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32",
          "uint16": "U16", "uint8": "U8", "bool": "BOOL"}


def write_safetensors(path, arrays):
    """arrays: name -> NumPy array. Returns the names of those that safetensors cannot hold."""
    import numpy as np
    head, offset, rows, left = {}, 0, [], []
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        if a.dtype.byteorder == ">":
            a = a.astype(a.dtype.newbyteorder("<"))
        if a.dtype.name not in DTYPES:
            left.append(name)
            continue
        shape = list(np.shape(arrays[name]))  # ascontiguousarray makes [1] of a scalar
        head[name] = {"dtype": DTYPES[a.dtype.name], "shape": shape, "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
        rows.append(a)
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for a in rows:
            f.write(a.tobytes())
    return left


def ordered(commits):
    """Parents before children, older ones first where there is a choice."""
    out, done = [], set()
    for first in sorted(commits, key=lambda k: (commits[k].metadata.timestamp.isoformat(), k)):
        stack = [first]
        while stack:
            todo = [p for p in commits[stack[-1]].parent_hashes if p in commits and p not in done]
            if todo and stack[-1] not in done:
                if todo[0] in stack:
                    sys.exit("export.py: the history runs in a circle at " + todo[0])
                stack.append(todo[0])
                continue
            top = stack.pop()
            if top not in done:
                done.add(top)
                out.append(top)
    return out


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, out = sys.argv[1:]
    if not os.path.isdir(os.path.join(source, ".coral", "objects", "commits")):
        sys.exit(f"export.py: {source}: no repository of coral-ml")
    try:
        from coral.version_control.repository import Repository
    except ImportError as e:
        sys.exit(f"export.py: {e}: install coral-ml for this Python, or name another with --python")
    os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory() as copy:
        # Opening makes directories that are missing, and HDF5 is opened for writing: it is given links to a copy of what is small.
        shutil.copytree(os.path.join(source, ".coral"), os.path.join(copy, ".coral"), ignore=shutil.ignore_patterns("weights.h5"))
        weights = os.path.join(source, ".coral", "objects", "weights.h5")
        if os.path.exists(weights):
            shutil.copyfile(weights, os.path.join(copy, ".coral", "objects", "weights.h5"))
        export(Repository(copy), copy, out)


def export(repo, root, out):
    commits = repo.version_graph.commits
    rows = []
    for i, key in enumerate(ordered(commits)):
        c = commits[key]
        weights = repo.get_all_weights(key)
        lost = sorted(set(c.weight_hashes) - set(weights))
        if lost:
            sys.exit(f"export.py: commit {key}: {len(lost)} weights are not in the store, such as {lost[0]}")
        name = key + ".safetensors"
        left = write_safetensors(os.path.join(out, name), {k: w.data for k, w in weights.items()})
        if left:
            print(f"commit {key}: left out, safetensors has no such dtype: {', '.join(left)}", file=sys.stderr)
        m = c.metadata
        rows.append({"id": key, "parents": [p for p in c.parent_hashes if p in commits], "author": m.author, "email": m.email,
                     "time": m.timestamp.astimezone().isoformat(), "message": m.message, "tags": list(m.tags), "file": name})
    tags, versions = [], os.path.join(root, ".coral", "versions")
    for name in sorted(os.listdir(versions)) if os.path.isdir(versions) else []:
        with open(os.path.join(versions, name)) as f:
            v = json.load(f)
        if v["commit_hash"] in commits:
            tags.append({"name": v["name"], "commit": v["commit_hash"], "description": v.get("description") or "", "metrics": v.get("metrics") or {}})
    branches = {b.name: b.commit_hash for b in repo.branch_manager.list_branches() if b.commit_hash in commits}
    with open(os.path.join(out, "history.json"), "w") as f:
        json.dump({"format": 1, "head": repo.branch_manager.get_current_branch(), "branches": branches, "tags": tags, "commits": rows}, f, indent=1)


if __name__ == "__main__":
    main()
