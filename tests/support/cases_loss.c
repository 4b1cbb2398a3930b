/* Cases of softmax_cross_entropy and dropout. */
#include "graph/rng.h"
#include "tests/support/op_case.h"

#include <math.h>

#define F32(range, ...)                                                                            \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -(range), range, 1 }
#define F32_FIXED(range, ...)                                                                      \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -(range), range, 0 }
#define INTEGERS(type, low, high, ...)                                                             \
    { type, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, low, high, 0 }

/* --- softmax_cross_entropy ------------------------------------------------------------------- */

static void cross_entropy_reference(cg_case_data *d, int axis) {
    int64_t n = d->in_shape[0].dim[0], m = d->in_shape[0].dim[1];
    int64_t losses = axis ? n : m, classes = axis ? m : n;
    int64_t step = axis ? 1 : m, start = axis ? m : 1; /* from class to class, loss to loss */
    for (int64_t i = 0; i < losses; i++) {
        const double *x = d->in[0] + i * start;
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < classes; j++) top = fmax(top, x[j * step]);
        for (int64_t j = 0; j < classes; j++) sum += exp(x[j * step] - top);
        d->out[0][i] = top + log(sum) - x[(int64_t)d->in[1][i] * step];
    }
}

static void rows(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_softmax_cross_entropy(g, in[0], in[1], 1);
}

static void columns(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_softmax_cross_entropy(g, in[0], in[1], 0);
}

static void rows_reference(cg_case_data *d) {
    cross_entropy_reference(d, 1);
}
static void columns_reference(cg_case_data *d) {
    cross_entropy_reference(d, 0);
}

static void bad_axis(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_softmax_cross_entropy(g, in[0], in[1], 2);
}

/* --- dropout --------------------------------------------------------------------------------- */

#define P 0.3f

static void dropout(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_dropout(g, in[0], in[1], in[2], P);
}

/* The first key that a graph gives. */
static uint64_t first_key(void) {
    cg_graph *g;
    if (cg_graph_create(NULL, &g) != CG_OK) return 0;
    uint64_t key = cg_graph_key(g);
    cg_graph_free(g);
    return key;
}

static void dropout_reference(cg_case_data *d) {
    uint64_t key = first_key();
    int64_t n = d->in_shape[0].dim[0], width = cg_shape_count(&d->in_shape[0]) / n;
    for (int64_t i = 0; i < n; i++) {
        cg_rng stream = cg_rng_at(key, CG_RNG_DROPOUT, (uint64_t)(int64_t)d->in[1][0],
                                  (uint64_t)(int64_t)d->in[2][i]);
        for (int64_t j = 0; j < width; j++) {
            uint32_t word[4];
            cg_rng_block(&stream, (uint64_t)j / 4, word);
            int keep = (double)word[j % 4] >= floor((double)P * 0x1p32);
            d->out[0][i * width + j] = keep ? d->in[0][i * width + j] / (1 - (double)P) : 0;
        }
    }
}

static void dropout_p1(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_dropout(g, in[0], in[1], in[2], 1);
}

/* --- tables ---------------------------------------------------------------------------------- */

const cg_op_case cg_cases_loss[] = {
    {.op = &cg_op_softmax_cross_entropy,
     .label = "rows",
     .in = {F32(3, 7, 11), INTEGERS(CG_I32, 0, 11, 7)},
     .n_in = 2,
     .n_out = 1,
     .build = rows,
     .reference = rows_reference},
    {.op = &cg_op_softmax_cross_entropy,
     .label = "columns",
     .in = {F32(3, 7, 11), INTEGERS(CG_I32, 0, 7, 11)},
     .n_in = 2,
     .n_out = 1,
     .build = columns,
     .reference = columns_reference},
    {.op = &cg_op_softmax_cross_entropy,
     .label = "columns, several tiles and blocks",
     .in = {F32(3, 35, 67), INTEGERS(CG_I32, 0, 35, 67)},
     .n_in = 2,
     .n_out = 1,
     .build = columns,
     .reference = columns_reference},
    {.op = &cg_op_softmax_cross_entropy,
     .label = "rows of a large batch, logits of hundreds",
     .in = {F32_FIXED(300, 131, 143), INTEGERS(CG_I32, 0, 143, 131)},
     .n_in = 2,
     .n_out = 1,
     .build = rows,
     .reference = rows_reference},
    {.op = &cg_op_softmax_cross_entropy,
     .label = "columns of a large batch, logits of hundreds",
     .in = {F32_FIXED(300, 131, 143), INTEGERS(CG_I32, 0, 131, 143)},
     .n_in = 2,
     .n_out = 1,
     .build = columns,
     .reference = columns_reference},
    {.op = &cg_op_softmax_cross_entropy,
     .label = "one class",
     .in = {F32(3, 5, 1), INTEGERS(CG_I32, 0, 1, 5)},
     .n_in = 2,
     .n_out = 1,
     .build = rows,
     .reference = rows_reference},
    {.op = &cg_op_dropout,
     .label = "rank 3, odd rows",
     .in = {F32(2, 4, 3, 5),
            {CG_I64, {0, {0}}, CG_FILL_INTEGER, 5, 1000, 0},
            INTEGERS(CG_I64, 0, 100000, 4)},
     .n_in = 3,
     .n_out = 1,
     .build = dropout,
     .reference = dropout_reference},
    {.op = &cg_op_dropout,
     .label = "long rows, in pieces",
     .in = {F32_FIXED(2, 3, 9001),
            {CG_I64, {0, {0}}, CG_FILL_INTEGER, 5, 1000, 0},
            INTEGERS(CG_I64, 0, 100000, 3)},
     .n_in = 3,
     .n_out = 1,
     .build = dropout,
     .reference = dropout_reference},
    {0},
};

#define STEP                                                                                       \
    { CG_I64, {0, {0}}, CG_FILL_INTEGER, 0, 9, 0 }

const cg_bad_case cg_bad_loss[] = {
    {&cg_op_softmax_cross_entropy,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 5)},
     2,
     rows,
     CG_ESHAPE,
     "label is [5], wanted [4], one for each row"},
    {&cg_op_softmax_cross_entropy,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 4)},
     2,
     columns,
     CG_ESHAPE,
     "label is [4], wanted [5], one for each column"},
    {&cg_op_softmax_cross_entropy,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I64, 0, 4, 4)},
     2,
     rows,
     CG_EDTYPE,
     "label is i64, wanted i32"},
    {&cg_op_softmax_cross_entropy,
     {INTEGERS(CG_I32, 0, 4, 4, 5), INTEGERS(CG_I32, 0, 4, 4)},
     2,
     rows,
     CG_EDTYPE,
     "logits are i32, wanted f32"},
    {&cg_op_softmax_cross_entropy,
     {F32_FIXED(1, 4), INTEGERS(CG_I32, 0, 4, 4)},
     2,
     rows,
     CG_ESHAPE,
     "logits are [4], wanted rank 2"},
    {&cg_op_softmax_cross_entropy,
     {F32_FIXED(1, 4, 0), INTEGERS(CG_I32, 0, 1, 4)},
     2,
     rows,
     CG_ESHAPE,
     "no class along axis 1"},
    {&cg_op_softmax_cross_entropy,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 4)},
     2,
     bad_axis,
     CG_EINVAL,
     "axis is 2"},
    {&cg_op_dropout,
     {F32_FIXED(1, 4, 5), STEP, INTEGERS(CG_I64, 0, 4, 4)},
     3,
     dropout_p1,
     CG_EINVAL,
     "p is 1"},
    {&cg_op_dropout,
     {F32_FIXED(1, 4, 5), STEP, INTEGERS(CG_I64, 0, 4, 5)},
     3,
     dropout,
     CG_ESHAPE,
     "sample is [5], wanted [4]"},
    {&cg_op_dropout,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I64, 0, 4, 1), INTEGERS(CG_I64, 0, 4, 4)},
     3,
     dropout,
     CG_ESHAPE,
     "step is [1], wanted a scalar"},
    {&cg_op_dropout,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 1), INTEGERS(CG_I64, 0, 4, 4)},
     3,
     dropout,
     CG_EDTYPE,
     "step is i32, wanted i64"},
    {&cg_op_dropout,
     {F32_FIXED(1, 4, 5), STEP, INTEGERS(CG_I32, 0, 4, 4)},
     3,
     dropout,
     CG_EDTYPE,
     "sample is i32, wanted i64"},
    {0},
};
