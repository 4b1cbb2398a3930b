#!/usr/bin/env bash
# Trains a CLIP model on Fashion-MNIST's training pictures, with captions made from templates, and
# measures zero-shot accuracy on its test pictures: "a photo of a {}" for each of the ten classes.
#
#   scripts/fashion-mnist.sh [--seed N]       (or SEED=N scripts/fashion-mnist.sh; default 0)
#
# The run is in logs/fashion-mnist-seedN; stop it with Ctrl-C, and the same command goes on where it
# stood. A second call with the same seed trains nothing and shows the results again.
set -euo pipefail
cd "$(dirname "$0")/.."

# What is trained, and how; `clipgraph train --help` explains each.
model=fashion-resnet-cbow
epochs=12
batch=256
learning_rate=2e-3
clip=1
flip=0.5
val_every=4 # epochs

template="a photo of a {}"

data="data-cache/fashion-mnist"
clipgraph=build/release/clipgraph

seed=${SEED-0}
while [ $# -gt 0 ]; do
    case $1 in
    --seed) seed=${2-} && shift $(($# > 1 ? 2 : 1)) ;;
    --seed=*) seed=${1#*=} && shift ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' scripts/fashion-mnist.sh && exit 0 ;;
    *) echo "fashion-mnist.sh: unknown option $1 (known: --seed N)" >&2 && exit 2 ;;
    esac
done
if ! [[ $seed =~ ^[0-9]{1,15}$ ]]; then
    echo "fashion-mnist.sh: the seed is \"$seed\", wanted a whole number" >&2
    exit 2
fi
name=fashion-mnist-seed$seed
run=logs/$name

say() { printf '\n== %s\n\n' "$*"; }

train() {
    if [ -n "$(find "$run/checkpoints" -maxdepth 1 -name 'step-*' ! -name '*.tmp-*' 2>/dev/null)" ]; then
        "$clipgraph" train --resume "$run"
        return
    fi
    "$clipgraph" train --name "$name" --seed "$seed" --model "$model" \
        --train-data "$data/train-images-idx3-ubyte.gz" \
        --val-data "$data/t10k-images-idx3-ubyte.gz" --val-frequency "$val_every" \
        --classes "$data/classes.txt" --templates "$data/templates.txt" \
        --epochs "$epochs" --batch-size "$batch" --lr "$learning_rate" \
        --grad-clip-norm "$clip" --aug-flip "$flip"
}

say "Packages and the program"
scripts/setup.sh
scripts/fetch-fashion-mnist.sh "$data"

say "Training: 60,000 pictures, captions drawn from $data/templates.txt"
if ! train; then
    echo "fashion-mnist.sh: training ended early; the same command goes on from the last checkpoint" >&2
    exit 1
fi

say "Zero-shot accuracy on the 10,000 test pictures, in percent; the template is \"$template\""
"$clipgraph" eval --checkpoint "$run" --val-data "test=$data/t10k-images-idx3-ubyte.gz" \
    --classes "$data/classes.txt" --template "$template" | tee "$run/eval.txt"
