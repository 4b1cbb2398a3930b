#!/usr/bin/env bash
# Installs a build into an empty prefix and uses it from there as others would: symbols and headers,
# the program, the examples by CMake and by pkg-config, C++.
#   test_install.sh SOURCE BUILD CC CXX     writes below the current folder
set -euo pipefail
source=$1 build=$2 cc=$3 cxx=$4
work=$PWD/test_install.d
prefix=$work/prefix
unset CLIPGRAPH_CONFIGS

fail() {
    echo "test_install.sh: $*" >&2
    exit 1
}
# contains TEXT PATTERN: a line of it matches
contains() {
    grep -qE "$2" <<<"$1" || fail "found:
$1
wanted a line like: $2"
}

rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$prefix" >"$work/install.log" 2>&1 || {
    cat "$work/install.log"
    fail "cmake --install failed"
}
lib=$(dirname "$(find "$prefix" -name libclipgraph.so)")
include=$prefix/include/clipgraph
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
version=$(pkg-config --modversion clipgraph)

# --- symbols: what public headers declare is exported, and nothing else ------------------------
nm -D --defined-only "$lib/libclipgraph.so" >"$work/nm"
awk '$2 != "D" && $2 != "R" {print $3}' "$work/nm" | sort >"$work/exported"
gcc -I"$include" -x c -aux-info "$work/prototypes" -fsyntax-only "$include/clipgraph.h"
grep -v 'static ' "$work/prototypes" | grep -oE '\bcg_[a-z0-9_]+ \(' | tr -d ' (' | sort -u \
    >"$work/declared"
diff "$work/exported" "$work/declared" >"$work/diff" ||
    fail "exported functions (<) are not those declared in public headers (>):
$(cat "$work/diff")"
awk '$2 == "D" || $2 == "R" {print $3}' "$work/nm" | sort >"$work/data"
sed -n 's/^CG_OP(\(.*\))$/cg_op_\1/p' "$include/ops/ops.def" | sort >"$work/ops"
diff "$work/data" "$work/ops" >"$work/diff" ||
    fail "exported data (<) are not the ops' descriptors (>):
$(cat "$work/diff")"
if nm -g --defined-only "$lib/libclipgraph.a" 2>/dev/null | awk 'NF == 3 && $3 !~ /^cg_/' | grep .; then
    fail "the static library defines these, which do not begin with cg_"
fi

# --- headers: all public ones are there, and each stands by itself in C and C++ -----------------
(cd "$source" && grep -l '^CG_API_BEGIN$' -- */*.h) | while read -r header; do
    [ -f "$include/$header" ] || fail "$header says that it is public, but is not installed"
done
find "$include" -name '*.h' | while read -r header; do
    "$cc" -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$include" -fsyntax-only -x c "$header"
    "$cxx" -std=c++17 -Wall -Wextra -Wpedantic -Werror -I"$include" -fsyntax-only -x c++ "$header"
done

# --- the program, with its descriptions ----------------------------------------------------------
contains "$("$prefix/bin/clipgraph" --version)" "^clipgraph $version\$"
cp "$prefix/share/clipgraph/configs/tiny-resnet-cbow.json" \
    "$prefix/share/clipgraph/configs/only-installed.json"
contains "$("$prefix/bin/clipgraph" inspect only-installed)" '/share/clipgraph/configs/only-inst'

# --- examples: CMake and the shared library ------------------------------------------------------
cmake -G Ninja -S "$source/examples" -B "$work/examples" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_C_FLAGS="-Wall -Wextra -Werror" >"$work/examples.log" 2>&1 &&
    cmake --build "$work/examples" >>"$work/examples.log" 2>&1 || {
    cat "$work/examples.log"
    fail "the examples cannot be built"
}
bin=$work/examples
configs=$(pkg-config --variable=configdir clipgraph)
picture=$source/tests/golden/image/rgb8.png
contains "$(ldd "$bin/embed")" "libclipgraph\.so\.[0-9.]+ => $lib/"

variant=$("$bin/define_variant" 16) || fail "define_variant: $variant"
contains "$variant" '^visual/layer1 .*\[1, 8, 8, 64\]'
contains "$("$bin/define_variant" 7 2>&1 || echo "code $?")" '^define_variant: .*width 7 is odd'
gradient=$("$bin/check_gradient") || fail "check_gradient: $gradient"
contains "$gradient" '^db .* ok$'
log=$("$bin/train" "$configs/tiny-resnet-cbow.json" "$work/model") || fail "train: $log"
awk '$1 == "step" {if (!n++) first = $4; last = $4} END {exit !(n == 6 && last < first)}' \
    <<<"$log" || fail "the loss does not fall: $log"
embedded=$("$bin/embed" "$work/model" "$picture" "a red circle") || fail "embed: $embedded"
contains "$embedded" '^length 1\.0000'
contains "$embedded" '^cosine -?0\.[0-9]+  "a red circle"$'
contains "$("$bin/embed" "$work/none" "$picture" 2>&1 || echo "code $?")" '^code 1$'

# an exported file, by the program that reads nothing else
"$prefix/bin/clipgraph" export --checkpoint "$work/model" --what image --preprocess \
    --out "$work/image" >"$work/export.log" 2>&1 || fail "export: $(cat "$work/export.log")"
{ printf 'P6\n# noise\n40 30\n255\n' && head -c 3600 "$lib/libclipgraph.so"; } >"$work/noise.ppm"
deployed=$("$bin/deploy" "$work/image/model.onnx" "$work/noise.ppm") || fail "deploy: $deployed"
awk '{sum += $1 * $1} END {exit !(NR == 32 && sum > 0.9999 && sum < 1.0001)}' <<<"$deployed" ||
    fail "deploy: this is no unit vector of 32 numbers: $deployed"
[ "$("$bin/deploy" "$work/image/model.onnx" - <"$work/noise.ppm")" = "$deployed" ] ||
    fail "deploy reads another picture from its standard input"
contains "$("$bin/deploy" "$work/image/model.onnx" "$picture" 2>&1 || echo "code $?")" '^code 1$'
contains "$("$bin/deploy" "$picture" "$work/noise.ppm" 2>&1 || echo "code $?")" '^code 1$'

# --- pkg-config: the shared library, also where those that it uses have no package, and the static
# one, whose result is the same ----------------------------------------------------------------
env -u PKG_CONFIG_PATH PKG_CONFIG_LIBDIR="$lib/pkgconfig" pkg-config --cflags --libs clipgraph \
    >"$work/flags" || fail "pkg-config wants more than clipgraph.pc"
# shellcheck disable=SC2046 # words are meant
"$cc" "$source/examples/check_gradient.c" -o "$work/shared" \
    $(pkg-config --cflags --libs clipgraph) -lm
"$work/shared" >"$work/shared.log" || fail "check_gradient by pkg-config: $(cat "$work/shared.log")"
# shellcheck disable=SC2046
"$cc" "$source/examples/embed.c" -o "$work/static" \
    $(pkg-config --static --cflags --libs clipgraph | sed 's/-lclipgraph/-l:libclipgraph.a/')
if ldd "$work/static" | grep libclipgraph; then fail "it was to be linked statically"; fi
[ "$("$work/static" "$work/model" "$picture" "a red circle")" = "$embedded" ] ||
    fail "the static library embeds otherwise than the shared one"

# A deployment links what it needs: no decoder, no JSON.
# shellcheck disable=SC2046
"$cc" -O2 "$source/examples/deploy.c" -o "$work/deploy" -Wl,--as-needed \
    $(pkg-config --static --cflags --libs clipgraph | sed 's/-lclipgraph/-l:libclipgraph.a/')
if ldd "$work/deploy" | grep -E 'libclipgraph|jpeg|webp|spng|jansson'; then
    fail "the static deployment wants libraries that it does not use"
fi
[ "$("$work/deploy" "$work/image/model.onnx" "$work/noise.ppm")" = "$deployed" ] ||
    fail "the static deployment embeds otherwise than the shared one"

# --- C++ -----------------------------------------------------------------------------------------
cat >"$work/use.cpp" <<'END'
#include <clipgraph.h>
#include <cstdio>
#include <cstring>
int main() {
    cg_graph *g = nullptr;
    if (cg_graph_create(nullptr, &g) != CG_OK) return 1;
    int64_t n = 4;
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(n, 3));
    cg_value *y = cg_relu(g, cg_sum(g, x, CG_SHAPE(1), 0));
    int ok = y && y->shape.rank == 1 && y->shape.dim[0] == n && CG_SCALAR.rank == 0;
    cg_value *wrong = cg_reshape(g, x, CG_SHAPE(5));
    ok = ok && std::strcmp(cg_version(), CLIPGRAPH_VERSION) == 0;
    ok = ok && !wrong && cg_graph_status(g) == CG_ESHAPE && std::strlen(cg_error_message()) > 0;
    std::printf("%d.%d.%d\n", CLIPGRAPH_VERSION_MAJOR, CLIPGRAPH_VERSION_MINOR,
                CLIPGRAPH_VERSION_PATCH);
    cg_graph_free(g);
    return ok ? 0 : 2;
}
END
# shellcheck disable=SC2046
"$cxx" -std=c++17 -Wall -Wextra -Wpedantic -Werror "$work/use.cpp" -o "$work/use" \
    $(pkg-config --cflags --libs clipgraph)
contains "$("$work/use")" "^$version\$"
rm -rf "$work"
