"""CLIP, from its definition (arXiv:2103.00020, sections 2.3 to 2.5 and figure 3; the sigmoid loss:
arXiv:2303.15343)."""
import sys

import torch
import torch.nn.functional as F

from . import hashed, towers
from .configs import complete
from .layers import Layers


def is_state(name):
    return name.endswith((".running_mean", ".running_var"))


class Clip(Layers):
    """A model whose parameters are a hash of their names. On the device "meta" it has shapes but
    no numbers."""

    def __init__(self, config, dtype=torch.float64, device="cpu"):
        def make(name, shape):
            if device == "meta":
                return torch.empty(shape, device=device)
            value = torch.tensor(hashed.parameter(name, shape), dtype=dtype)
            return value.requires_grad_(not is_state(name))

        super().__init__(make)
        self.dtype, self.device = dtype, device
        self.cfg = complete(config)

    def trained(self):
        """Known once a forward has run."""
        return {n: t for n, t in self.p.items() if not is_state(n)}

    def act(self, cfg):
        return cfg["act"] or ("quickgelu" if self.cfg["quick_gelu"] else "gelu")

    def encode_image(self, image, training):
        """image [N, H, W, C] -> unit rows."""
        cfg, embed_dim = self.cfg["vision_cfg"], self.cfg["embed_dim"]
        x = torch.as_tensor(image, dtype=self.dtype, device=self.device).permute(0, 3, 1, 2)
        arch = cfg.get("vision_arch") or ("resnet" if isinstance(cfg["layers"], list) else "vit")
        if arch == "resnet":
            x = towers.resnet(self, x, cfg, embed_dim, training)
        elif arch == "vit":
            x = towers.vit(self, x, cfg, self.act(cfg), embed_dim)
        else:
            sys.exit(f"{arch}: no such image tower is written here")
        return x / x.norm(dim=1, keepdim=True)

    def encode_text(self, captions):
        """captions: lists of ids, start and end included -> unit rows."""
        cfg, embed_dim = self.cfg["text_cfg"], self.cfg["embed_dim"]
        if cfg["text_arch"] == "cbow":
            x = towers.cbow(self, captions, cfg, embed_dim)
        else:
            x = towers.text_transformer(self, captions, cfg, self.act(cfg), embed_dim)
        return x / x.norm(dim=1, keepdim=True)

    def logits(self, image, text):
        logits = self.param("logit_scale").exp() * image @ text.T
        if self.cfg["init_logit_bias"] is not None:
            logits = logits + self.param("logit_bias")
        return logits

    def loss(self, logits):
        n = len(logits)
        if self.cfg["init_logit_bias"] is not None:     # each pair by itself
            sign = 2 * torch.eye(n, dtype=self.dtype) - 1
            return -F.logsigmoid(sign * logits).sum() / n
        label = torch.arange(n)
        return (F.cross_entropy(logits, label) + F.cross_entropy(logits.T, label)) / 2

    def forward(self, image, captions):
        """In training mode: embeddings, logits, loss."""
        self.margin = float("inf")
        i, t = self.encode_image(image, True), self.encode_text(captions)
        logits = self.logits(i, t)
        return i, t, logits, self.loss(logits)
