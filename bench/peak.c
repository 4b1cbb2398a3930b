#include "bench/peak.h"

#include "bench/measure.h"
#include "graph/exec.h"
#include "ops/bf16.h"
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

/* The product of two matrices of `operand`, whose n² elements stand one behind the other in x. */
static cg_status gemm_with(cg_context *ctx, cg_graph *g, cg_exec *e, cg_dtype operand,
                           const char *x, int64_t n, cg_plan **plan, double *best) {
    cg_value *a = cg_input(g, "a", operand, CG_SHAPE(n, n));
    cg_graph_output(g, "c", cg_matmul(g, a, cg_input(g, "b", operand, CG_SHAPE(n, n)), 0, 0),
                    CG_KEEP);
    CG_TRY(cg_graph_status(g));
    CG_TRY(cg_plan_create(ctx, g, plan));
    CG_TRY(cg_exec_use(e, *plan));
    CG_TRY(cg_exec_bind_input(e, "a", x));
    CG_TRY(cg_exec_bind_input(e, "b", x + (size_t)(n * n) * cg_dtype_size(operand)));
    return time_gemm(e, n, best);
}

static void fill(void *x, cg_dtype operand, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        cg_store(x, i, (float)(i % 251) / 251 - 0.5f, operand == CG_BF16);
}

static cg_status gemm_flops(cg_context *ctx, cg_dtype operand, int64_t n, double *best) {
    cg_graph *g = NULL;
    cg_plan *plan = NULL;
    cg_exec *e = NULL;
    void *x = malloc(2 * (size_t)(n * n) * cg_dtype_size(operand));
    cg_status s =
        x ? CG_OK : cg_error(CG_ENOMEM, "no memory for matrices of %lld rows", (long long)n);
    if (s == CG_OK) fill(x, operand, 2 * n * n);
    if (s == CG_OK) s = cg_graph_create(NULL, &g);
    if (s == CG_OK) s = cg_exec_create(&e);
    if (s == CG_OK) s = gemm_with(ctx, g, e, operand, x, n, &plan, best);
    cg_exec_free(e);
    cg_plan_free(plan);
    cg_graph_free(g);
    free(x);
    return s;
}

cg_status cg_bench_peak_measure(cg_context *ctx, cg_dtype operand, int64_t gemm,
                                cg_bench_peak *out) {
    *out = (cg_bench_peak){0};
    cg_peak_registers(ctx->threads, 0.4, &out->machine);
    out->registers = operand == CG_BF16 ? out->machine.bf16 : out->machine.flops;
    if (out->registers == 0)
        return cg_error(CG_EUNSUPPORTED, "this processor has no instructions for bf16");
    while (gemm > 256 && 2.0 * (double)(gemm * gemm * gemm) > 1.5 * out->registers) gemm /= 2;
    out->gemm_size = gemm;
    CG_TRY(gemm_flops(ctx, operand, gemm, &out->gemm));
    out->flops = out->registers > out->gemm ? out->registers : out->gemm;
    return cg_peak_memory(ctx->threads, (size_t)128 << 20, &out->machine);
}
