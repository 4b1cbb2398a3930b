#!/usr/bin/env bash
# Draws results of evaluations as bars, an SVG on standard output: for each set, R@1 and R@5 from picture
# to text, beside the nearest pixels and chance where the files have them.
#
#   scripts/plot-results.sh NAME=EVAL.json... >docs/images/demo.svg
#
# EVAL.json is what `clipgraph eval --json` printed, of the same sets in each file.
set -euo pipefail
export LC_ALL=C

if [ $# -eq 0 ]; then
    echo "usage: plot-results.sh NAME=EVAL.json... >PICTURE.svg" >&2
    exit 2
fi
for argument in "$@"; do
    if [[ $argument != ?*=* ]] || ! [ -r "${argument#*=}" ]; then
        echo "plot-results.sh: found \"$argument\", wanted NAME=EVAL.json, a file that can be read" >&2
        exit 2
    fi
done

# One line a bar: set, pictures, name, kind, R@1, R@5; files in order, then the pixels, then chance.
bars() {
    for argument in "$@"; do
        tr -d '\n' <"${argument#*=}" | awk -v name="${argument%%=*}" '
            # The number of a key in an object of the text; empty where there is none.
            function number(text, object, key,    at) {
                at = index(text, "\"" object "\":{")
                if (!at) return ""
                text = substr(text, at)
                text = substr(text, 1, index(text, "}"))
                at = index(text, "\"" key "\":")
                return at ? 100 * substr(text, at + length(key) + 3) : ""
            }
            function bar(order, name, kind, text, object) {
                if (number(text, object, "R@1") != "")
                    printf "%d\t%s\t%d\t%s\t%s\t%.1f\t%.1f\n", order, label, pictures, name, kind,
                        number(text, object, "R@1"), number(text, object, "R@5")
            }
            {
                n = split($0, set, /\{"image_to_text":/)
                for (i = 2; i <= n; i++) {
                    text = "\"image_to_text\":" set[i]
                    match(text, /"label":"[^"]*"/)
                    label = substr(text, RSTART + 9, RLENGTH - 10)
                    match(text, /"images":[0-9]+/)
                    pictures = substr(text, RSTART + 9, RLENGTH - 9)
                    bar(1, name, "model", text, "image_to_text")
                    bar(2, "nearest pixels", "baseline", text, "nearest_pixels")
                    bar(3, "chance", "baseline", text, "chance")
                }
            }'
    done | sort -s -n -k1,1 | cut -f2- | awk -F'\t' '!($1 FS $3 in seen); { seen[$1 FS $3] }'
}

bars "$@" | awk -F'\t' '
    BEGIN { sets = rows = 0 }
    function text(x, y, size, anchor, colour, words) {
        gsub(/&/, "\\&amp;", words); gsub(/</, "\\&lt;", words)
        printf "<text x=\"%g\" y=\"%g\" font-size=\"%d\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n",
            x, y, size, anchor, colour, words
    }
    function rect(x, y, w, h, colour) {
        printf "<rect x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\" fill=\"%s\"/>\n", x, y, w, h, colour
    }
    {
        if (!($1 in column)) { header[sets] = $1 ": " $2 " pictures"; column[$1] = sets++ }
        if (!($3 in row)) { row[$3] = rows; who[rows] = $3; kind[rows++] = $4 }
        first[column[$1], row[$3]] = $5; fifth[column[$1], row[$3]] = $6
        if ($6 > highest) highest = $6
    }
    END {
        if (!rows) { print "plot-results.sh: the files hold no retrieval" >"/dev/stderr"; exit 1 }
        top = 62; line = 26; left = 150; panel = 300; bar = panel - 82
        most = 10 * int(highest / 10 + 1)
        width = left + sets * panel; height = top + rows * line + 50
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" " \
            "height=\"%d\" font-family=\"Helvetica, Arial, sans-serif\">\n", width, height, width, height
        print "<title>Retrieval, picture to text: R@1 and R@5 in percent</title>"
        printf "<rect width=\"%d\" height=\"%d\" rx=\"6\" fill=\"white\"/>\n", width, height
        text(left, 22, 13, "start", "#222222", "Picture to text, in percent:")
        rect(left + 180, 12, 12, 12, "#2f6db3"); text(left + 197, 22, 13, "start", "#222222", "R@1")
        rect(left + 240, 12, 12, 12, "#b5d0ea"); text(left + 257, 22, 13, "start", "#222222", "R@5")
        for (s = 0; s < sets; s++) {
            x = left + s * panel
            text(x, 48, 13, "start", "#222222", header[s])
            for (tick = 0; tick <= most; tick += 20) {
                rect(x + bar * tick / most, top - 4, 1, rows * line + 6, "#dddddd")
                text(x + bar * tick / most, height - 32, 11, "middle", "#666666", tick)
            }
        }
        for (r = 0; r < rows; r++) {
            y = top + r * line; model = kind[r] == "model"
            text(left - 10, y + 15, 13, "end", model ? "#222222" : "#666666", who[r])
            for (s = 0; s < sets; s++) if ((s, r) in first) {
                x = left + s * panel
                rect(x, y + 2, bar * fifth[s, r] / most, 16, model ? "#b5d0ea" : "#d9d9d9")
                rect(x, y + 2, bar * first[s, r] / most, 16, model ? "#2f6db3" : "#8c8c8c")
                text(x + bar * fifth[s, r] / most + 6, y + 15, 12, "start", "#444444",
                    sprintf("%.1f, %.1f", first[s, r], fifth[s, r]))
            }
        }
        text(left, height - 10, 11, "start", "#666666",
            "R@k: the right caption is among the first k; ties count against the model.")
        print "</svg>"
    }'
