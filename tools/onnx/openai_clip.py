"""CLIP as openai/CLIP builds it (arXiv:2103.00020, section 2.4 and 2.5): nn.MultiheadAttention over
[tokens, batch, width], a ResNet whose attention pool calls multi_head_attention_forward, QuickGELU,
and the caption's row at its largest token. Names are nobody's; weights are random."""
import torch
import torch.nn.functional as F
from torch import nn


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width, heads, act, mask):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), act(), nn.Linear(4 * width, width))
        self.mask = mask

    def forward(self, x):
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, need_weights=False, attn_mask=self.mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, act, mask=None):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, heads, act, mask) for _ in range(layers)))

    def forward(self, x):                                           # [n, tokens, width]
        return self.blocks(x.permute(1, 0, 2)).permute(1, 0, 2)


class Vit(nn.Module):
    def __init__(self, size, patch, width, layers, heads, embed, act=QuickGELU):
        super().__init__()
        tokens = (size // patch) ** 2 + 1
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.position = nn.Parameter(torch.randn(tokens, width) * width**-0.5)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads, act)
        self.proj = nn.Parameter(torch.randn(width, embed) * width**-0.5)

    def forward(self, x):
        x = self.conv1(x)
        x = x.reshape(x.shape[0], x.shape[1], -1).permute(0, 2, 1)
        token = self.class_embedding + torch.zeros(x.shape[0], 1, x.shape[-1])
        x = self.ln_pre(torch.cat([token, x], dim=1) + self.position)
        x = self.ln_post(self.transformer(x)[:, 0, :])
        return x @ self.proj


class Bottleneck(nn.Module):
    def __init__(self, c, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.down = nn.Identity() if stride == 1 and c == 4 * planes else nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(c, 4 * planes, 1, bias=False),
            nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.avgpool(F.relu(self.bn2(self.conv2(y))))
        return F.relu(self.bn3(self.conv3(y)) + self.down(x))


class AttentionPool(nn.Module):
    def __init__(self, side, width, heads, embed):
        super().__init__()
        self.position = nn.Parameter(torch.randn(side * side + 1, width) * width**-0.5)
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.c, self.heads = nn.Linear(width, embed), heads

    def forward(self, x):
        x = x.flatten(start_dim=2).permute(2, 0, 1)                 # [pixels, n, width]
        x = torch.cat([x.mean(dim=0, keepdim=True), x]) + self.position[:, None, :]
        x, _ = F.multi_head_attention_forward(
            query=x[:1], key=x, value=x, embed_dim_to_check=x.shape[-1], num_heads=self.heads,
            q_proj_weight=self.q.weight, k_proj_weight=self.k.weight, v_proj_weight=self.v.weight,
            in_proj_weight=None, in_proj_bias=torch.cat([self.q.bias, self.k.bias, self.v.bias]),
            bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
            out_proj_weight=self.c.weight, out_proj_bias=self.c.bias,
            use_separate_proj_weight=True, training=False, need_weights=False)
        return x.squeeze(0)


class ResNet(nn.Module):
    def __init__(self, size, width, layers, heads, embed):
        super().__init__()
        stem, c_in = [], 3
        for c, stride in (width // 2, 2), (width // 2, 1), (width, 1):
            stem += [nn.Conv2d(c_in, c, 3, stride, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU()]
            c_in = c
        self.stem = nn.Sequential(*stem, nn.AvgPool2d(2))
        blocks, c = [], width
        for stage, count in enumerate(layers):
            for i in range(count):
                blocks.append(Bottleneck(c, width << stage, 2 if stage and not i else 1))
                c = 4 * width << stage
        self.blocks = nn.Sequential(*blocks)
        self.pool = AttentionPool(size // (4 << (len(layers) - 1)), c, heads, embed)

    def forward(self, x):
        return self.pool(self.blocks(self.stem(x)))


class Text(nn.Module):
    def __init__(self, vocab, context, width, layers, heads, embed, act=QuickGELU):
        super().__init__()
        mask = torch.full((context, context), float("-inf")).triu_(1)
        self.token = nn.Embedding(vocab, width)
        self.position = nn.Parameter(torch.randn(context, width) * 0.01)
        self.transformer = Transformer(width, layers, heads, act, mask)
        self.ln_final = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, embed) * width**-0.5)

    def forward(self, ids):
        x = self.ln_final(self.transformer(self.token(ids) + self.position))
        return x[torch.arange(x.shape[0]), ids.argmax(dim=-1)] @ self.proj


class Normalized(nn.Module):
    """A tower and rows of unit length."""
    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def forward(self, x):
        x = self.tower(x)
        return x / x.norm(dim=1, keepdim=True)


def randomize(model):
    """No gain stays 1, no bias and no statistic 0, so that no branch is dead."""
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + list(model.named_buffers()):
            if p.dtype != torch.float32 or name.endswith("mask"):
                continue
            if name.endswith("running_var"):
                p.uniform_(0.5, 1.5)
            elif p.dim() == 1:
                p.add_(torch.randn_like(p) * 0.1)
            elif name.endswith("running_mean"):
                p.normal_(0, 0.1)
    return model.eval()
