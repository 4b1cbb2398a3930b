#!/usr/bin/env bash
# Fetches the emoji benchmark: pictures by two artists to train on, by a third to test on.
#
#   scripts/fetch-emoji.sh [FOLDER]        (default: data-cache/emoji in this repository)
#
# Writes into FOLDER
#   train.tsv    7,014 pairs   google and twitter pictures, less the held-out concepts
#   style.tsv    1,465 pairs   the third artist, captions seen in training
#   concept.tsv    134 pairs   the third artist, concepts never seen in training
# each with the columns filepath and title (paths relative to the file), and the pictures they name.
# Which concept is held out stands in scripts/emoji-concepts.tsv. Needs npm, jq and about 200 MB
# while it runs; about 46 MB stay. A second run does nothing when the folder is complete.
set -euo pipefail
export LC_ALL=C

die() { printf 'fetch-emoji: %s\n' "$*" >&2; exit 1; }
say() { printf 'fetch-emoji: %s\n' "$*"; }

case "${1-}" in
  -h|--help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
  -*) die "unknown option $1 (see --help)" ;;
esac
[ $# -le 1 ] || die "one folder at most (see --help)"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
concepts=$here/emoji-concepts.tsv
dest=${1:-$(dirname "$here")/data-cache/emoji}
[ -n "$dest" ] && [ "$dest" != / ] || die "not a folder to write into: '$dest'"
[ -f "$concepts" ] || die "$concepts is missing; it belongs to the repository"

# name, version, SHA-256 of the package file
packages='
emoji-datasource-google  16.0.0 fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438
emoji-datasource-twitter 16.0.0 f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877
emojibase-data           17.0.0 d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a
@lobehub/fluent-emoji-3d 1.1.0  c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58
'
want_train=7014 want_style=1465 want_concept=134

for tool in npm jq sha256sum tar; do
  command -v "$tool" >/dev/null 2>&1 && continue
  case $tool in
    sha256sum) pkg=coreutils ;;
    *)         pkg=$tool ;;
  esac
  die "$tool is missing; install it with 'sudo apt-get install $pkg' or run scripts/setup.sh"
done

stamp() { printf 'layout 1\n%s\nconcepts %s\n' "$packages" "$(sha256sum <"$concepts")"; }
pairs() { local n; n=$(wc -l <"$1"); printf '%d' "$((n - 1))"; }   # lines less the header

# Complete when it was made from the same packages, every list is whole and every picture is there.
complete() {
  local d=$1 name want
  [ -f "$d/.complete" ] && [ "$(cat "$d/.complete")" = "$(stamp)" ] || return 1
  for name in train style concept; do
    want=want_$name
    [ -f "$d/$name.tsv" ] && [ "$(pairs "$d/$name.tsv")" -eq "${!want}" ] || return 1
    (cd "$d" && tail -n +2 "$name.tsv" | cut -f1 | while IFS= read -r f; do [ -s "$f" ] || exit 1; done) || return 1
  done
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
mkdir "$out" "$tmp/npm"

fetch() { # NAME VERSION SHA256: leaves the checked file's path in $tarball
  local name=$1 version=$2 sum=$3 try have
  tarball=${name#@}
  tarball=$tmp/npm/${tarball//\//-}-$version.tgz
  for try in 1 2 3; do
    say "fetching $name $version"
    # Proxies and certificates are whatever npm is configured with. npm names the file itself.
    if (cd "$tmp/npm" && npm pack --silent --ignore-scripts --fetch-timeout=120000 "$name@$version" \
          >"$tmp/npm.log" 2>&1) && [ -s "$tarball" ]; then
      have=$(sha256sum <"$tarball")
      [ "${have%% *}" = "$sum" ] && return 0
      die "$name $version is not the file this script knows: SHA-256 ${have%% *}, expected $sum"
    fi
    rm -f "$tarball"
    [ "$try" = 3 ] || sleep $((try * 2))
  done
  sed 's/^/fetch-emoji:   npm: /' "$tmp/npm.log" >&2
  die "cannot fetch $name $version with npm; behind a proxy set https_proxy or 'npm config set proxy' and try again"
}

while read -r name version sum; do
  [ -n "$name" ] || continue
  fetch "$name" "$version" "$sum"
  case $name in
    *-google)   from=img/google/64  to=google ;;
    *-twitter)  from=img/twitter/64 to=twitter ;;
    emojibase*) from=en/data.json   to=emojibase.json ;;
    *fluent*)   from=assets         to=fluent ;;
  esac
  mkdir "$tmp/x"
  tar -xzf "$tarball" -C "$tmp/x" --no-same-owner "package/$from" || die "cannot unpack $name: no $from in it"
  mv "$tmp/x/package/$from" "$tmp/$to"
  rm -rf "$tmp/x" "$tarball"
done <<<"$packages"

for name in google twitter fluent; do
  (cd "$tmp" && find "$name" -type f \( -name '*.png' -o -name '*.webp' \) | sort) >"$tmp/$name.list"
done

# One picture is known by its code points, in four spellings: lower-case hex, fe0f left out, four
# digits at least make them one. `seen` maps them to the caption and to the concept without skin tone.
cat >"$tmp/join.jq" <<'JQ'
def lower: explode | map(if (. >= 65 and . <= 90) or (. >= 192 and . <= 222 and . != 215) then . + 32 else . end) | implode;
def key: ascii_downcase | gsub("-fe0f"; "") | until(test("^[0-9a-f]{4}"); "0" + .);
def lines: split("\n") | map(select(. != ""));
def pictures($list): $list | lines | map({path: ., key: (sub("^.*/"; "") | sub("\\.[a-z]+$"; "") | key)});
def row: .path + "\t" + .title;

(reduce .[] as $e ({};
   ($e.hexcode | key) as $base
   | reduce ($e, ($e.skins // [])[]) as $s (.;
       ($s.hexcode | key) as $k
       | if has($k) then . else .[$k] = {title: ($s.label | lower), base: $base} end))) as $seen
| ($concepts | lines | map(split("\t") | {key: .[0], value: .[1]}) | from_entries) as $split
| if $set == "train" then
    (pictures($google) + pictures($twitter))[]
    | .key as $k
    | ($seen[$k] // error("no caption for " + .path)) as $c
    | select($split[$c.base] != "concept")
    | .title = $c.title | row
  else
    (pictures($fluent) | map({key: .key, value: .path}) | from_entries) as $files
    | $split | to_entries[] | select(.value == $set) | .key as $k
    | {path: ($files[$k] // error("no picture for " + $k)),
       title: ($seen[$k] // error("no caption for " + $k)).title} | row
  end
JQ

for name in train style concept; do
  {
    printf 'filepath\ttitle\n'
    jq -r --arg set "$name" --rawfile concepts "$concepts" --rawfile google "$tmp/google.list" \
      --rawfile twitter "$tmp/twitter.list" --rawfile fluent "$tmp/fluent.list" \
      -f "$tmp/join.jq" "$tmp/emojibase.json" || die "cannot make $name.tsv"
  } >"$out/$name.tsv"
  want=want_$name have=$(pairs "$out/$name.tsv")
  [ "$have" -eq "${!want}" ] || die "$name.tsv has $have pairs, expected ${!want}"
  bad=$(awk -F'\t' 'NF != 2 || $1 == "" || $2 == ""' "$out/$name.tsv" | wc -l)
  [ "$bad" -eq 0 ] || die "$name.tsv has $bad malformed lines"
done

# Keep the pictures that the lists name.
mkdir "$out/google" "$out/twitter" "$out/fluent"
for name in google twitter fluent; do
  awk -F'\t' -v d="$name/" 'index($1, d) == 1 { print $1 }' "$out"/*.tsv | sort -u |
    (cd "$tmp" && xargs mv -t "$out/$name")
done

cat >"$out/LICENCES.txt" <<'TXT'
google/   emoji-datasource-google 16.0.0, Noto Emoji by Google, Apache-2.0
twitter/  emoji-datasource-twitter 16.0.0, Twemoji by Twitter and others, CC-BY-4.0
fluent/   @lobehub/fluent-emoji-3d 1.1.0, Fluent Emoji by Microsoft, MIT
captions  emojibase-data 17.0.0 by Miles Johnson, MIT
TXT
stamp >"$out/.complete"
complete "$out" || die "a picture is missing after unpacking"

# Swap the finished folder in; an older one of ours makes way.
if [ -d "$dest" ]; then
  if [ -z "$(ls -A "$dest")" ]; then rmdir "$dest"; else mv -T "$dest" "$tmp/old"; fi
fi
mv -T "$out" "$dest"
say "$dest: $want_train training pairs, $want_style style, $want_concept concept"
