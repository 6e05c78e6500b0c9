"""convert.py make DIR | check DIR: files that coral convert is tried on, and what the libraries see in its outputs."""
import collections
import importlib.util
import json
import sys

import numpy as np
import safetensors.torch
import torch


def tensors():
    """Every dtype that safetensors and torch share, and the shapes that trip writers."""
    g = torch.Generator().manual_seed(7)
    d = collections.OrderedDict()
    d["w"] = torch.randn(96, 64, generator=g)
    d["bias"] = torch.randn(64, generator=g)
    d["odd.rows"] = torch.randn(5, 7, generator=g)
    for name in ["float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]:
        d[name] = torch.randn(3, 5, generator=g).to(getattr(torch, name))
    for name in ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"]:
        d[name] = torch.arange(6).reshape(2, 3).to(getattr(torch, name))
    d["flags"] = torch.tensor([True, False, True])
    d["complex"] = torch.complex(torch.randn(4, generator=g), torch.randn(4, generator=g))
    d["scalar"] = torch.tensor(3.25)
    d["none"] = torch.zeros(0, 4)
    d["special"] = torch.tensor([0.0, -0.0, float("inf"), -float("inf"), float("nan"), 1e-45, 65520.0, 3.4e38])
    return d


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.contiguous().flatten().view(torch.uint8).equal(b.contiguous().flatten().view(torch.uint8))


def compare(got, want, what):
    assert set(got) == set(want), (what, set(got) ^ set(want))
    for k in want:
        assert same(got[k], want[k]), (what, k, got[k], want[k])


def make(d):
    t = tensors()
    safetensors.torch.save_file(dict(t), f"{d}/in.safetensors", metadata={"format": "pt"})
    views = dict(t)
    views["w"] = t["w"].T.contiguous().T  # strided in the file
    views["tied"] = views["bias"]
    torch.save(views, f"{d}/in.pt")
    numpy = {k: v.numpy() for k, v in t.items() if v.dtype not in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)}
    np.savez(f"{d}/in.npz", **numpy)
    floats = {k: t[k] for k in ("w", "bias", "odd.rows", "int32")}
    safetensors.torch.save_file(floats, f"{d}/floats.safetensors", metadata={"format": "pt"})


def check(d):
    t = tensors()
    assert open(f"{d}/st-st.safetensors", "rb").read() == open(f"{d}/in.safetensors", "rb").read(), "not the bytes of the safetensors library"
    tied = dict(t, tied=t["bias"])
    compare(safetensors.torch.load_file(f"{d}/pt-st.safetensors"), tied, "pt to safetensors")
    for mmap in (False, True):
        compare(torch.load(f"{d}/st-pt.pt", weights_only=True, mmap=mmap), t, "safetensors to pt")
        got = torch.load(f"{d}/pt-pt.pt", weights_only=True, mmap=mmap)
        compare(got, tied, "pt to pt")
        assert got["tied"].data_ptr() == got["bias"].data_ptr(), "a tie was lost"
    z = np.load(f"{d}/npz-npz.npz", allow_pickle=False)
    for k, v in np.load(f"{d}/in.npz").items():
        assert z[k].dtype == v.dtype and z[k].shape == v.shape and z[k].tobytes() == v.tobytes(), k
    for kind in ("bfloat16", "float16", "float8_e4m3fn"):
        cast = safetensors.torch.load_file(f"{d}/{kind}.safetensors")
        for k, v in t.items():
            want = v.to(getattr(torch, kind)) if v.is_floating_point() else v
            if kind.startswith("float8") or v.dtype == torch.float64:
                # torch saturates 8 bits in its own way, and rounds F64 twice on its way to 16 bits: finite values of the others are compared
                ok = want.float().isfinite() & cast[k].float().isfinite() if v.is_floating_point() else None
                if v.dtype != torch.float64 and ok is not None:
                    assert torch.equal(want.float()[ok], cast[k].float()[ok]), (kind, k)
                continue
            nan = v.isnan() if v.is_floating_point() else torch.zeros(v.shape, dtype=torch.bool)
            assert cast[k].dtype == want.dtype and torch.equal(cast[k][~nan], want[~nan]) and (not nan.any() or cast[k][nan].isnan().all()), (kind, k)
    index = json.load(open(f"{d}/shards/model.safetensors.index.json"))
    union = {}
    for f in sorted(set(index["weight_map"].values())):
        part = safetensors.torch.load_file(f"{d}/shards/{f}")
        assert all(index["weight_map"][k] == f for k in part)
        union.update(part)
    compare(union, t, "shards")
    assert index["metadata"]["total_size"] == sum(v.nbytes for v in t.values())
    gguf(d)
    print("ok")


def gguf(d):
    if importlib.util.find_spec("gguf") is None:
        print("NOT CHECKED: the gguf package is not installed in this venv")
        return
    from gguf import GGMLQuantizationType, GGUFReader
    from gguf.quants import quantize

    t = tensors()
    for kind in ("f32", "f16", "q8_0"):
        for x in GGUFReader(f"{d}/{kind}.gguf").tensors:
            want = t[x.name].numpy()
            assert tuple(reversed(x.shape.tolist())) == want.shape
            if x.tensor_type == GGMLQuantizationType.Q8_0:
                assert kind == "q8_0" and x.name == "w" and np.array_equal(x.data, quantize(want, GGMLQuantizationType.Q8_0)), x.name
            else:
                half = x.tensor_type == GGMLQuantizationType.F16
                assert half == (kind != "f32" and want.ndim == 2 and want.dtype == np.float32), x.name
                assert np.array_equal(x.data.reshape(want.shape), want.astype(np.float16) if half else want), x.name


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](sys.argv[2])
