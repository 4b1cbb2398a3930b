#!/usr/bin/env python3
"""Runs exported files in ONNX Runtime, and holds what comes out against our own runtime.

    python tools/check_onnx.py [--build build/release] [NAME …]    small models, or those named
    python tools/check_onnx.py --full [NAME …]                     the paper's, with random weights
    python tools/check_onnx.py --ops                               every case of the op tables
    python tools/check_onnx.py --preprocess                        pictures prepared inside the file

needs onnx, onnxruntime and NumPy. tests/onnx_sample writes each file, and inputs and embeddings of
three batches beside it. Small models are those of tools/golden/configs.py, which have every block
and key, and further ones for every activation, norm and pooling; each is exported as passes leave it
and as described, at opset 17 and 20, with weights in f32, f16 and bf16, inside and outside the file.
The checker runs with full_check, shapes are inferred strictly."""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from golden.configs import PUBLISHED, SMALL, transformer, vit

TOLERANCE = {"f32": 1e-5, "f16": 2e-3, "bf16": 1e-1}
VARIANTS = [[], ["described=1"], ["opset=20"], ["opset=18"], ["weights=f16"], ["weights=bf16"],
            ["external=1"], ["described=1", "weights=f16", "opset=20"]]


def more_models():
    """Every activation with every norm, every pooling with every mask."""
    models = {}
    for act in ("gelu", "gelu_tanh", "quickgelu", "relu", "silu"):
        for norm in ("layernorm", "rmsnorm"):
            models[f"{act}_{norm}"] = {
                "embed_dim": 20, "vision_cfg": vit(act=act, norm=norm),
                "text_cfg": transformer(act=act, norm=norm)}
    for pool in ("argmax", "eos", "first", "last"):
        for masks in ({}, {"no_causal_mask": True},
                      {"no_causal_mask": True, "use_pad_mask": True}):
            models["_".join([pool, *masks])] = {
                "embed_dim": 20, "vision_cfg": vit(layers=1),
                "text_cfg": transformer(pool_type=pool, **masks)}
    for more in ({"layers": 0}, {"heads": 1}, {"context_length": 3}):
        name = "_".join(f"{k}{v}" for k, v in more.items())
        models[name] = {"embed_dim": 20, "vision_cfg": vit(head_width=24),
                        "text_cfg": transformer(**more)}
    return models


def sample(args, config, prefix, what, options):
    path = Path(f"{prefix}.json")
    path.write_text(json.dumps(config))
    subprocess.run([f"{args.build}/tests/onnx_sample", str(path), str(prefix), f"what={what}",
                    *options], check=True)


def wanted(prefix, k, name):
    """What our runtime gives for an output: embeddings are stored, the rest follows from them."""
    load = lambda part, n=k: np.load(f"{prefix}.{n}.{part}.npy")
    if name in ("image_embeds", "text_embeds"):
        return load(name), 1
    temperature = float(load("temperature", 0))
    if name == "probs":
        logits = temperature * load("image_embeds") @ load("labels", 0).T
        e = np.exp(logits - logits.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True), temperature
    logits = temperature * load("image_embeds") @ load("text_embeds").T + load("bias", 0)
    return (logits if name == "logits_per_image" else logits.T), temperature


def check(args, prefix):
    """The largest difference of any output, in units of the embeddings', and the file's nodes."""
    path = f"{prefix}.onnx"
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path, load_external_data=False)
    if model.ByteSize() < 2**30:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    session = session_of(path)
    names = [o.name for o in session.get_outputs()]
    worst = 0
    for k in range(3):
        feed = {i.name: np.load(f"{prefix}.{k}.{i.name}.npy") for i in session.get_inputs()}
        for name, found in zip(names, session.run(names, feed)):
            want, unit = wanted(prefix, k, name)
            assert found.shape == want.shape, f"{path}: {name} is {found.shape}, not {want.shape}"
            assert np.isfinite(found).all(), f"{path}: {name} is not finite"
            worst = max(worst, float(np.abs(found - want).max()) / unit)
    return worst, len(model.graph.node)


def run(args, name, config, what, options, folder):
    prefix = Path(folder) / "model"
    for old in Path(folder).iterdir():
        old.unlink()
    weights = next((o[8:] for o in options if o.startswith("weights=")), "f32")
    begin = time.time()
    sample(args, config, prefix, what, options)
    worst, nodes = check(args, prefix)
    bad = not worst <= TOLERANCE[weights]
    if bad or args.verbose:
        print(f"{name:24} {what:10} {' '.join(options):36} {nodes:5} nodes {worst:9.2e}"
              f" {time.time() - begin:6.1f} s {'  TOO FAR' if bad else ''}", flush=True)
    return bad, worst


def prepared(prefix):
    """How far prepared pixels are, in steps of a byte, which share of them is, and the embeddings."""
    model = onnx.load(f"{prefix}.onnx")
    onnx.checker.check_model(model, full_check=True)
    made = [n for n in model.graph.node if n.name.startswith("preprocess/")][-1].output[0]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(made))
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    steps, share, worst = 0, 0, 0
    for k in range(3):
        pixels = np.load(f"{prefix}.{k}.pixels.npy").astype(np.uint8)
        y, x = session.run(None, {"pixels": pixels})
        apart = np.rint(np.abs(x[0].transpose(1, 2, 0) - np.load(f"{prefix}.{k}.pixel_values.npy"))
                        * std * 255)
        steps, share = max(steps, int(apart.max())), max(share, float((apart > 0).mean()))
        worst = max(worst, float(np.abs(y - np.load(f"{prefix}.{k}.image_embeds.npy")).max()))
    return steps, share, worst


def check_preprocess(args):
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("vit_cbow", "resnet_transformer"):
            for mode in ("shortest", "longest", "squash"):
                for filter in ("cubic", "linear"):
                    sample(args, SMALL[name][1], Path(folder) / "model", "image",
                           [f"preprocess={mode}", f"filter={filter}"])
                    steps, share, worst = prepared(Path(folder) / "model")
                    bad += steps > 1 or share > 0.04
                    print(f"{name:20} {mode:9} {filter:7} {steps} of 255 apart in"
                          f" {100 * share:.2f} % of values; embeddings {worst:.2e}")
    sys.exit(bad != 0)


def session_of(path, rewrites=True):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not rewrites:  # which fail where a picture is empty
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check_op(path):
    """What is wrong with a case's file, or None."""
    onnx.checker.check_model(str(path), full_check=True)
    session, prefix = session_of(path, rewrites=False), str(path)[:-5]
    feed = {i.name: np.load(f"{prefix}.{i.name}.npy") for i in session.get_inputs()}
    names = [o.name for o in session.get_outputs()]
    wants = [np.load(f"{prefix}.{name}.npy") for name in names]
    if "max_pool" in path.name and (wants[0].size == 0 or np.isnan(wants[0]).any()):
        return None  # ONNX Runtime's takes no empty picture, and NaN for the least of numbers
    for name, want, found in zip(names, wants, session.run(names, feed)):
        if found.shape != want.shape:
            return f"{name} is {found.shape}, wanted {want.shape}"
        scale = max(1, float(np.abs(want).max(initial=0)))
        if not np.allclose(found, want, rtol=0, atol=1e-5 * scale, equal_nan=True):
            return f"{name} is too far: {np.nanmax(np.abs(found - want)):.2e} of {scale:.2e}"
    return None


def check_ops(args):
    """Each op case by itself, against what our kernel gives."""
    count, bad = 0, 0
    for opset in (17, 18, 20):
        with tempfile.TemporaryDirectory() as folder:
            refused = subprocess.run([f"{args.build}/tests/onnx_sample", "ops", folder,
                                      f"opset={opset}"], check=True, capture_output=True, text=True)
            if args.verbose:
                print(refused.stdout, end="")
            for path in sorted(Path(folder).glob("*.onnx")):
                try:
                    wrong = check_op(path)
                except Exception as error:
                    wrong = str(error).splitlines()[0]
                count, bad = count + 1, bad + bool(wrong)
                if wrong:
                    print(f"{path.name}, opset {opset}: {wrong}")
    print(f"{count} cases of ops, {bad} wrong")
    sys.exit(bad != 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--ops", action="store_true")
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--preprocess", action="store_true")
    args = parser.parse_args()
    if args.preprocess:
        check_preprocess(args)
    if args.ops:
        check_ops(args)
    small = {name: config for name, (_, config) in SMALL.items()} | more_models()
    models = PUBLISHED if args.full else small
    variants = [["initial=1"], ["initial=1", "described=1"]] if args.full else VARIANTS
    kinds = ["image", "text"] if args.full else ["image", "text", "both", "classifier"]
    count, bad, worst = 0, 0, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.names or models:
            for what in kinds:
                for options in variants:
                    wrong, far = run(args, name, models[name], what, options, folder)
                    key = " ".join(o for o in options if "weights" in o)
                    worst[key] = max(worst.get(key, 0), far)
                    count, bad = count + 1, bad + wrong
    print(f"{count} files, {bad} too far; largest difference:",
          ", ".join(f"{k or 'f32'} {v:.2e}" for k, v in worst.items()))
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
