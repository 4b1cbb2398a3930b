"""What a small model must compute, and files of it."""
import json, math, struct, sys

import numpy as np
import torch

from . import hashed
from .clip import Clip

TRAIN = {"steps": 10, "lr": 1e-3, "beta1": 0.9, "beta2": 0.98, "eps": 1e-6, "weight_decay": 0.2,
         "clip_norm": 1.0, "warmup": 3, "logit_scale_max": math.log(100)}
LENGTHS = [5, 1, 0, 14, 3, 9, 2, 7]     # of captions, without start and end
MARGINS = 5e-6, 2e-6                    # of a ReLU's inputs from 0: in step 0, in the others


def versions():
    return (f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, "
            f"NumPy {np.__version__}")


def inputs(model, number):
    cfg = model.cfg
    return (hashed.images(number, len(LENGTHS), cfg["vision_cfg"]["image_size"]),
            hashed.captions(number, LENGTHS, cfg["text_cfg"]))


def learning_rate(step):
    """open_clip's: linear warm-up, then cosine to 0."""
    if step < TRAIN["warmup"]:
        return TRAIN["lr"] * (step + 1) / TRAIN["warmup"]
    e, es = step - TRAIN["warmup"], TRAIN["steps"] - TRAIN["warmup"]
    return 0.5 * (1 + math.cos(math.pi * e / es)) * TRAIN["lr"]


def adamw(trained):
    groups = [{"params": [t for t in trained if t.ndim >= 2],
               "weight_decay": TRAIN["weight_decay"]},
              {"params": [t for t in trained if t.ndim < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0, betas=(TRAIN["beta1"], TRAIN["beta2"]),
                             eps=TRAIN["eps"])


def train(config, dtype, first):
    """Losses, lengths of gradients and margins of all steps; in f64 only of those before the first
    that misses its margin."""
    model, optimizer, course = Clip(config, dtype), None, []
    for step in range(TRAIN["steps"]):
        loss = model.forward(*inputs(model, first + step))[-1]
        if dtype == torch.float64 and model.margin < MARGINS[step > 0]:
            break
        trained = model.trained().values()
        optimizer = optimizer or adamw(trained)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, TRAIN["clip_norm"]).item()
        course.append((loss.item(), norm, model.margin))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        with torch.no_grad():
            model.p["logit_scale"].clamp_(0, TRAIN["logit_scale_max"])
    return [list(column) for column in zip(*course)] or [[], [], []]


def reference(config, dtype, first):
    """Every tensor of the file; and the training's course."""
    model = Clip(config, dtype)
    image, captions = inputs(model, first)
    out = dict(zip(["image_embedding", "text_embedding", "logits", "loss"],
                   model.forward(image, captions)))
    out["loss"].backward()
    out |= {f"grad.{n}": t.grad for n, t in model.trained().items()}
    out |= {f"stat.{n}": t for n, t in model.updates.items()}
    out["eval.image_embedding"] = model.encode_image(image, False)
    out = {n: t.detach().numpy().astype(np.float64) for n, t in out.items()}
    losses, norms, margins = train(config, dtype, first)
    return out | {"losses": np.array(losses)}, norms, margins


def search(config, first=0):
    """The next first of which the margins hold, and PyTorch's own f32 says the same: what amplifies
    rounding in ten steps would compare nothing but rounding."""
    while True:
        exact = train(config, torch.float64, first)[0]
        if len(exact) == TRAIN["steps"]:
            single = train(config, torch.float32, first)[0]
            if np.abs(np.array(exact) - single).max() < 1e-5:
                return first
        first += 1


def alike(x):
    """The largest cosine of two different rows: at 1, a comparison of rows would say nothing."""
    return (x @ x.T - 2 * np.eye(len(x))).max()


def write(path, tensors, metadata):
    """safetensors, by hand: its own writer does not keep the order of the metadata."""
    header, data = {"__metadata__": metadata}, b""
    for name, x in tensors.items():
        raw = x.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(x.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(f"{path}: {len(tensors)} tensors, {path.stat().st_size} bytes")
    for key, value in metadata.items():
        print(f"  {key}: {value}")


def common(config, lengths, first):
    return {
        "made_by": "tools/make_golden.py", "versions": versions(),
        "seed": "none: every weight and input is a hash of its name",
        "config": json.dumps(config), "lengths": json.dumps(lengths), "first": str(first),
        "precision": "computed in f64, stored as f32",
    }


def small(path, config, first, more):
    exact, norms, margins = reference(config, torch.float64, first)
    if len(margins) < TRAIN["steps"]:
        sys.exit(f"step {len(margins)}: a ReLU's input lies within {MARGINS} of 0: use --search")
    single = reference(config, torch.float32, first)[0]
    if max(alike(exact["image_embedding"]), alike(exact["text_embedding"])) > 0.999:
        sys.exit("all embeddings are nearly the same, so comparing them would say nothing")
    every = math.sqrt(sum((x ** 2).sum() for n, x in exact.items() if n.startswith("grad.")))
    scale = math.exp(hashed.parameter("logit_scale", ()))

    def worst(select, measure):
        names = [n for n in exact if select(n)]
        value, name = max((measure(n), n) for n in names)
        return f"{value:.2e} ({name})" if len(names) > 1 else f"{value:.2e}"

    def difference(n):
        return np.abs(single[n] - exact[n]).max()

    def excess(n):
        norm = np.linalg.norm
        return norm(single[n] - exact[n]) / (1e-4 * norm(exact[n]) + 1e-7 * every)

    metadata = common(config, LENGTHS, first) | {
        "training": json.dumps(TRAIN),
        "gradient_norms": ", ".join(f"{n:.6g}" for n in norms),
        "relu_margins": ", ".join(f"{n:.2g}" for n in margins if n < math.inf) or "no ReLU",
        "largest_cosines": f"{alike(exact['image_embedding']):.2f} of two pictures, "
                           f"{alike(exact['text_embedding']):.2f} of two captions",
        "f32_embedding": worst(lambda n: "embedding" in n and n[:4] not in ("grad", "stat"),
                               difference),
        "f32_logits_by_scale": f"{difference('logits') / scale:.2e}",
        "f32_gradient_part_of_allowed": worst(lambda n: n.startswith("grad."), excess),
        "f32_losses": f"{difference('losses'):.2e}",
    } | more
    exact["hash"] = hashed.unit("hash", (16,))
    write(path, exact, metadata)


def full(path, config, lengths, images):
    """A full-size model at inference: embeddings and logits only."""
    def run(dtype):
        with torch.no_grad():
            model = Clip(config, dtype)
            cfg = model.cfg
            i = model.encode_image(hashed.images(0, images, cfg["vision_cfg"]["image_size"]), False)
            t = model.encode_text(hashed.captions(0, lengths, cfg["text_cfg"]))
            out = {"image_embedding": i, "text_embedding": t, "logits": model.logits(i, t)}
            return {n: x.numpy().astype(np.float64) for n, x in out.items()}

    exact, single = run(torch.float64), run(torch.float32)
    metadata = common(config, lengths, 0) | {
        "largest_cosines": f"{alike(exact['image_embedding']):.3f} of two pictures, "
                           f"{alike(exact['text_embedding']):.3f} of two captions",
        "f32_embedding": ", ".join(f"{np.abs(single[n] - exact[n]).max():.2e} ({n})"
                                   for n in ("image_embedding", "text_embedding")),
    }
    write(path, exact, metadata)
