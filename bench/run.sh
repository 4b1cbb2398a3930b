#!/usr/bin/env bash
# Measures clipgraph beside PyTorch, ONNX Runtime and OpenVINO, turn by turn in the same minutes,
# and holds the ratios to goals: see `bench/run.sh --help`. PYTHON (python3) has the peers.
set -euo pipefail
python=${PYTHON:-python3}
command -v "$python" >/dev/null || {
    echo "run.sh: $python is not there; set PYTHON to a Python 3" >&2
    exit 1
}
exec "$python" "$(dirname "$0")/matrix.py" "$@"
