#!/usr/bin/env bash
# Checks that the sources are formatted and that clang-tidy has nothing to say.
# --fix: formats them.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(git ls-files -co --exclude-standard '*.c' '*.h')
if [ "${1:-}" = --fix ]; then
    clang-format -i "${sources[@]}"
    exit 0
fi
clang-format --dry-run -Werror "${sources[@]}"
echo "lint.sh: ${#sources[@]} files are formatted"

# clang-tidy reads the compile commands of gcc's build, and the omp.h made there for it.
[ -f build/release/lint/omp.h ] || cmake --preset release >/dev/null
git ls-files -co --exclude-standard '*.c' | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p build/release \
    --warnings-as-errors='*' --extra-arg=-isystem"$PWD/build/release/lint" \
    --extra-arg=-Wno-unknown-warning-option
echo "lint.sh: clang-tidy found nothing"
