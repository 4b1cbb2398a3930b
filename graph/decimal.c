#include "graph/decimal.h"

#include <stdio.h>
#include <stdlib.h>

double cg_decimal(float x) {
    char text[32];
    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        double y = strtod(text, NULL);
        if ((float)y == x) return y;
    }
    snprintf(text, sizeof text, "%.9g", (double)x); /* nine always do */
    return strtod(text, NULL);
}
