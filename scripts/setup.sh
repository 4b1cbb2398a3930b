#!/usr/bin/env bash
# Installs what clipgraph needs (Debian 12 or later, or an Ubuntu of that age) and builds it.
# Repeatable: what is there already is left alone.
#
#   scripts/setup.sh             packages and the optimised build, in build/release
#   scripts/setup.sh --dev       also clang-format and clang-tidy, to check the code, and graphviz, to draw
#   scripts/setup.sh --fetch     also what fetching the demo's pictures needs: npm, jq
set -euo pipefail
cd "$(dirname "$0")/.."

# OpenCL is not used, but the CMake package of libdnnl-dev does not load without it.
packages=(gcc g++ cmake ninja-build pkg-config git ca-certificates
    libdnnl-dev ocl-icd-opencl-dev libprotobuf-c-dev protobuf-c-compiler libonnx-dev libcmocka-dev
    libjansson-dev libturbojpeg0-dev libspng-dev libwebp-dev libexif-dev libutf8proc-dev libxxhash-dev zlib1g-dev)
commands=()
for option in "$@"; do
    case $option in
    --dev) packages+=(clang-format clang-tidy graphviz) ;;
    --fetch) commands+=(npm jq) ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' scripts/setup.sh && exit 0 ;;
    *)
        echo "setup.sh: unknown option $option (known: --dev, --fetch)" >&2
        exit 2
        ;;
    esac
done
for command in "${commands[@]}"; do
    command -v "$command" >/dev/null || packages+=("$command") # perhaps not from a package
done

missing=()
for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
        missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "setup.sh: needs root or sudo to install: ${missing[*]}" >&2
            exit 1
        }
        root=(sudo)
    fi
    echo "setup.sh: installing ${missing[*]}"
    "${root[@]}" apt-get update -qq
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
        --no-install-recommends "${missing[@]}" >/dev/null
fi

cmake --preset release >/dev/null
cmake --build --preset release
