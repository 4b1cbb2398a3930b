#!/usr/bin/env bash
# Sets up everything, trains a CLIP model on real pictures, and shows what it has learned.
#
#   scripts/demo.sh [--seed N] [--model NAME]     (SEED=N in front does the same; default 0)
#
# The pictures are emoji: two artists' to train on, a third one's to test on, whose hand the model
# has never seen. The model is a ResNet with a bag of words, emoji-resnet-cbow. Other pairs of towers
# are emoji-resnet-transformer, emoji-vit-cbow and emoji-vit-transformer; they get about the same time.
# The run is in logs/emoji-seedN, or logs/NAME-seedN; stop it with Ctrl-C, and the same command goes
# on where it stood. A second call with the same seed trains nothing and shows the results again.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is trained, and how; `clipgraph train --help` explains each.
model=emoji-resnet-cbow
batch=256
weight_decay=0.2
clip=1
augmentation=(
    --aug-scale "0.6,1.4"
    --aug-ratio 1.3
    --aug-shift 0.06
    --aug-rotation 18
    --aug-gain 0.3
    --aug-saturation 0.6
)
precision=fp32
if grep -qs avx512_bf16 /proc/cpuinfo; then precision=bf16; fi # to the same quality, sooner
val_every=14 # epochs
save_every=7 # epochs

# What is asked of the model at the end.
labels="dog,cat,duck,red apple,birthday cake,fire engine,airplane,bicycle,sunflower,hourglass"
pictures=("dog face" "red apple" "fire engine" "duck" "birthday cake" "airplane") # their captions
queries=("red apple" "rocket" "dog face" "sad face")

data="data-cache/emoji"
clipgraph=build/release/clipgraph

seed=${SEED-0}
while [ $# -gt 0 ]; do
    case $1 in
    --seed) seed=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --seed=*) seed=${1#*=} && shift ;;
    --model) model=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --model=*) model=${1#*=} && shift ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' scripts/demo.sh && exit 0 ;;
    *) echo "demo.sh: unknown option $1 (known: --seed N, --model NAME)" >&2 && exit 2 ;;
    esac
done
if ! [[ $seed =~ ^[0-9]{1,15}$ ]]; then
    echo "demo.sh: the seed is \"$seed\", wanted a whole number" >&2
    exit 2
fi
case $model in
emoji-resnet-cbow) epochs=56 learning_rate=2e-3 warmup=50 name=emoji-seed$seed ;;
emoji-resnet-transformer) epochs=56 learning_rate=2e-3 warmup=100 name=$model-seed$seed ;;
emoji-vit-cbow | emoji-vit-transformer) epochs=40 learning_rate=1e-3 warmup=200 name=$model-seed$seed ;;
*)
    echo "demo.sh: there is no recipe for the model \"$model\" (known: emoji-resnet-cbow," \
        "emoji-resnet-transformer, emoji-vit-cbow, emoji-vit-transformer)" >&2
    exit 2
    ;;
esac
run=logs/$name

say() { printf '\n== %s\n\n' "$*"; }

# The picture of that caption, drawn by the artist of the tests.
picture() {
    awk -F'\t' -v title="$1" -v folder="$data" \
        '$2 == title && !found { print folder "/" $1; found = 1 }' "$data"/{style,concept}.tsv
}

# Writes the caption behind the picture of a line, for files are named by code points.
with_captions() {
    awk -F'\t' -v folder="$data/" '
        FILENAME != "-" { caption[folder $1] = $2; next }
        { path = $0; sub(/^.* /, "", path); print $0 (path in caption ? "  " caption[path] : "") }
    ' "$data"/{style,concept}.tsv -
}

train() {
    if [ -n "$(find "$run/checkpoints" -maxdepth 1 -name 'step-*' ! -name '*.tmp-*' 2>/dev/null)" ]; then
        "$clipgraph" train --resume "$run"
        return
    fi
    "$clipgraph" train --name "$name" --seed "$seed" --model "$model" \
        --train-data "$data/train.tsv" --val-data "$data/style.tsv" --val-frequency "$val_every" \
        --epochs "$epochs" --batch-size "$batch" --lr "$learning_rate" --wd "$weight_decay" \
        --warmup "$warmup" --grad-clip-norm "$clip" --precision "$precision" \
        --save-frequency "$save_every" \
        "${augmentation[@]}"
}

say "Packages and the program"
scripts/setup.sh --fetch
scripts/fetch-emoji.sh "$data"

say "Training: 7,014 pairs by two artists; retrieval is measured on a third, 1,465 captions"
if ! train; then
    echo "demo.sh: training ended early; the same command goes on from the last checkpoint" >&2
    exit 1
fi

say "Retrieval on the third artist, in percent
   style: captions seen in training; concept: 134 concepts that no training picture shows
   nearest pixels: the caption of the training picture with the most similar 16 x 16 pixels"
"$clipgraph" eval --checkpoint "$run" --val-data "style=$data/style.tsv" \
    --val-data "concept=$data/concept.tsv" --baseline pixels --train-data "$data/train.tsv" |
    tee "$run/eval.txt"

say "Classification: which of ten labels? (duck, birthday cake and airplane were never trained on)"
files=()
for caption in "${pictures[@]}"; do files+=("$(picture "$caption")"); done
"$clipgraph" classify --checkpoint "$run" --labels "$labels" --top 3 "${files[@]}" | with_captions

for text in "${queries[@]}"; do
    say "Search in the third artist's pictures: \"$text\""
    "$clipgraph" search --checkpoint "$run" --top 5 "$data/fluent" "$text" | with_captions
done

say "Where things are"
cat <<TXT
$run/config.json      what the run was told
$run/metrics.jsonl    loss and retrieval as training went on
$run/checkpoints/     the model; open_clip's form
$run/eval.txt         the retrieval table above
$data/        the pictures, and tables of pictures and captions

Ask something else:
  $clipgraph search --checkpoint $run $data/fluent "blue car"
  $clipgraph --help
TXT
