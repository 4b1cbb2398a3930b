#!/usr/bin/env python3
"""Makes tests/golden/resnet_cbow.safetensors: what a small CLIP (ResNet and bag of words) must
compute, for tests/test_golden.c. The tests themselves need no Python.

    python tools/make_golden.py [file]      needs PyTorch and NumPy
    python tools/make_golden.py --search    prints a FIRST for which MARGINS hold

The model is written here from its definition (arXiv:2103.00020, sections 2.3 to 2.5 and figure 3),
with plain tensor operations. No weight or input is stored: each is a function of its name, of
which tests/support/hash.c is the other half:

    k    = top 24 bits of mix64(fnv1a64(name) + i)          element i of the tensor `name`
    u(i) = (2k + 1 - 2^24) / 2^24                           in (-1, 1), exact in f32, never 0

    weights of rank 2 or more   u * sqrt(3 * dim[0] / count)      (variance dim[0] / count)
    gains, *.weight of rank 1   1 + u / 4
    *.running_var               1 / 4 + u / 16                    (about what the batches have)
    the rest of rank 1          u / 8                             (biases, running means)
    logit_scale                 ln(1 / 0.07)
    image, element i            u(i) of "image.S" / 2 + u of "image.S.block" at the element's block
                                of 8 x 8 pixels; rows [N, H, W, C], blocks [N, H/8, W/8, C]
    token, row i                mix64(fnv1a64("token.S") + i) mod vocabulary, also past the captions
    length of caption t         LENGTHS[(t + S) mod N]
all in double, rounded once to f32. S is FIRST + the training step; step 0 is also the single run
whose embeddings, logits, gradients and statistics are kept.

FIRST is chosen, not arbitrary. At 0 the gradient of a ReLU jumps: where one of the 370,000 inputs
of ReLUs lies within rounding of 0, implementations that are all right differ by 1 % in gradients
and, a few steps later, in losses. (FIRST = 0 has such an element, -7.5e-7 before the second stage;
deciding it the other way here gave the gradients and losses of the library that had decided so.)
MARGINS are how near 0 any may come, in step 0 and in the others; they are checked at every run.

Everything is computed in f64 and stored rounded to f32; what PyTorch's own f32 would have given
is told in the metadata. Tensors:

    image_embedding, text_embedding, logits, loss           training mode, step 0
    grad.NAME                                               of the loss, for every parameter
    stat.NAME                                               running statistics after that step
    eval.image_embedding                                    inference mode, before any step
    losses                                                  of ten training steps
    hash                                                    u(i) of "hash", to tell the halves agree
"""
import json, math, struct, sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

OUT = Path(sys.argv[1] if len(sys.argv) > 1
           else Path(__file__).parent.parent / "tests/golden/resnet_cbow.safetensors")
CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": [2, 1, 1, 1], "width": 6, "head_width": 32},
    "text_cfg": {"text_arch": "cbow", "context_length": 16, "vocab_size": 97, "width": 40},
}
TRAIN = {"steps": 10, "lr": 1e-3, "beta1": 0.9, "beta2": 0.98, "eps": 1e-6, "weight_decay": 0.2,
         "clip_norm": 1.0, "warmup": 3, "logit_scale_max": math.log(100)}
LENGTHS = [5, 1, 0, 14, 3, 9, 2, 7]
BATCH, ROWS = len(LENGTHS), 64
MOMENTUM, EPS = 0.1, 1e-5
FIRST = 384
MARGINS = 5e-6, 2e-6
VISION, TEXT = CONFIG["vision_cfg"], CONFIG["text_cfg"]


# --- the hash ------------------------------------------------------------------------------------

def fnv1a64(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def bits(name, n):
    """mix64(fnv1a64(name) + i) for i < n; mix64 is cg_mix64, a step of SplitMix64."""
    with np.errstate(over="ignore"):
        x = np.uint64(fnv1a64(name)) + np.arange(n, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return x ^ x >> np.uint64(31)


def unit(name, shape=()):
    k = (bits(name, math.prod(shape)) >> np.uint64(40)).astype(np.int64)
    return ((2 * k + 1 - 2**24) / 2**24).reshape(shape)


def parameter(name, shape):
    if name == "logit_scale":
        x = np.array(math.log(1 / 0.07))
    elif len(shape) >= 2:
        x = unit(name, shape) * math.sqrt(3 * shape[0] / math.prod(shape))
    elif name.endswith(".weight"):
        x = 1 + unit(name, shape) / 4
    elif name.endswith(".running_var"):
        x = 1 / 4 + unit(name, shape) / 16
    else:
        x = unit(name, shape) / 8
    return x.astype(np.float32)


def inputs(number):
    s, b = VISION["image_size"], VISION["image_size"] // 8
    block = unit(f"image.{number}.block", (BATCH, b, b, 3)).repeat(8, 1).repeat(8, 2)
    image = (unit(f"image.{number}", (BATCH, s, s, 3)) / 2 + block).astype(np.float32)
    token = (bits(f"token.{number}", ROWS) % np.uint64(TEXT["vocab_size"])).astype(np.int64)
    length = [LENGTHS[(t + number) % BATCH] for t in range(BATCH)]
    return torch.tensor(image), torch.tensor(token), length


# --- the model -----------------------------------------------------------------------------------

def shapes():
    """Name -> shape, in open_clip's names; running statistics are marked by theirs."""
    out = {}

    def conv_bn(path, conv, bn, shape):
        out[f"{path}.{conv}.weight"] = shape
        for part in "weight", "bias", "running_mean", "running_var":
            out[f"{path}.{bn}.{part}"] = shape[:1]

    w = VISION["width"]
    for i, (c_in, c_out) in enumerate([(3, w // 2), (w // 2, w // 2), (w // 2, w)], 1):
        conv_bn("visual", f"conv{i}", f"bn{i}", (c_out, c_in, 3, 3))
    c = w
    for stage, blocks in enumerate(VISION["layers"]):
        planes = w << stage
        for block in range(blocks):
            path = f"visual.layer{stage + 1}.{block}"
            conv_bn(path, "conv1", "bn1", (planes, c, 1, 1))
            conv_bn(path, "conv2", "bn2", (planes, planes, 3, 3))
            conv_bn(path, "conv3", "bn3", (4 * planes, planes, 1, 1))
            if block == 0:
                conv_bn(path, "downsample.0", "downsample.1", (4 * planes, c, 1, 1))
            c = 4 * planes
    out["visual.attnpool.positional_embedding"] = ((VISION["image_size"] // 32) ** 2 + 1, c)
    for part in "q_proj", "k_proj", "v_proj", "c_proj":
        n = CONFIG["embed_dim"] if part == "c_proj" else c
        out[f"visual.attnpool.{part}.weight"] = (n, c)
        out[f"visual.attnpool.{part}.bias"] = (n,)
    out["token_embedding.weight"] = (TEXT["vocab_size"], TEXT["width"])
    out["ln_final.weight"] = out["ln_final.bias"] = (TEXT["width"],)
    out["text_projection"] = (TEXT["width"], CONFIG["embed_dim"])
    out["logit_scale"] = ()
    return out


def is_state(name):
    return name.endswith((".running_mean", ".running_var"))


class Model:
    def __init__(self, dtype):
        self.dtype = dtype
        self.p = {n: torch.tensor(parameter(n, s), dtype=dtype).requires_grad_(not is_state(n))
                  for n, s in shapes().items()}
        self.updates = {}
        self.margin = math.inf      # of the inputs of ReLUs from 0, in the last forward

    def relu(self, x):
        self.margin = min(self.margin, x.detach().abs().min().item())
        return x.relu()

    def trained(self):
        return {n: t for n, t in self.p.items() if not is_state(n)}

    def batch_norm(self, name, x, training):
        mean, var = self.p[f"{name}.running_mean"], self.p[f"{name}.running_var"]
        if training:
            n = x.numel() // x.shape[1]
            old = {"mean": mean, "var": var}
            mean = x.mean((0, 2, 3))
            var = ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))
            new = {"mean": mean, "var": var * n / (n - 1)}      # the running one is unbiased
            for part in "mean", "var":
                step = MOMENTUM * (new[part] - old[part])
                self.updates[f"{name}.running_{part}"] = (old[part] + step).detach()
        gain, bias = self.p[f"{name}.weight"], self.p[f"{name}.bias"]
        y = (x - mean[:, None, None]) / (var[:, None, None] + EPS).sqrt()
        return y * gain[:, None, None] + bias[:, None, None]

    def conv_bn(self, path, conv, bn, x, training, stride=1):
        w = self.p[f"{path}.{conv}.weight"]
        x = F.conv2d(x, w, stride=stride, padding=w.shape[2] // 2)
        return self.batch_norm(f"{path}.{bn}", x, training)

    def bottleneck(self, path, x, stride, training):
        y = self.relu(self.conv_bn(path, "conv1", "bn1", x, training))
        y = self.relu(self.conv_bn(path, "conv2", "bn2", y, training))
        if stride > 1:
            y = F.avg_pool2d(y, stride)
        y = self.conv_bn(path, "conv3", "bn3", y, training)
        if f"{path}.downsample.0.weight" in self.p:
            x = F.avg_pool2d(x, stride) if stride > 1 else x
            x = self.conv_bn(path, "downsample.0", "downsample.1", x, training)
        return self.relu(y + x)

    def attention_pool(self, x):
        def linear(name, t):
            name = f"visual.attnpool.{name}"
            return t @ self.p[f"{name}.weight"].T + self.p[f"{name}.bias"]

        n, c = x.shape[:2]
        d, heads = VISION["head_width"], c // VISION["head_width"]
        x = x.flatten(2).transpose(1, 2)                                # [n, hw, c]
        x = torch.cat([x.mean(1, keepdim=True), x], 1)
        x = x + self.p["visual.attnpool.positional_embedding"]
        q = linear("q_proj", x[:, 0]).view(n, heads, 1, d)
        k = linear("k_proj", x).view(n, -1, heads, d).transpose(1, 2)   # [n, heads, 1 + hw, d]
        v = linear("v_proj", x).view(n, -1, heads, d).transpose(1, 2)
        a = (q @ k.transpose(2, 3) / math.sqrt(d)).softmax(-1)
        return linear("c_proj", (a @ v).reshape(n, c))

    def encode_image(self, image, training):
        x = image.to(self.dtype).permute(0, 3, 1, 2)
        for i in 1, 2, 3:
            x = self.conv_bn("visual", f"conv{i}", f"bn{i}", x, training, 2 if i == 1 else 1)
            x = self.relu(x)
        x = F.avg_pool2d(x, 2)
        for stage, blocks in enumerate(VISION["layers"], 1):
            for block in range(blocks):
                x = self.bottleneck(f"visual.layer{stage}.{block}", x,
                                    2 if block == 0 and stage > 1 else 1, training)
        x = self.attention_pool(x)
        return x / x.norm(dim=1, keepdim=True)

    def encode_text(self, token, length):
        rows = self.p["token_embedding.weight"][token]
        begin, mean = 0, []
        for n in length:    # the mean of no token is 0
            mean.append(rows[begin:begin + n].sum(0) / max(n, 1))
            begin += n
        x = torch.stack(mean)
        x = x - x.mean(1, keepdim=True)
        x = x / ((x ** 2).mean(1, keepdim=True) + EPS).sqrt()
        x = x * self.p["ln_final.weight"] + self.p["ln_final.bias"]
        x = x @ self.p["text_projection"]
        return x / x.norm(dim=1, keepdim=True)

    def forward(self, number):
        """Training mode, inputs of that number: embeddings, logits, loss."""
        self.margin = math.inf
        image, token, length = inputs(number)
        i, t = self.encode_image(image, True), self.encode_text(token, length)
        logits = self.p["logit_scale"].exp() * i @ t.T
        label = torch.arange(len(length))
        loss = (F.cross_entropy(logits, label) + F.cross_entropy(logits.T, label)) / 2
        return i, t, logits, loss


def learning_rate(step):
    """open_clip's: linear warm-up, then cosine to 0."""
    if step < TRAIN["warmup"]:
        return TRAIN["lr"] * (step + 1) / TRAIN["warmup"]
    e, es = step - TRAIN["warmup"], TRAIN["steps"] - TRAIN["warmup"]
    return 0.5 * (1 + math.cos(math.pi * e / es)) * TRAIN["lr"]


def train(dtype, first, norms, margins):
    """The losses of all steps; only of those before the first that misses its margin."""
    model = Model(dtype)
    trained = model.trained().values()
    decay = TRAIN["weight_decay"]
    groups = [{"params": [t for t in trained if t.ndim >= 2], "weight_decay": decay},
              {"params": [t for t in trained if t.ndim < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(TRAIN["beta1"], TRAIN["beta2"]),
                                  eps=TRAIN["eps"])
    losses = []
    for step in range(TRAIN["steps"]):
        optimizer.zero_grad()
        loss = model.forward(first + step)[-1]
        if dtype == torch.float64 and model.margin < MARGINS[step > 0]:
            break
        margins.append(model.margin)
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(trained, TRAIN["clip_norm"]).item())
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.step()
        with torch.no_grad():
            model.p["logit_scale"].clamp_(0, TRAIN["logit_scale_max"])
    return np.array(losses)


def reference(dtype):
    norms, margins = [], []
    model = Model(dtype)
    out = dict(zip(["image_embedding", "text_embedding", "logits", "loss"], model.forward(FIRST)))
    out["loss"].backward()
    out |= {f"grad.{n}": t.grad for n, t in model.trained().items()}
    out |= {f"stat.{n}": t for n, t in model.updates.items()}
    out["eval.image_embedding"] = model.encode_image(inputs(FIRST)[0], False)
    out = {n: t.detach().numpy().astype(np.float64) for n, t in out.items()}
    out["losses"] = train(dtype, FIRST, norms, margins)
    return out, norms, margins


def search():
    first = 0
    while len(train(torch.float64, first, [], [])) < TRAIN["steps"]:
        first += 1
    print(f"FIRST = {first}")


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


def main():
    torch.set_num_threads(1)
    if sys.argv[1:] == ["--search"]:
        return search()
    exact, norms, margins = reference(torch.float64)
    if len(exact["losses"]) < TRAIN["steps"]:
        sys.exit(f"step {len(margins)}: a ReLU's input lies within {MARGINS} of 0: use --search")
    single = reference(torch.float32)[0]
    every = math.sqrt(sum((x ** 2).sum() for n, x in exact.items() if n.startswith("grad.")))
    scale = math.exp(parameter("logit_scale", ()))

    def worst(select, measure):
        names = [n for n in exact if select(n)]
        value, name = max((measure(n), n) for n in names)
        return f"{value:.2e} ({name})" if len(names) > 1 else f"{value:.2e}"

    def difference(n):
        return np.abs(single[n] - exact[n]).max()

    def excess(n):
        norm = np.linalg.norm
        return norm(single[n] - exact[n]) / (1e-4 * norm(exact[n]) + 1e-7 * every)

    metadata = {
        "made_by": "tools/make_golden.py",
        "versions": f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}, "
                    f"NumPy {np.__version__}",
        "seed": "none: every weight and input is a hash of its name",
        "config": json.dumps(CONFIG), "training": json.dumps(TRAIN),
        "lengths": json.dumps(LENGTHS), "rows": str(ROWS), "first": str(FIRST),
        "precision": "computed in f64, stored as f32",
        "gradient_norms": ", ".join(f"{n:.6g}" for n in norms),
        "relu_margins": ", ".join(f"{n:.2g}" for n in margins),
        "f32_embedding": worst(lambda n: "embedding" in n and n[:4] not in ("grad", "stat"),
                               difference),
        "f32_logits_by_scale": f"{difference('logits') / scale:.2e}",
        "f32_gradient_part_of_allowed": worst(lambda n: n.startswith("grad."), excess),
        "f32_losses": f"{difference('losses'):.2e}",
    }
    exact["hash"] = unit("hash", (16,))
    write(OUT, exact, metadata)
    print(f"{OUT}: {len(exact)} tensors, {OUT.stat().st_size} bytes")
    for key, value in metadata.items():
        print(f"  {key}: {value}")


main()
