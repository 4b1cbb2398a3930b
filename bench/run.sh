#!/usr/bin/env bash
# Sets clipgraph's training step against a peer's, turn by turn (A B A B …) in the same minutes,
# and writes a Markdown table and JSON with every turn.
#
#   bench/run.sh [WORK…]     WORK is NAME:MODEL:BATCH:CAPTION-TOKENS:STEPS, MODEL a description
#                            below models/configs, without .json
#
# Environment: BUILD (build/release) with the programs, OUT (build/bench) for results.md and
# results.json, ROUNDS (5), THREADS (one per processor), PYTHON (python3) with PyTorch for the peer,
# which is left out where that cannot be found.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-build/release} out=${OUT:-build/bench} rounds=${ROUNDS:-5}
threads=${THREADS:-$(nproc)} python=${PYTHON:-python3}
works=("$@")
[ $# -gt 0 ] || works=("demo:emoji-resnet-cbow:256:8:10" "ViT-B-32:ViT-B-32:32:10:3"
    "RN50:RN50:16:10:3")
step=$build/bench/bench_step
if [ ! -x "$step" ]; then
    echo "run.sh: $step is not there; build first, or set BUILD" >&2
    exit 1
fi
peer=1
if ! "$python" -c 'import torch' 2>/dev/null; then
    peer=0
    echo "run.sh: $python has no torch: measuring without the peer (set PYTHON)" >&2
fi
# As the command line does for itself; set either variable to have it for both.
as_cli=(env)
[ -n "${GOMP_SPINCOUNT:-}${OMP_WAIT_POLICY:-}" ] || as_cli=(env GOMP_SPINCOUNT=20000)
mkdir -p "$out"
raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT

# values KEY FILE: of a key in lines of JSON; median, range: of numbers, one a line.
values() { sed -E "s/.*\"$1\": ([-+0-9.e]+).*/\1/" "$2"; }
median() { sort -g | awk '{x[NR] = $1} END {printf "%.12g\n", (x[int((NR + 1) / 2)] + x[int(NR / 2) + 1]) / 2}'; }
range() { sort -g | awk 'NR == 1 {low = $1} END {printf "%.2f to %.2f", low, $1}'; }

# --- turns -----------------------------------------------------------------------------------------
for work in "${works[@]}"; do
    IFS=: read -r name model batch tokens steps <<<"$work"
    if [ -z "${steps:-}" ]; then
        echo "run.sh: $work: wanted NAME:MODEL:BATCH:CAPTION-TOKENS:STEPS" >&2
        exit 2
    fi
    args=(--model "models/configs/$model.json" --batch "$batch" --caption-tokens "$tokens"
        --threads "$threads" --steps "$steps")
    for ((round = 1; round <= rounds; round++)); do
        echo "$name: round $round of $rounds" >&2
        "${as_cli[@]}" "$step" "${args[@]}" --json >>"$raw/$name.clipgraph"
        [ $peer = 0 ] || "$python" bench/peer_torch.py "${args[@]}" >>"$raw/$name.peer"
    done
    if [ $peer = 1 ] && [ "$(values parameters "$raw/$name.clipgraph" | median)" != \
        "$(values parameters "$raw/$name.peer" | median)" ]; then
        echo "run.sh: $name: the two models differ in their number of parameters" >&2
        exit 1
    fi
done

# --- results ---------------------------------------------------------------------------------------
# row WORK NAME KEY FACTOR UNIT SHARE: a line of the table; the ratio's range is that of the rounds.
row() {
    local ours=$raw/$2.clipgraph theirs=$raw/$2.peer a b ratio=– shown=–
    a=$(values "$3" "$ours" | median)
    if [ $peer = 1 ]; then
        b=$(values "$3" "$theirs" | median)
        shown=$(awk -v x="$b" -v f="$4" -v u="$5" 'BEGIN {printf "%.1f %s", x * f, u}')
        ratio=$(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", b / a}')
        ratio="$ratio ($(paste <(values "$3" "$ours") <(values "$3" "$theirs") |
            awk '{print $2 / $1}' | range))"
    fi
    awk -v w="$1" -v x="$a" -v f="$4" -v u="$5" -v p="$shown" -v r="$ratio" -v s="$6" \
        'BEGIN {printf "| %s | %.1f %s | %s | %s | %s |\n", w, x * f, u, p, r, s}'
}

lines() { [ ! -f "$1" ] || paste -sd, "$1"; }

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)
version=$([ $peer = 0 ] || sed -nE 's/.*"peer": "([^"]*)".*/\1/p;q' "$raw/${works[0]%%:*}.peer")
{
    echo "${cpu:-unknown processor}, $threads threads, medians of $rounds rounds;" \
        "peer: ${version:-none}"
    echo
    echo "| work | clipgraph | peer | ratio | share of peak |"
    echo "|---|---|---|---|---|"
    for work in "${works[@]}"; do
        IFS=: read -r name model batch _ <<<"$work"
        share=$(values share_of_peak "$raw/$name.clipgraph" | median |
            awk '{printf "%.0f %%", 100 * $1}')
        row "$name ($model, batch $batch), step" "$name" median_ms 1 ms "$share"
        row "$name, activation memory" "$name" activation_bytes 1e-6 MB –
    done
    echo
    echo "A ratio is the peer's figure by clipgraph's, above 1 where clipgraph needs less; in" \
        "brackets, its range over the rounds."
} | tee "$out/results.md"
{
    echo "{\"processor\": \"$cpu\", \"threads\": $threads, \"rounds\": $rounds, \"work\": ["
    separator=
    for work in "${works[@]}"; do
        name=${work%%:*}
        echo "$separator{\"name\": \"$name\", \"clipgraph\": [$(lines "$raw/$name.clipgraph")]," \
            "\"peer\": [$(lines "$raw/$name.peer")]}"
        separator=,
    done
    echo "]}"
} >"$out/results.json"
echo "written: $out/results.md, $out/results.json" >&2
