#!/usr/bin/env python3
"""The training step of bench_step in PyTorch, as fast as its users make it on a CPU.

    python bench/peer_torch.py --model FILE --batch N [--precision bf16] [--captions FILE] …

The same model, batch size, captions and AdamW; pictures and convolutions channels_last. A
Transformer's texts are padded to the context length, as open_clip does it, or with --texts longest
to the longest of the batch. bf16 is torch.autocast. Where PyTorch offers several ways (eager or
torch.compile, AdamW fused or over lists, an embedding bag or a masked mean of texts padded to the
batch's longest, the clipping of gradients), each is timed first and the fastest is taken. Memory is
measured as bench_step does, after the trials.
"""
import gc, json, math, sys

import peer

out = peer.own_stdout()

import torch
from torch import nn

import clip_torch, workload


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
    made = {name: make() for name, make in optimizers(model).items()}
    adamw = peer.fastest({name: o.step for name, o in made.items()})
    optimizer = made.pop(adamw)
    made.clear()

    clip = peer.fastest({name: lambda foreach=foreach: nn.utils.clip_grad_norm_(
        model.parameters(), 1.0, foreach=foreach) for name, foreach in
        {"foreach": True, "loop": False}.items()})

    text = next(iter(ways))
    if len(ways) > 1:
        text = peer.fastest({name: lambda way=way: model.text(way).sum().backward()
                             for name, way in ways.items()})
    return optimizer, ways[text], clip == "foreach", {"adamw": adamw, "text": text, "clip": clip}


def trial(a, step, model):
    """The faster of eager and compiled, warmed up, and what was found: each takes its turns."""
    ways, found = {"eager": model}, {}
    if a.compile != "no":
        ways["compile"] = torch.compile(model, dynamic=False)
    if a.compile == "yes":
        del ways["eager"]
    for name, forward in ways.items():
        try:
            step(forward)
            found[name] = math.inf
        except Exception as e:  # whatever the compiler cannot do
            if name == "eager":
                raise
            print(f"peer_torch: torch.compile: {str(e).strip().splitlines()[0]}", file=sys.stderr)
    if not found:
        sys.exit("peer_torch: torch.compile failed, and --compile yes asked for nothing else")
    for _ in range(3):
        for name in found:
            found[name] = min(found[name], peer.seconds_of(lambda: step(ways[name])))
        if min(found.values()) > 4:
            break
    best = min(found, key=found.get)
    if best == "eager":
        torch.compiler.reset()
    return ways[best], {"mode": best, "trial_ms": {name: 1e3 * s for name, s in found.items()}}


def main():
    parser = peer.parser("The training step of bench_step in PyTorch.")
    parser.add_argument("--layout", choices=["channels_last", "contiguous"],
                        default="channels_last")
    parser.add_argument("--texts", choices=["context", "longest"], default="context")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    with open(a.model) as f:
        config = json.load(f)
    text, size = config["text_cfg"], config["vision_cfg"]["image_size"]
    layout = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[a.layout]
    model = clip_torch.Clip(config).to(memory_format=layout).train()
    image = torch.empty(a.batch, 3, size, size).uniform_(-1.7, 1.7).to(memory_format=layout)
    tokens = workload.captions(a.captions, a.batch, a.caption_tokens, text)
    ways = clip_torch.bags(tokens) if model.blocks is None else {
        f"padded to the {a.texts}": clip_torch.padded(tokens, text, a.texts == "longest")}
    optimizer, way, foreach, chosen = choose(model, ways)
    last = {}

    def step(forward):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=a.precision == "bf16"):
            loss = forward(image, way)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=foreach)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        last["loss"] = loss.item()

    forward, tried = trial(a, step, model)
    gc.collect()
    peer.take_turns(a, out, lambda: step(forward), {
        "peer": f"PyTorch {torch.__version__}", "layout": a.layout, **chosen, **tried,
        "parameters": sum(p.numel() for p in model.parameters())}, lambda: last)


main()
