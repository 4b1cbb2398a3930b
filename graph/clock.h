/* Seconds of a clock that is never set, for durations. */
#ifndef CG_CLOCK_H
#define CG_CLOCK_H

#include <time.h>

static inline double cg_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
