#!/usr/bin/env python3
"""The training step of bench_step in PyTorch, eager, as fast as its users make it on a CPU.

    python bench/peer_torch.py --model FILE --batch N --caption-tokens K --threads T --steps S

Prints one line of JSON. The same model (ResNet or ViT, bag of words or Transformer), batch size,
caption tokens and AdamW; activations of a ResNet channels_last. A Transformer's texts are padded to
the context length, as open_clip does it, or with --texts longest to the longest of the batch. Where PyTorch offers several ways (AdamW fused or over lists,
an embedding bag or a masked mean of texts padded to the batch's longest, the clipping of
gradients), each is timed first and the fastest is taken. Memory is measured as bench_step does.
"""
import argparse, ctypes, json, math, statistics, sys, time

import torch
import torch.nn.functional as F
from torch import nn

WARM_UP = 2
MASK = 2**64 - 1


def mix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def captions(n, mean, text):
    """bench_step's, without start and end, which a bag of words does not read."""
    most = text["context_length"] - 2
    if mean > most:
        sys.exit(f"peer_torch: captions of {mean} tokens, but the context has room for {most}")
    s, ids = min(mean - 1, most - mean), text["vocab_size"] - 2
    return [[mix64((t + 1) << 32 | j) % ids for j in range(mean - s + mix64(t) % (2 * s + 1))]
            for t in range(n)]


# --- the model -----------------------------------------------------------------------------------

class ConvNorm(nn.Sequential):
    def __init__(self, c_in, c_out, kernel, stride=1):
        super().__init__(nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
                         nn.BatchNorm2d(c_out))


class Bottleneck(nn.Module):
    def __init__(self, c, planes, stride):
        super().__init__()
        pool = [nn.AvgPool2d(stride)] if stride > 1 else []
        self.body = nn.Sequential(ConvNorm(c, planes, 1), nn.ReLU(inplace=True),
                                  ConvNorm(planes, planes, 3), nn.ReLU(inplace=True), *pool,
                                  ConvNorm(planes, 4 * planes, 1))
        self.shortcut = nn.Identity() if not pool and c == 4 * planes else nn.Sequential(
            *pool, ConvNorm(c, 4 * planes, 1))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


class AttentionPool(nn.Module):
    def __init__(self, tokens, c, head, out):
        super().__init__()
        self.position = nn.Parameter(torch.randn(tokens + 1, c) / c**0.5)
        self.q, self.k, self.v = (nn.Linear(c, c) for _ in range(3))
        self.c = nn.Linear(c, out)
        self.head = head

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)                        # [n, tokens, c]
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.position
        q, k, v = (t.unflatten(2, (-1, self.head)).transpose(1, 2)
                   for t in (self.q(x[:, :1]), self.k(x), self.v(x)))
        return self.c(F.scaled_dot_product_attention(q, k, v).flatten(1))


class Block(nn.Module):
    def __init__(self, width, heads, act):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.heads, self.act = heads, act

    def forward(self, x, causal):
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for t in self.qkv(self.ln_1(x)).chunk(3, 2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = x + self.out(a.transpose(1, 2).flatten(2))
        return x + self.proj(self.act(self.fc(self.ln_2(x))))


class Transformer(nn.ModuleList):
    def __init__(self, layers, width, heads, act):
        super().__init__(Block(width, heads, act) for _ in range(layers))

    def forward(self, x, causal):
        for block in self:
            x = block(x, causal)
        return x


class Vit(nn.Module):
    def __init__(self, vision, embed, act):
        super().__init__()
        w, p = vision["width"], vision.get("patch_size", 16)
        tokens = (vision["image_size"] // p) ** 2 + 1
        self.patches = nn.Conv2d(3, w, p, p, bias=False)
        self.token = nn.Parameter(torch.randn(w) / w**0.5)
        self.position = nn.Parameter(torch.randn(tokens, w) / w**0.5)
        self.ln_pre, self.ln_post = nn.LayerNorm(w), nn.LayerNorm(w)
        self.blocks = Transformer(vision["layers"], w, w // vision.get("head_width", 64), act)
        self.projection = nn.Parameter(torch.randn(w, embed) / w**0.5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1) + self.position
        x = self.blocks(self.ln_pre(x), False)
        return self.ln_post(x[:, 0]) @ self.projection


class Clip(nn.Module):
    def __init__(self, config):
        super().__init__()
        vision, text = config["vision_cfg"], config["text_cfg"]
        embed, ln = config["embed_dim"], text["width"]
        act = (lambda x: x * torch.sigmoid(1.702 * x)) if config.get("quick_gelu") else F.gelu
        self.visual = (self.resnet(vision, embed) if isinstance(vision["layers"], list)
                       else Vit(vision, embed, act))
        self.token = nn.Parameter(torch.randn(text["vocab_size"], ln) * 0.02)
        self.blocks = None
        if text.get("text_arch") != "cbow":
            self.position = nn.Parameter(torch.randn(text["context_length"], ln) * 0.01)
            self.blocks = Transformer(text["layers"], ln, text["heads"], act)
        self.norm = nn.LayerNorm(ln)
        self.projection = nn.Parameter(torch.randn(ln, embed) / ln**0.5)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @staticmethod
    def resnet(vision, embed):
        w, layers = vision["width"], []
        for c_in, c_out, stride in (3, w // 2, 2), (w // 2, w // 2, 1), (w // 2, w, 1):
            layers += [ConvNorm(c_in, c_out, 3, stride), nn.ReLU(inplace=True)]
        layers.append(nn.AvgPool2d(2))
        c = w
        for stage, blocks in enumerate(vision["layers"]):
            for block in range(blocks):
                layers.append(Bottleneck(c, w << stage, 2 if stage and not block else 1))
                c = 4 * w << stage
        layers.append(AttentionPool((vision["image_size"] // 32) ** 2, c,
                                    vision.get("head_width", 64), embed))
        return nn.Sequential(*layers)

    def text(self, way):
        """way: a bag from the table to each text's row; of a Transformer, ids [n, tokens]."""
        if self.blocks is None:
            x = way(self.token)
        else:
            x = F.embedding(way, self.token) + self.position[:way.shape[1]]
            x = self.blocks(x, True)[torch.arange(len(x)), way.argmax(1)]
        return F.normalize(self.norm(x) @ self.projection, dim=1)

    def forward(self, image, way):
        i, t = F.normalize(self.visual(image), dim=1), self.text(way)
        logits = self.logit_scale.exp() * i @ t.T
        label = torch.arange(len(logits))
        return (F.cross_entropy(logits, label) + F.cross_entropy(logits.T, label)) / 2


def bags(tokens):
    """Two ways from the token table to each text's mean row."""
    flat = torch.tensor([i for t in tokens for i in t])
    offset = torch.tensor([0] + [len(t) for t in tokens[:-1]]).cumsum(0)
    longest = max(map(len, tokens))
    padded = torch.tensor([t + [0] * (longest - len(t)) for t in tokens])
    weight = torch.tensor([[1 / len(t)] * len(t) + [0] * (longest - len(t)) for t in tokens])
    return {"embedding_bag": lambda table: F.embedding_bag(flat, table, offset, mode="mean"),
            "masked_mean": lambda table: (F.embedding(padded, table) * weight[..., None]).sum(1)}


def padded(tokens, text, longest):
    """With start and end, padded with 0: ids [n, tokens]."""
    vocab = text["vocab_size"]
    width = max(map(len, tokens)) + 2 if longest else text["context_length"]
    rows = [[vocab - 2] + t + [vocab - 1] for t in tokens]
    return torch.tensor([r + [0] * (width - len(r)) for r in rows])


# --- measuring -----------------------------------------------------------------------------------

def fastest(ways):
    """The name of the way that takes the least time of several turns."""
    def seconds(run):
        begun = time.perf_counter()
        run()
        return time.perf_counter() - begun
    for run in ways.values():
        run()
    return min(ways, key=lambda name: min(seconds(ways[name]) for _ in range(3)))


def resident(key):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith(key))


def forget_highest():
    """What the trials took goes back to the system, and VmHWM starts anew."""
    ctypes.CDLL(None).malloc_trim(0)
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def optimizers(model):
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.2},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]

    def make(**way):
        return torch.optim.AdamW([dict(g) for g in groups], lr=1e-4, betas=(0.9, 0.98), eps=1e-6,
                                 **way)
    return {"fused": lambda: make(fused=True), "foreach": lambda: make(foreach=True)}


def choose(model, ways):
    """The fastest optimizer (its moments made), way of the texts and clipping, and their names."""
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    make = optimizers(model)
    made = {name: f() for name, f in make.items()}
    adamw = fastest({name: o.step for name, o in made.items()})
    optimizer = made.pop(adamw)
    made.clear()

    clip = fastest({name: lambda foreach=foreach: nn.utils.clip_grad_norm_(
        model.parameters(), 1.0, foreach=foreach) for name, foreach in
        {"foreach": True, "loop": False}.items()})

    text = next(iter(ways))
    if len(ways) > 1:
        text = fastest({name: lambda way=way: model.text(way).sum().backward()
                        for name, way in ways.items()})
    optimizer.zero_grad(set_to_none=False)
    return optimizer, ways[text], clip == "foreach", {"adamw": adamw, "text": text, "clip": clip}


def main():
    parser = argparse.ArgumentParser(description="The training step of bench_step in PyTorch.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--caption-tokens", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--layout", choices=["channels_last", "contiguous"],
                        default="channels_last")
    parser.add_argument("--texts", choices=["context", "longest"], default="context")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    with open(a.model) as f:
        config = json.load(f)

    layout = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[a.layout]
    size = config["vision_cfg"]["image_size"]
    model = Clip(config).to(memory_format=layout).train()
    image = torch.empty(a.batch, 3, size, size).uniform_(-1.7, 1.7).to(memory_format=layout)
    tokens = captions(a.batch, a.caption_tokens, config["text_cfg"])
    ways = bags(tokens) if model.blocks is None else {
        f"padded to the {a.texts}": padded(tokens, config["text_cfg"], a.texts == "longest")}
    optimizer, way, foreach, chosen = choose(model, ways)
    forget_highest()
    base = resident("VmRSS")

    def step():
        optimizer.zero_grad()
        loss = model(image, way)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=foreach)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        return loss.item()

    seconds = []
    for _ in range(WARM_UP + a.steps):
        begun = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - begun)
    seconds = seconds[WARM_UP:]
    highest = resident("VmHWM")
    median = statistics.median(seconds)
    if not math.isfinite(loss):
        sys.exit(f"peer_torch: the loss is {loss}")
    print(json.dumps({
        "model": a.model, "batch": a.batch, "caption_tokens": a.caption_tokens,
        "threads": torch.get_num_threads(), "steps": a.steps, "peer": f"PyTorch {torch.__version__}",
        "layout": a.layout, **chosen, "median_ms": 1e3 * median, "fastest_ms": 1e3 * min(seconds),
        "pairs_per_s": a.batch / median, "base_bytes": base, "peak_bytes": highest,
        "activation_bytes": highest - base,
        "parameters": sum(p.numel() for p in model.parameters()), "loss": loss}))


main()
