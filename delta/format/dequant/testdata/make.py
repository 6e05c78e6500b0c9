#!/usr/bin/env python3
"""Writes NAME.bin for each block kind that the gguf package dequantises: 12 blocks (small ones: 24), then their values as float32, by gguf itself.

Made with gguf 0.19.0 and numpy 2.4.6: pip install gguf==0.19.0; python make.py
The blocks are random bytes, so every quant, scale and minimum occurs, but the half-precision scales are set to what tests most: ordinary
ones, both zeros, denormals, the largest. Q8_1 and Q8_K, which ggml uses in memory only and gguf does not read, are computed by their formula.
"""
import os

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

here = os.path.dirname(os.path.abspath(__file__))
# Where the halves stand in a block.
halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "Q8_1": [0, 2], "Q8_K": []}
special = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x3c00, 0x2e66]
for seed, (name, places) in enumerate(halves.items()):
    elements, size = (32, 36) if name == "Q8_1" else GGML_QUANT_SIZES[T[name]]  # gguf has 40 bytes for Q8_1, ggml since 2024 has 36
    n = 24 if elements == 32 else 12
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for i in range(n):
        for j, at in enumerate(places):
            h = special[(i + 4 * j) % len(special)] if i < 9 else np.float16(rng.normal() * 0.01).view(np.uint16)
            raw[i, at:at + 2] = np.frombuffer(np.uint16(h).tobytes(), np.uint8)
    if name == "MXFP4":
        raw[:6, 0] = [0, 1, 2, 127, 254, 255]
    if name == "Q8_K":
        raw[:, :4] = (rng.normal(size=n) * 0.01).astype(np.float32).view(np.uint8).reshape(n, 4)
        want = raw[:, :4].copy().view(np.float32) * raw[:, 4:260].view(np.int8).astype(np.float32)
    elif name == "Q8_1":
        want = raw[:, :2].copy().view(np.float16).astype(np.float32) * raw[:, 4:].view(np.int8).astype(np.float32)
    else:
        with np.errstate(all="ignore"):
            want = dequantize(raw, T[name])
    assert want.dtype == np.float32 and want.size == n * elements, name
    assert not np.isnan(want).any(), name
    with open(f"{here}/{name}.bin", "wb") as f:
        f.write(raw.tobytes())
        f.write(want.tobytes())
