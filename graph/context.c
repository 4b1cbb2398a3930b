#include "graph/context.h"

#include <omp.h>
#include <stdlib.h>

cg_status cg_context_create(int threads, cg_context **out) {
    *out = NULL;
    if (threads < 0 || threads > 1024)
        return cg_error(CG_EINVAL, "%d threads asked for, wanted 0 (all) to 1024", threads);
    cg_context *c = calloc(1, sizeof *c);
    if (!c) return cg_error(CG_ENOMEM, "no memory for a context");
    c->threads = threads ? threads : omp_get_num_procs();
    *out = c;
    return CG_OK;
}

void cg_context_free(cg_context *c) {
    if (!c) return;
    if (c->engine_release) c->engine_release(c->engine);
    free(c);
}

int cg_context_has_bf16(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512bf16") != 0;
#else
    return 0;
#endif
}

cg_status cg_context_check_bf16(void) {
    if (cg_context_has_bf16()) return CG_OK;
    return cg_error(CG_EUNSUPPORTED,
                    "bf16: this processor has no instructions for it (avx512_bf16)");
}
