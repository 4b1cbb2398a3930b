#!/usr/bin/env python3
"""Writes tests/golden/safetensors/small.safetensors with the reference implementation.

Element i of a tensor is (i - 2) / 4 for floats and i - 2 (modulo 256 for bytes) for integers,
so that the test knows every value. Needs torch and safetensors; the file was made with
safetensors 0.8.0.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

DTYPES = {
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "i64": torch.int64,
    "i32": torch.int32,
    "u8": torch.uint8,
}
SHAPES = {"matrix": (2, 3), "vector": (5,), "scalar": (), "empty": (0, 4), "cube": (2, 1, 2)}


def tensor(dtype, shape):
    count = torch.Size(shape).numel()
    x = torch.arange(count, dtype=torch.int64) - 2
    if dtype.is_floating_point:
        x = x.to(torch.float64) / 4
    elif dtype == torch.uint8:
        x = x % 256
    return x.to(dtype).reshape(shape)


def main():
    default = pathlib.Path(__file__).parent.parent / "tests/golden/safetensors/small.safetensors"
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"{d}.{s}": tensor(DTYPES[d], SHAPES[s]) for d in DTYPES for s in SHAPES}
    save_file(tensors, path, metadata={"naïve": "café \"日本\""})


main()
