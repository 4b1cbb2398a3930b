#!/usr/bin/env python3
"""Holds an exported classifier, run by ONNX Runtime, against `clipgraph classify`.

    python tools/check_classifier.py CHECKPOINT TABLE [--labels FILE] [--most N] [--weights f16]

TABLE has the columns filepath and title, as data-cache/emoji/style.tsv has; labels are its distinct
titles, or those of a file. The classifier is exported with preprocessing inside, so that ONNX
Runtime is given the pictures' pixels. Prints for how many pictures both have the same best label,
the largest difference of a probability, and where they differ how near the two best were. Exits
with 1 where they differ by more than a near tie explains.

needs onnxruntime, NumPy and Pillow"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

TIE = 1e-3  # of a probability


def pixels(path):
    """As clipgraph decodes: transparent parts show white."""
    picture = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", picture.size, "WHITE")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))[None]


def classify(args, labels_file, count, paths):
    out = subprocess.run(
        [args.program, "classify", "--checkpoint", args.checkpoint, "--labels-file", labels_file,
         "--top", str(count), "--json", *paths], check=True, capture_output=True, text=True).stdout
    answers = {}
    for line in out.splitlines():
        j = json.loads(line)
        answers[j["picture"]] = {x["label"]: x["probability"] for x in j["labels"]}
    return answers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("table")
    parser.add_argument("--labels")
    parser.add_argument("--most", type=int, default=200)
    parser.add_argument("--weights", default="f32")
    parser.add_argument("--program", default="build/release/clipgraph")
    args = parser.parse_args()
    table = Path(args.table)
    with table.open(newline="") as f:
        rows = list(csv.DictReader(f, delimiter="\t"))
    labels = (Path(args.labels).read_text().splitlines() if args.labels
              else sorted({r["title"] for r in rows}))
    paths = [str(table.parent / r["filepath"]) for r in rows[:args.most]]
    with tempfile.TemporaryDirectory() as folder:
        labels_file = f"{folder}/labels.txt"
        Path(labels_file).write_text("\n".join(labels) + "\n")
        subprocess.run([args.program, "export", "--checkpoint", args.checkpoint, "--what",
                        "classifier", "--labels-file", labels_file, "--preprocess", "--weights",
                        args.weights, "--out", f"{folder}/export"], check=True)
        session = onnxruntime.InferenceSession(f"{folder}/export/model.onnx",
                                               providers=["CPUExecutionProvider"])
        wanted = classify(args, labels_file, len(labels), paths)
        same, worst, bad = 0, 0.0, 0
        for path in paths:
            found = session.run(["probs"], {"pixels": pixels(path)})[0][0]
            want = np.array([wanted[path][label] for label in labels])
            worst = max(worst, float(np.abs(found - want).max()))
            ours, theirs = int(want.argmax()), int(found.argmax())
            same += ours == theirs
            if ours != theirs:
                lead = float(want[ours] - want[theirs])
                bad += lead > TIE
                print(f"{path}: {labels[ours]} and {labels[theirs]}, which are {lead:.2g} apart")
    print(f"{same} of {len(paths)} pictures have the same best of {len(labels)} labels; "
          f"probabilities differ by {worst:.2g} at most")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
