"""results.md and results.json of bench/run.sh."""
import datetime, json, os, statistics

import contest

UNITS = {"median_ms": (1, "ms", "{:.4g}"), "activation_bytes": (1e-6, "MB", "{:.0f}"),
         "arena_bytes": (1e-6, "MB", "{:.1f}")}


def shown(key, x):
    factor, unit, form = UNITS[key]
    return f"{form.format(factor * x)} {unit}"


def why_not(turns, names):
    """The first reason why a row's contestants have no figures, or None."""
    for name in names:
        if not turns.get(name) or isinstance(turns[name], str):
            return f"{name}: {turns.get(name) or 'no turn'}"
    return None


def judged(row, ratio, low, high, ours, theirs, against):
    met = ratio <= row.goal if row.kind == "least" else ratio >= row.goal
    return {"what": row.what, "ours": ours, "theirs": theirs, "against": against, "ratio": ratio,
            "low": low, "high": high, "goal": row.goal, "at_most": row.kind == "least", "met": met}


def result(row, turns):
    """A row's figures, or the reason why it has none."""
    theirs = [t for t in row.theirs if turns.get(t) and not isinstance(turns[t], str)]
    reason = why_not(turns, [row.ours, *(() if theirs else row.theirs)])
    if reason:
        return {"what": row.what, "goal": row.goal, "at_most": row.kind == "least",
                "reason": reason}
    mine = turns[row.ours]
    if row.kind == "share":
        shares = [t[row.key] for t in mine]
        return judged(row, statistics.median(shares), min(shares), max(shares),
                      f"{contest.median(mine, 'gflop_per_s'):.0f} GFLOP/s",
                      f"{contest.median(mine, 'peak_gflop_per_s'):.0f} GFLOP/s", "peak")
    if "arena_bytes" in mine[0] and not row.theirs:
        plan = mine[0]
        ratio = plan["arena_bytes"] / plan["arena_lower_bound"]
        return judged(row, ratio, ratio, ratio, shown("arena_bytes", plan["arena_bytes"]),
                      shown("arena_bytes", plan["arena_lower_bound"]), "lower bound")
    other = min(theirs, key=lambda name: contest.median(turns[name], row.key))
    a, b = contest.median(mine, row.key), contest.median(turns[other], row.key)
    pairs = [(t[row.key], u[row.key]) for t, u in zip(mine, turns[other])]
    if row.kind == "speed":
        ratio, ratios = b / a, [y / x for x, y in pairs]
    else:
        ratio, ratios = a / b, [x / y for x, y in pairs]
    peer = turns[other][0]
    name = " ".join(filter(None, [peer.get("peer", "Python with torch"), peer.get("precision"),
                                  peer.get("mode")]))
    return judged(row, ratio, min(ratios), max(ratios), shown(row.key, a), shown(row.key, b), name)


def line(r):
    goal = f"{'≤' if r['at_most'] else '≥'} {r['goal']:g}"
    if "reason" in r:
        return f"| {r['what']} | – | – | – | – | {goal} | not measured: {r['reason']} |"
    ratio = f"{r['ratio']:.2f}"
    if r["high"] > r["low"]:
        ratio += f" ({r['low']:.2f} to {r['high']:.2f})"
    return (f"| {r['what']} | {r['ours']} | {r['against']} | {r['theirs']} | {ratio} | {goal} | "
            f"{'met' if r['met'] else 'missed'} |")


def processor():
    with open("/proc/cpuinfo") as f:
        return next((x.split(": ", 1)[1].strip() for x in f if x.startswith("model name")),
                    "unknown processor")


def write(s, done, results):
    """Both files, of the works done so far; the table."""
    rows = [result(row, results[w.name]) for w in done for row in w.rows]
    head = (f"{processor()}, {s.threads} threads, medians of {s.rounds} "
            f"{'round' if s.rounds == 1 else 'rounds'}, {datetime.date.today()}")
    lines = [head, ""]
    if rows:
        lines += ["| work | clipgraph | against | theirs | ratio (range over the rounds) | goal "
                  "| |", "|---|---|---|---|---|---|---|", *map(line, rows), "",
                  "A ratio is of medians. Where the goal is at least (≥), it is the other's figure "
                  "by clipgraph's, or", "clipgraph's share of the peak; where it is at most (≤), "
                  "clipgraph's by the other's."]
    if "scaling" in results:
        lines += ["", "| a training step, clipgraph only | straight line | R² |", "|---|---|---|"]
        lines += [f"| {x['title']} | {x['slope']:.3g} ms per {x['unit']}, from "
                  f"{x['start']:.3g} ms | {x['r2']:.4f} |" for x in results["scaling"].values()]
    text = "\n".join(lines) + "\n"
    with open(os.path.join(s.out, "results.md"), "w") as f:
        f.write(text)
    with open(os.path.join(s.out, "results.json"), "w") as f:
        json.dump({"processor": processor(), "threads": s.threads, "rounds": s.rounds,
                   "date": str(datetime.date.today()), "rows": rows, "turns": results}, f, indent=1)
    return text
