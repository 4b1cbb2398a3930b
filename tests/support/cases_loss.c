/* Cases of softmax_cross_entropy, contrastive_cross_entropy and sigmoid_cross_entropy. */
#include "tests/support/op_case.h"

#include <math.h>

#define F32(range, ...)                                                                            \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -(range), range, 1 }
#define F32_FIXED(range, ...)                                                                      \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -(range), range, 0 }
#define INTEGERS(type, low, high, ...)                                                             \
    { type, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, low, high, 0 }

/* --- softmax_cross_entropy ------------------------------------------------------------------- */

/* The losses of one axis, by those labels. */
static void losses_reference(const cg_case_data *d, int axis, const double *label, double *loss) {
    int64_t n = d->in_shape[0].dim[0], m = d->in_shape[0].dim[1];
    int64_t losses = axis ? n : m, classes = axis ? m : n;
    int64_t step = axis ? 1 : m, start = axis ? m : 1; /* from class to class, loss to loss */
    for (int64_t i = 0; i < losses; i++) {
        const double *x = d->in[0] + i * start;
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < classes; j++) top = fmax(top, x[j * step]);
        for (int64_t j = 0; j < classes; j++) sum += exp(x[j * step] - top);
        loss[i] = top + log(sum) - x[(int64_t)label[i] * step];
    }
}

static void rows(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_softmax_cross_entropy(g, in[0], in[1], 1);
}

static void columns(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_softmax_cross_entropy(g, in[0], in[1], 0);
}

static void rows_reference(cg_case_data *d) {
    losses_reference(d, 1, d->in[1], d->out[0]);
}
static void columns_reference(cg_case_data *d) {
    losses_reference(d, 0, d->in[1], d->out[0]);
}

static void bad_axis(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_softmax_cross_entropy(g, in[0], in[1], 2);
}

/* --- contrastive_cross_entropy --------------------------------------------------------------- */

static void both(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_contrastive_loss r = cg_contrastive_cross_entropy(g, in[0], in[1], in[2]);
    out[0] = r.row_loss;
    out[1] = r.column_loss;
}

static void both_reference(cg_case_data *d) {
    losses_reference(d, 1, d->in[1], d->out[0]);
    losses_reference(d, 0, d->in[2], d->out[1]);
}

#define BOTH(text, logits, n, m)                                                                   \
    {                                                                                              \
        .op = &cg_op_contrastive_cross_entropy, .label = text,                                     \
        .in = {logits, INTEGERS(CG_I32, 0, m, n), INTEGERS(CG_I32, 0, n, m)}, .n_in = 3,           \
        .n_out = 2, .build = both, .reference = both_reference                                     \
    }

/* --- sigmoid_cross_entropy ------------------------------------------------------------------- */

static void pairs(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_sigmoid_cross_entropy(g, in[0], in[1]);
}

static void pairs_reference(cg_case_data *d) {
    int64_t m = d->in_shape[0].dim[1];
    for (int64_t i = 0; i < d->in_shape[0].dim[0]; i++) {
        d->out[0][i] = 0;
        for (int64_t j = 0; j < m; j++) {
            double x = d->in[0][i * m + j] * (j == (int64_t)d->in[1][i] ? 1 : -1);
            d->out[0][i] += fmax(-x, 0) + log1p(exp(-fabs(x)));
        }
    }
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
    BOTH("a few", F32(3, 7, 11), 7, 11),
    BOTH("several tiles and blocks", F32(3, 35, 67), 35, 67),
    BOTH("whole tiles", F32(3, 64, 128), 64, 128),
    BOTH("one row", F32(3, 1, 9), 1, 9),
    BOTH("one column", F32(3, 9, 1), 9, 1),
    BOTH("one logit", F32(3, 1, 1), 1, 1),
    BOTH("large batch, logits of hundreds", F32_FIXED(300, 131, 143), 131, 143),
    BOTH("chunks of several blocks", F32_FIXED(90, 2081, 9), 2081, 9),
    {.op = &cg_op_sigmoid_cross_entropy,
     .label = "square",
     .in = {F32(3, 7, 7), INTEGERS(CG_I32, 0, 7, 7)},
     .n_in = 2,
     .n_out = 1,
     .build = pairs,
     .reference = pairs_reference},
    {.op = &cg_op_sigmoid_cross_entropy,
     .label = "more columns than rows",
     .in = {F32(3, 5, 11), INTEGERS(CG_I32, 0, 11, 5)},
     .n_in = 2,
     .n_out = 1,
     .build = pairs,
     .reference = pairs_reference},
    {.op = &cg_op_sigmoid_cross_entropy,
     .label = "one column",
     .in = {F32(3, 5, 1), INTEGERS(CG_I32, 0, 1, 5)},
     .n_in = 2,
     .n_out = 1,
     .build = pairs,
     .reference = pairs_reference},
    {.op = &cg_op_sigmoid_cross_entropy,
     .label = "no row",
     .in = {F32(3, 0, 4), INTEGERS(CG_I32, 0, 4, 0)},
     .n_in = 2,
     .n_out = 1,
     .build = pairs,
     .reference = pairs_reference},
    {.op = &cg_op_sigmoid_cross_entropy,
     .label = "several blocks",
     .in = {F32(9, 3, 601), INTEGERS(CG_I32, 0, 601, 3)},
     .n_in = 2,
     .n_out = 1,
     .build = pairs,
     .reference = pairs_reference},
    {.op = &cg_op_sigmoid_cross_entropy,
     .label = "large batch, logits of hundreds",
     .in = {F32_FIXED(300, 131, 143), INTEGERS(CG_I32, 0, 143, 131)},
     .n_in = 2,
     .n_out = 1,
     .build = pairs,
     .reference = pairs_reference},
    {0},
};

#define BAD_BOTH(logits, rows, columns, status, text)                                              \
    { &cg_op_contrastive_cross_entropy, {logits, rows, columns}, 3, both, status, text }

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
    BAD_BOTH(F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 5), INTEGERS(CG_I32, 0, 4, 5), CG_ESHAPE,
             "label is [5], wanted [4], one for each row"),
    BAD_BOTH(F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 4), INTEGERS(CG_I32, 0, 4, 4), CG_ESHAPE,
             "label is [4], wanted [5], one for each column"),
    BAD_BOTH(F32_FIXED(1, 4), INTEGERS(CG_I32, 0, 4, 4), INTEGERS(CG_I32, 0, 4, 4), CG_ESHAPE,
             "logits are [4], wanted rank 2"),
    BAD_BOTH(F32_FIXED(1, 4, 0), INTEGERS(CG_I32, 0, 1, 4), INTEGERS(CG_I32, 0, 1, 0), CG_ESHAPE,
             "no class along axis 1"),
    BAD_BOTH(F32_FIXED(1, 0, 4), INTEGERS(CG_I32, 0, 1, 0), INTEGERS(CG_I32, 0, 1, 4), CG_ESHAPE,
             "no class along axis 0"),
    BAD_BOTH(INTEGERS(CG_I32, 0, 4, 4, 5), INTEGERS(CG_I32, 0, 4, 4), INTEGERS(CG_I32, 0, 4, 5),
             CG_EDTYPE, "logits are i32, wanted f32"),
    BAD_BOTH(F32_FIXED(1, 4, 5), INTEGERS(CG_I64, 0, 4, 4), INTEGERS(CG_I32, 0, 4, 5), CG_EDTYPE,
             "label is i64, wanted i32"),
    BAD_BOTH(F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 4), INTEGERS(CG_I64, 0, 4, 5), CG_EDTYPE,
             "label is i64, wanted i32"),
    {&cg_op_sigmoid_cross_entropy,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I32, 0, 4, 5)},
     2,
     pairs,
     CG_ESHAPE,
     "label is [5], wanted [4], one for each row"},
    {&cg_op_sigmoid_cross_entropy,
     {F32_FIXED(1, 4), INTEGERS(CG_I32, 0, 4, 4)},
     2,
     pairs,
     CG_ESHAPE,
     "logits is [4] of rank 1, wanted rank 2"},
    {&cg_op_sigmoid_cross_entropy,
     {F32_FIXED(1, 4, 0), INTEGERS(CG_I32, 0, 4, 4)},
     2,
     pairs,
     CG_ESHAPE,
     "logits [4, 0] have no column"},
    {&cg_op_sigmoid_cross_entropy,
     {F32_FIXED(1, 4, 5), INTEGERS(CG_I64, 0, 4, 4)},
     2,
     pairs,
     CG_EDTYPE,
     "label is i64, wanted i32"},
    {&cg_op_sigmoid_cross_entropy,
     {INTEGERS(CG_I32, 0, 4, 4, 5), INTEGERS(CG_I32, 0, 4, 4)},
     2,
     pairs,
     CG_EDTYPE,
     "logits is i32, wanted f32"},
    {0},
};
