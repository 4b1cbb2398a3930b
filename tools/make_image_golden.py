#!/usr/bin/env python3
"""Makes tests/golden/image/: small pictures of every kind, what they must decode to, and what
Pillow makes of resizing and preprocessing. The tests themselves need no Python.

    python tools/make_image_golden.py [folder]      needs Pillow and NumPy

decode.txt      a line a case: file, options (- | noexif | drop), tolerance, width, height, RGB in hex
resize.txt      a line a case: width, height, filter, box, width, height of the result, RGB in hex
preprocess.txt  a line a case: width, height, mode, filter, size, RGB in hex
Sources of the last two are computed (`pattern` below, and again in the tests), not stored.
PNG comes from an encoder of our own, as Pillow writes only some of its types; what is expected
of it follows from the definition, and is compared with Pillow's reading where that has one.
"""
import io, struct, sys, zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, features

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "tests/golden/image")
STAMP = (f"# made by tools/make_image_golden.py: Pillow {PIL.__version__}, NumPy {np.__version__}, "
         f"libjpeg-turbo {features.version('libjpeg_turbo')}, libwebp {features.version('webp')}; "
         "seed 1\n")
RNG = np.random.default_rng(1)
LOSSY = 3  # two libraries' inverse transform and chroma upsampling may round differently
cases = []


def pattern(w, h):
    """Ramps that wrap around: smooth parts and hard edges, so that results clip too."""
    x, y, c = np.arange(w)[None, :, None], np.arange(h)[:, None, None], np.arange(3)[None, None, :]
    return ((x * x * (c + 3) + y * y * 5 + x * y * 7 + c * 160) // 4 % 256).astype(np.uint8)


def smooth(w, h):
    """What a camera might see: JPEG and WebP are made for it."""
    x, y = np.linspace(0, 1, w)[None, :], np.linspace(0, 1, h)[:, None]
    rgb = np.stack([255 * x + 0 * y, 255 * y + 0 * x, 255 * (1 - x) * (1 - y)], -1)
    rgb[h // 4 : h // 2, w // 5 : w // 2] = [230, 40, 60]
    rgb[-h // 3 :, : w // 3] = [20, 60, 200]
    return np.clip(rgb + RNG.normal(0, 2, rgb.shape), 0, 255).round().astype(np.uint8)


def hexed(rgb):
    return np.ascontiguousarray(rgb, np.uint8).tobytes().hex()


def expect(name, rgb, tolerance=0, option="-"):
    cases.append(f"{name} {option} {tolerance} {rgb.shape[1]} {rgb.shape[0]} {hexed(rgb)}\n")


def composite(rgb, alpha):
    a = alpha[..., None].astype(np.int64)
    return ((rgb * a + 255 * (255 - a) + 127) // 255).astype(np.uint8)


# --- PNG ---

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def scanlines(samples, bits, first_filter):
    """samples [h][w][channels] -> filtered rows (none, sub and up in turn)."""
    rows, before = b"", None
    for y, row in enumerate(samples):
        flat = row.reshape(-1)
        if bits == 16:
            raw = flat.astype(">u2").tobytes()
        elif bits == 8:
            raw = flat.astype(np.uint8).tobytes()
        else:
            parts = ((flat[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8)
            raw = np.packbits(parts.reshape(-1)).tobytes()
        raw = np.frombuffer(raw, np.uint8)
        step = max(1, bits * row.shape[-1] // 8)
        kind = (y + first_filter) % 3
        if kind == 1:
            data = raw - np.concatenate([np.zeros(step, np.uint8), raw[:-step]])[: len(raw)]
        elif kind == 2:
            data = raw - (before if before is not None else np.zeros_like(raw))
        else:
            data = raw
        rows += bytes([kind]) + data.tobytes()
        before = raw
    return rows


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, bits, kind, interlaced=False, palette=None, trns=None):
    h, w = samples.shape[:2]
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, kind, 0, 0, interlaced))
    if palette is not None:
        data += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if trns is not None:
        data += chunk(b"tRNS", trns)
    rows = b""
    if interlaced:
        for i, (x, y, dx, dy) in enumerate(ADAM7):
            part = samples[y::dy, x::dx]
            if part.size:
                rows += scanlines(part, bits, i)
    else:
        rows = scanlines(samples, bits, 0)
    return data + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def to8(samples, bits):
    return samples >> 8 if bits == 16 else samples * 255 // ((1 << bits) - 1)


def write_png(name, samples, bits, kind, rgb, alpha=None, **more):
    for interlaced in (False, True):
        file = name + ("_interlaced" if interlaced else "") + ".png"
        data = png(samples, bits, kind, interlaced, **more)
        (OUT / file).write_bytes(data)
        image = Image.open(io.BytesIO(data))
        if image.mode not in ("I;16", "I"):  # which Pillow does not turn to RGB by a rule of ours
            assert (np.asarray(image.convert("RGB")) == rgb).all(), file
            # Pillow compares a key colour of fewer bits with samples already scaled to 8
            if alpha is not None and (bits == 8 or kind == 3):
                assert (np.asarray(image.convert("RGBA"))[..., 3] == alpha).all(), file
        expect(file, rgb if alpha is None else composite(rgb, alpha))
        if alpha is not None:
            expect(file, rgb, option="drop")


def make_png():
    w, h = 13, 11
    def noise(bits, channels):
        return RNG.integers(0, 1 << bits, (h, w, channels))
    grey3 = lambda s: np.repeat(s, 3, axis=2).astype(np.uint8)
    for bits in (1, 2, 4, 8, 16):
        s = noise(bits, 1)
        write_png(f"grey{bits}", s, bits, 0, grey3(to8(s, bits)))
    for bits in (4, 16):
        s = noise(bits, 1)
        s[2:5, 3:9] = key = 5
        write_png(f"grey{bits}_key", s, bits, 0, grey3(to8(s, bits)),
                  np.where(s[..., 0] == key, 0, 255), trns=struct.pack(">H", key))
    for bits in (8, 16):
        s = noise(bits, 3)
        write_png(f"rgb{bits}", s, bits, 2, to8(s, bits).astype(np.uint8))
        s = noise(bits, 2)
        write_png(f"grey_alpha{bits}", s, bits, 4, grey3(to8(s[..., :1], bits)), to8(s[..., 1], bits))
        s = noise(bits, 4)
        write_png(f"rgba{bits}", s, bits, 6, to8(s[..., :3], bits).astype(np.uint8), to8(s[..., 3], bits))
    s = noise(8, 3)
    s[1:4, 2:8] = key = np.array([9, 200, 31])
    write_png("rgb8_key", s, 8, 2, s.astype(np.uint8), np.where((s == key).all(-1), 0, 255),
              trns=struct.pack(">HHH", *key))
    for bits in (1, 2, 4, 8):
        palette = RNG.integers(0, 256, (1 << bits, 3))
        s = noise(bits, 1)
        rgb = palette[s[..., 0]].astype(np.uint8)
        write_png(f"palette{bits}", s, bits, 3, rgb, palette=palette)
        some = RNG.integers(0, 256, max(1, (1 << bits) - 1)).astype(np.uint8)  # the rest is opaque
        alpha = np.concatenate([some, np.full((1 << bits) - len(some), 255, np.uint8)])[s[..., 0]]
        write_png(f"palette{bits}_alpha", s, bits, 3, rgb, alpha, palette=palette, trns=some.tobytes())


# --- JPEG and WebP ---

def pillow(name, image, tolerance=LOSSY, option="-", **options):
    image.save(OUT / name, **options)
    stored = Image.open(OUT / name)
    if "A" in stored.getbands():
        rgba = np.asarray(stored.convert("RGBA")).astype(np.int64)
        expect(name, composite(rgba[..., :3], rgba[..., 3]), tolerance)
        expect(name, rgba[..., :3].astype(np.uint8), tolerance, "drop")
        return
    turned = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    expect(name, turned, tolerance)
    plain = np.asarray(stored.convert("RGB"))
    if plain.shape != turned.shape or (plain != turned).any():
        expect(name, plain, tolerance, "noexif")


def oriented(k):
    exif = Image.Exif()
    exif[0x0112] = k
    return exif


def make_lossy():
    image = Image.fromarray(smooth(29, 21))
    for name in ("4:4:4", "4:2:2", "4:2:0"):
        pillow(f"rgb_{name.replace(':', '')}.jpg", image, subsampling=name, quality=90)
    pillow("progressive.jpg", image, progressive=True, quality=85)
    pillow("grey.jpg", image.convert("L"), quality=85)
    pillow("cmyk.jpg", image.convert("CMYK"), quality=90)
    small = Image.fromarray(smooth(17, 10))
    for k in range(1, 9):
        pillow(f"orientation{k}.jpg", small, quality=90, subsampling="4:4:4", exif=oriented(k))
    pillow("orientation6.png", small, tolerance=0, exif=oriented(6))
    pillow("orientation8.webp", small, tolerance=0, lossless=True, exif=oriented(8))
    pillow("lossy.webp", image, quality=80)
    pillow("lossless.webp", image, tolerance=0, lossless=True)
    alpha = np.linspace(0, 255, 29 * 21).reshape(21, 29).astype(np.uint8)
    rgba = Image.fromarray(np.dstack([np.asarray(image), alpha]))
    pillow("lossy_alpha.webp", rgba, quality=80)
    pillow("lossless_alpha.webp", rgba, tolerance=0, lossless=True, exact=True)
    other = Image.fromarray(255 - np.asarray(image))
    pillow("animated.webp", image, tolerance=0, lossless=True, save_all=True, append_images=[other])


# --- resizing ---

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def resize(image, size, kind, box=None):
    """Image.resize in two calls, a pass each. Up to version 12 Pillow always did the horizontal
    pass first, and so do we; from 13 on it begins with the vertical one where that shrinks much
    more, which changes a value here and there by up to 3."""
    left, top, right, bottom = box or (0, 0, *image.size)
    image = image.resize((size[0], image.height), kind, box=(left, 0, right, image.height))
    return image.resize(size, kind, box=(0, top, size[0], bottom))


def make_resize():
    lines = []
    sizes = [((37, 29), (16, 16)), ((37, 29), (37, 10)), ((37, 29), (9, 29)), ((37, 29), (37, 29)),
             ((11, 7), (30, 24)), ((64, 64), (32, 32)), ((301, 200), (20, 15)), ((5, 90), (1, 1)),
             ((1, 1), (4, 3)), ((200, 3), (7, 11))]
    for (w, h), out in sizes:
        boxes = [(0, 0, w, h)]
        if w > 4 and h > 4:
            boxes.append((0.75, 1.5, w - 1.25, h - 0.5))
        for box in boxes:
            for name, kind in FILTERS.items():
                rgb = np.asarray(resize(Image.fromarray(pattern(w, h)), out, kind, box))
                lines.append(f"{w} {h} {name} {' '.join(map(str, box))} {out[0]} {out[1]} {hexed(rgb)}\n")
    (OUT / "resize.txt").write_text(STAMP + "".join(lines))


def shortest(image, size, kind):
    """torchvision's Resize(size) and CenterCrop(size)"""
    w, h = image.size
    short, long = min(w, h), max(w, h)
    side = int(size * long / short)
    image = resize(image, (size, side) if w <= h else (side, size), kind)
    left, top = int(round((image.width - size) / 2.0)), int(round((image.height - size) / 2.0))
    return image.crop((left, top, left + size, top + size))


def longest(image, size, kind):
    """open_clip's ResizeKeepRatio(longest=1) and CenterCropOrPad"""
    ratio = max(image.width, image.height) / size
    image = resize(image, (round(image.width / ratio), round(image.height / ratio)), kind)
    square = Image.new("RGB", (size, size), (10, 120, 230))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square


def make_preprocess():
    lines = []
    modes = {"shortest": shortest, "longest": longest,
             "squash": lambda image, size, kind: resize(image, (size, size), kind)}
    for w, h, size in [(53, 40, 16), (40, 53, 16), (45, 30, 15), (30, 47, 15), (24, 24, 24),
                       (31, 30, 30), (300, 20, 14), (200, 301, 20), (9, 7, 20), (17, 17, 8)]:
        for mode, make in modes.items():
            for name, kind in FILTERS.items():
                if name == "bilinear" and mode != "shortest":
                    continue
                rgb = np.asarray(make(Image.fromarray(pattern(w, h)), size, kind))
                lines.append(f"{w} {h} {mode} {name} {size} {hexed(rgb)}\n")
    (OUT / "preprocess.txt").write_text(STAMP + "".join(lines))


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    make_png()
    make_lossy()
    (OUT / "decode.txt").write_text(STAMP + "".join(cases))
    make_resize()
    make_preprocess()
