/* bench_ops: ops at the sizes that training meets, against the machine's own peak.
 *
 * Each row is timed twice: forward, and with the gradients of all operands after it, as in
 * training. FLOPs are useful ones; bytes are those of the operands and results of every node, read
 * or written once. A row that fits the caches may pass 100 % of the memory's bandwidth. */
#include "autodiff/grad.h"
#include "bench/measure.h"
#include "bench/peak.h"
#include "graph/exec.h"
#include "ops/ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the table -------------------------------------------------------------------------------- */

typedef struct work {
    const char *name;
    cg_value *(*build)(cg_graph *g, const int64_t *d); /* operands are f32 inputs */
    int64_t d[6];
} work;

static cg_value *operand(cg_graph *g, const char *name, cg_shape shape) {
    return cg_input(g, name, CG_F32, shape);
}

static cg_value *picture(cg_graph *g, const int64_t *d) {
    return operand(g, "x", CG_SHAPE(d[0], d[1], d[1], d[2]));
}

static cg_value *indices(cg_graph *g, int64_t n, int64_t step) {
    int32_t *x = malloc((size_t)n * sizeof *x);
    if (!x) return cg_graph_fail(g, cg_error(CG_ENOMEM, "no memory for indices"));
    for (int64_t i = 0; i < n; i++) x[i] = (int32_t)(i * step);
    cg_value *v = cg_constant(g, CG_I32, CG_SHAPE(n), x);
    free(x);
    return v;
}

/* pictures, side, channels, channels out, kernel, stride; no gradient of the pictures themselves */
static cg_value *conv(cg_graph *g, const int64_t *d) {
    cg_shape shape = CG_SHAPE(d[0], d[1], d[1], d[2]);
    cg_value *x = operand(g, d[2] == 3 ? "image" : "x", shape);
    return cg_conv2d(g, x, operand(g, "w", CG_SHAPE(d[3], d[2], d[4], d[4])), d[5], d[4] / 2);
}

static cg_value *batch_norm(cg_graph *g, const int64_t *d) {
    cg_value *gain = operand(g, "gain", CG_SHAPE(d[2]));
    return cg_batch_norm(g, picture(g, d), gain, operand(g, "bias", CG_SHAPE(d[2])), 1e-5f).y;
}

static cg_value *relu(cg_graph *g, const int64_t *d) {
    return cg_relu(g, picture(g, d));
}

static cg_value *add(cg_graph *g, const int64_t *d) {
    return cg_add(g, picture(g, d), operand(g, "y", CG_SHAPE(d[0], d[1], d[1], d[2])));
}

static cg_value *avg_pool(cg_graph *g, const int64_t *d) {
    return cg_avg_pool(g, picture(g, d), 2, 2);
}

static cg_value *layer(cg_graph *g, const char *name, cg_value *x, int64_t in, int64_t out) {
    char weight[16], bias[16];
    snprintf(weight, sizeof weight, "%s.w", name);
    snprintf(bias, sizeof bias, "%s.b", name);
    return cg_linear(g, x, operand(g, weight, CG_SHAPE(out, in)), operand(g, bias, CG_SHAPE(out)));
}

static cg_value *linear(cg_graph *g, const int64_t *d) { /* rows, in, out */
    return layer(g, "l", operand(g, "x", CG_SHAPE(d[0], d[1])), d[1], d[2]);
}

/* pictures, tokens of each, channels, channels of a head, channels out */
static cg_value *attention_pool(cg_graph *g, const int64_t *d) {
    int64_t n = d[0], t = d[1], c = d[2];
    cg_value *x = operand(g, "x", CG_SHAPE(n * t, c));
    cg_value *q = layer(g, "q", operand(g, "mean", CG_SHAPE(n, c)), c, c);
    cg_value *k = layer(g, "k", x, c, c), *v = layer(g, "v", x, c, c);
    cg_value *y =
        cg_attention(g, q, k, v, indices(g, n + 1, 1), indices(g, n + 1, t),
                     (cg_attention_options){.heads = c / d[3], .scale = 1 / sqrtf((float)d[3])});
    return layer(g, "c", y, c, d[4]);
}

/* sequences, tokens of each, heads of 64 channels, causal */
static cg_value *self_attention(cg_graph *g, const int64_t *d) {
    cg_value *x = operand(g, "x", CG_SHAPE(d[0] * d[1], 3 * 64 * d[2]));
    return cg_attention_qkv(
        g, x, indices(g, d[0] + 1, d[1]),
        (cg_attention_options){.heads = d[2], .scale = 0.125f, .causal = d[3] != 0});
}

static cg_value *cross_entropy(cg_graph *g, const int64_t *d) { /* pairs */
    cg_value *x = operand(g, "logits", CG_SHAPE(d[0], d[0])), *label = indices(g, d[0], 1);
    return cg_add(g, cg_softmax_cross_entropy(g, x, label, 1),
                  cg_softmax_cross_entropy(g, x, label, 0));
}

/* demo: the emoji model's ResNet at batch 256; rn50: CLIP's at batch 16; vit-b/32 and the rest:
 * CLIP's, at batches of like cost */
static const work table[] = {
    {"demo stem 3x3/2 3-16 @64", conv, {256, 64, 3, 16, 3, 2}},
    {"demo stem 3x3 16-32 @32", conv, {256, 32, 16, 32, 3, 1}},
    {"demo layer1 1x1 32-128 @16", conv, {256, 16, 32, 128, 1, 1}},
    {"demo layer1 3x3 32 @16", conv, {256, 16, 32, 32, 3, 1}},
    {"demo layer2 1x1 256-64 @8", conv, {256, 8, 256, 64, 1, 1}},
    {"demo layer2 3x3 64 @8", conv, {256, 8, 64, 64, 3, 1}},
    {"demo layer3 1x1 128-512 @4", conv, {256, 4, 128, 512, 1, 1}},
    {"demo layer3 3x3 128 @4", conv, {256, 4, 128, 128, 3, 1}},
    {"demo layer4 3x3 256 @4", conv, {256, 4, 256, 256, 3, 1}},
    {"demo batch norm 128 @16", batch_norm, {256, 16, 128}},
    {"demo relu 128 @16", relu, {256, 16, 128}},
    {"demo add 128 @16", add, {256, 16, 128}},
    {"demo average pool 64 @16", avg_pool, {256, 16, 64}},
    {"demo attention pool 1024", attention_pool, {256, 5, 1024, 64, 256}},
    {"rn50 stem 3x3/2 3-32 @224", conv, {16, 224, 3, 32, 3, 2}},
    {"rn50 stem 3x3 32-64 @112", conv, {16, 112, 32, 64, 3, 1}},
    {"rn50 layer1 1x1 64-256 @56", conv, {16, 56, 64, 256, 1, 1}},
    {"rn50 layer1 3x3 64 @56", conv, {16, 56, 64, 64, 3, 1}},
    {"rn50 layer2 1x1 512-128 @28", conv, {16, 28, 512, 128, 1, 1}},
    {"rn50 layer2 3x3 128 @28", conv, {16, 28, 128, 128, 3, 1}},
    {"rn50 layer3 1x1 256-1024 @14", conv, {16, 14, 256, 1024, 1, 1}},
    {"rn50 layer3 3x3 256 @14", conv, {16, 14, 256, 256, 3, 1}},
    {"rn50 layer4 1x1 2048-512 @7", conv, {16, 7, 2048, 512, 1, 1}},
    {"rn50 layer4 3x3 512 @7", conv, {16, 7, 512, 512, 3, 1}},
    {"rn50 batch norm 256 @56", batch_norm, {16, 56, 256}},
    {"rn50 relu 256 @56", relu, {16, 56, 256}},
    {"rn50 add 256 @56", add, {16, 56, 256}},
    {"rn50 average pool 128 @56", avg_pool, {16, 56, 128}},
    {"rn50 attention pool 2048", attention_pool, {16, 50, 2048, 64, 1024}},
    {"vit-b/32 self-attention", self_attention, {32, 50, 12, 0}},
    {"vit-b/16 self-attention", self_attention, {4, 197, 12, 0}},
    {"vit-l/14 self-attention", self_attention, {2, 257, 16, 0}},
    {"text self-attention", self_attention, {32, 77, 8, 1}},
    {"linear 4096 512-2048", linear, {4096, 512, 2048}},
    {"linear 4096 2048-512", linear, {4096, 2048, 512}},
    {"cross-entropy 4096", cross_entropy, {4096}},
};

/* --- one measurement -------------------------------------------------------------------------- */

typedef struct arguments {
    const char *filter;
    int threads;
    int64_t gemm;
    double seconds; /* of each measurement */
} arguments;

typedef struct result {
    double seconds, flops, bytes;
} result;

/* A graph, and all that a run of it needs. */
typedef struct bench {
    cg_graph *graph;
    cg_plan *plan;
    cg_exec *exec;
    float *memory; /* of all inputs */
} bench;

static void bench_free(bench *b) {
    cg_exec_free(b->exec);
    cg_plan_free(b->plan);
    cg_graph_free(b->graph);
    free(b->memory);
}

static cg_status append_gradients(cg_graph *g, cg_value *y) {
    enum { OPERANDS = 16 };
    cg_value *wrt[OPERANDS], *grad[OPERANDS];
    int n = 0;
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->kind == CG_VALUE_INPUT && strcmp(g->value[i]->name, "image") != 0)
            wrt[n++] = g->value[i];
    cg_value *dy = operand(g, "dy", y->shape);
    CG_TRY(cg_grad(g, 1, &y, &dy, n, wrt, grad));
    for (int i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "d.%s", wrt[i]->name);
        cg_graph_output(g, name, grad[i], CG_KEEP);
    }
    return cg_graph_status(g);
}

static cg_status bind_inputs(bench *b) {
    const cg_graph *g = b->graph;
    int64_t room = 0, at = 0;
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->kind == CG_VALUE_INPUT) room += cg_shape_count(&g->value[i]->shape) + 15;
    b->memory = aligned_alloc(64, ((size_t)room / 16 + 1) * 64);
    if (!b->memory) return cg_error(CG_ENOMEM, "no memory for operands");
    for (int64_t i = 0; i < room; i++) b->memory[i] = (float)(i * 7919 % 1021) / 510.5f - 1;
    for (int i = 0; i < g->n_value; i++) {
        if (g->value[i]->kind != CG_VALUE_INPUT) continue;
        CG_TRY(cg_exec_bind_input(b->exec, g->value[i]->name, b->memory + at));
        at += (cg_shape_count(&g->value[i]->shape) + 15) / 16 * 16;
    }
    return CG_OK;
}

static cg_status prepare(bench *b, cg_context *ctx, const work *w, int gradients) {
    CG_TRY(cg_graph_create(NULL, &b->graph));
    cg_value *y = w->build(b->graph, w->d);
    CG_TRY(cg_graph_status(b->graph));
    cg_graph_output(b->graph, "y", y, CG_KEEP);
    if (gradients) CG_TRY(append_gradients(b->graph, y));
    cg_pass_common(b->graph);
    cg_pass_dead(b->graph);
    CG_TRY(cg_plan_create(ctx, b->graph, &b->plan));
    CG_TRY(cg_exec_create(&b->exec));
    CG_TRY(cg_exec_use(b->exec, b->plan));
    return bind_inputs(b);
}

static double bytes_of(cg_value *const *v, int n) {
    double bytes = 0;
    for (int i = 0; i < n; i++)
        bytes += (double)cg_shape_count(&v[i]->shape) * (double)cg_dtype_size(v[i]->dtype);
    return bytes;
}

static cg_status run(bench *b, double budget, result *out) {
    enum { RUNS = 1000 };
    double seconds[RUNS], spent = 0;
    int n = 0;
    CG_TRY(cg_exec_run(b->exec)); /* touches memory */
    while (n < RUNS && (n < 3 || spent < budget)) {
        double from = cg_bench_now();
        CG_TRY(cg_exec_run(b->exec));
        spent += seconds[n++] = cg_bench_now() - from;
    }
    cg_plan_report report;
    cg_plan_get_report(b->plan, &report);
    *out = (result){.seconds = cg_bench_median(seconds, n), .flops = (double)report.flops};
    for (int i = 0; i < b->graph->n_node; i++) {
        const cg_node *node = b->graph->node[i];
        if (node->op->view) continue;
        out->bytes += bytes_of(node->in, node->n_in) + bytes_of(node->out, node->n_out);
    }
    return CG_OK;
}

static cg_status measure(cg_context *ctx, const work *w, int gradients, double budget,
                         result *out) {
    bench b = {0};
    cg_status s = prepare(&b, ctx, w, gradients);
    if (s == CG_OK) s = run(&b, budget, out);
    bench_free(&b);
    return s;
}

/* --- the report ------------------------------------------------------------------------------- */

static void print_result(const cg_bench_peak *peak, const result *r) {
    double flops = r->flops / r->seconds, bytes = r->bytes / r->seconds;
    printf(" %9.3f |", 1e3 * r->seconds);
    if (r->flops > 0)
        printf(" %7.1f | %4.0f %% |", 1e-9 * flops, 100 * flops / peak->flops);
    else
        printf(" %7s | %6s |", "", "");
    printf(" %6.1f | %4.0f %% |", 1e-9 * bytes, 100 * bytes / peak->machine.bytes);
}

static cg_status print_bf16_peak(cg_context *ctx, const cg_bench_peak *f32, int64_t gemm) {
    cg_bench_peak peak;
    if (f32->machine.bf16 == 0) return CG_OK;
    CG_TRY(cg_bench_peak_measure(ctx, CG_BF16, gemm, &peak));
    printf("bf16: peak %.1f GFLOP/s (registers %.1f, %lld-cubed GEMM %.1f)\n", 1e-9 * peak.flops,
           1e-9 * peak.registers, (long long)peak.gemm_size, 1e-9 * peak.gemm);
    return CG_OK;
}

static cg_status report(cg_context *ctx, const arguments *a) {
    cg_bench_peak peak;
    CG_TRY(cg_bench_peak_measure(ctx, CG_F32, a->gemm, &peak));
    printf("%d threads; peak %.1f GFLOP/s (%s registers %.1f, %lld-cubed GEMM %.1f); "
           "memory %.1f GB/s\n",
           ctx->threads, 1e-9 * peak.flops, peak.machine.vector, 1e-9 * peak.machine.flops,
           (long long)peak.gemm_size, 1e-9 * peak.gemm, 1e-9 * peak.machine.bytes);
    CG_TRY(print_bf16_peak(ctx, &peak, a->gemm));
    printf("\n");
    printf("| %-28s | forward ms | GFLOP/s | of peak | GB/s | of memory "
           "| with gradients ms | GFLOP/s | of peak | GB/s | of memory |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|\n",
           "work");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (a->filter && !strstr(table[i].name, a->filter)) continue;
        printf("| %-28s |", table[i].name);
        for (int gradients = 0; gradients < 2; gradients++) {
            result r;
            cg_status s = measure(ctx, &table[i], gradients, a->seconds, &r);
            if (s != CG_OK) return cg_error_in(s, "%s", table[i].name);
            print_result(&peak, &r);
        }
        printf("\n");
        fflush(stdout);
    }
    return CG_OK;
}

static const struct argp_option options[] = {
    {"filter", 'f', "TEXT", 0, "only rows with TEXT in their name", 0},
    {"threads", 't', "N", 0, "threads (default: one per processor)", 0},
    {"seconds", 's', "X", 0, "time spent on each measurement (0.3)", 0},
    {"gemm", 'g', "N", 0, "rows of the matrices that the peak is measured with (4096)", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    if (key == 'f')
        a->filter = text;
    else if (key == 't')
        a->threads = (int)cg_bench_whole(state, text, 1);
    else if (key == 's')
        a->seconds = strtod(text, NULL);
    else if (key == 'g')
        a->gemm = cg_bench_whole(state, text, 1);
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

int main(int argc, char **argv) {
    arguments a = {.gemm = CG_PEAK_GEMM, .seconds = 0.3};
    struct argp argp = {options, parse, NULL, "Times ops at the sizes that training meets.",
                        NULL,    NULL,  NULL};
    cg_context *ctx = NULL;
    cg_bench_parse(&argp, argc, argv, &a);
    cg_status s = cg_context_create(a.threads, &ctx);
    if (s == CG_OK) s = report(ctx, &a);
    cg_context_free(ctx);
    if (s != CG_OK) fprintf(stderr, "bench_ops: %s\n", cg_error_message());
    return s != CG_OK;
}
