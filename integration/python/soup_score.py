"""A greedy soup in NumPy, and the score that drives it: how well a linear model fits held-out data.

  soup_score.py make DIR              writes DIR/{main,a,b,c}.safetensors and the held-out data DIR/data.npz
  soup_score.py score DATA MODEL_DIR  prints the negative mean squared error of MODEL_DIR/m.safetensors
  soup_score.py greedy DIR OUT        chooses by recipe 1 of Wortsman et al. (2022), writes the soup to OUT, prints the names chosen and its score as JSON
"""
import json
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

NAMES = ("main", "a", "b", "c")


def make(where):
    rng = np.random.default_rng(11)
    truth = rng.normal(0, 1, (96, 40))
    x = rng.normal(0, 1, (200, 96))
    np.savez(f"{where}/data.npz", x=x, y=x @ truth + rng.normal(0, 0.1, (200, 40)))
    for name, noise in zip(NAMES, (0.31, 0.3, 2.0, 0.35)):
        save_file({"w": (truth + rng.normal(0, noise, truth.shape)).astype(np.float32), "bias": rng.normal(0, 0.01, 40).astype(np.float16)}, f"{where}/{name}.safetensors")


def score(data, m):
    error = data["x"] @ m["w"].astype(np.float64) + m["bias"].astype(np.float64) - data["y"]
    return -float(np.mean(error**2))


def average(models):
    return {k: (sum(m[k].astype(np.float64) for m in models) / len(models)).astype(v.dtype) for k, v in models[0].items()}


def greedy(where, out):
    data = np.load(f"{where}/data.npz")
    models = [load_file(f"{where}/{n}.safetensors") for n in NAMES]
    alone = [score(data, m) for m in models]
    chosen, best = [], 0.0
    for i in sorted(range(len(models)), key=lambda i: -alone[i]):
        members = sorted(chosen + [i])
        got = score(data, average([models[j] for j in members]))
        if not chosen or got >= best:
            chosen, best = members, got
    save_file(average([models[j] for j in chosen]), out)
    print(json.dumps({"chosen": [NAMES[i] for i in chosen], "score": best}))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    elif sys.argv[1] == "score":
        print(repr(score(np.load(sys.argv[2]), load_file(f"{sys.argv[3]}/m.safetensors"))))
    else:
        greedy(sys.argv[2], sys.argv[3])
