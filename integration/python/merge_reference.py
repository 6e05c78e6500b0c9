"""What `coral merge` must compute, by mergekit's definitions in NumPy (float64, rounded once).

  merge_reference.py make DIR               writes base, a, b, c.safetensors: small models of F32, F16 and BF16 tensors
  merge_reference.py check SPEC.json OUT BASE SIDE... [-- SPEC.json OUT BASE SIDE...]...   compares merged files with the reference; prints a line of JSON for each
  merge_reference.py recipe RECIPE.yaml OUT BASE SIDE... [-- …]...         the same, with the parameters that mergekit would take for each tensor from its recipe; sides in the order of the
                                                                          recipe's models without the base, which for slerp is the first side

SPEC.json is the "strategy" of the label merge.recipe. torch rounds float64 to BF16 and F16 twice, by way of float32, so that a few elements are a step off. Nothing here is taken from Coral: the masks of dare are computed from their description.
"""
import hashlib
import json
import re
import struct
import sys

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file


def make(where):
    rng = np.random.default_rng(5)
    shapes = {"embed": (300, 64), "layer.0.weight": (64, 64), "layer.0.bias": (64,), "layer.1.weight": (48, 32), "layer.2.weight": (48, 32), "layer.3.mlp.weight": (48, 32), "head": (7, 64), "scale": (1,), "zero": (16,)}
    kinds = {"layer.0.weight": torch.bfloat16, "head": torch.float16}
    base = {k: rng.normal(0, 0.05, s) for k, s in shapes.items()}
    base["zero"][:] = 0
    for name, size in (("base", 0), ("a", 0.01), ("b", 0.02), ("c", 0.005)):
        out = {}
        for k, v in base.items():
            change = rng.normal(0, size, v.shape) if size else 0
            out[k] = torch.from_numpy(v + change).to(kinds.get(k, torch.float32))
        save_file(out, f"{where}/{name}.safetensors", metadata={"format": "pt"})


def spread(values, n, default=1.0):
    values = values or [default]
    return np.array(values * n if len(values) == 1 else values, dtype=np.float64)


def random_mask(seed, name, side, n, density):
    key = struct.unpack("<Q", hashlib.sha256(b"coral dare" + struct.pack("<QQ", seed, side) + name.encode()).digest()[:8])[0]
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (np.arange(n, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53 < density


def magnitude_mask(d, density, gamma):
    n = d.size
    if density >= 1:
        return np.ones(n, bool)
    keep = max(1, int(density * n))
    top = int(gamma * n)
    low = n - keep - top
    if low < 0:
        top, low = top + low, 0
    order = np.argsort(np.abs(d), kind="stable")
    mask = np.zeros(n, bool)
    mask[order[low : n - top]] = True
    return mask


def task(s, name, base, sides):
    method, n = s["method"], len(sides)
    weights, density = spread(s.get("weights"), n), spread(s.get("density"), n)
    deltas = []
    for i, x in enumerate(sides):
        d = x - base
        if method == "ties":
            mask = magnitude_mask(d, density[i], 0)
        elif method.startswith("breadcrumbs"):
            mask = magnitude_mask(d, density[i], s.get("gamma", 0))
        elif method.startswith("dare"):
            mask = random_mask(s.get("seed", 0), name, i, d.size, density[i])
        else:
            mask = np.ones(d.size, bool)
        kept = d * mask
        if s.get("rescale") == "l1" and density[i] < 1:
            before, after = np.abs(d).sum(), np.abs(kept).sum()
            if before >= 1e-7 and after >= 1e-7:
                kept = kept * (before / after)
        elif s.get("rescale") == "density" and density[i] < 1:
            kept = kept * (1 / density[i])
        deltas.append(kept)
    deltas = np.stack(deltas)
    weighted = deltas * weights[:, None]
    if method.endswith("ties"):
        majority = (weighted.sum(0) >= 0) * 2 - 1
        mask = np.sign(weighted) == majority
        mixed, divisor = (weighted * mask).sum(0), (weights[:, None] * mask).sum(0)
        divisor[divisor == 0] = 1
    else:
        mixed, divisor = weighted.sum(0), weights.sum()
        divisor = 1 if abs(divisor) < 1e-8 else divisor
    if s.get("normalize"):
        mixed = mixed / divisor
    return base + mixed * s.get("lambda", 0)


def reference(s, name, base, sides):
    method, n = s["method"], len(sides)
    if method == "average":
        return sum(sides) / n
    if method == "weighted":
        return s.get("alpha", 0) * sides[0] + (1 - s.get("alpha", 0)) * sides[1]
    if method == "linear":
        w = spread(s.get("weights"), n)
        out = sum(wi * x for wi, x in zip(w, sides))
        return out / w.sum() if s.get("normalize") else out
    if method == "slerp":
        t, v0, v1 = s.get("t", 0), sides[0], sides[1]
        unit = [v / np.linalg.norm(v) if np.linalg.norm(v) > 1e-8 else v for v in (v0, v1)]
        dot = np.sum(unit[0] * unit[1])
        if abs(dot) > 0.9995:
            return (1 - t) * v0 + t * v1
        theta = np.arccos(dot)
        return np.sin(theta - theta * t) / np.sin(theta) * v0 + np.sin(theta * t) / np.sin(theta) * v1
    if method == "model-stock":
        off = [x - base for x in sides]
        cos = []
        for i in range(n):
            for j in range(i + 1, n):
                norms = max(np.linalg.norm(off[i]) * np.linalg.norm(off[j]), 1e-6)
                cos.append(min(1, max(-1, (off[i] * off[j]).sum() / norms)))
        c = np.mean(cos)
        t = n * c / (1 + (n - 1) * c)
        return t * (sum(sides) / n) + (1 - t) * base
    return task(s, name, base, sides)


def evaluate(name, setting, t):
    """mergekit's evaluate_setting (mergekit/config.py), of what YAML gives."""
    if not isinstance(setting, list):
        return setting
    if all(isinstance(e, (int, float)) for e in setting):
        scaled = t * (len(setting) - 1)
        i = int(scaled)
        frac = scaled - i
        return (1 - frac) * setting[i] + frac * setting[min(len(setting) - 1, i + 1)]
    for c in setting:
        if c.get("filter") in (None, "*") or c["filter"] in name:
            return evaluate(name, c["value"], t)
    return None


def layer_places(names):
    """t of each tensor: mergekit counts layers by the first number between dots; what has none is at 0."""
    found = {n: re.search(r"\.(\d+)\.", n) for n in names}
    count = {}
    for n, m in found.items():
        if m:
            count[n[: m.start()]] = max(count.get(n[: m.start()], 0), int(m.group(1)) + 1)
    out = {}
    for n, m in found.items():
        layers = count[n[: m.start()]] if m else 0
        out[n] = 0 if not m else 1 if layers == 1 else int(m.group(1)) / (layers - 1)
    return out


DEFAULTS = {"ties": {"normalize": True}, "linear": {"normalize": True}, "dare_linear": {"rescale": True}, "dare_ties": {"rescale": True}}


def from_recipe(path):
    """Returns what gives the parameters of a tensor."""
    with open(path) as f:
        recipe = yaml.safe_load(f)
    slice_ = (recipe.get("slices") or [{}])[0]
    models = recipe.get("models") or slice_["sources"]
    levels = [slice_.get("parameters") or {}, recipe.get("parameters") or {}]
    if recipe["merge_method"] != "slerp":
        models = [m for m in models if m["model"] != recipe.get("base_model")]

    def parameter(key, name, t, default, own=None):
        for level in ([own.get("parameters") or {}] if own else []) + levels:
            if key in level and (v := evaluate(name, level[key], t)) is not None:
                return v
        return default

    def of(name, t):
        method = recipe["merge_method"]
        s = {"method": method.replace("_", "-"), "lambda": parameter("lambda", name, t, 1.0), "gamma": parameter("gamma", name, t, 0.01), "t": parameter("t", name, t, None)}
        for key in ("normalize", "rescale"):
            s[key] = bool(parameter(key, name, t, DEFAULTS.get(method, {}).get(key, False)))
        s["rescale"] = "l1" if s["rescale"] else "none"
        s["weights"] = [parameter("weight", name, t, None, m) for m in models]
        s["density"] = [parameter("density", name, t, 1.0, m) for m in models]
        return s

    return of


def ordered(x):
    """Floats of a tensor as integers in the same order: their difference counts steps."""
    wide = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}[x.dtype]
    i = x.contiguous().view(wide).to(torch.int64).flatten().numpy()
    top = 1 << (8 * x.element_size() - 1)
    return np.where(i < 0, -top - i, i)


def from_spec(path):
    with open(path) as f:
        s = json.load(f)
    return lambda name, t: s


def check(spec, out, base, sides):
    out, base, sides = load_file(out), load_file(base), [load_file(p) for p in sides]
    res = {"tensors": 0, "elements": 0, "different": 0, "max_ulp": 0}
    places = layer_places(out)
    for name, got in out.items():
        if not got.is_floating_point() or all(torch.equal(x[name], sides[0][name]) for x in sides):
            assert torch.equal(got, sides[0][name]), name
            continue
        to64 = lambda x: x[name].to(torch.float64).flatten().numpy()
        ref = reference(spec(name, places[name]), name, to64(base), [to64(x) for x in sides])
        want = torch.from_numpy(ref).to(got.dtype)
        ulp = np.abs(ordered(got) - ordered(want))
        res["tensors"] += 1
        res["elements"] += ulp.size
        res["different"] += int((ulp > 0).sum())
        res["max_ulp"] = max(res["max_ulp"], int(ulp.max(initial=0)))
    print(json.dumps(res))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        args = sys.argv[2:]
        while args:
            end = args.index("--") if "--" in args else len(args)
            read = from_recipe if sys.argv[1] == "recipe" else from_spec
            check(read(args[0]), args[1], args[2], args[3:end])
            args = args[end + 1 :]
