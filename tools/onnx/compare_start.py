"""Starts a program that embeds one picture, and ends it: examples/deploy.c, and Python with ONNX
Runtime, turn by turn, on the same exported image tower (random weights, pictures prepared inside)
and the same picture of 640 x 480. Prints medians: the whole process, its processor time and its
resident memory at most; and inside it the time to load the file and to run it first.

    compare_start.py [--build build/release] --deploy DEPLOY [--model MODEL.json] [--turns N]

DEPLOY is built as examples/README.md says. Needs onnxruntime and NumPy.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

THREADS = 2


def peer(model, picture):
    """The same in Python: imports nothing more than it needs."""
    import numpy as np
    import onnxruntime

    with open(picture, "rb") as f:
        f.readline()
        width, height = map(int, f.readline().split())
        f.readline()
        pixels = np.frombuffer(f.read(), np.uint8).reshape(1, height, width, 3)
    begun = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    ready = time.perf_counter()
    row = session.run(None, {"pixels": pixels})[0][0]
    done = time.perf_counter()
    print(*row, sep="\n")
    print(f"{1e3 * (ready - begun)} {1e3 * (done - ready)}", file=sys.stderr)


def process(command, env=None):
    """Wall and processor seconds, resident MB at most, and what was printed, of a process."""
    begun = time.perf_counter()
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    out, err = p.stdout.read(), p.stderr.read()
    _, status, usage = os.wait4(p.pid, 0)
    wall = time.perf_counter() - begun
    assert status == 0, err
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out, err


def inside(a, model):
    """Our load and first run in ms, which the program itself does not print."""
    out = subprocess.run([f"{a.build}/clipgraph", "run", model, "--random", "pixels=1,480,640,3",
                          "--repeat", "1", "--threads", str(THREADS)],
                         check=True, capture_output=True, text=True).stdout
    return [float(x) for x in re.search(r"loaded in ([\d.]+) ms, first run ([\d.]+) ms", out).groups()]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", default="build/release")
    p.add_argument("--deploy", required=True)
    p.add_argument("--model", default="models/configs/ViT-B-32.json")
    p.add_argument("--turns", type=int, default=7)
    a = p.parse_args()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([f"{a.build}/tests/onnx_sample", a.model, f"{folder}/model", "what=image",
                        "preprocess=shortest"], check=True)
        model, picture = f"{folder}/model.onnx", f"{folder}/picture.ppm"
        with open(picture, "wb") as f:
            f.write(b"P6\n640 480\n255\n" + bytes(i * i // 97 % 256 for i in range(640 * 480 * 3)))
        for _ in range(a.turns + 1):  # the first only warms the file cache
            wall, cpu, resident, row, _ = process([a.deploy, model, picture])
            ours.append([1e3 * wall, 1e3 * cpu, resident, *inside(a, model)])
            wall, cpu, resident, other, times = process(
                [sys.executable, __file__, "--peer", model, picture])
            theirs.append([1e3 * wall, 1e3 * cpu, resident, *map(float, times.split())])
    apart = max(abs(float(x) - float(y)) for x, y in zip(row.split(), other.split(), strict=True))
    print(f"{a.deploy}: {os.path.getsize(a.deploy) / 1e6:.2f} MB; embeddings differ by {apart:.1e}")
    for k, what in enumerate(("whole process, ms", "processor time, ms", "resident memory, MB",
                              "loading, ms", "first run, ms")):
        x, y = (statistics.median(row[k] for row in rows[1:]) for rows in (ours, theirs))
        print(f"{what:20} clipgraph {x:8.1f}  ONNX Runtime {y:8.1f}  ratio {y / x:5.2f}")
    assert apart <= 1e-4


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(*sys.argv[2:])
    else:
        main()
