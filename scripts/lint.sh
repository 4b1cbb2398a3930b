#!/usr/bin/env bash
# Checks that the sources are formatted and that clang-tidy has nothing to say.
# --fix: formats them.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(git ls-files '*.c' '*.h')
if [ "${1:-}" = --fix ]; then
    clang-format -i "${sources[@]}"
    exit 0
fi
clang-format --dry-run -Werror "${sources[@]}"
echo "lint.sh: ${#sources[@]} files are formatted"

# clang reads the compile commands of gcc's build: it is lent gcc's omp.h alone, without
# an attribute that only gcc reads.
[ -f build/release/compile_commands.json ] || cmake --preset release >/dev/null
mkdir -p build/lint
sed 's/__malloc__ ([a-z_]*)/__malloc__/g' "$(gcc -print-file-name=include/omp.h)" >build/lint/omp.h
git ls-files '*.c' | grep -v '^examples/' | xargs -P "$(nproc)" -n 4 clang-tidy --quiet -p build/release \
    --warnings-as-errors='*' --extra-arg=-isystem"$PWD/build/lint" \
    --extra-arg=-Wno-unknown-warning-option
echo "lint.sh: clang-tidy found nothing"
