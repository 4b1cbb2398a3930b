#!/usr/bin/env bash
# Sets up everything and runs the tests. --all: also under the sanitizers, and the checks of
# format and of what clang-tidy finds.
set -euo pipefail
cd "$(dirname "$0")/.."

all=0
case ${1:-} in
"") ;;
--all) all=1 ;;
*)
    echo "test.sh: unknown option $1 (known: --all)" >&2
    exit 2
    ;;
esac

if [ $all = 1 ]; then scripts/setup.sh --dev; else scripts/setup.sh; fi
ctest --preset release -j "$(nproc)"
[ $all = 1 ] || exit 0

scripts/lint.sh
cmake --preset asan >/dev/null
cmake --build --preset asan
ctest --preset asan -j "$(nproc)"
