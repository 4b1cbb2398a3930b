#!/usr/bin/env bash
# Makes docs/ops.md: every op of ops/ops.def, with its builders from ops/ops.h, grouped as they are
# there, and the manual at the top of its file.
#
#   scripts/make-ops-docs.sh           writes docs/ops.md
#   scripts/make-ops-docs.sh --check   fails where docs/ops.md is not what would be written
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

check=0
case ${1-} in
'') ;;
--check) check=1 ;;
*)
    echo "make-ops-docs.sh: unknown option $1 (known: --check)" >&2
    exit 2
    ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The ops of ops.def, one name a line.
sed -n 's/^CG_OP(\([a-z0-9_]*\))$/\1/p' ops/ops.def >"$work/ops"

# ops.h as lines: "section NAME", "op NAME", and "c LINE" for its prototypes.
awk -v ops="$work/ops" '
function flush_types() { if (types != "") printf "%s", types; types = "" }
BEGIN { while ((getline name < ops) > 0) known[name] = 1 }
/^\/\* --- / {
    sub(/^\/\* --- /, "")
    sub(/ -+ \*\/$/, "")
    sub(/; .*/, "")
    print "section " $0
    next
}
/^typedef / { typing = 1 }
typing { types = types "c " $0 "\n"; if (/^}/) typing = 0; next }
/^[a-z].*cg_[a-z0-9_]+\(cg_graph/ {
    name = $0
    sub(/\(cg_graph.*/, "", name)
    sub(/.*cg_/, "", name)
    if (name in known) print "op " name
    flush_types()
    open = 1
}
open { print "c " $0; if (/;/) open = 0 }
' ops/ops.h >"$work/builders"

# The manual of a file, its top comment, as Markdown: the sentence behind the name, formulas (lines
# that are indented) as code, "key  text" as a list, the ops of its gradient behind it.
manual() {
    awk -v ops="$work/ops" '
    function escape(s) { gsub(/\*/, "\\*", s); if (s ~ /<[a-zA-Z\/]/) gsub(/</, "\\<", s); return s }
    function close_all() {
        if (code) print "```"
        code = 0
        if (text != "") print text
        text = ""
    }
    function is_head(s) {
        if (!match(s, /^[a-z0-9_]+( and [a-z0-9_]+)*: /)) return 0
        name = s
        sub(/[: ].*/, "", name)
        return name in known
    }
    BEGIN {
        while ((getline name < ops) > 0) known[name] = 1
        keys = "^(shapes|attr|vjp|errors|flops|numeric|onnx|source)  *"
    }
    {
        last = sub(/ *\*\/.*/, "")
        if (NR == 1) sub(/^\/\* /, "")
        else sub(/^ \* ?/, "")
    }
    /^$/ { close_all(); if (!blank++) print ""; list = 0; if (last) exit; next }
    is_head($0) {
        close_all()
        head = $0
        sub(/: .*/, "", head)
        sub(/^[^:]*: /, "")
        gsub(/[a-z0-9_]*_[a-z0-9_]*/, "`&`", head)
        text = NR == 1 ? escape(toupper(substr($0, 1, 1)) substr($0, 2)) : "**" head "**: " escape($0)
        if (NR == 1 && /^y = /) text = escape($0)
        list = 0; blank = 0
        if (last) exit
        next
    }
    match($0, keys) {
        key = $1
        value = substr($0, RLENGTH + 1)
        close_all()
        if (!list++ && !blank) print ""
        text = "- *" key "*: " escape(value)
        blank = 0
        if (last) exit
        next
    }
    /^ / && !(list && /^ {6}/) && !/^        / {
        if (!code) { close_all(); if (!blank) print ""; print "```text" }
        code = 1; blank = 0; list = 0
        sub(/^  /, "")
        print
        if (last) exit
        next
    }
    {
        if (code || (list && !/^ /)) { close_all(); print ""; list = 0 }
        sub(/^ */, "")
        text = text == "" ? escape($0) : text " " escape($0)
        blank = 0
        if (last) exit
    }
    END { close_all() }
    ' "$1"
}

# Every op must be described: under a builder, or as a word of the manual that it belongs to.
described() {
    local op missing=0
    while read -r op; do
        if ! grep -qw -- "$op" "$work/words"; then
            echo "make-ops-docs.sh: op $op of ops/ops.def stands in no manual" >&2
            missing=1
        fi
    done <"$work/ops"
    return $missing
}

write_all() {
    cat <<'TXT'
# The ops

<!-- made by scripts/make-ops-docs.sh from ops/ops.h and the comments at the top of ops/*.c -->

What a graph is made of. Shapes are row-major; pictures are `[N, H, W, C]`, the weights of a
convolution `[out, in, kh, kw]`, those of a linear layer `[out, in]`. Tensors are f32 unless stated.
A builder returns a null value after a failure, and the graph keeps the first error.

*vjp* is the gradient: `dy` is the gradient of the result `y`, `dx` that of the operand `x`. *onnx*
names the operators of ONNX that compute the same, as an export writes them.
TXT
    local line rest op='' fenced=0
    finish() {
        [ $fenced = 0 ] || echo '```'
        fenced=0
        [ -z "$op" ] || { echo && manual "ops/$op.c"; }
        op=''
    }
    while IFS= read -r line; do
        rest=${line#* }
        case ${line%% *} in
        section) finish && printf '\n## %s\n' "${rest^}" ;;
        op)
            finish
            op=$rest
            printf '\n### %s\n\n```c\n' "$op"
            fenced=1
            ;;
        c) printf '%s\n' "$rest" ;;
        esac
    done <"$work/builders"
    finish
}

write_all >"$work/ops.md"
tr -c 'a-z0-9_\n' ' ' <"$work/ops.md" >"$work/words"
described
if [ $check = 0 ]; then
    mkdir -p docs
    cp "$work/ops.md" docs/ops.md
elif ! diff -u docs/ops.md "$work/ops.md" >&2; then
    echo "make-ops-docs.sh: docs/ops.md is stale; run scripts/make-ops-docs.sh" >&2
    exit 1
fi
