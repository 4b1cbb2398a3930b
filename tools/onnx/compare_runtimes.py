"""Exports CLIP's towers as openai/CLIP builds them (torch.onnx.export, random weights), runs them in
`clipgraph run` and in ONNX Runtime on the same numbers and threads, turn by turn, and prints the
largest difference of the embeddings and the ratio of the median times.

    compare_runtimes.py CLIPGRAPH [--folder F] [--threads N] [--turns N] [--opset N] [tower ...]
"""
import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
import warnings

import numpy as np
import onnxruntime
import torch

from openai_clip import Normalized, ResNet, Text, Vit, randomize

TOWERS = {
    "vit-b-32": ("pixel_values", lambda: Vit(224, 32, 768, 12, 12, 512)),
    "rn50": ("pixel_values", lambda: ResNet(224, 64, [3, 4, 6, 3], 32, 1024)),
    "text": ("input_ids", lambda: Text(49408, 77, 512, 12, 8, 512)),
}


def numbers(name, batch):
    rng = np.random.default_rng(batch)
    if name == "pixel_values":
        return rng.standard_normal((batch, 3, 224, 224)).astype(np.float32)
    ids = rng.integers(1, 49000, (batch, 77))
    for row, length in zip(ids, rng.integers(5, 77, batch)):
        row[length - 1:] = 0
        row[length - 1] = 49407
    return ids


def export(folder, tower, opset):
    path = os.path.join(folder, f"{tower}-{opset}.onnx")
    name, build = TOWERS[tower]
    if not os.path.exists(path):
        torch.manual_seed(0)
        model = randomize(Normalized(build()))
        torch.onnx.export(model, (torch.from_numpy(numbers(name, 2)),), path, input_names=[name],
                          output_names=["embeds"], dynamic_axes={name: {0: "batch"}},
                          opset_version=opset, dynamo=False)
    return path, name


def turn_of_ours(a, path, name, x, repeat, folder):
    source, out = os.path.join(folder, "in.npy"), os.path.join(folder, "out.npy")
    np.save(source, x)
    text = subprocess.run([a.clipgraph, "run", path, "--input", f"{name}={source}", "--output",
                           f"embeds={out}", "--threads", str(a.threads), "--repeat", str(repeat)],
                          check=True, capture_output=True, text=True).stdout
    return float(re.search(r"median ([\d.]+) ms", text)[1]), np.load(out)


def turn_of_theirs(session, name, x, repeat):
    y = session.run(None, {name: x})[0]
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        session.run(None, {name: x})
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times), y


def compare(a, tower, batch, folder):
    path, name = export(a.folder or folder, tower, a.opset)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = a.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x, ours, theirs = numbers(name, batch), [], []
    repeat = max(3, a.runs // batch)
    for _ in range(a.turns):
        t, y = turn_of_ours(a, path, name, x, repeat, folder)
        ours.append(t)
        t, z = turn_of_theirs(session, name, x, repeat)
        theirs.append(t)
    difference = np.abs(y - z).max()
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"{tower:9} batch {batch:3}  differ by {difference:.1e}  times as fast: {ratio:.2f}", flush=True)
    assert difference <= 1e-5


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("clipgraph")
    p.add_argument("--folder", help="keep the exported files here")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--runs", type=int, default=30, help="of batch 1 in a turn")
    p.add_argument("--opset", type=int, default=17)
    p.add_argument("tower", nargs="*", default=list(TOWERS))
    a = p.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        if a.folder:
            os.makedirs(a.folder, exist_ok=True)
        for tower in a.tower:
            for batch in 1, 32:
                compare(a, tower, batch, folder)


if __name__ == "__main__":
    main()
