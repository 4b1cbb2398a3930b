"""The four towers. Names and shapes of parameters are open_clip's."""
import torch
import torch.nn.functional as F


# --- ResNet (arXiv:2103.00020, section 2.4) ------------------------------------------------------

def bottleneck(m, path, x, planes, stride, training):
    y = m.relu(m.conv_bn(path, "conv1", "bn1", x, planes, 1, training))
    y = m.relu(m.conv_bn(path, "conv2", "bn2", y, planes, 3, training))
    if stride > 1:
        y = F.avg_pool2d(y, stride)
    y = m.conv_bn(path, "conv3", "bn3", y, 4 * planes, 1, training)
    if stride > 1 or x.shape[1] != 4 * planes:
        x = F.avg_pool2d(x, stride) if stride > 1 else x
        x = m.conv_bn(path, "downsample.0", "downsample.1", x, 4 * planes, 1, training)
    return m.relu(y + x)


def attention_pool(m, x, heads, embed_dim):
    """The mean token is put in front, positions are added, and the mean token alone asks all."""
    path, c = "visual.attnpool", x.shape[1]
    x = x.flatten(2).transpose(1, 2)                                # [n, hw, c]
    x = torch.cat([x.mean(1, keepdim=True), x], 1)
    x = x + m.param(f"{path}.positional_embedding", x.shape[1], c)
    q = m.linear(f"{path}.q_proj", x[:, :1], c)
    k, v = m.linear(f"{path}.k_proj", x, c), m.linear(f"{path}.v_proj", x, c)
    return m.linear(f"{path}.c_proj", m.attention(q, k, v, heads)[:, 0], embed_dim)


def resnet(m, x, cfg, embed_dim, training):
    w = cfg["width"]
    for i, out, stride in (1, w // 2, 2), (2, w // 2, 1), (3, w, 1):
        x = m.relu(m.conv_bn("visual", f"conv{i}", f"bn{i}", x, out, 3, training, stride))
    x = F.avg_pool2d(x, 2)
    for stage, blocks in enumerate(cfg["layers"]):
        for block in range(blocks):
            x = bottleneck(m, f"visual.layer{stage + 1}.{block}", x, w << stage,
                           2 if block == 0 and stage > 0 else 1, training)
    return attention_pool(m, x, 32 * w // cfg["head_width"], embed_dim)


# --- vision transformer (section 2.4; pooling and its norms as in open_clip) ---------------------

def vit(m, x, cfg, act, embed_dim):
    w, size = cfg["width"], cfg["patch_size"]
    x = F.conv2d(x, m.param("visual.conv1.weight", w, 3, size, size), stride=size)
    x = x.flatten(2).transpose(1, 2)                                # [n, patches, w]
    x = torch.cat([m.param("visual.class_embedding", w).expand(len(x), 1, w), x], 1)
    x = x + m.param("visual.positional_embedding", x.shape[1], w)
    if not cfg["no_ln_pre"]:
        x = m.norm("visual.ln_pre", x, cfg["norm"])
    for i in range(cfg["layers"]):
        x = m.block(f"visual.transformer.resblocks.{i}", x, w // cfg["head_width"], cfg, act)
    if not cfg["final_ln_after_pool"]:
        x = m.norm("visual.ln_post", x, cfg["norm"])
    x = x[:, 0] if cfg["pool_type"] == "tok" else x[:, 1:].mean(1)
    if cfg["final_ln_after_pool"]:
        x = m.norm("visual.ln_post", x, cfg["norm"])
    return x @ m.param("visual.proj", w, embed_dim)


# --- captions ------------------------------------------------------------------------------------

def text_projection(m, x, cfg, embed_dim):
    if cfg["proj_bias"]:
        return m.linear("text_projection", x, embed_dim)
    return x @ m.param("text_projection", cfg["width"], embed_dim)


def text_transformer(m, captions, cfg, act, embed_dim):
    """Every caption is padded to the context length, whatever that makes it see."""
    w, length, heads = cfg["width"], cfg["context_length"], cfg["heads"]
    token = torch.tensor([c + [cfg["pad_id"]] * (length - len(c)) for c in captions])
    table = m.param("token_embedding.weight", cfg["vocab_size"], w)
    x = table[token] + m.param("positional_embedding", length, w)
    seen = torch.ones(len(captions), 1, length, length, dtype=torch.bool)
    if not cfg["no_causal_mask"]:
        seen = seen.tril()
    elif cfg["use_pad_mask"]:
        seen = seen & (token != cfg["pad_id"])[:, None, None, :]
    for i in range(cfg["layers"]):
        x = m.block(f"transformer.resblocks.{i}", x, heads, cfg, act, seen.to(x.device))
    x = m.norm("ln_final", x, cfg["norm"])
    row = {"argmax": lambda c: c.index(max(c)), "eos": lambda c: c.index(cfg["eos_id"]),
           "first": lambda c: 0, "last": lambda c: length - 1}[cfg["pool_type"]]
    return text_projection(m, torch.stack([x[t, row(c)] for t, c in enumerate(captions)]), cfg,
                           embed_dim)


def cbow(m, captions, cfg, embed_dim):
    """The mean of the captions' own tokens, without start and end; of none it is 0."""
    table = m.param("token_embedding.weight", cfg["vocab_size"], cfg["width"])
    own = [torch.tensor(c[1:-1], dtype=torch.long) for c in captions]
    x = torch.stack([table[c].sum(0) / max(len(c), 1) for c in own])
    return text_projection(m, m.norm("ln_final", x, cfg["norm"]), cfg, embed_dim)
