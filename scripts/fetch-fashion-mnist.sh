#!/usr/bin/env bash
# Fetches Fashion-MNIST: 60,000 grey pictures of clothes to train on and 10,000 to test on, in ten
# classes, with its official split.
#
#   scripts/fetch-fashion-mnist.sh [FOLDER]   (default: data-cache/fashion-mnist in this repository)
#
# Writes into FOLDER
#   train-images-idx3-ubyte.gz  train-labels-idx1-ubyte.gz   60,000 pictures of 28 x 28
#   t10k-images-idx3-ubyte.gz   t10k-labels-idx1-ubyte.gz    10,000
#   classes.txt     the ten names, as the data set has them; line k (from 0) is label k
#   templates.txt   sentences for training; the first, "a photo of a {}", is the benchmark's
#   LICENCE.txt
# The files are those of Debian's package dataset-fashion-mnist: of the installed one where there is
# one, else fetched with apt, without root. Needs about 60 MB while it runs; about 30 MB stay. A
# second run does nothing when the folder is complete.
set -euo pipefail
export LC_ALL=C

die() { printf 'fetch-fashion-mnist: %s\n' "$*" >&2; exit 1; }
say() { printf 'fetch-fashion-mnist: %s\n' "$*"; }

case "${1-}" in
  -h|--help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
  -*) die "unknown option $1 (see --help)" ;;
esac
[ $# -le 1 ] || die "one folder at most (see --help)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dest=${1:-$(dirname "$here")/data-cache/fashion-mnist}
[ -n "$dest" ] && [ "$dest" != / ] || die "not a folder to write into: '$dest'"

package=dataset-fashion-mnist
inside=usr/share/datasets/fashion-mnist

# name, SHA-256 of what is in it, so that it does not matter how it was compressed
files='
train-images-idx3-ubyte c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888
train-labels-idx1-ubyte bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9
t10k-images-idx3-ubyte  5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b
t10k-labels-idx1-ubyte  0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34
'

for tool in gzip sha256sum; do
  command -v "$tool" >/dev/null 2>&1 || die "$tool is missing; install coreutils and gzip"
done

stamp() { printf 'layout 1\n%s\n' "$files"; }

# Complete when every file of this list is there and was checked.
complete() {
  local d=$1 name sum
  [ -f "$d/.complete" ] && [ "$(cat "$d/.complete")" = "$(stamp)" ] || return 1
  while read -r name sum; do
    [ -z "$name" ] || [ -s "$d/$name.gz" ] || return 1
  done <<<"$files"
  [ -s "$d/classes.txt" ] && [ -s "$d/templates.txt" ]
}

if complete "$dest"; then
  say "$dest is complete, nothing to do"
  exit 0
fi
if [ -e "$dest" ] && [ ! -f "$dest/.complete" ]; then
  [ -d "$dest" ] && [ -z "$(ls -A "$dest")" ] ||
    die "$dest exists and was not made by this script; remove it or name another folder"
fi

mkdir -p "$(dirname "$dest")"
dest=$(cd "$(dirname "$dest")" && pwd)/$(basename "$dest")
tmp=$(mktemp -d "$dest.tmp.XXXXXX")
cleanup() { rm -rf "$tmp"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
out=$tmp/out
mkdir "$out" "$tmp/deb"

fetch() { # leaves the package's contents in $tmp/x
  local tool try
  for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null 2>&1 ||
      die "$tool is missing: the files come from Debian's package $package"
  done
  for try in 1 2 3; do
    say "fetching $package"
    # Mirrors, proxies and certificates are whatever apt is configured with.
    if (cd "$tmp/deb" && apt-get -q -o APT::Sandbox::User="$(id -un)" download "$package") >"$tmp/apt.log" 2>&1; then
      dpkg-deb -x "$tmp"/deb/*.deb "$tmp/x" || die "cannot unpack $package"
      return 0
    fi
    rm -f "$tmp"/deb/*
    [ "$try" = 3 ] || sleep $((try * 2))
  done
  sed 's/^/fetch-fashion-mnist:   apt: /' "$tmp/apt.log" >&2
  die "cannot fetch $package with apt; if it does not know the package, 'sudo apt-get update' and try again"
}

from=/$inside
if [ -d "$from" ]; then
  say "taking the files of the installed package $package"
else
  fetch
  from=$tmp/x/$inside
fi

while read -r name sum; do
  [ -n "$name" ] || continue
  [ -f "$from/$name.gz" ] || die "$package has no $name.gz"
  cp "$from/$name.gz" "$out/$name.gz"
  have=$(gzip -dc "$out/$name.gz" | sha256sum) || die "$name.gz is damaged"
  [ "${have%% *}" = "$sum" ] ||
    die "$name.gz is not the file this script knows: SHA-256 of its contents ${have%% *}, expected $sum"
done <<<"$files"

cat >"$out/classes.txt" <<'TXT'
T-shirt/top
Trouser
Pullover
Dress
Coat
Sandal
Shirt
Sneaker
Bag
Ankle boot
TXT

cat >"$out/templates.txt" <<'TXT'
a photo of a {}
a photo of the {}
a picture of a {}
a grey picture of a {}
a small photo of a {}
a photo of one {} on black
an item of clothing: {}
{}
TXT

cat >"$out/LICENCE.txt" <<'TXT'
Fashion-MNIST, Copyright 2017 Zalando SE, MIT licence; by Xiao, Rasul and Vollgraf, arXiv:1708.07747
TXT
stamp >"$out/.complete"
complete "$out" || die "a file is missing after unpacking"
chmod -R u+w "$out"

# Swap the finished folder in; an older one of ours makes way.
if [ -d "$dest" ]; then
  if [ -z "$(ls -A "$dest")" ]; then rmdir "$dest"; else mv -T "$dest" "$tmp/old"; fi
fi
mv -T "$out" "$dest"
say "$dest: 60,000 training and 10,000 test pictures, ten classes"
