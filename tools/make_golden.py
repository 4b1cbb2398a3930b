#!/usr/bin/env python3
"""Makes tests/golden/NAME.safetensors: what small models of every kind of tower, and two of full
size, must compute, for tests/test_golden.c and test_golden_full.c. The tests themselves need no
Python.

    python tools/make_golden.py [NAME …]            all, or those named; needs PyTorch and NumPy
    python tools/make_golden.py --search NAME       prints a first for which the margins hold
    python tools/make_golden.py --check-transformers    needs transformers: are the models right?
    python tools/make_golden.py --count             parameters and FLOPs of the published models

The models are written in golden/ from their definition, with plain tensor operations. No weight or
input is stored: each is a function of its name (golden/hashed.py). Inputs have a number, which is
`first` + the training step; step 0 is also the single run whose embeddings, logits, gradients and
statistics are kept.

`first` is chosen, not arbitrary. At 0 the gradient of a ReLU jumps: where one of a ResNet's
370,000 inputs of ReLUs lies within rounding of 0, implementations that are all right differ by 1 %
in gradients and, a few steps later, in losses. (resnet_cbow with first = 0 has such an element,
-7.5e-7 before the second stage; deciding it the other way here gave the gradients and losses of the
library that had decided so.) MARGINS are how near 0 any may come, in step 0 and in the others; they
are checked at every run.

Everything is computed in f64 and stored rounded to f32; what PyTorch's own f32 would have given
is told in the metadata. Tensors of a small model:

    image_embedding, text_embedding, logits, loss           training mode, step 0
    grad.NAME                                               of the loss, for every parameter
    stat.NAME                                               running statistics after that step
    eval.image_embedding                                    inference mode, before any step
    losses                                                  of ten training steps
    hash                                                    u(i) of "hash", to tell the halves agree

and of one of full size, in inference mode: image_embedding, text_embedding, logits."""
import argparse
from pathlib import Path

import torch

from golden import check, record
from golden.configs import PUBLISHED, SMALL

OUT = Path(__file__).parent.parent / "tests/golden"
FULL = {"RN50": "rn50", "ViT-B-32": "vit_b_32"}
FULL_LENGTHS, FULL_IMAGES = [7, 0, 75], 2


def make(name):
    path = OUT / f"{name}.safetensors"
    if name in SMALL:
        first, config = SMALL[name]
        torch.set_num_threads(1)
        record.small(path, config, first, check.metadata(name))
    else:
        published = {file: model for model, file in FULL.items()}[name]
        record.full(path, PUBLISHED[published], FULL_LENGTHS, FULL_IMAGES)


def main():
    names = list(SMALL) + list(FULL.values())
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name", nargs="*", help=", ".join(names))
    parser.add_argument("--search", metavar="NAME", choices=SMALL)
    parser.add_argument("--check-transformers", action="store_true")
    parser.add_argument("--count", action="store_true")
    a = parser.parse_args()
    for name in a.name:
        if name not in names:
            parser.error(f"{name}: wanted one of {', '.join(names)}")
    if a.search:
        torch.set_num_threads(1)
        print(f"{a.search}: first = {record.search(SMALL[a.search][1])}")
    elif a.check_transformers:
        found = check.metadata(check.ANCHOR) or parser.error("transformers is not installed")
        print(f"{record.versions()}: {found['checked']}")
    elif a.count:
        check.count()
    else:
        for name in a.name or names:
            make(name)


if __name__ == "__main__":
    main()
