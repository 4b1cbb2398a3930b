"""What is measured beside what, and the goals: the table behind bench/run.sh.

A work is a set of contestants that take turns; a row compares two of its figures. Contestants of
clipgraph begin with "clipgraph", and a peer's first word says what must be there for it.
"""
import dataclasses

SMALL = ["emoji-resnet-cbow", "emoji-resnet-transformer", "emoji-vit-cbow", "emoji-vit-transformer"]
EMBED = ["clipgraph f32", "clipgraph bf16", "onnxruntime f32", "openvino f32", "openvino bf16"]


@dataclasses.dataclass(frozen=True)
class Row:
    what: str
    ours: str       # a contestant of clipgraph
    theirs: tuple   # contestants, of whom the faster counts; empty: the machine
    goal: float
    key: str = "median_ms"
    # "speed": theirs by ours, at least the goal; "share": ours of the machine's, at least;
    # "least": ours by theirs, or by the lower bound, at most
    kind: str = "speed"


@dataclasses.dataclass(frozen=True)
class Work:
    name: str
    kind: str           # "step", "images", "texts", "process", "arena", "scaling"
    model: str = ""
    batch: int = 0
    steps: int = 1      # timed in a turn
    contestants: tuple = ()
    rows: tuple = ()
    peak: bool = False  # measured after clipgraph's turns


def training(name, model, batch, steps, precision, others, rows):
    contestants = (f"clipgraph {precision}",) + tuple(others)
    return Work(name, "step", model, batch, steps, contestants, tuple(rows), peak=True)


def embedding(name, title, model, against_ort, against_openvino):
    ort = ("onnxruntime f32",)
    rows = [Row(f"{title}, {p}, against ONNX Runtime f32", f"clipgraph {p}", ort, g)
            for p, g in zip(("f32", "bf16"), against_ort)]
    rows += [Row(f"{title}, {p}, against OpenVINO {p}", f"clipgraph {p}", (f"openvino {p}",), g)
             for p, g in zip(("f32", "bf16"), against_openvino)]
    return Work(name, "images", model, 32, 3, tuple(EMBED), tuple(rows), peak=True)


def latency(name, model):
    both = ("onnxruntime f32", "openvino f32")
    row = Row(f"{model} image embedding, batch 1, f32, against the faster of both", "clipgraph f32",
              both, 1.1)
    return Work(name, "images", model, 1, 20, ("clipgraph f32",) + both, (row,))


def small(model):
    row = Row(f"{model} training, batch 256, f32", "clipgraph f32", ("torch f32",), 3.0)
    return Work(f"small-{model}", "step", model, 256, 4, ("clipgraph f32", "torch f32"), (row,))


VIT, RN50 = "ViT-B-32 training, batch 64", "RN50 training, batch 32"
WORKS = [
    training("vit-train-f32", "ViT-B-32", 64, 1, "f32", ["torch f32", "torch f32 longest"], [
        Row(f"{VIT}, f32", "clipgraph f32", ("torch f32",), 2.0),
        Row(f"{VIT}, f32, PyTorch's texts cut to the longest", "clipgraph f32",
            ("torch f32 longest",), 1.3),
        Row(f"{VIT}, f32, useful FLOPs over peak", "clipgraph f32", (), 0.75, "share_of_peak",
            "share"),
        Row(f"{VIT}, f32, activation memory", "clipgraph f32", ("torch f32",), 0.5,
            "activation_bytes", "least")]),
    training("vit-train-bf16", "ViT-B-32", 64, 1, "bf16", ["torch bf16"], [
        Row(f"{VIT}, bf16", "clipgraph bf16", ("torch bf16",), 2.0),
        Row(f"{VIT}, bf16, useful FLOPs over peak", "clipgraph bf16", (), 0.6, "share_of_peak",
            "share")]),
    training("rn50-train-f32", "RN50", 32, 2, "f32", ["torch f32"], [
        Row(f"{RN50}, f32", "clipgraph f32", ("torch f32",), 1.3),
        Row(f"{RN50}, f32, useful FLOPs over peak", "clipgraph f32", (), 0.65, "share_of_peak",
            "share"),
        Row(f"{RN50}, f32, activation memory", "clipgraph f32", ("torch f32",), 0.7,
            "activation_bytes", "least")]),
    training("rn50-train-bf16", "RN50", 32, 2, "bf16", ["torch bf16"], [
        Row(f"{RN50}, bf16", "clipgraph bf16", ("torch bf16",), 1.5)]),
    embedding("vit-embed", "ViT-B-32 image embedding, batch 32", "ViT-B-32", (1.15, 1.9),
              (1.1, 1.1)),
    embedding("rn50-embed", "RN50 image embedding, batch 32", "RN50", (1.05, 1.6), (1.0, 1.0)),
    latency("vit-latency", "ViT-B-32"),
    latency("rn50-latency", "RN50"),
    Work("text-embed", "texts", "ViT-B-32", 32, 5, ("clipgraph f32", "onnxruntime f32"), (
        Row("ViT-B-32 text embedding, batch 32, f32, against ONNX Runtime at 77 tokens",
            "clipgraph f32", ("onnxruntime f32",), 5.0),)),
    Work("arena", "arena", rows=tuple(
        Row(f"{model} training, batch {batch}, planned arena over its lower bound", model, (), 1.05,
            str(batch), "least") for model, batch in
        [("ViT-B-32", 64), ("RN50", 32), *((model, 256) for model in SMALL)])),
    Work("process", "process", "ViT-B-32", 1, 1, ("clipgraph process", "torch process"), (
        Row("ViT-B-32, `clipgraph embed` of one picture, whole process, warm page cache",
            "clipgraph process", ("torch process",), 0.1, kind="least"),)),
    *map(small, SMALL),
    Work("scaling", "scaling"),
]
# Not part of the whole: the machinery itself, in seconds, for the tests.
TRIAL = Work("trial", "step", "tiny-vit-transformer", 4, 1, ("clipgraph f32", "torch f32"), (
    Row("tiny-vit-transformer training, batch 4, f32", "clipgraph f32", ("torch f32",), 1.0),))


def chosen(words):
    """The works named, or whose name begins with a word and a dash; all where none is named."""
    found = []
    for word in words:
        some = [w for w in WORKS + [TRIAL]
                if w.name == word or w.name.startswith(word + "-")]
        if not some:
            raise ValueError(f"no work \"{word}\"; there are: {', '.join(w.name for w in WORKS)}")
        found += [w for w in some if w not in found]
    return found if words else WORKS
