"""CLIP in PyTorch as its users write it, for the peers: ResNet or ViT, bag of words or Transformer.
The parameters are as many as clipgraph's; their names are nobody's."""
import math

import torch
import torch.nn.functional as F
from torch import nn


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

    def image(self, x):
        return F.normalize(self.visual(x), dim=1)


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
