"""Drives the tools that are Python packages, for coral bench. One process a step:

  peers.py PEER version|encode|decode CORPUS STORE OUT CORES

CORPUS holds the files as NNNN/name. encode writes what is stored to STORE; decode writes the files to OUT, under the same names. The last line of the
output is JSON: seconds and cpu (without the start of the interpreter and the imports), version, missing, note, tensors and differ, error."""
import contextlib
import importlib
import importlib.metadata
import json
import os
import shutil
import struct
import sys
import time


def corpus_files(corpus):
    """(name, path) of all files in the order of storing."""
    for d in sorted(os.listdir(corpus)):
        for f in sorted(os.listdir(os.path.join(corpus, d))):
            yield f"{d}/{f}", os.path.join(corpus, d, f)


def header(path):
    """The header of a safetensors file, or None."""
    if not path.endswith(".safetensors"):
        return None
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(n))


def cpu_time():
    """Processor time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def place(root, name):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


class Lmz:
    """One archive of the directory, made and restored by lmz's own command line."""
    package, modules = "lmzip", ("lmz.cli",)

    def __init__(self, corpus, store, out, cores):
        self.corpus, self.archive, self.out, self.cores = corpus, os.path.join(store, "all.lmz"), out, cores

    def main(self, *args):
        code = sys.modules["lmz.cli"].main([*args])
        if code:
            raise RuntimeError(f"lmz {args[0]}: exit code {code}")

    def encode(self):
        self.main("compress", "-q", "-f", "-j", str(self.cores), self.corpus, self.archive)

    def decode(self):
        self.main("decompress", "-q", "-f", "-j", str(self.cores), self.archive, self.out)


class ZipNN:
    """Each file by its bytes, with the dtype of most of them. Lengths are cut to whole words, since 0.5.4 ends in heap corruption on others; the tail follows as it is."""
    package, modules = "zipnn", ("zipnn",)
    kinds = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

    def __init__(self, corpus, store, out, cores):
        self.corpus, self.store, self.out, self.cores = corpus, store, out, cores

    def dtype(self, path):
        tensors = header(path)
        if tensors is None:
            return "float32"  # torch files: their optimizer states, and most of their weights
        size = {}
        for name, t in tensors.items():
            if name != "__metadata__":
                size[t["dtype"]] = size.get(t["dtype"], 0) + t["data_offsets"][1] - t["data_offsets"][0]
        return self.kinds.get(max(size, key=size.get, default="F32"), "float32")

    def codec(self, dtype):
        return sys.modules["zipnn"].ZipNN(input_format="byte", bytearray_dtype=dtype, threads=self.cores)

    def encode(self):
        for name, path in corpus_files(self.corpus):
            dtype = self.dtype(path)
            with open(path, "rb") as f:
                raw = bytearray(f.read())
            n = len(raw) // 4 * 4
            packed, tail = self.codec(dtype).compress(raw[:n]) if n else b"", raw[n:]
            with open(place(self.store, f"{name}.{dtype}.{len(tail)}"), "wb") as f:
                f.write(packed)
                f.write(tail)

    def decode(self):
        for name, path in corpus_files(self.store):
            name, dtype, n = name.rsplit(".", 2)
            with open(path, "rb") as f:
                packed = f.read()
            end = len(packed) - int(n)
            with open(place(self.out, name), "wb") as f:
                if end:
                    f.write(self.codec(dtype).decompress(packed[:end]))
                f.write(packed[end:])


class BigSmall:
    """Each safetensors against the one before it; other files as they are."""
    package, modules = "bigsmall", ("bigsmall.encoder", "bigsmall.decoder")

    def __init__(self, corpus, store, out, cores):
        self.corpus, self.store, self.out, self.cores = corpus, store, out, cores

    def encode(self):
        enc, before, kept = sys.modules["bigsmall.encoder"], None, 0
        for name, path in corpus_files(self.corpus):
            if not name.endswith(".safetensors"):
                shutil.copyfile(path, place(self.store, name))
                kept += 1
                continue
            if before is None:
                enc.compress(path, place(self.store, name + ".bs"), workers=self.cores, progress=False)
            else:
                enc.compress_delta(path, before, place(self.store, name + ".bsd"), workers=self.cores, progress=False, force_delta=True)
            before = path
        if before is None:
            raise RuntimeError("it takes safetensors only, and there are none")
        if kept:
            return {"note": f"{kept} files that are no safetensors are kept as they are"}

    def decode(self):
        dec, before = sys.modules["bigsmall.decoder"], None
        for name, path in corpus_files(self.store):
            stem, kind = os.path.splitext(name)
            to = place(self.out, stem if kind in (".bs", ".bsd") else name)
            if kind == ".bs":
                dec.decompress(path, to, progress=False)
            elif kind == ".bsd":
                dec.decompress_delta(path, before, to, progress=False)
            else:
                shutil.copyfile(path, to)
                continue
            before = to


class CoralML:
    """One commit a file, of its tensors, named by file and tensor (with names that repeat it stores nearly nothing as a difference, and returns most tensors
    wrong). What comes back is compared here, bit by bit."""
    package, modules = "coral-ml", ("coral.version_control.repository", "coral.core.weight_tensor", "numpy", "torch", "safetensors.torch")

    def __init__(self, corpus, store, out, cores):
        self.corpus, self.store = corpus, store
        self.list = os.path.join(out, "commits.json")

    def arrays(self, name, path):
        """name of file and tensor -> array, of a safetensors or a torch file; None for another one."""
        torch = sys.modules["torch"]
        if path.endswith(".safetensors"):
            data = sys.modules["safetensors.torch"].load_file(path)
        elif path.endswith((".pt", ".pth", ".bin", ".ckpt")):
            data = torch.load(path, map_location="cpu", weights_only=True)
        else:
            return None
        out = {}

        def walk(prefix, v):
            if isinstance(v, torch.Tensor):
                if v.dtype in (torch.bfloat16,) or v.element_size() == 1 and v.is_floating_point():
                    raise RuntimeError(f"{v.dtype} tensors are nothing that NumPy, and so coral-ml, can hold")
                out[prefix] = v.contiguous().numpy()
            elif isinstance(v, dict):
                for k, x in v.items():
                    walk(f"{prefix}.{k}", x)
            elif isinstance(v, (list, tuple)):
                for i, x in enumerate(v):
                    walk(f"{prefix}.{i}", x)

        walk(name, data)
        return out

    def encode(self):
        Repository = sys.modules["coral.version_control.repository"].Repository
        wt = sys.modules["coral.core.weight_tensor"]
        repo, commits, took, cpu, kept = Repository(self.store, init=True), [], 0.0, 0.0, 0
        for name, path in corpus_files(self.corpus):
            arrays = self.arrays(name, path)
            if not arrays:
                kept += 1
                continue
            start, used = time.perf_counter(), cpu_time()
            repo.stage_weights({k: wt.WeightTensor(data=a, metadata=wt.WeightMetadata(name=k, shape=a.shape, dtype=a.dtype)) for k, a in arrays.items()})
            commits.append((name, repo.commit(name).commit_hash))
            took += time.perf_counter() - start
            cpu += cpu_time() - used
        with open(self.list, "w") as f:
            json.dump(commits, f)
        return {"seconds": took, "cpu": cpu, "note": "only tensors are stored" + (f"; {kept} files without any are left out" if kept else "")}

    def decode(self):
        np = sys.modules["numpy"]
        repo, took, cpu, tensors, differ = sys.modules["coral.version_control.repository"].Repository(self.store), 0.0, 0.0, 0, 0
        with open(self.list) as f:
            commits = json.load(f)
        for name, commit in commits:
            start, used = time.perf_counter(), cpu_time()
            back = repo.get_all_weights(commit)
            back = {k: np.ascontiguousarray(v.data) for k, v in back.items()}
            took += time.perf_counter() - start
            cpu += cpu_time() - used
            for k, a in self.arrays(name, os.path.join(self.corpus, name)).items():
                tensors += 1
                b = back.get(k)
                differ += b is None or a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes()
        return {"seconds": took, "cpu": cpu, "tensors": tensors, "differ": int(differ)}


PEERS = {"lmz": Lmz, "zipnn": ZipNN, "bigsmall": BigSmall, "coral-ml": CoralML}


def run(peer, step, corpus, store, out, cores):
    try:
        for m in peer.modules:
            importlib.import_module(m)
    except ImportError as e:
        return {"missing": e.name or str(e)}
    if step == "version":
        return {"version": importlib.metadata.version(peer.package)}
    p = peer(corpus, store, out, int(cores))
    start, cpu = time.perf_counter(), cpu_time()
    res = getattr(p, step)() or {}
    res.setdefault("seconds", time.perf_counter() - start)
    res.setdefault("cpu", cpu_time() - cpu)
    return res


def main():
    name, step, *rest = sys.argv[1:]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            res = run(PEERS[name], step, *rest)
    except Exception as e:
        res = {"error": f"{type(e).__name__}: {e}"[:500]}
    print(json.dumps(res), flush=True)


if __name__ == "__main__":
    main()
