#!/usr/bin/env python3
"""Real programs against views/safetensors of a Coral mount, with no Coral code in them.

  views.py save DIR          write weights files of many kinds into DIR
  views.py check DIR VIEW    compare every tensor that safetensors reads in VIEW with what torch, numpy and transformers read in DIR
"""
import gc
import json
import os
import struct
import sys

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model
from transformers import AutoModel, BertConfig, BertModel, GPT2Config, GPT2LMHeadModel


def tensors():
    g = torch.Generator().manual_seed(7)
    big = torch.randn(700, 300, generator=g)
    return {
        "f32": torch.randn(100, 65, generator=g), "f64": torch.randn(7, 3, generator=g, dtype=torch.float64), "f16": torch.randn(33, generator=g).half(),
        "bf16": torch.randn(50, 12, generator=g).bfloat16(), "f8": torch.randn(31, generator=g).to(torch.float8_e4m3fn), "c64": torch.randn(9, generator=g, dtype=torch.complex64),
        "i64": torch.arange(100), "i32": torch.arange(9, dtype=torch.int32), "u8": torch.arange(255, dtype=torch.uint8), "mask": torch.rand(999, generator=g) > 0.5,
        "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "nan": torch.tensor([float("nan"), float("inf"), -0.0, 1e-42]),
        "transposed": big.t(), "slice": big[5:600:3, 7:200:2], "expanded": torch.arange(5.0).expand(40, 5), "permuted": torch.randn(6, 5, 4, 3, generator=g).permute(2, 0, 3, 1),
        "tied": big, "deep": {"list": [torch.ones(3), {"x": torch.zeros(2)}], "<s>\n\"é\"": torch.arange(3)},
    }


def gguf(path):
    """A GGUF file with F32, F16, Q8_0 and Q4_0 tensors, and their values."""
    rng = np.random.default_rng(3)
    want, infos, data = {}, b"", b""
    def add(name, typ, shape, raw, values):
        nonlocal infos, data
        data += b"\0" * (-len(data) % 32)
        infos += struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", d) for d in reversed(shape)) + struct.pack("<IQ", typ, len(data))
        data += raw
        want[name] = torch.from_numpy(values.reshape(shape).copy())
    a = rng.normal(size=(3, 64)).astype(np.float32)
    add("token_embd.weight", 0, (3, 64), a.tobytes(), a)
    add("blk.0.attn_q.weight", 1, (3, 64), a.astype(np.float16).tobytes(), a.astype(np.float16))
    d = (rng.random(50, dtype=np.float32) * 0.01).astype(np.float16)
    q = rng.integers(-128, 128, (50, 32)).astype(np.int8)
    add("blk.0.ffn.weight", 8, (5, 320), b"".join(d[i].tobytes() + q[i].tobytes() for i in range(50)), d.astype(np.float32)[:, None] * q.astype(np.float32))
    q = rng.integers(0, 256, (50, 16)).astype(np.uint8)
    values = np.concatenate([q & 15, q >> 4], axis=1).astype(np.float32) - 8
    add("blk.1.ffn.weight", 2, (5, 320), b"".join(d[i].tobytes() + q[i].tobytes() for i in range(50)), d.astype(np.float32)[:, None] * values)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(want), 0) + infos
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32) + data)
    return want


def special():
    """Quantised and sparse tensors, and what is no tensor."""
    g = torch.Generator().manual_seed(5)
    x = torch.randn(8, 20, generator=g)
    s = (torch.rand(20, 30, generator=g) > 0.8) * torch.randn(20, 30, generator=g)
    channels = torch.quantize_per_channel(x, torch.rand(8, generator=g).double() * 0.1 + 0.01, torch.arange(8), 0, torch.qint8)
    return {"q8": torch.quantize_per_tensor(x, 0.05, 3, torch.qint8), "qu8": torch.quantize_per_tensor(x, 0.05, 128, torch.quint8), "q32": torch.quantize_per_tensor(x, 0.001, 0, torch.qint32),
        "channels": channels, "coo": s.to_sparse(), "csr": s.to_sparse_csr(), "csc": s.to_sparse_csc(), "bsr": s.to_sparse_bsr((5, 5)),
        "lr": 1e-3, "step": 7, "note": "é", "done": False, "none": None, "nan": float("nan"), "groups": [{"lr": 0.5, "betas": (0.9, 0.999)}]}


def check_special(name):
    want, got = special(), load_file(name)
    with safe_open(name, framework="pt") as f:
        meta = f.metadata()
    quantized, values = json.loads(meta["coral.quantized"]), json.loads(meta["coral.values"])
    for k in ("q8", "qu8", "q32", "channels"):
        q, i = quantized[k], got[k]
        assert torch.equal(i, want[k].int_repr()), k
        if "axis" in q:
            shape = [-1 if n == q["axis"] else 1 for n in range(i.dim())]
            x = ((i - got[f"{k}.zero_points"].reshape(shape)) * got[f"{k}.scales"].reshape(shape)).float()
        else:
            x = (i.float() - q["zero_point"]) * torch.tensor(q["scale"], dtype=torch.float32)
        assert torch.equal(x, want[k].dequantize()), k
    for k, make, names in (("coo", torch.sparse_coo_tensor, ("indices", "values")), ("csr", torch.sparse_csr_tensor, ("crow_indices", "col_indices", "values")),
                           ("csc", torch.sparse_csc_tensor, ("ccol_indices", "row_indices", "values")), ("bsr", torch.sparse_bsr_tensor, ("crow_indices", "col_indices", "values"))):
        x = make(*(got[f"{k}.{n}"] for n in names), values[f"{k}.size"])
        assert torch.equal(x.to_dense(), want[k].to_dense()), k
    plain = {"lr": 1e-3, "step": 7, "note": "é", "done": False, "none": None, "nan": "NaN", "groups.0.lr": 0.5, "groups.0.betas": [0.9, 0.999]}
    assert {k: v for k, v in values.items() if not k.endswith(".size")} == plain, values


def bert():
    torch.manual_seed(1)
    return BertModel(BertConfig(vocab_size=200, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=40))


def gpt():
    torch.manual_seed(2)
    return GPT2LMHeadModel(GPT2Config(vocab_size=120, n_positions=32, n_embd=24, n_layer=2, n_head=2))


def save(d):
    os.makedirs(d)
    t = tensors()
    torch.save(t, f"{d}/plain.pt")
    del t["f8"]  # torch writes it and cannot read it
    torch.save(t, f"{d}/legacy.pth", _use_new_zipfile_serialization=False)
    m = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 4))
    opt = torch.optim.AdamW(m.parameters(), lr=1e-3)
    for _ in range(2):
        m(torch.ones(2, 8)).sum().backward()
        opt.step()
    torch.save({"model": m.state_dict(), "optimizer": opt.state_dict(), "step": 2}, f"{d}/trainer.ckpt")
    torch.save(opt.state_dict(), f"{d}/optimizer.pt")
    torch.save(special(), f"{d}/special.pt")
    torch.save({"last_epoch": 3, "lr": [0.1]}, f"{d}/scheduler.pt")
    np.savez(f"{d}/arrays.npz", a=t["f32"].numpy(), b=np.asfortranarray(t["f64"].numpy()), c=np.arange(5, dtype=np.uint16))
    np.save(f"{d}/fortran.npy", np.asfortranarray(np.arange(60_000.0).reshape(200, 300)))
    gguf(f"{d}/model.gguf")
    with open(f"{d}/broken.pt", "wb") as f:
        f.write(os.urandom(5000))
    for name, model in (("bert", bert()), ("gpt", gpt())):
        os.makedirs(f"{d}/{name}")
        model.config.save_pretrained(f"{d}/{name}")
        torch.save(model.state_dict(), f"{d}/{name}/pytorch_model.bin")
    os.makedirs(f"{d}/sharded")
    sd = bert().state_dict()
    bert().config.save_pretrained(f"{d}/sharded")
    names = sorted(sd)
    weight_map = {}
    for i, part in enumerate((names[:20], names[20:])):
        shard = f"pytorch_model-{i + 1:05d}-of-00002.bin"
        torch.save({n: sd[n] for n in part}, f"{d}/sharded/{shard}")
        weight_map |= dict.fromkeys(part, shard)
    json.dump({"metadata": {"total_size": sum(x.nbytes for x in sd.values())}, "weight_map": weight_map}, open(f"{d}/sharded/pytorch_model.bin.index.json", "w"))


def flat(v, path="", out=None):
    out = {} if out is None else out
    if isinstance(v, torch.Tensor):
        out[path] = v
    elif isinstance(v, dict):
        for k, x in v.items():
            flat(x, f"{path}.{k}" if path else str(k), out)
    elif isinstance(v, (list, tuple)):
        for i, x in enumerate(v):
            flat(x, f"{path}.{i}" if path else str(i), out)
    return out


def same(got, want, what):
    assert got.keys() == want.keys(), f"{what}: names differ: {got.keys() ^ want.keys()}"
    for k, y in want.items():
        x = got[k]
        assert x.dtype == y.dtype and x.shape == y.shape, f"{what}: {k}: {x.dtype}{tuple(x.shape)} against {y.dtype}{tuple(y.shape)}"
        xb, yb = x.contiguous().flatten().view(torch.uint8), y.detach().contiguous().flatten().view(torch.uint8)
        assert torch.equal(xb, yb), f"{what}: {k}: values differ"


def check(d, v):
    for f in ("plain.pt", "legacy.pth", "trainer.ckpt", "optimizer.pt"):
        name = f"{v}/{f.rsplit('.', 1)[0]}.safetensors"
        want = flat(torch.load(f"{d}/{f}", weights_only=True))
        same(load_file(name), want, f)
        with safe_open(name, framework="pt") as s:
            assert s.metadata()["format"] == "pt"
            if "tied" in want:
                assert torch.equal(s.get_slice("tied")[10:20, 3:9], want["tied"][10:20, 3:9])
                assert torch.equal(s.get_slice("transposed")[100:103], want["transposed"][100:103])
    assert "state.0.exp_avg" in load_file(f"{v}/optimizer.safetensors")
    check_special(f"{v}/special.safetensors")
    z = np.load(f"{d}/arrays.npz")
    same(load_file(f"{v}/arrays.safetensors"), {k: torch.from_numpy(np.ascontiguousarray(z[k])) for k in z.files}, "npz")
    same(load_file(f"{v}/fortran.safetensors"), {"array": torch.from_numpy(np.ascontiguousarray(np.load(f"{d}/fortran.npy")))}, "npy")
    same(load_file(f"{v}/model.safetensors"), gguf(os.devnull), "gguf")
    for absent in ("scheduler.safetensors", "scheduler.pt", "broken.pt", "broken.safetensors", "plain.pt"):
        assert not os.path.lexists(f"{v}/{absent}"), absent
    for name in ("bert", "sharded"):
        got, info = AutoModel.from_pretrained(f"{v}/{name}", output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"], f"{name}: {info}"
        same(got.state_dict(), bert().state_dict(), name)
    got, info = GPT2LMHeadModel.from_pretrained(f"{v}/gpt", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    same(got.state_dict(), gpt().state_dict(), "gpt, tied")
    assert got.lm_head.weight.data_ptr() == got.transformer.wte.weight.data_ptr(), "gpt is not tied"
    with safe_open(f"{v}/gpt/model.safetensors", framework="pt") as s:
        assert json.loads(s.metadata()["coral.tied"]) in ({"lm_head.weight": "transformer.wte.weight"}, {"transformer.wte.weight": "lm_head.weight"}), s.metadata()
    m = gpt()
    m.load_state_dict(load_file(f"{v}/gpt/model.safetensors"))  # strict: every name is there
    m = bert()
    load_model(m, f"{v}/bert/model.safetensors")
    gc.collect()


if sys.argv[1] == "save":
    save(sys.argv[2])
else:
    check(sys.argv[2], sys.argv[3])
print("ok")
