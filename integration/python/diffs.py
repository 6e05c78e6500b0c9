"""Check the figures of `coral diff --json` and `coral compare --json` against NumPy.

    diffs.py check OLD NEW RESULT.json    # two safetensors files and what Coral says of them
    diffs.py make DIR                     # safetensors files with relations: cast, low rank, soup, NaN
"""
import json
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file


def f64(t):
    return t.to(torch.float64).numpy().ravel()


def ordered(t):
    """Floats as integers in their order, both zeros the same."""
    if t.dtype == torch.float32:
        bits, mask = t.view(torch.int32).numpy().astype(np.int64) & 0xFFFFFFFF, 0x7FFFFFFF
    else:
        bits, mask = t.view(torch.int16).numpy().astype(np.int64) & 0xFFFF, 0x7FFF
    mag = bits & mask
    return np.where(mag != bits, -mag, mag).ravel()


def cosine(u, v):
    """1 for two zero vectors, 0 if one is zero."""
    uu, vv = u @ u, v @ v
    if uu == 0 or vv == 0:
        return float(uu == vv)
    return float(u @ v / np.sqrt(uu) / np.sqrt(vv))


def near(what, got, want, rel):
    if want is None or isinstance(want, float) and np.isnan(want):
        assert got is None, f"{what}: {got}, want none"
        return
    assert got is not None and abs(got - want) <= rel * abs(want) + 1e-300, f"{what}: {got!r}, NumPy says {want!r}"


def check(old, new, result):
    a, b = load_file(old), load_file(new)
    r = json.load(open(result))
    rows = {t["name"]: t for t in r["tensors"]}
    assert not r.get("omitted")
    aa = dd = bb = ab = 0.0
    for name in sorted(a.keys() & b.keys()):
        x, y = a[name], b[name]
        if name not in rows:
            assert x.dtype == y.dtype and torch.equal(x, y), f"{name} differs, and Coral does not say so"
            continue
        f = rows[name]["figures"]
        u, v = f64(x), f64(y)
        keep = np.isfinite(u) & np.isfinite(v)
        assert f.get("nan", 0) == np.isnan(v).sum() and f.get("old_nan", 0) == np.isnan(u).sum(), name
        assert f.get("inf", 0) == np.isinf(v).sum() and f.get("old_inf", 0) == np.isinf(u).sum(), name
        near(name + " sparsity", f["sparsity"], float((v == 0).mean()), 1e-12)
        fu, fv = u[keep], v[keep]
        d = fv - fu
        aa, bb, ab, dd = aa + fu @ fu, bb + fv @ fv, ab + fu @ fv, dd + d @ d
        near(name + " cosine", f["cosine"], cosine(fu, fv), 1e-12)
        near(name + " rel_l2", f["rel_l2"], float(np.linalg.norm(d) / np.linalg.norm(fu)) if d.any() else 0.0, 1e-10)
        near(name + " max_abs", f["max_abs"], float(np.abs(d).max()), 0)
        if x.dtype == y.dtype:
            changed = (x.view(torch.int32 if x.dtype == torch.float32 else torch.int16) != y.view(torch.int32 if x.dtype == torch.float32 else torch.int16)).double().mean().item()
            near(name + " changed", f["changed"], changed, 1e-12)
            p, q = x, y
        else:
            p, q = (x.to(y.dtype), y) if y.element_size() <= x.element_size() else (x, y.to(x.dtype))
        dist = np.sort(np.abs(ordered(p) - ordered(q))[keep])
        near(name + " ulp", f["ulp"], float(dist[(len(dist) - 1) // 2]), 1 / 100)
        assert f["max_ulp"] == dist[-1], name
    if "shared" in r:  # compare: totals are of everything
        aa = bb = ab = dd = 0.0
        for name in a.keys() & b.keys():
            u, v = f64(a[name]), f64(b[name])
            keep = np.isfinite(u) & np.isfinite(v)
            u, v = u[keep], v[keep]
            aa, bb, ab, dd = aa + u @ u, bb + v @ v, ab + u @ v, dd + (v - u) @ (v - u)
    t = r["total"]["figures"]
    near("total cosine", t["cosine"], float(ab / np.sqrt(aa) / np.sqrt(bb)), 1e-12)
    near("total rel_l2", t["rel_l2"], float(np.sqrt(dd) / np.sqrt(aa)), 1e-10)
    print(len(rows), "tensors agree with NumPy")


def make(where):
    g = torch.Generator().manual_seed(7)
    rand = lambda *s: torch.randn(*s, generator=g)
    base = {"h.0.w": rand(256, 320) * 0.05, "h.0.b": rand(320) * 0.01, "h.1.w": rand(320, 256) * 0.05, "frozen": rand(1000)}
    tuned = {k: v + rand(*v.shape) * 1e-3 if k != "frozen" else v for k, v in base.items()}
    other = {k: v + rand(*v.shape) * 1e-3 if k != "frozen" else v for k, v in base.items()}
    lora = dict(base)
    lora["h.0.w"] = base["h.0.w"] + rand(256, 8) @ rand(8, 320) * 1e-3
    broken = {k: v.clone() for k, v in tuned.items()}
    broken["h.0.b"][3] = float("nan")
    broken["h.1.w"][5, 5] = float("inf")
    soup = {k: (0.25 * tuned[k].double() + 0.75 * other[k].double()).float() for k in base}
    for name, m in {
        "base": base, "tuned": tuned, "other": other, "lora": lora, "broken": broken, "soup": soup,
        "bf16": {k: v.bfloat16() for k, v in tuned.items()}, "f16": {k: v.half() for k, v in tuned.items()},
        "prefixed": {"model." + k: v for k, v in tuned.items()},
    }.items():
        save_file({k: v.contiguous() for k, v in m.items()}, f"{where}/{name}.safetensors")
    torch.save(tuned, f"{where}/tuned.pt")


if sys.argv[1] == "check":
    check(*sys.argv[2:5])
else:
    make(sys.argv[2])
