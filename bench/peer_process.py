#!/usr/bin/env python3
"""`clipgraph embed` of one picture by Python and PyTorch: a process from its start to its end.

    python bench/peer_process.py --model FILE --state FILE --picture FILE --out FILE --threads T

The state is mapped into memory and the model is made without weights of its own, so that only what
is read is loaded; the picture is prepared with Pillow. --make writes a state and ends.
"""
import argparse, json

import numpy
import torch
from PIL import Image

import clip_torch

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def prepared(path, size):
    """[1, 3, size, size]: the shortest side to size, bicubic, then the centre."""
    with Image.open(path) as picture:
        picture = picture.convert("RGB")
    w, h = (round(side * size / min(picture.size)) for side in picture.size)
    picture = picture.resize((w, h), Image.Resampling.BICUBIC)
    left, top = (w - size) // 2, (h - size) // 2
    pixels = numpy.asarray(picture.crop((left, top, left + size, top + size)), numpy.float32) / 255
    pixels = (pixels - numpy.float32(MEAN)) / numpy.float32(STD)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def main():
    parser = argparse.ArgumentParser(description="One picture's embedding, the whole process.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--state", required=True)
    parser.add_argument("--picture")
    parser.add_argument("--out")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--make", action="store_true")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    with open(a.model) as f:
        config = json.load(f)
    config = config.get("model_cfg", config)
    if a.make:
        torch.save(clip_torch.Clip(config).state_dict(), a.state)
        return
    with torch.device("meta"):
        model = clip_torch.Clip(config)
    model.load_state_dict(torch.load(a.state, mmap=True, weights_only=True), assign=True)
    with torch.inference_mode():
        row = model.eval().image(prepared(a.picture, config["vision_cfg"]["image_size"]))
    numpy.save(a.out, row.numpy())


main()
