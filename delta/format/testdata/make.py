"""Makes the fixtures of delta/format/*/testdata with the programs that write such files in the wild.

Run it with the checkout's venv, from anywhere:  .cache/venv/bin/python delta/format/testdata/make.py
It needs torch, safetensors and numpy, and gguf (pip install --no-deps --target DIR gguf; PYTHONPATH=DIR) for gguf/.
Beside the files it writes expect.json: for each file the tensors and storages as the program itself sees them after loading,
with the SHA-256 of their elements, so that the Go parsers are compared with the truth and not with themselves.
"""
import hashlib
import io
import json
import os
import struct
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import torch

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(7)
RNG = np.random.default_rng(7)

TORCH = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.uint16: "U16", torch.uint32: "U32",
    torch.uint64: "U64", torch.bool: "BOOL", torch.complex64: "C64", torch.complex128: "C128", torch.qint8: "I8",
}


def sha(b):
    return hashlib.sha256(b).hexdigest()


class Room:
    """The fixtures of one package."""

    def __init__(self, name):
        self.dir = os.path.join(HERE, name, "testdata")
        os.makedirs(self.dir, exist_ok=True)
        self.rows = []

    def path(self, file):
        return os.path.join(self.dir, file)

    def add(self, file, fmt, tensors, payloads):
        assert os.path.getsize(self.path(file)) < 50 << 10, file
        self.rows.append({"file": file, "format": fmt, "tensors": tensors, "payloads": payloads})

    def close(self):
        with open(self.path("expect.json"), "w") as f:
            f.write("[\n" + ",\n".join(json.dumps(r, separators=(",", ":"), ensure_ascii=False) for r in self.rows) + "\n]")
            f.write("\n")


# ---- torch


def raw(t):
    if t.is_quantized:
        t = t.int_repr()
    return t.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def flatten(x, path=""):
    """Yields (name, tensor) as delta/format/pickle names them."""
    at = lambda k: f"{path}.{k}" if path else str(k)
    if isinstance(x, torch.nn.Module):
        yield from flatten(x.state_dict(), path)
    elif isinstance(x, torch.Tensor) and x.layout == torch.sparse_coo:
        yield path + ".indices", x._indices()
        yield path + ".values", x._values()
    elif isinstance(x, torch.Tensor):
        yield path or "tensor", x
    elif isinstance(x, dict):
        for k, v in x.items():
            yield from flatten(v, at(k))
    elif isinstance(x, (list, tuple)):
        for i, v in enumerate(x):
            yield from flatten(v, at(i))


def torch_rows(named):
    tensors, storages, ranks = [], OrderedDict(), {}
    for name, t in named:
        tensors.append({"name": name, "dtype": TORCH[t.dtype], "shape": list(t.shape), "sha256": sha(raw(t))})
        s = t.untyped_storage()
        if not s.nbytes():
            continue
        # The name is that of the first tensor that is all of the storage, else at its begin, else in it.
        at = t.storage_offset()
        whole = at == 0 and t.numel() and t.element_size() * (1 + sum((d - 1) * k for d, k in zip(t.shape, t.stride()))) == s.nbytes()
        rank = 3 if whole else 2 if at == 0 else 1
        if rank > ranks.get(s.data_ptr(), 0):
            ranks[s.data_ptr()] = rank
            b = torch.empty(0, dtype=torch.uint8).set_(s).numpy().tobytes() if not t.is_quantized else raw(t)
            storages[s.data_ptr()] = {"name": name, "dtype": TORCH[t.dtype], "bytes": len(b), "sha256": sha(b)}
    return tensors, list(storages.values())


def save(room, file, obj, fmt, **kw):
    torch.save(obj, room.path(file), **kw)
    try:
        obj = torch.load(room.path(file), weights_only=False)
    except AttributeError:  # torch writes untyped storages (float8, uint16) into legacy files but cannot load them
        assert fmt == "torch-legacy", file
    room.add(file, fmt, *torch_rows(flatten(obj)))


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(16, 8)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8), torch.nn.LayerNorm(8)])
        self.register_buffer("steps", torch.arange(5))

    def forward(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return x


def trained():
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(3):
        opt.zero_grad()
        model(torch.randn(5, 8)).square().sum().backward()
        opt.step()
    return model, opt


def objects():
    """What is saved in both of torch's containers."""
    w = torch.randn(16, 8)
    big = torch.randn(40)
    model, opt = trained()
    kinds = {str(d).split(".")[1]: (torch.rand(11) * 9).to(d) for d in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
        torch.uint8, torch.bool, torch.complex64, torch.complex128,
        torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64)}
    return {
        "plain": model.state_dict(),
        "tied": {"embed.weight": w, "lm_head.weight": w.view(16, 8), "transposed": w.t(), "bias": torch.randn(3)},
        "views": {"a": big[3:9], "b": big[10:30:3], "c": big.view(5, 8)[1:4, 2:6], "scalar": big[7], "all": big,
                  "expand": torch.ones(1).expand(4, 3), "zero": torch.empty(0, 4), "zerodim": torch.tensor(2.5)},
        "adam": {"model": model.state_dict(), "optimizer": opt.state_dict(), "epoch": 3, "loss": [0.5, 0.25], "ok": True, "none": None},
        "optimizer": opt.state_dict(),
        "parameter": [torch.nn.Parameter(torch.randn(4, 2)), (torch.randn(2), {"x": torch.nn.Parameter(torch.randn(3), requires_grad=False)})],
        "kinds": kinds,
        "bare": torch.randn(6, 7),
        "many": OrderedDict((f"block.{i}.{n}", torch.randn(3)) for i in range(40) for n in ("weight", "bias")),
        "unicode": {"Schicht ä.重み": torch.randn(2), "": torch.randn(2), 'quote"\\': torch.randn(2)},
        "empty": {},
    }


def specials():
    """Tensors that are more than a storage, and the tensors that they are made of by the names they have then."""
    from torch.testing._internal.two_tensor import TwoTensor
    q = torch.quantize_per_channel(torch.randn(6, 4), torch.rand(6).double() + 0.1, torch.zeros(6, dtype=torch.long), 0, torch.qint8)
    dense = torch.randn(6, 8).relu()
    csr, csc, bsr = dense.to_sparse_csr(), dense.to_sparse_csc(), dense.to_sparse_bsr((2, 2))
    param = torch.nn.Parameter(torch.randn(4))
    param.extra = torch.ones(3)
    attr = torch.randn(3)
    attr.note = torch.ones(2)
    wrapper = TwoTensor(torch.randn(3), torch.randn(3))
    parts = [torch.randn(2, 3), torch.randn(4, 3)]
    nested = torch.nested.nested_tensor(parts)
    complex_ = torch.randn(4, dtype=torch.complex64)
    obj = {"q": q, "csr": csr, "csc": csc, "bsr": bsr, "param": param, "attr": attr, "wrapper": wrapper, "nested": nested, "conj": complex_.conj(),
           "pair": Pair((torch.randn(2), torch.randn(3)))}
    named = [("q", q), ("q.scales", q.q_per_channel_scales()), ("q.zero_points", q.q_per_channel_zero_points())]
    for n, t in (("csr", csr), ("bsr", bsr)):
        named += [(n + ".crow_indices", t.crow_indices()), (n + ".col_indices", t.col_indices()), (n + ".values", t.values())]
    named += [("csc.ccol_indices", csc.ccol_indices()), ("csc.row_indices", csc.row_indices()), ("csc.values", csc.values())]
    named += [("param", param), ("param.extra", param.extra), ("attr", attr), ("attr.note", attr.note), ("wrapper.a", wrapper.a), ("wrapper.b", wrapper.b)]
    named += [("nested.buffer", nested.values()), ("nested.sizes", nested._nested_tensor_size()), ("nested.strides", nested._nested_tensor_strides()),
              ("nested.offsets", nested._nested_tensor_storage_offsets()), ("pair.0", obj["pair"].both[0]), ("pair.1", obj["pair"].both[1])]
    tensors, payloads = torch_rows(named)
    b = raw(complex_)  # the elements are others than those of the storage: no tensor
    payloads.append({"name": "conj", "dtype": "C64", "bytes": len(b), "sha256": sha(b)})
    return obj, tensors, payloads


class Pair:
    """Its state is a pair of tensors, and not those of a dict and of slots."""

    def __init__(self, both):
        self.both = both

    def __getstate__(self):
        return self.both

    def __setstate__(self, both):
        self.both = both


def torchzip():
    room = Room("torchzip")
    for name, obj in objects().items():
        save(room, name + ".pt", obj, "torch-zip")
    save(room, "protocol4.pt", objects()["adam"], "torch-zip", pickle_protocol=4)
    save(room, "protocol5.pt", objects()["tied"], "torch-zip", pickle_protocol=5)
    save(room, "module.pt", Tiny(), "torch-zip")
    sparse = torch.sparse_coo_tensor([[0, 2], [1, 3]], [4.0, 5.0], (3, 4))
    save(room, "sparse.pt", {"s": sparse, "d": torch.randn(2)}, "torch-zip")
    save(room, "quantized.pt", {"q": torch.quantize_per_tensor(torch.randn(9), 0.1, 0, torch.qint8), "f": torch.randn(3)}, "torch-zip")

    scripted = torch.jit.script(Tiny())
    torch.jit.save(scripted, room.path("script.ts"))
    room.add("script.ts", "torch-zip", *torch_rows(scripted.state_dict().items()))

    const = torch.randn(8)
    traced = torch.jit.trace(lambda x: x * const, torch.randn(8))
    torch.jit.save(traced, room.path("trace.ts"))
    room.add("trace.ts", "torch-zip", *torch_rows([("constants.0", const)]))

    from torch.package import PackageExporter
    obj = {"w": torch.randn(4, 4), "b": torch.randn(4)}
    with PackageExporter(room.path("package.pt")) as e:
        e.save_pickle("models", "m.pkl", obj)
    room.add("package.pt", "torch-zip", *torch_rows(("models/m." + k, v) for k, v in obj.items()))

    # What torch.distributed.checkpoint writes: whole archives one behind the other.
    items = [torch.randn(5, 3), torch.arange(7)]
    with open(room.path("items.distcp"), "wb") as f:
        for t in items:
            b = io.BytesIO()
            torch.save(t, b)
            f.write(b.getvalue())
    room.add("items.distcp", "torch-zip", *torch_rows((f"{i}.tensor", t) for i, t in enumerate(items)))

    # The same entries written anew by another ZIP program: deflated, so that nothing is left to cut but what is stored.
    src = zipfile.ZipFile(room.path("plain.pt"))
    with zipfile.ZipFile(room.path("deflated.pt"), "w") as z:
        for i, n in enumerate(src.namelist()):
            z.writestr(zipfile.ZipInfo(n), src.read(n), zipfile.ZIP_DEFLATED if n.endswith("data/0") else zipfile.ZIP_STORED)
    tensors, payloads = torch_rows(flatten(torch.load(room.path("plain.pt"))))
    room.add("deflated.pt", "torch-zip", tensors[1:], payloads[1:])

    obj, tensors, payloads = specials()
    torch.save(obj, room.path("special.pt"))
    room.add("special.pt", "torch-zip", tensors, payloads)

    # What torch.distributed.checkpoint itself writes: the items in an order of its own, numbers as archives without storages.
    import shutil
    import tempfile

    import torch.distributed.checkpoint as dcp
    obj = {"model": {"w": torch.randn(6, 8), "b": torch.ones(3)}, "step": 3, "opt": {"s": [torch.ones(2)]}}
    with tempfile.TemporaryDirectory() as tmp:
        dcp.save(obj, checkpoint_id=tmp)
        shutil.copy(os.path.join(tmp, "__0_0.distcp"), room.path("rank0.distcp"))
    room.add("rank0.distcp", "torch-zip", *torch_rows([("1.tensor", obj["model"]["w"]), ("2.tensor", obj["model"]["b"]), ("3.tensor", obj["opt"]["s"][0])]))
    room.close()


def torchlegacy():
    room = Room("torchlegacy")
    for name, obj in objects().items():
        save(room, name + ".pth", obj, "torch-legacy", _use_new_zipfile_serialization=False)
    save(room, "protocol4.pth", objects()["adam"], "torch-legacy", _use_new_zipfile_serialization=False, pickle_protocol=4)
    save(room, "module.pth", Tiny(), "torch-legacy", _use_new_zipfile_serialization=False)
    obj, tensors, payloads = specials()
    torch.save(obj, room.path("special.pth"), _use_new_zipfile_serialization=False)
    room.add("special.pth", "torch-legacy", tensors, payloads)
    room.close()


# ---- safetensors


def st_row(name, dtype, shape, b):
    return {"name": name, "dtype": dtype, "shape": list(shape), "sha256": sha(b)}


def st_payloads(rows, data):
    return [{"name": r["name"], "dtype": r["dtype"], "bytes": len(data[r["name"]]), "sha256": r["sha256"]} for r in rows if data[r["name"]]]


def handmade(path, tensors, pad=b"", indent=None, extra=None):
    head, data, at = dict(extra or {}), b"", 0
    for name, (dtype, shape, b) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(b)]}
        at += len(b)
        data += b
    h = json.dumps(head, indent=indent).encode() + pad
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(h)) + h + data)


def safetensors():
    from safetensors.torch import load_file, save_file
    room = Room("safetensors")

    def real(file, tensors, **kw):
        save_file(tensors, room.path(file), **kw)
        back = load_file(room.path(file))
        rows = [st_row(n, TORCH[t.dtype], t.shape, raw(t)) for n, t in back.items()]
        room.add(file, "safetensors", rows, st_payloads(rows, {n: raw(t) for n, t in back.items()}))

    o = objects()
    kinds = {k: v for k, v in o["kinds"].items() if k != "complex128"}
    real("kinds.safetensors", kinds)
    real("model.safetensors", {k: v.contiguous() for k, v in o["plain"].items()}, metadata={"format": "pt"})
    real("shapes.safetensors", {"scalar": torch.tensor(1.5), "none": torch.empty(0, 3), "none2": torch.empty(0), "a": torch.randn(1, 2, 3, 4), "bf": torch.randn(3).bfloat16()},
         metadata={"note": 'a "quoted" \\ text', "k": "ä"})
    real("unicode.safetensors", {"Schicht ä.重み": torch.randn(2), "a\nb\U0001f600": torch.randn(2)})
    real("empty.safetensors", {})

    def hand(file, tensors, **kw):
        handmade(room.path(file), tensors, **kw)
        rows = [st_row(n, d if d != "NEW_KIND" else "BYTES", s, b) for n, (d, s, b) in tensors.items()]
        room.add(file, "safetensors", rows, st_payloads(rows, {n: b for n, (_, _, b) in tensors.items()}))

    f4 = RNG.bytes(12)
    hand("unpadded.safetensors", {"x": ("F32", [3], RNG.bytes(12)), "odd": ("U8", [5], RNG.bytes(5)), "after": ("F16", [2], RNG.bytes(4))})
    hand("packed.safetensors", {"f4": ("F4", [4, 6], f4), "f6": ("F6_E2M3", [4], RNG.bytes(3)), "e8": ("F8_E8M0", [3], RNG.bytes(3)), "u": ("F6_E3M2", [8], RNG.bytes(6))})
    hand("pretty.safetensors", {"a": ("F32", [1], RNG.bytes(4)), "b": ("NEW_KIND", [7], RNG.bytes(5))}, indent=2, pad=b"   \n",
         extra={"__metadata__": {"nested": "x"}})
    room.close()


# ---- numpy

NUMPY = {"f8": "F64", "f4": "F32", "f2": "F16", "i8": "I64", "i4": "I32", "i2": "I16", "i1": "I8",
         "u8": "U64", "u4": "U32", "u2": "U16", "u1": "U8", "b1": "BOOL", "c8": "C64", "c16": "C128", "M8": "I64", "m8": "I64"}


def np_rows(named, big_ok=False):
    tensors, payloads = [], []
    for name, a in named:
        plain = not (a.dtype.byteorder == ">" and a.dtype.itemsize > 1) and a.dtype.names is None
        kind = NUMPY.get(a.dtype.kind + str(a.dtype.itemsize), "BYTES") if plain else "BYTES"
        order = "F" if a.flags.f_contiguous and not a.flags.c_contiguous else "C"
        file = a.tobytes(order)
        row = {"name": name, "dtype": kind, "shape": list(a.shape), "sha256": sha(a.tobytes("C"))}
        if kind == "BYTES":
            row["sha256"] = sha(file)  # as it lies in the file
        tensors.append(row)
        if file:
            payloads.append({"name": name, "dtype": kind, "bytes": len(file), "sha256": sha(file)})
    return tensors, payloads


def npy():
    room = Room("npy")
    arrays = {
        "f4": RNG.standard_normal((3, 4)).astype("<f4"),
        "fortran": np.asfortranarray(RNG.standard_normal((3, 5, 2))),
        "vector-f2": RNG.standard_normal(9).astype("<f2"),
        "scalar": np.float64(2.5),
        "zero": np.empty((0, 3), "<i8"),
        "big": RNG.standard_normal(5).astype(">f4"),
        "bool": np.array([True, False, True]),
        "c16": RNG.standard_normal(3) + 1j,
        "u1": RNG.integers(0, 255, (4, 4), "u1"),
        "text": np.array(["ab", "cde"]),
        "bytes": np.array([b"ab", b"cde"]),
        "void": np.frombuffer(RNG.bytes(8), "V2"),
        "dates": np.array(["2020-01-01", "2021-01-01"], "M8[s]"),
        "fields": np.zeros(3, [("x", "<f4"), ("sub", [("y", "<i8", (2,))])]),
        "longdouble": np.zeros(3, np.longdouble),
    }
    for name, a in arrays.items():
        np.save(room.path(name + ".npy"), a)
        room.add(name + ".npy", "npy", *np_rows([("array", np.asarray(a))]))
    fields = np.zeros(2, [(f"field-{i:04}", "<f4") for i in range(2500)])
    with open(room.path("version2.npy"), "wb") as f:
        np.lib.format.write_array(f, fields, version=(2, 0))
    if os.path.getsize(room.path("version2.npy")) >= 50 << 10:
        fields = fields[:1][["field-%04d" % i for i in range(10)]].copy()
        with open(room.path("version2.npy"), "wb") as f:
            np.lib.format.write_array(f, np.ascontiguousarray(np.zeros(2, [(n, "<f4") for n in fields.dtype.names])), version=(2, 0))
        fields = np.zeros(2, [(n, "<f4") for n in fields.dtype.names])
    room.add("version2.npy", "npy", *np_rows([("array", fields)]))
    with open(room.path("two.npy"), "wb") as f:
        np.save(f, arrays["f4"])
        np.save(f, arrays["u1"])
    room.add("two.npy", "npy", *np_rows([("array", arrays["f4"]), ("array.1", arrays["u1"])]))
    np.save(room.path("objects.npy.bad"), np.array([{}, 3], object))
    os.replace(room.path("objects.npy.bad.npy"), room.path("objects.npy.bad"))

    named = {k: np.asarray(arrays[k]) for k in ("f4", "fortran", "scalar", "zero", "big", "text")}
    np.savez(room.path("many.npz"), **named, **{"layer/0.weight": arrays["u1"]})
    room.add("many.npz", "npz", *np_rows([*named.items(), ("layer/0.weight", arrays["u1"])]))
    np.savez_compressed(room.path("compressed.npz"), **named)
    room.add("compressed.npz", "npz", [], [])
    with zipfile.ZipFile(room.path("mixed.npz"), "w") as z:
        b = io.BytesIO()
        np.save(b, arrays["f4"])
        z.writestr("stored.npy", b.getvalue())
        z.writestr("deflated.npy", b.getvalue(), zipfile.ZIP_DEFLATED)
        z.writestr("damaged.npy", b.getvalue()[:-1])
        z.writestr("notes.txt", "not an array")
    room.add("mixed.npz", "npz", *np_rows([("stored", arrays["f4"])]))
    room.close()


# ---- gguf


def gguf():
    import gguf as g
    room = Room("gguf")

    def row(file):
        tensors, payloads = [], []
        data = open(room.path(file), "rb").read()
        for t in g.GGUFReader(room.path(file)).tensors:
            b = data[t.data_offset:t.data_offset + t.n_bytes]
            name = t.tensor_type.name
            shape = [int(x) for x in reversed(t.shape)]
            tensors.append({"name": t.name, "dtype": name, "shape": shape, "sha256": sha(b)})
            payloads.append({"name": t.name, "dtype": name, "bytes": int(t.n_bytes), "sha256": sha(b)})
        room.add(file, "gguf", tensors, payloads)

    def write(file, align=None):
        w = g.GGUFWriter(room.path(file), "llama")
        w.add_string("general.name", "tiny")
        w.add_uint32("llama.block_count", 2)
        w.add_float32("llama.rope.freq_base", 1e4)
        w.add_array("tokenizer.ggml.tokens", ["<s>", "</s>", "ä", ""])
        w.add_array("tokenizer.ggml.scores", [0.5, 1.5])
        w.add_bool("general.flag", True)
        if align:
            w.add_custom_alignment(align)
        w.add_tensor("token_embd.weight", RNG.standard_normal((4, 64)).astype(np.float32))
        w.add_tensor("blk.0.attn.weight", RNG.standard_normal((3, 32)).astype(np.float16))
        w.add_tensor("blk.0.norm", RNG.standard_normal(5).astype(np.float32))
        for q in (g.GGMLQuantizationType.Q8_0, g.GGMLQuantizationType.Q4_0, g.GGMLQuantizationType.Q5_1, g.GGMLQuantizationType.BF16):
            x = RNG.standard_normal((3, 64)).astype(np.float32)
            w.add_tensor(f"blk.0.{q.name}", g.quants.quantize(x, q), raw_dtype=q)
        for q, n in ((g.GGMLQuantizationType.Q4_K, 144), (g.GGMLQuantizationType.Q6_K, 210)):
            w.add_tensor(f"blk.1.{q.name}", np.frombuffer(RNG.bytes(2 * n), np.uint8).reshape(2, n), raw_dtype=q)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        row(file)

    write("tiny.gguf")
    write("aligned.gguf", 128)
    data = bytearray(open(room.path("tiny.gguf"), "rb").read())
    data[4] = 2  # version 2 has the same layout
    open(room.path("version2.gguf"), "wb").write(data)
    row("version2.gguf")
    w = g.GGUFWriter(room.path("vocab.gguf"), "llama")
    w.add_array("tokenizer.ggml.tokens", ["a", "b"])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    room.add("vocab.gguf", "gguf", [], [])
    room.close()


if __name__ == "__main__":
    for make in (torchzip, torchlegacy, safetensors, npy, gguf):
        if len(sys.argv) < 2 or make.__name__ in sys.argv[1:]:
            make()
