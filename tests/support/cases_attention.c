/* Cases of attention. */
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -1.5, 1.5, 1 }
#define F32_FIXED(...)                                                                             \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -1.5, 1.5, 0 }
#define OFFSETS(rows, n)                                                                           \
    { CG_I32, CG_SHAPE(n), CG_FILL_OFFSETS, 0, rows, 0 }

/* Keys that are seen, and not; seen by none where the last number is 1. */
#define MASK(n, below)                                                                             \
    { CG_F32, CG_SHAPE(n), CG_FILL_INTEGER, 0, below, 0 }

static cg_value *attend(cg_graph *g, cg_value *const *in, int64_t heads, float scale, int causal) {
    cg_attention_options options = {heads, scale, causal, in[5]};
    return cg_attention(g, in[0], in[1], in[2], in[3], in[4], options);
}

static void reference(cg_case_data *d, int64_t heads, double scale, int causal) {
    cg_ref_attention a = {.heads = heads, .scale = scale, .causal = causal, .o = d->out[0]};
    a.q = d->in[0];
    a.k = d->in[1];
    a.v = d->in[2];
    a.q_offset = d->in[3];
    a.k_offset = d->in[4];
    a.key_mask = d->n_in > 5 ? d->in[5] : NULL;
    a.rows = d->in_shape[0].dim[0];
    a.q_row = a.k_row = d->in_shape[0].dim[1];
    a.v_row = d->in_shape[2].dim[1];
    a.d = a.q_row / heads;
    a.e = a.v_row / heads;
    a.sequences = d->in_shape[3].dim[0] - 1;
    cg_ref_attend(&a);
}

/* name(g, in, out) and name_reference(d), of so many heads and that scale */
#define VARIANT(name, heads, scale, causal)                                                        \
    static void name(cg_graph *g, cg_value *const *in, cg_value **out) {                           \
        out[0] = attend(g, in, heads, scale, causal);                                              \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        reference(d, heads, (double)(scale), causal);                                              \
    }

VARIANT(one_head, 1, 0.4f, 0)
VARIANT(two_heads, 2, 0.5f, 0)
VARIANT(three_heads, 3, 0.3f, 0)
VARIANT(eight_heads, 8, 0.125f, 0)
VARIANT(steep, 1, 30.0f, 0)
VARIANT(negative, 2, -0.5f, 0)
VARIANT(causal_one, 1, 0.4f, 1)
VARIANT(causal_two, 2, 0.5f, 1)
VARIANT(causal_eight, 8, 0.125f, 1)

static void self(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = attend(g, (cg_value *[]){in[0], in[0], in[0], in[1], in[1], NULL}, 2, 0.5f, 0);
}

static void self_reference(cg_case_data *d) {
    cg_case_data all = *d;
    for (int i = 0; i < 3; i++) {
        all.in[i] = d->in[0];
        all.in_shape[i] = d->in_shape[0];
    }
    all.in[3] = all.in[4] = d->in[1];
    all.in_shape[3] = all.in_shape[4] = d->in_shape[1];
    reference(&all, 2, 0.5, 0);
}

static void no_heads(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = attend(g, in, 0, 1, 0);
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
    {.op = &cg_op_attention,
     .label = "causal: a key for every query",
     .in = {F32(13, 6), F32(13, 6), F32(13, 8), OFFSETS(13, 2), OFFSETS(13, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {.op = &cg_op_attention,
     .label = "causal: more keys than queries",
     .in = {F32(9, 4), F32(21, 4), F32(21, 4), OFFSETS(9, 2), OFFSETS(21, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = causal_one,
     .reference = causal_one_reference},
    {.op = &cg_op_attention,
     .label = "causal: queries without keys",
     .in = {F32(14, 4), F32(6, 4), F32(6, 5), OFFSETS(14, 2), OFFSETS(6, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = causal_one,
     .reference = causal_one_reference},
    {.op = &cg_op_attention,
     .label = "causal: sequences of several lengths, rows of none",
     .in = {F32(33, 6), F32(29, 6), F32(29, 4), OFFSETS(31, 7), OFFSETS(26, 7)},
     .n_in = 5,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {.op = &cg_op_attention,
     .label = "causal: eight heads of 64, two threads' worth",
     .in = {F32_FIXED(150, 512), F32_FIXED(150, 512), F32_FIXED(150, 512), OFFSETS(150, 3),
            OFFSETS(150, 3)},
     .n_in = 5,
     .n_out = 1,
     .build = causal_eight,
     .reference = causal_eight_reference},
    {.op = &cg_op_attention,
     .label = "causal: more keys than are taken at a time",
     .in = {F32(60, 4), F32(530, 4), F32(530, 4), OFFSETS(60, 2), OFFSETS(530, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = causal_one,
     .reference = causal_one_reference},
    {.op = &cg_op_attention,
     .label = "causal: many blocks of keys and queries",
     .in = {F32_FIXED(1090, 16), F32_FIXED(1100, 16), F32_FIXED(1100, 16), OFFSETS(1090, 2),
            OFFSETS(1100, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {.op = &cg_op_attention,
     .label = "key mask: sequences masked in part or wholly",
     .in = {F32(24, 6), F32(26, 6), F32(26, 10), OFFSETS(24, 12), OFFSETS(26, 12), MASK(26, 2)},
     .n_in = 6,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention,
     .label = "key mask: no key is seen",
     .in = {F32(7, 4), F32(9, 4), F32(9, 4), OFFSETS(7, 3), OFFSETS(9, 3), MASK(9, 1)},
     .n_in = 6,
     .n_out = 1,
     .build = one_head,
     .reference = one_head_reference},
    {.op = &cg_op_attention,
     .label = "key mask and causal",
     .in = {F32(23, 4), F32(23, 4), F32(23, 4), OFFSETS(23, 5), OFFSETS(23, 5), MASK(23, 2)},
     .n_in = 6,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {.op = &cg_op_attention,
     .label = "key mask: more keys than are taken at a time",
     .in = {F32_FIXED(19, 16), F32_FIXED(1301, 16), F32_FIXED(1301, 16), OFFSETS(19, 2),
            OFFSETS(1301, 2), MASK(1301, 2)},
     .n_in = 6,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention,
     .label = "one query",
     .in = {F32(1, 6), F32(11, 6), F32(11, 10), OFFSETS(1, 2), OFFSETS(11, 2)},
     .n_in = 5,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention,
     .label = "one query, more keys than are taken at a time, key mask",
     .in = {F32(1, 4), F32(1200, 4), F32(1200, 4), OFFSETS(1, 2), OFFSETS(1200, 2), MASK(1200, 2)},
     .n_in = 6,
     .n_out = 1,
     .build = causal_one,
     .reference = causal_one_reference},
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
     "q is [3] of rank 1, wanted rank 2"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), I32(3, 4), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 2)},
     5,
     two_heads,
     CG_EDTYPE,
     "k is i32, wanted f32"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(3, 4), F32_FIXED(3, 4), OFFSETS(3, 2), OFFSETS(3, 2), I32(3)},
     6,
     two_heads,
     CG_EDTYPE,
     "key_mask is i32, wanted f32"},
    {&cg_op_attention,
     {F32_FIXED(3, 4), F32_FIXED(5, 4), F32_FIXED(5, 4), OFFSETS(3, 2), OFFSETS(5, 2), MASK(3, 2)},
     6,
     two_heads,
     CG_ESHAPE,
     "key_mask is [3], wanted [5], one for each row of keys"},
    {0},
};
