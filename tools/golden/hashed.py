"""Weights, pictures and captions that are a hash of their names; tests/support/hash.c is the other
half, and both follow these rules to the last bit:

    k    = top 24 bits of mix64(fnv1a64(name) + i)          element i of the tensor `name`
    u(i) = (2k + 1 - 2^24) / 2^24                           in (-1, 1), exact in f32, never 0

    logit_scale                 ln(1 / 0.07)
    logit_bias                  -4
    weights of rank 2 or more   u * sqrt(3 * dim[0] / count)      (variance dim[0] / count)
    gains: *.weight of rank 1, *.gamma      1 + u / 4
    *.running_var               1 / 4 + u / 16                    (about what batches have)
    the rest of rank 1          u / 8                             (biases, running means)

    image, element i            u(i) of "image.S" / 2 + u of "image.S.block" at the element's block
                                of 8 x 8 pixels; rows [N, H, W, C], blocks [N, H/8, W/8, C]
    token, row i                h = mix64(fnv1a64("token.S") + i), all captions in one row
                                CBOW:         h mod vocabulary
                                Transformer:  3 + h mod (vocabulary - 5)
    start, end                  vocabulary - 2, vocabulary - 1; pooled by "eos", the end is eos_id
    length of caption t         lengths[(t + S) mod N], without start and end

all in double, rounded once to f32."""
import math

import numpy as np


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
    elif name == "logit_bias":
        x = np.array(-4.0)
    elif len(shape) >= 2:
        x = unit(name, shape) * math.sqrt(3 * shape[0] / math.prod(shape))
    elif name.endswith((".weight", ".gamma")):
        x = 1 + unit(name, shape) / 4
    elif name.endswith(".running_var"):
        x = 1 / 4 + unit(name, shape) / 16
    else:
        x = unit(name, shape) / 8
    return x.astype(np.float32)


def images(number, n, size):
    block = unit(f"image.{number}.block", (n, size // 8, size // 8, 3)).repeat(8, 1).repeat(8, 2)
    return (unit(f"image.{number}", (n, size, size, 3)) / 2 + block).astype(np.float32)


def captions(number, lengths, text):
    """Lists of ids, start and end included. text: the description's text_cfg."""
    vocabulary = text["vocab_size"]
    lengths = [lengths[(t + number) % len(lengths)] for t in range(len(lengths))]
    token = bits(f"token.{number}", sum(lengths))
    if text["text_arch"] == "cbow":
        token = token % np.uint64(vocabulary)
    else:
        token = np.uint64(3) + token % np.uint64(vocabulary - 5)
    end = text["eos_id"] if text["pool_type"] == "eos" else vocabulary - 1
    out, at = [], 0
    for n in lengths:
        out.append([vocabulary - 2] + token[at:at + n].tolist() + [end])
        at += n
    return out
