#include "tests/support/onnx_cases.h"

#include "tests/support/op_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SEQUENCES = 3 };

/* step, 2 step, … or from a start on: constants, as models have them. */
static cg_value *rows(cg_graph *g, int64_t count, int64_t start, int64_t step) {
    int32_t x[64];
    for (int64_t i = 0; i < count; i++) x[i] = (int32_t)(start + i * step);
    return cg_constant(g, CG_I32, CG_SHAPE(count), x);
}

static cg_value *offsets(cg_graph *g, const cg_value *x) {
    return rows(g, SEQUENCES + 1, 0, x->shape.dim[0] / SEQUENCES);
}

/* --- attention -------------------------------------------------------------------------------- */

static void attend(cg_graph *g, cg_value *const *in, cg_value **out, int64_t heads, int causal) {
    out[0] = cg_attention(g, in[0], in[1], in[2], offsets(g, in[0]), offsets(g, in[1]),
                          (cg_attention_options){heads, 0.5f, causal, in[3]});
}

static void one_head(cg_graph *g, cg_value *const *in, cg_value **out) {
    attend(g, in, out, 1, 0);
}

static void two_heads(cg_graph *g, cg_value *const *in, cg_value **out) {
    attend(g, in, out, 2, 0);
}

static void causal(cg_graph *g, cg_value *const *in, cg_value **out) {
    attend(g, in, out, 2, 1);
}

static void self_attention(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] =
        cg_attention_qkv(g, in[0], offsets(g, in[0]), (cg_attention_options){2, 0.25f, 1, in[1]});
}

/* --- rows and segments ------------------------------------------------------------------------ */

static void mean(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_segment_mean(g, in[0], offsets(g, in[0]));
}

static void position(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_gather(g, in[0], cg_segment_position(g, rows(g, SEQUENCES + 1, 0, 5), 15));
}

static void largest_token(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_gather(g, in[1], cg_end_token(g, in[0], offsets(g, in[0]), -1));
}

static void end_token(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_gather(g, in[1], cg_end_token(g, in[0], offsets(g, in[0]), 2));
}

static void seen_tokens(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *offset = offsets(g, in[0]);
    cg_value *row = cg_end_token(g, in[0], offset, -1);
    out[0] = cg_segment_prefix(g, row, offset, in[0]->shape.dim[0]);
}

static void seen_rows(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *mask =
        cg_segment_prefix(g, rows(g, SEQUENCES, 1, 5), rows(g, SEQUENCES + 1, 0, 5), 15);
    out[0] = cg_mul(g, in[0], mask);
}

static void row_of_each(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_gather(g, in[0], rows(g, SEQUENCES, 2, in[0]->shape.dim[0] / SEQUENCES));
}

static void some_rows(cg_graph *g, cg_value *const *in, cg_value **out) {
    const int32_t x[] = {3, 0, 3, 1};
    out[0] = cg_gather(g, in[0], cg_constant(g, CG_I32, CG_SHAPE(4), x));
}

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -1.5, 1.5, 0 }
#define TOKENS(n)                                                                                  \
    { CG_I32, CG_SHAPE(n), CG_FILL_INTEGER, 0, 6, 0 }
/* 1 for the first key of each sequence, so that every query sees one; all the same here */
#define ONES(n)                                                                                    \
    { CG_F32, CG_SHAPE(n), CG_FILL_INTEGER, 1, 2, 0 }

static const cg_op_case uniform[] = {
    {&cg_op_attention, "uniform", {F32(12, 8), F32(12, 8), F32(12, 4)}, 3, 1, two_heads, 0, 0, 0},
    {&cg_op_attention, "one head", {F32(12, 8), F32(15, 8), F32(15, 6)}, 3, 1, one_head, 0, 0, 0},
    {&cg_op_attention, "one query", {F32(3, 8), F32(15, 8), F32(15, 8)}, 3, 1, two_heads, 0, 0, 0},
    {&cg_op_attention, "one of each", {F32(3, 8), F32(3, 8), F32(3, 8)}, 3, 1, one_head, 0, 0, 0},
    {&cg_op_attention,
     "causal, key mask",
     {F32(12, 8), F32(12, 8), F32(12, 8), ONES(12)},
     4,
     1,
     causal,
     0,
     0,
     0},
    {&cg_op_attention_qkv, "uniform", {F32(12, 24), ONES(12)}, 2, 1, self_attention, 0, 0, 0},
    {&cg_op_segment_mean, "uniform", {F32(12, 5)}, 1, 1, mean, 0, 0, 0},
    {&cg_op_segment_position, "of a table", {F32(5, 4)}, 1, 1, position, 0, 0, 0},
    {&cg_op_segment_position, "of a longer table", {F32(9, 4)}, 1, 1, position, 0, 0, 0},
    {&cg_op_end_token, "largest", {TOKENS(15), F32(15, 4)}, 2, 1, largest_token, 0, 0, 0},
    {&cg_op_end_token, "eos_id 2", {TOKENS(15), F32(15, 4)}, 2, 1, end_token, 0, 0, 0},
    {&cg_op_segment_prefix, "of end tokens", {TOKENS(15)}, 1, 1, seen_tokens, 0, 0, 0},
    {&cg_op_segment_prefix, "of known rows", {F32(15)}, 1, 1, seen_rows, 0, 0, 0},
    {&cg_op_gather, "a row of each sequence", {F32(15, 4)}, 1, 1, row_of_each, 0, 0, 0},
    {&cg_op_gather, "known rows", {F32(5, 4)}, 1, 1, some_rows, 0, 0, 0},
    {NULL, NULL, {{0}}, 0, 0, NULL, NULL, 0, 0},
};

const cg_op_case *cg_onnx_case(int i) {
    static const cg_op_case *const tables[] = {
        uniform,         cg_cases_elementwise, cg_cases_activation, cg_cases_shape,
        cg_cases_reduce, cg_cases_matrix,      cg_cases_picture,    cg_cases_max_pool,
        cg_cases_norm,   cg_cases_batch_norm,  cg_cases_attention,  cg_cases_attention_qkv,
        cg_cases_loss,   cg_cases_chance};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const cg_op_case *c = tables[t]; c->op; c++)
            if (i-- == 0) return c;
    return NULL;
}

cg_graph *cg_onnx_case_graph(const cg_op_case *c) {
    cg_graph *g;
    cg_value *in[CG_CASE_IN] = {NULL}, *out[CG_CASE_OUT] = {NULL};
    assert_int_equal(cg_graph_create(NULL, &g), CG_OK);
    cg_case_inputs(g, c->in, c->n_in, in);
    c->build(g, in, out);
    for (int i = 0; i < c->n_out; i++) {
        char name[16];
        snprintf(name, sizeof name, "out%d", i);
        cg_graph_output(g, name, out[i], CG_KEEP);
    }
    if (cg_graph_status(g) != CG_OK)
        fail_msg("%s: %s: %s", c->op->name, c->label, cg_error_message());
    return g;
}
