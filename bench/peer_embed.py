#!/usr/bin/env python3
"""The embeddings of bench_embed by another runtime, at its best setting.

    python bench/peer_embed.py --runtime onnxruntime --model FILE --batch N [--texts] …

The towers are those of clip_torch.py, by torch.onnx.export with fixed sizes (the class token's
expansion becomes a constant), kept in --folder for other processes. ONNX Runtime: all
optimisations. OpenVINO: the faster of its hints for latency and throughput, the second with as many
batches in flight as it asks for; f32 and bf16 are set, since by itself it takes bf16 where the
processor has it. PyTorch: the faster of eager and torch.compile. Texts are padded to the context.
"""
import json, os, sys, tempfile, warnings

import peer

out = peer.own_stdout()

import numpy

import workload

BESIDE = 4  # batches of a turn's run that may be in flight: at most


# --- ONNX ------------------------------------------------------------------------------------

def tower(config, texts):
    """The model as used after training, and its forward as a module of one argument."""
    import torch
    import clip_torch

    class Tower(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.text(x) if texts else self.model.image(x)

    torch.manual_seed(0)
    return Tower(clip_torch.Clip(config)).eval()


def export(config, a, x):
    """The path of the tower's ONNX file for x, made where it is not there."""
    name = os.path.splitext(os.path.basename(a.model))[0]
    path = os.path.join(a.folder, f"{name}-{'text' if a.texts else 'image'}-{len(x)}.onnx")
    if os.path.exists(path):
        return path
    import torch
    os.makedirs(a.folder, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=a.folder, suffix=".onnx", delete=False) as f:
        partial = f.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(tower(config, a.texts), (torch.from_numpy(x),), partial,
                              dynamo=False, opset_version=17, input_names=["x"],
                              output_names=["y"])
        os.rename(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return path


# --- runtimes: each returns ways by name, (run, batches of a run), and the version ------------

def onnxruntime_ways(config, a, x):
    import onnxruntime
    if a.precision != "f32":
        sys.exit("peer_embed: ONNX Runtime computes in f32 on CPUs, not in bf16")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = a.threads
    session = onnxruntime.InferenceSession(export(config, a, x), options,
                                           providers=["CPUExecutionProvider"])
    return ({"sequential": (lambda: session.run(None, {"x": x})[0], 1)},
            f"ONNX Runtime {onnxruntime.__version__}")


def openvino_ways(config, a, x):
    import openvino
    core, path, ways = openvino.Core(), export(config, a, x), {}

    def compiled(hint):
        return core.compile_model(path, "CPU", {
            "PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": a.precision,
            "INFERENCE_NUM_THREADS": a.threads})

    one = compiled("LATENCY").create_infer_request()
    ways["latency"] = (lambda: one.infer({"x": x}, share_inputs=True), 1)
    if a.batch > 1:  # the time of one picture gains nothing by another beside it
        model = compiled("THROUGHPUT")
        n = min(BESIDE, model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        many = [model.create_infer_request() for _ in range(n)]

        def all_of_them():
            for request in many:
                request.start_async({"x": x}, share_inputs=True)
            for request in many:
                request.wait()
        ways["throughput"] = (all_of_them, n)
    return ways, f"OpenVINO {openvino.__version__.split('-')[0]}"


def torch_ways(config, a, x):
    import torch
    torch.set_num_threads(a.threads)
    model = tower(config, a.texts).to(memory_format=torch.channels_last)
    data = torch.from_numpy(x)
    if not a.texts:
        data = data.to(memory_format=torch.channels_last)

    def runner(forward):
        def run():
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16,
                                                        enabled=a.precision == "bf16"):
                forward(data)
        return run, 1
    ways = {} if a.compile == "yes" else {"eager": runner(model)}
    if a.compile != "no":
        ways["compile"] = runner(torch.compile(model, dynamic=False))
    return ways, f"PyTorch {torch.__version__}"


RUNTIMES = {"onnxruntime": onnxruntime_ways, "openvino": openvino_ways, "torch": torch_ways}


# --- measuring -------------------------------------------------------------------------------

def given(config, a):
    if not a.texts:
        size = config["vision_cfg"]["image_size"]
        noise = numpy.random.default_rng(0).uniform(-1.7, 1.7, (a.batch, 3, size, size))
        return noise.astype(numpy.float32)
    text = config["text_cfg"]
    if text.get("text_arch") == "cbow":
        sys.exit("peer_embed: texts want a Transformer; this model has a bag of words")
    import clip_torch
    tokens = workload.captions(a.captions, a.batch, a.caption_tokens, text)
    return clip_torch.padded(tokens, text, False).numpy()


def best_of(ways):
    """The way whose batch takes the least time; ways that fail are said and left out."""
    found = {}
    for name, (run, batches) in ways.items():
        try:
            run()
            found[name] = min(peer.seconds_of(run) for _ in range(3)) / batches
        except Exception as e:
            print(f"peer_embed: {name}: {str(e).strip().splitlines()[0]}", file=sys.stderr)
    if not found:
        sys.exit("peer_embed: no way works")
    return min(found, key=found.get), found


def main():
    parser = peer.parser("The embeddings of bench_embed by another runtime.")
    parser.add_argument("--runtime", choices=RUNTIMES, required=True)
    parser.add_argument("--texts", action="store_true")
    parser.add_argument("--folder", default="build/bench/onnx", help="of the ONNX files")
    a = parser.parse_args()
    with open(a.model) as f:
        config = json.load(f)
    ways, version = RUNTIMES[a.runtime](config, a, given(config, a))
    best, found = best_of(ways)
    run, batches = ways[best]
    ways.clear()
    peer.take_turns(a, out, run, {
        "peer": version, "mode": best, "trial_ms": {k: 1e3 * s for k, s in found.items()}},
        batches=batches)


main()
