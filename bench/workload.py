#!/usr/bin/env python3
"""What all contestants are given: captions as token ids. The standard library is enough.

    python bench/workload.py VOCABULARY CONTEXT >captions.txt

writes the labels of scripts/emoji-concepts.tsv as ids, one caption a line, without start and end,
as `--captions FILE` of the benchmarks and peers reads them. CLIP's vocabulary is not at hand, and
what the ids are does not matter for the time; how many there are does. So words, and signs that
stand alone, are cut into pieces of four characters, one id each: a hash of the piece. The captions
stand in the order of a hash of theirs, so that the first n are like all.
"""
import os, re, sys

MASK = 2**64 - 1
LABELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../scripts/emoji-concepts.tsv")
PIECE = 4  # characters


def mix64(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK
    return x ^ x >> 31


def hash64(text):
    h = len(text)
    for byte in text.encode():
        h = mix64(h ^ byte)
    return h


def tokenize(text, ids):
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    return [hash64(w[i:i + PIECE]) % ids for w in words for i in range(0, len(w), PIECE)]


def emoji_captions(vocabulary, context):
    """Token ids of every label, cut to what the context has room for."""
    with open(LABELS, encoding="utf-8") as f:
        labels = [line.rstrip("\n").split("\t")[2] for line in f]
    return [tokenize(label, vocabulary - 2)[:context - 2] for label in sorted(labels, key=hash64)]


def synthetic_captions(n, mean, vocabulary, context):
    """See bench/job.h."""
    most = context - 2
    if mean > most:
        sys.exit(f"captions of {mean} tokens, but the context has room for {most}")
    s, ids = min(mean - 1, most - mean), vocabulary - 2
    return [[mix64((t + 1) << 32 | j) % ids for j in range(mean - s + mix64(t) % (2 * s + 1))]
            for t in range(n)]


def captions(path, n, mean, text):
    """n captions of a text_cfg: those of a file, again and again, or without one synthetic."""
    if not path:
        return synthetic_captions(n, mean, text["vocab_size"], text["context_length"])
    with open(path) as f:
        lines = [[int(word) for word in line.split()] for _, line in zip(range(n), f)]
    if not lines:
        sys.exit(f"{path}: has no caption in it")
    return [lines[t % len(lines)] for t in range(n)]


def main():
    if len(sys.argv) != 3 or not all(a.isdigit() and int(a) > 2 for a in sys.argv[1:]):
        print("usage: workload.py VOCABULARY CONTEXT >captions.txt", file=sys.stderr)
        sys.exit(2)
    for ids in emoji_captions(int(sys.argv[1]), int(sys.argv[2])):
        print(*ids)


if __name__ == "__main__":
    main()
