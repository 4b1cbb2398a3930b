"""What the peers share: turns as bench_step takes them, and the fastest of several ways."""
import argparse, ctypes, json, math, os, statistics, sys, time


def parser(about):
    p = argparse.ArgumentParser(description=about)
    p.add_argument("--model", required=True, help="description of the model (JSON)")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    p.add_argument("--caption-tokens", type=int, default=10)
    p.add_argument("--captions", help="file of token ids, one caption a line")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--steps", type=int, default=10, help="runs that are timed in a turn")
    p.add_argument("--compile", choices=["auto", "no", "yes"], default="auto",
                   help="torch.compile; auto: where it is faster in a trial")
    p.add_argument("--turns", action="store_true",
                   help='say "ready", then take a turn for each line of standard input')
    return p


def seconds_of(run):
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def fastest(ways, times=3):
    """The name of the way that takes the least time of several turns; each is warmed up first."""
    for run in ways.values():
        run()
    return min(ways, key=lambda name: min(seconds_of(ways[name]) for _ in range(times)))


def resident(key):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith(key))


def forget_highest():
    """What the trials took goes back to the system, and VmHWM starts anew."""
    ctypes.CDLL(None).malloc_trim(0)
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def own_stdout():
    """A file for the reports; what libraries print goes to standard error from now on."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return out


def take_turns(a, out, run, about, after=dict, batches=1):
    """run: one step, warmed up already; of as many batches. Reports have the keys of bench_step,
    `about`, and what after() returns at the end of a turn."""
    forget_highest()
    base, highest = resident("VmRSS"), 0
    if a.turns:
        print("ready", file=out, flush=True)
    for _ in sys.stdin if a.turns else [None]:
        seconds = [seconds_of(run) / batches for _ in range(a.steps)]
        highest = highest or resident("VmHWM")
        median, more = statistics.median(seconds), after()
        if not math.isfinite(more.get("loss", 0)):
            sys.exit(f"the loss is {more['loss']}")
        print(json.dumps({
            "model": a.model, "batch": a.batch, "precision": a.precision, "threads": a.threads,
            "steps": a.steps, **about, "median_ms": 1e3 * median, "fastest_ms": 1e3 * min(seconds),
            "items_per_s": a.batch / median, "base_bytes": base, "peak_bytes": highest,
            "activation_bytes": highest - base, **more}), file=out, flush=True)
