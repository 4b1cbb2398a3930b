"""Runs the works of works.py and writes results.md and results.json: what bench/run.sh calls."""
import argparse, importlib.util, json, os, struct, subprocess, sys, zlib

import contest, report, scaling, workload, works
from contest import Failed, say

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
EPILOG = """works, of which WORK selects one by its name or several by its beginning:
  {}
environment:
  ROUNDS (5), THREADS (one per processor), BUILD (build/release), OUT (build/bench: results.md,
  results.json, scaling-*.svg, logs of the contestants, ONNX files), PYTHON (python3) with torch,
  onnxruntime, openvino and Pillow; what is missing is said, and its rows are left out"""


class Setting:
    """Where everything is, and what is there."""

    def __init__(self):
        self.build = os.path.abspath(os.environ.get("BUILD", f"{ROOT}/build/release"))
        self.out = os.path.abspath(os.environ.get("OUT", f"{ROOT}/build/bench"))
        self.rounds = self.number("ROUNDS", 5)
        self.threads = self.number("THREADS", len(os.sched_getaffinity(0)))
        self.logs = os.path.join(self.out, "logs")
        self.env = contest.environment(self.threads)
        os.makedirs(self.logs, exist_ok=True)
        for program in "bench/bench_step", "bench/bench_embed", "clipgraph":
            if not os.access(f"{self.build}/{program}", os.X_OK):
                sys.exit(f"bench: {self.build}/{program} is not there; build first, or set BUILD")

    @staticmethod
    def number(name, default):
        text = os.environ.get(name) or str(default)
        if not text.isdigit() or int(text) < 1:
            print(f"bench: {name}: found \"{text}\", wanted a whole number from 1", file=sys.stderr)
            sys.exit(2)
        return int(text)

    @staticmethod
    def model(name):
        return f"{ROOT}/models/configs/{name}.json"

    def captions(self, model):
        """One file for each vocabulary and context: all contestants of a work read the same one."""
        with open(self.model(model)) as f:
            text = json.load(f)["text_cfg"]
        sizes = text["vocab_size"], text["context_length"]
        path = os.path.join(self.out, "captions-%d-%d.txt" % sizes)
        with open(path, "w") as f:
            for ids in workload.emoji_captions(*sizes):
                print(*ids, file=f)
        return path


# --- contestants -----------------------------------------------------------------------------

NEEDS = {"torch": ["torch"], "torch process": ["torch", "PIL"],
         "onnxruntime": ["torch", "onnx", "onnxruntime"], "openvino": ["torch", "onnx", "openvino"]}


def missing(who):
    """What a peer wants and this Python has not."""
    return [m for m in NEEDS.get(who, NEEDS.get(who.split()[0], []))
            if not importlib.util.find_spec(m)]


def command(s, work, name):
    """Of a contestant with --turns: "torch f32 longest", say."""
    who, precision, *more = name.split()
    common = ["--model", s.model(work.model), "--batch", work.batch, "--precision", precision,
              "--threads", s.threads, "--steps", work.steps, "--turns"]
    if work.kind != "images":
        common += ["--captions", s.captions(work.model)]
    if work.kind == "texts":
        common += ["--texts"]
    if who == "clipgraph":
        program = "bench_step" if work.kind == "step" else "bench_embed"
        return [f"{s.build}/bench/{program}", *common, *([] if work.peak else ["--gemm", 0])]
    if work.kind == "step":
        return [sys.executable, f"{HERE}/peer_torch.py", *common,
                *(["--texts", *more] if more else [])]
    return [sys.executable, f"{HERE}/peer_embed.py", "--runtime", who, *common,
            "--folder", f"{s.out}/onnx"]


def write_picture(path, width=640, height=480):
    """A PNG of hills and noise."""
    rows = b"".join(b"\0" + bytes(
        (x * (c + 1) // 4 + y // 2 + workload.mix64(x * height + y) % 32) % 256
        for x in range(width) for c in range(3)) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(
            ">I", zlib.crc32(kind + data))
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n"
                + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def run_once(s, what, words):
    """Something that a process row needs beforehand."""
    done = subprocess.run([str(w) for w in words], env=s.env, text=True, capture_output=True)
    if done.returncode:
        raise Failed(f"{what}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def process(s, work, name):
    """A checkpoint of a model trained for one step, the same picture for both, and the command."""
    picture, checkpoint = f"{s.out}/picture.png", f"{s.out}/process/model"
    if not os.path.exists(picture):
        write_picture(picture)
    if name.startswith("clipgraph"):
        if not os.path.exists(f"{checkpoint}/metrics.jsonl"):
            run_once(s, "a checkpoint", [
                f"{s.build}/clipgraph", "train", "--dataset-type", "synthetic", "--model",
                s.model(work.model), "--train-num-samples", 2, "--batch-size", 2, "--epochs", 1,
                "--quiet", "--logs", f"{s.out}/process", "--name", "model"])
        return [f"{s.build}/clipgraph", "embed", "--checkpoint", checkpoint, "--threads", s.threads,
                "--out", f"{s.out}/process/clipgraph", picture]
    state = f"{s.out}/process/state.pt"
    words = [sys.executable, f"{HERE}/peer_process.py", "--model", s.model(work.model), "--state",
             state, "--threads", s.threads]
    if not os.path.exists(state):
        os.makedirs(os.path.dirname(state), exist_ok=True)
        run_once(s, "a state", [*words, "--make"])
    return [*words, "--picture", picture, "--out", f"{s.out}/process/torch.npy"]


# --- works -----------------------------------------------------------------------------------

def start(s, work, name):
    absent = missing(name)
    if absent:
        raise Failed(f"{sys.executable} has no {', no '.join(absent)}")
    say(f"{work.name}: {name} gets ready")
    if work.kind == "process":
        return contest.Whole(name, process(s, work, name), s.env, s.logs)
    return contest.Contestant(f"{work.name} {name}", command(s, work, name), s.env, s.logs)


def measure(s, work):
    """Turns by contestant; a sentence in place of those of one that cannot take part."""
    ready, turns = {}, {}
    try:
        for name in work.contestants:  # clipgraph's come first
            if not name.startswith("clipgraph") and not any(
                    name in row.theirs and row.ours in ready for row in work.rows):
                turns[name] = "not needed"
                continue
            try:
                ready[name] = start(s, work, name)
            except Failed as e:
                turns[name] = str(e)
                say(f"{work.name}: without {name}: {e}")
        say(f"{work.name}: turns, {s.rounds} of each")
        turns.update(contest.alternate(ready, s.rounds, json.loads))
    finally:
        for contestant in ready.values():
            contestant.stop()
    counts = {t[-1]["parameters"] for t in turns.values()
              if isinstance(t, list) and t and "parameters" in t[-1]}
    if len(counts) > 1:
        sys.exit(f"bench: {work.name}: the models differ in their number of parameters")
    return turns


def arena(s, work):
    """No time in it, so one plan is enough."""
    turns = {}
    for row in work.rows:
        done = subprocess.run([f"{s.build}/clipgraph", "inspect", s.model(row.ours), "--batch-size",
                               row.key, "--threads", str(s.threads), "--json"],
                              capture_output=True, text=True)
        turns[row.ours] = ([json.loads(done.stdout)["memory"]["training_step"]]
                           if done.returncode == 0 else done.stderr.strip())
    return turns


def main():
    names = [w.name for w in works.WORKS]
    parser = argparse.ArgumentParser(
        prog="bench/run.sh", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Measures clipgraph beside its peers, turn by turn.",
        epilog=EPILOG.format(" ".join(names)))
    parser.add_argument("work", nargs="*", metavar="WORK")
    a = parser.parse_args()
    try:
        chosen = works.chosen(a.work)
    except ValueError as e:
        parser.error(str(e))
    s, results = Setting(), {}
    for work in chosen:
        if work.kind == "scaling":
            try:
                results[work.name] = scaling.measure(s)
            except Failed as e:
                sys.exit(f"bench: scaling: {e}")
        else:
            results[work.name] = arena(s, work) if work.kind == "arena" else measure(s, work)
        text = report.write(s, [w for w in chosen if w.name in results], results)
    print(text, end="")
    say(f"written: {s.out}/results.md, {s.out}/results.json")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
