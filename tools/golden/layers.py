"""What the towers share, in plain tensor operations. Everything stays true to the formula rather
than to a library's layer, so that nothing here is trusted but +, *, @ and conv2d."""
import math

import torch
import torch.nn.functional as F

EPS, MOMENTUM = 1e-5, 0.1


class Layers:
    """Parameters by name, made when first asked for, and the layers that read them."""

    def __init__(self, make):
        self.make = make
        self.p = {}
        self.updates = {}           # running statistics after the last forward in training mode
        self.margin = math.inf      # of the inputs of ReLUs from 0, in the last forward

    def param(self, name, *shape):
        if name not in self.p:
            self.p[name] = self.make(name, shape)
        assert self.p[name].shape == shape, (name, self.p[name].shape, shape)
        return self.p[name]

    def linear(self, name, x, n):
        weight = self.param(f"{name}.weight", n, x.shape[-1])
        return x @ weight.T + self.param(f"{name}.bias", n)

    def norm(self, name, x, kind):
        """Layer norm, or the root mean square norm, over the last axis."""
        weight = self.param(f"{name}.weight", x.shape[-1])
        if kind == "rmsnorm":
            return x / ((x ** 2).mean(-1, keepdim=True) + EPS).sqrt() * weight
        x = x - x.mean(-1, keepdim=True)
        x = x / ((x ** 2).mean(-1, keepdim=True) + EPS).sqrt()
        return x * weight + self.param(f"{name}.bias", x.shape[-1])

    def relu(self, x):
        if not x.is_meta:
            self.margin = min(self.margin, x.detach().abs().min().item())
        return x.relu()

    def activation(self, kind, x):
        if kind == "gelu":
            return x * (1 + torch.erf(x / math.sqrt(2))) / 2
        if kind == "gelu_tanh":
            return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))) / 2
        if kind == "quickgelu":
            return x * torch.sigmoid(1.702 * x)
        if kind == "silu":
            return x * torch.sigmoid(x)
        assert kind == "relu", kind
        return self.relu(x)

    def attention(self, q, k, v, heads, seen=None):
        """q [n, queries, w], k and v [n, keys, w]; seen: what broadcasts to [n, 1, queries, keys],
        false where a query does not see a key."""
        def split(x):
            return x.view(*x.shape[:2], heads, -1).transpose(1, 2)
        a = split(q) @ split(k).transpose(2, 3) / math.sqrt(q.shape[-1] // heads)
        if seen is not None:
            a = a.masked_fill(~seen, -math.inf)
        return (a.softmax(-1) @ split(v)).transpose(1, 2).reshape(q.shape)

    def block(self, name, x, heads, cfg, act, seen=None):
        """A residual block of either transformer, norms first."""
        w = x.shape[-1]

        def scaled(scale, y):   # layer scale
            return y if cfg["ls_init_value"] is None else y * self.param(f"{name}.{scale}.gamma", w)

        y = self.norm(f"{name}.ln_1", x, cfg["norm"])
        weight = self.param(f"{name}.attn.in_proj_weight", 3 * w, w)
        qkv = y @ weight.T + self.param(f"{name}.attn.in_proj_bias", 3 * w)
        y = self.attention(*qkv.split(w, -1), heads, seen)
        x = x + scaled("ls_1", self.linear(f"{name}.attn.out_proj", y, w))
        y = self.norm(f"{name}.ln_2", x, cfg["norm"])
        y = self.activation(act, self.linear(f"{name}.mlp.c_fc", y, int(w * cfg["mlp_ratio"])))
        return x + scaled("ls_2", self.linear(f"{name}.mlp.c_proj", y, w))

    def batch_norm(self, name, x, training):
        """Over [N, C, H, W]."""
        c = x.shape[1]
        gain, bias = self.param(f"{name}.weight", c), self.param(f"{name}.bias", c)
        mean, var = (self.param(f"{name}.running_{part}", c) for part in ("mean", "var"))
        if training:
            n = x.numel() // c
            old = {"mean": mean, "var": var}
            mean = x.mean((0, 2, 3))
            var = ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))
            new = {"mean": mean, "var": var * n / (n - 1)}      # the running one is unbiased
            for part in "mean", "var":
                step = MOMENTUM * (new[part] - old[part])
                self.updates[f"{name}.running_{part}"] = (old[part] + step).detach()
        y = (x - mean[:, None, None]) / (var[:, None, None] + EPS).sqrt()
        return y * gain[:, None, None] + bias[:, None, None]

    def conv_bn(self, path, conv, bn, x, out, size, training, stride=1):
        w = self.param(f"{path}.{conv}.weight", out, x.shape[1], size, size)
        x = F.conv2d(x, w, stride=stride, padding=size // 2)
        return self.batch_norm(f"{path}.{bn}", x, training)
