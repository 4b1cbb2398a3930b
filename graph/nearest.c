#include "graph/nearest.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 200 };

static int min3(int a, int b, int c) {
    int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein's distance, a swap of neighbours counting 1 (optimal string alignment). */
int cg_edit_distance(const char *a, const char *b) {
    int row[3][LONGEST + 1], n = (int)strnlen(a, LONGEST + 1), m = (int)strnlen(b, LONGEST + 1);
    if (n > LONGEST || m > LONGEST) return CG_FAR;
    for (int k = 0; k <= m; k++) row[1][k] = k;
    for (int i = 1; i <= n; i++) {
        int *before = row[(i - 1) % 3], *last = row[i % 3], *now = row[(i + 1) % 3];
        now[0] = i;
        for (int k = 1; k <= m; k++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[k - 1]);
            now[k] = min3(last[k] + 1, now[k - 1] + 1, last[k - 1] + (ca != cb));
            if (i > 1 && k > 1 && ca == tolower((unsigned char)b[k - 2]) &&
                cb == tolower((unsigned char)a[i - 2]) && before[k - 2] + 1 < now[k])
                now[k] = before[k - 2] + 1;
        }
    }
    return row[(n + 1) % 3][m];
}

const char *cg_nearest(const char *word, const char *const *candidates) {
    const char *best = NULL;
    int nearest = CG_FAR;
    for (; *candidates; candidates++) {
        int d = cg_edit_distance(word, *candidates);
        if (d < nearest) {
            nearest = d;
            best = *candidates;
        }
    }
    return nearest * 2 <= (int)strlen(word) + 1 ? best : NULL;
}
