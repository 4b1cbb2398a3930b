/* Cases of attention. */
#include "tests/support/op_case.h"

#include <math.h>

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -1.5, 1.5, 1 }
#define F32_FIXED(...)                                                                             \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -1.5, 1.5, 0 }
#define OFFSETS(rows, n)                                                                           \
    { CG_I32, CG_SHAPE(n), CG_FILL_OFFSETS, 0, rows, 0 }

/* One query row of one head against keys begin … end-1. */
static void attend(const cg_case_data *d, int64_t heads, double scale, int64_t i, int64_t h,
                   int64_t begin, int64_t end) {
    int64_t qw = d->in_shape[0].dim[1], vw = d->in_shape[2].dim[1], dh = qw / heads,
            eh = vw / heads;
    const double *q = d->in[0] + i * qw + h * dh;
    double top = -INFINITY, sum = 0, *o = d->out[0] + i * vw + h * eh;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = begin; j < end; j++) {
            const double *k = d->in[1] + j * qw + h * dh, *v = d->in[2] + j * vw + h * eh;
            double score = 0;
            for (int64_t c = 0; c < dh; c++) score += q[c] * k[c] * scale;
            if (pass == 0) {
                if (score > top) top = score;
                continue;
            }
            double p = exp(score - top);
            sum += p;
            for (int64_t c = 0; c < eh; c++) o[c] += p * v[c];
        }
    for (int64_t c = 0; c < eh && begin < end; c++) o[c] /= sum;
}

static void reference(cg_case_data *d, int64_t heads, double scale) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) d->out[0][i] = 0;
    for (int64_t s = 0; s + 1 < d->in_shape[3].dim[0]; s++)
        for (int64_t i = (int64_t)d->in[3][s]; i < (int64_t)d->in[3][s + 1]; i++)
            for (int64_t h = 0; h < heads; h++)
                attend(d, heads, scale, i, h, (int64_t)d->in[4][s], (int64_t)d->in[4][s + 1]);
}

/* name(g, in, out) and name_reference(d), of so many heads and that scale */
#define VARIANT(name, heads, scale)                                                                \
    static void name(cg_graph *g, cg_value *const *in, cg_value **out) {                           \
        out[0] = cg_attention(g, in[0], in[1], in[2], in[3], in[4], heads, scale);                 \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        reference(d, heads, (double)(scale));                                                      \
    }

VARIANT(one_head, 1, 0.4f)
VARIANT(two_heads, 2, 0.5f)
VARIANT(three_heads, 3, 0.3f)
VARIANT(eight_heads, 8, 0.125f)
VARIANT(steep, 1, 30.0f)
VARIANT(negative, 2, -0.5f)

static void self(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_attention(g, in[0], in[0], in[0], in[1], in[1], 2, 0.5f);
}

static void self_reference(cg_case_data *d) {
    cg_case_data all = *d;
    for (int i = 0; i < 3; i++) {
        all.in[i] = d->in[0];
        all.in_shape[i] = d->in_shape[0];
    }
    all.in[3] = all.in[4] = d->in[1];
    all.in_shape[3] = all.in_shape[4] = d->in_shape[1];
    reference(&all, 2, 0.5);
}

static void no_heads(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_attention(g, in[0], in[1], in[2], in[3], in[4], 0, 1);
}

const cg_op_case cg_cases_attention[] = {
    {.op = &cg_op_attention,
     .label = "one sequence, one head",
     .in = {F32(5, 4), F32(5, 4), F32(5, 4), OFFSETS(5, 2), OFFSETS(5, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = one_head,
     .reference = one_head_reference},
    {.op = &cg_op_attention,
     .label = "sequences of several lengths, wider values",
     .in = {F32(13, 6), F32(17, 6), F32(17, 10), OFFSETS(13, 6), OFFSETS(17, 6)},
     .n_in = 5,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention,
     .label = "odd widths, narrower values",
     .in = {F32(11, 15), F32(9, 15), F32(9, 9), OFFSETS(11, 4), OFFSETS(9, 4)},
     .n_in = 5,
     .n_out = 1,
     .build = three_heads,
     .reference = three_heads_reference},
    {.op = &cg_op_attention,
     .label = "self-attention: q, k and v are one operand",
     .in = {F32(12, 8), OFFSETS(12, 4)},
     .n_in = 2,
     .n_out = 1,
     .build = self,
     .reference = self_reference},
    {.op = &cg_op_attention,
     .label = "rows of no sequence",
     .in = {F32(12, 8), F32(14, 8), F32(14, 8), OFFSETS(9, 4), OFFSETS(10, 4)},
     .n_in = 5,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention,
     .label = "no sequence at all",
     .in = {F32_FIXED(3, 4), F32_FIXED(2, 4), F32_FIXED(2, 4), OFFSETS(0, 1), OFFSETS(0, 1)},
     .n_in = 5,
     .n_out = 1,
     .build = one_head,
     .reference = one_head_reference},
    {.op = &cg_op_attention,
     .label = "negative scale",
     .in = {F32(7, 6), F32(9, 6), F32(9, 4), OFFSETS(7, 3), OFFSETS(9, 3)},
     .n_in = 5,
     .n_out = 1,
     .build = negative,
     .reference = negative_reference},
    {.op = &cg_op_attention,
     .label = "scores of hundreds",
     .in = {F32_FIXED(6, 16), F32_FIXED(8, 16), F32_FIXED(8, 16), OFFSETS(6, 2), OFFSETS(8, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = steep,
     .reference = steep_reference,
     .tolerance = 1e-4},
    {.op = &cg_op_attention,
     .label = "eight heads of 64, two threads' worth",
     .in = {F32_FIXED(150, 512), F32_FIXED(170, 512), F32_FIXED(170, 512), OFFSETS(150, 5),
            OFFSETS(170, 5)},
     .n_in = 5,
     .n_out = 1,
     .build = eight_heads,
     .reference = eight_heads_reference},
    {.op = &cg_op_attention,
     .label = "more keys than are taken at a time",
     .in = {F32_FIXED(37, 16), F32_FIXED(1301, 16), F32_FIXED(1301, 16), OFFSETS(37, 2),
            OFFSETS(1301, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {0},
};

#define I32(...)                                                                                   \
    { CG_I32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, 0, 2, 0 }

const cg_bad_case cg_bad_attention[] = {
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(3, 4), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 2)},
     5,
     no_heads,
     CG_EINVAL,
     "heads is 0"},
    {&cg_op_attention,
     {F32_FIXED(3, 5), F32_FIXED(3, 5), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 2)},
     5,
     two_heads,
     CG_ESHAPE,
     "q is [3, 5]: 5 columns do not divide among 2 heads"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(3, 6), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 2)},
     5,
     two_heads,
     CG_ESHAPE,
     "q is [3, 4] and k is [3, 6]"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(3, 4), F32_FIXED(2, 4), OFFSETS(3, 2), OFFSETS(3, 2)},
     5,
     two_heads,
     CG_ESHAPE,
     "k is [3, 4] and v is [2, 4]"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(3, 4), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 3)},
     5,
     two_heads,
     CG_ESHAPE,
     "q_offset is [2] and k_offset is [3]"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(3, 4), F32_FIXED(3, 4), F32_FIXED(2), OFFSETS(3, 2)},
     5,
     two_heads,
     CG_EDTYPE,
     "q_offset is f32, wanted i32"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(3, 4), F32_FIXED(3, 4), OFFSETS(3, 2), I32(2, 1)},
     5,
     two_heads,
     CG_ESHAPE,
     "k_offset is [2, 1]"},
    {&cg_op_attention,
     {F32_FIXED(3), F32_FIXED(3, 4), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 2)},
     5,
     two_heads,
     CG_ESHAPE,
     "q is [3], wanted rank 2"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), I32(3, 4), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 2)},
     5,
     two_heads,
     CG_EDTYPE,
     "k is i32, wanted f32"},
    {0},
};
