#include "serialize/onnx/budget.h"

#include <stdio.h>
#include <unistd.h>

/* --- the machine ------------------------------------------------------------------------------ */

/* The first number that a line of a file of the system has so; -1: none has. */
static int64_t number_in(const char *path, const char *format) {
    char line[256];
    long long x;
    int64_t found = -1;
    FILE *f = fopen(path, "r");
    while (f && found < 0 && fgets(line, sizeof line, f))
        if (sscanf(line, format, &x) == 1 && x >= 0) found = x;
    if (f) fclose(f);
    return found;
}

int64_t cg_machine_bytes(void) {
    int64_t page = sysconf(_SC_PAGESIZE), all = (int64_t)sysconf(_SC_PHYS_PAGES) * page;
    int64_t available = number_in("/proc/meminfo", "MemAvailable: %lld kB");
    int64_t own = number_in("/proc/self/statm", "%*d %lld");
    if (available < 0 || own < 0) return all;
    available = available * 1024 + own * page;
    return available < all ? available : all;
}

cg_status cg_budget_check_run(size_t bytes, size_t frozen) {
    size_t has = (size_t)cg_machine_bytes();
    if (bytes <= has && frozen <= has - bytes) return CG_OK;
    return cg_error(CG_ENOMEM,
                    "a run needs %zu bytes, and %zu for weights laid out, the machine has %zu",
                    bytes, frozen, has);
}

/* --- before a run ----------------------------------------------------------------------------- */

cg_status cg_budget_hold(cg_budget *b, const char *does, const cg_shape *shape, int64_t bytes) {
    enum { LITTLE = 1 << 26 }; /* for which the machine need not be asked */
    int fits = bytes <= CG_BUDGET_BYTES - b->bytes;
    if (!fits || b->bytes + bytes > LITTLE) {
        int64_t has = cg_machine_bytes(), most = has < CG_BUDGET_BYTES ? has : CG_BUDGET_BYTES;
        char text[CG_SHAPE_TEXT];
        if (bytes > most - b->bytes)
            return cg_error(
                CG_EUNSUPPORTED,
                "%s %s before the run, %lld bytes beside %lld, wanted at most %lld in all "
                "of the machine's %lld",
                does, cg_shape_print(shape, text), (long long)bytes, (long long)b->bytes,
                (long long)most, (long long)has);
    }
    b->bytes += bytes;
    return CG_OK;
}

cg_status cg_budget_walk(cg_budget *b, int64_t steps) {
    int64_t more = CG_BUDGET_MOST_MORE, most = CG_BUDGET_STEPS;
    if (b->integers < more / CG_BUDGET_EACH) more = b->integers * CG_BUDGET_EACH;
    most += more;
    if (steps > most - b->steps)
        return cg_error(
            CG_EUNSUPPORTED,
            "has %lld elements to be computed before the run beside %lld, wanted at most "
            "%lld in all",
            (long long)steps, (long long)b->steps, (long long)most);
    b->steps += steps;
    return CG_OK;
}
