#include "bench/peak.h"

#include "bench/measure.h"
#include "graph/exec.h"
#include "ops/ops.h"

#include <stdlib.h>

/* --- a matrix product ------------------------------------------------------------------------- */

static cg_status time_gemm(cg_exec *e, int64_t n, double *best) {
    double begun = cg_bench_now(), last;
    do {
        double from = cg_bench_now();
        CG_TRY(cg_exec_run(e));
        last = cg_bench_now() - from;
        double rate = 2.0 * (double)(n * n * n) / last;
        if (rate > *best) *best = rate;
    } while (cg_bench_now() - begun + last < 2);
    return CG_OK;
}

static cg_status gemm_with(cg_context *ctx, cg_graph *g, cg_exec *e, const float *x, int64_t n,
                           cg_plan **plan, double *best) {
    cg_value *a = cg_input(g, "a", CG_F32, CG_SHAPE(n, n));
    cg_graph_output(g, "c", cg_matmul(g, a, cg_input(g, "b", CG_F32, CG_SHAPE(n, n)), 0, 0),
                    CG_KEEP);
    CG_TRY(cg_graph_status(g));
    CG_TRY(cg_plan_create(ctx, g, plan));
    CG_TRY(cg_exec_use(e, *plan));
    CG_TRY(cg_exec_bind_input(e, "a", x));
    CG_TRY(cg_exec_bind_input(e, "b", x + n * n));
    return time_gemm(e, n, best);
}

static cg_status gemm_flops(cg_context *ctx, int64_t n, double *best) {
    cg_graph *g = NULL;
    cg_plan *plan = NULL;
    cg_exec *e = NULL;
    float *x = malloc(2 * (size_t)(n * n) * sizeof *x);
    cg_status s =
        x ? CG_OK : cg_error(CG_ENOMEM, "no memory for matrices of %lld rows", (long long)n);
    for (int64_t i = 0; x && i < 2 * n * n; i++) x[i] = (float)(i % 251) / 251 - 0.5f;
    if (s == CG_OK) s = cg_graph_create(NULL, &g);
    if (s == CG_OK) s = cg_exec_create(&e);
    if (s == CG_OK) s = gemm_with(ctx, g, e, x, n, &plan, best);
    cg_exec_free(e);
    cg_plan_free(plan);
    cg_graph_free(g);
    free(x);
    return s;
}

cg_status cg_bench_peak_measure(cg_context *ctx, int64_t gemm, cg_bench_peak *out) {
    *out = (cg_bench_peak){0};
    cg_peak_registers(ctx->threads, 0.4, &out->machine);
    double registers = out->machine.flops;
    while (gemm > 256 && 2.0 * (double)(gemm * gemm * gemm) > 1.5 * registers) gemm /= 2;
    out->gemm_size = gemm;
    CG_TRY(gemm_flops(ctx, gemm, &out->gemm));
    out->flops = registers > out->gemm ? registers : out->gemm;
    return cg_peak_memory(ctx->threads, (size_t)128 << 20, &out->machine);
}
