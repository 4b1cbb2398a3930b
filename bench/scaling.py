"""How a training step's time grows with batch, tokens, layers and pixels: points in turns, a
straight line through their medians, and a picture of both. clipgraph only; a work of bench/run.sh.
"""
import json, os

import contest

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 300, 64, 20, 44, 48


def descriptions(s):
    """Axes: (name, title, unit, [(x, description, batch, caption tokens)])."""
    def description(base, **change):
        with open(s.model(base)) as f:
            config = json.load(f)
        for key, value in change.items():
            tower, field = key.split("__")
            config[tower + "_cfg"][field] = value
        name = "-".join([base, *(f"{k.split('__')[1]}-{v}" for k, v in change.items())])
        path = os.path.join(s.out, f"scaling-{name}.json")
        with open(path, "w") as f:
            json.dump(config, f)
        return path
    vit, resnet = "emoji-vit-transformer", "emoji-resnet-cbow"
    long = description(vit, vision__image_size=32, text__context_length=128)
    return [
        ("batch", f"{vit}: pairs of a batch", "pair",
         [(n, s.model(vit), n, 8) for n in (8, 16, 32, 64, 128, 256, 512)]),
        ("tokens", f"{vit}, 32 × 32 pixels, batch 64: tokens of a caption", "token",
         [(k + 2, long, 64, k) for k in (6, 14, 30, 46, 62, 94, 118)]),
        ("layers", f"{vit}, batch 64: layers of each tower", "layer",
         [(n, description(vit, vision__layers=n, text__layers=n), 64, 8)
          for n in (1, 2, 4, 6, 8, 12)]),
        ("pixels", f"{resnet}, batch 32: thousand pixels of a picture", "thousand pixels",
         [(n * n / 1000, description(resnet, vision__image_size=n), 32, 8)
          for n in (32, 64, 96, 128, 160, 192, 224)]),
    ]


def fit(points):
    """Least squares: slope, start, R²."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    sxx = sum((x - mx)**2 for x, _ in points)
    sxy = sum((x - mx) * (y - my) for x, y in points)
    syy = sum((y - my)**2 for _, y in points)
    return sxy / sxx, my - sxy / sxx * mx, sxy * sxy / (sxx * syy)


def step_of(most):
    """The distance of ticks, 1, 2 or 5 times a power of ten, that makes four to eight of them."""
    power = 10.0**-3
    while True:
        for digit in (1, 2, 5):
            if most / (digit * power) <= 8:
                return digit * power
        power *= 10


def draw(path, title, points, slope, start, r2):
    most_x, most_y = 1.05 * max(x for x, _ in points), 1.1 * max(y for _, y in points)

    def at(x, y):
        return (LEFT + (WIDTH - LEFT - RIGHT) * x / most_x,
                HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / most_y)

    def text(x, y, size, anchor, words):
        return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                f'fill="#444444">{words}</text>')

    def rule(a, b, colour, width):
        return (f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" '
                f'stroke="{colour}" stroke-width="{width}"/>')
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             f'width="{WIDTH}" height="{HEIGHT}" font-family="Helvetica, Arial, sans-serif">',
             f"<title>{title}</title>",
             f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="white"/>',
             text(WIDTH / 2, 20, 13, "middle", title.split(": ")[0] + ", ms of a training step"),
             text(WIDTH / 2, HEIGHT - 10, 12, "middle",
                  f"{title.split(': ')[1]} (line: {slope:.3g} ms each, R² {r2:.4f})")]
    for most, down in (most_x, True), (most_y, False):
        distance = step_of(most)
        for i in range(int(most / distance) + 1):
            here = at(i * distance, 0) if down else at(0, i * distance)
            there = at(i * distance, most_y) if down else at(most_x, i * distance)
            parts.append(rule(here, there, "#dddddd", 1))
            parts.append(text(here[0], here[1] + 16, 11, "middle", f"{i * distance:g}") if down else
                         text(here[0] - 6, here[1] + 4, 11, "end", f"{i * distance:g}"))
    low = max(0, -start / slope)  # where the line leaves the picture
    parts.append(rule(at(low, start + slope * low), at(most_x / 1.05, start + slope * most_x / 1.05),
                      "#b5d0ea", 2))
    parts += [f'<circle cx="{at(x, y)[0]:.1f}" cy="{at(x, y)[1]:.1f}" r="4" fill="#2f6db3"/>'
              for x, y in points]
    with open(path, "w") as f:
        f.write("\n".join([*parts, "</svg>", ""]))


def measure(s):
    """Axes by name: points, line, R²; and scaling-NAME.svg in the output folder."""
    found = {}
    for name, title, unit, points in descriptions(s):
        contest.say(f"scaling: {name}, {len(points)} points")
        ready = {}
        try:
            for x, description, batch, tokens in points:
                ready[x] = contest.Contestant(f"scaling {name} {x:g}", [
                    f"{s.build}/bench/bench_step", "--model", description, "--batch", batch,
                    "--caption-tokens", tokens, "--threads", s.threads, "--steps", 3, "--gemm", 0,
                    "--turns"], s.env, s.logs)
            turns = contest.alternate(ready, s.rounds, json.loads)
        finally:
            for contestant in ready.values():
                contestant.stop()
        medians = [(x, contest.median(t, "median_ms")) for x, t in turns.items()]
        slope, start, r2 = fit(medians)
        draw(os.path.join(s.out, f"scaling-{name}.svg"), title, medians, slope, start, r2)
        found[name] = {"title": title, "unit": unit, "points": medians, "slope": slope,
                       "start": start, "r2": r2}
    return found
