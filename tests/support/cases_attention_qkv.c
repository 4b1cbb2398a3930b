/* Cases of attention_qkv. */
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -1.5, 1.5, 1 }
#define F32_FIXED(...)                                                                             \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -1.5, 1.5, 0 }
#define OFFSETS(rows, n)                                                                           \
    { CG_I32, CG_SHAPE(n), CG_FILL_OFFSETS, 0, rows, 0 }
#define MASK(n)                                                                                    \
    { CG_F32, CG_SHAPE(n), CG_FILL_INTEGER, 0, 2, 0 }

static void reference(cg_case_data *d, int64_t heads, double scale, int causal) {
    int64_t width = d->in_shape[0].dim[1] / 3;
    cg_ref_attention a = {.heads = heads, .scale = scale, .causal = causal, .o = d->out[0]};
    a.q = d->in[0];
    a.k = a.q + width;
    a.v = a.k + width;
    a.q_row = a.k_row = a.v_row = 3 * width;
    a.d = a.e = width / heads;
    a.q_offset = a.k_offset = d->in[1];
    a.key_mask = d->n_in > 2 ? d->in[2] : NULL;
    a.rows = d->in_shape[0].dim[0];
    a.sequences = d->in_shape[1].dim[0] - 1;
    cg_ref_attend(&a);
}

/* name(g, in, out) and name_reference(d), of so many heads and that scale */
#define VARIANT(name, heads, scale, causal)                                                        \
    static void name(cg_graph *g, cg_value *const *in, cg_value **out) {                           \
        cg_attention_options options = {heads, scale, causal, in[2]};                              \
        out[0] = cg_attention_qkv(g, in[0], in[1], options);                                       \
    }                                                                                              \
    static void name##_reference(cg_case_data *d) {                                                \
        reference(d, heads, (double)(scale), causal);                                              \
    }

VARIANT(two_heads, 2, 0.5f, 0)
VARIANT(causal_two, 2, 0.5f, 1)
VARIANT(eight_heads, 8, 0.125f, 0)

static void no_heads(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_attention_qkv(g, in[0], in[1], (cg_attention_options){.scale = 1});
}

/* A uniform batch: three sequences of equal length, known to the graph. */
static void uniform(cg_graph *g, cg_value *const *in, cg_value **out) {
    int32_t n = (int32_t)in[0]->shape.dim[0] / 3;
    const int32_t offset[4] = {0, n, 2 * n, 3 * n};
    cg_attention_options options = {.heads = 2, .scale = 0.5f, .causal = 1};
    out[0] = cg_attention_qkv(g, in[0], cg_constant(g, CG_I32, CG_SHAPE(4), offset), options);
}

static void uniform_reference(cg_case_data *d) {
    double n = (double)(d->in_shape[0].dim[0] / 3), offset[4] = {0, n, 2 * n, 3 * n};
    cg_case_data all = *d;
    all.in[1] = offset;
    all.in_shape[1] = CG_SHAPE(4);
    reference(&all, 2, 0.5, 1);
}

const cg_op_case cg_cases_attention_qkv[] = {
    {.op = &cg_op_attention_qkv,
     .label = "sequences of several lengths, rows of none",
     .in = {F32(17, 18), OFFSETS(15, 6)},
     .n_in = 2,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention_qkv,
     .label = "causal",
     .in = {F32(19, 24), OFFSETS(19, 4)},
     .n_in = 2,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {.op = &cg_op_attention_qkv,
     .label = "key mask: sequences masked in part or wholly",
     .in = {F32(21, 12), OFFSETS(20, 10), MASK(21)},
     .n_in = 3,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {.op = &cg_op_attention_qkv,
     .label = "uniform batch",
     .in = {F32(18, 12)},
     .n_in = 1,
     .n_out = 1,
     .build = uniform,
     .reference = uniform_reference},
    {.op = &cg_op_attention_qkv,
     .label = "no sequence at all",
     .in = {F32_FIXED(3, 12), OFFSETS(0, 1)},
     .n_in = 2,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention_qkv,
     .label = "no rows",
     .in = {F32_FIXED(0, 12), OFFSETS(0, 3)},
     .n_in = 2,
     .n_out = 1,
     .build = two_heads,
     .reference = two_heads_reference},
    {.op = &cg_op_attention_qkv,
     .label = "two blocks of queries",
     .in = {F32(61, 12), OFFSETS(61, 2)},
     .n_in = 2,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {.op = &cg_op_attention_qkv,
     .label = "eight heads of 64, two threads' worth",
     .in = {F32_FIXED(197, 1536), OFFSETS(197, 3)},
     .n_in = 2,
     .n_out = 1,
     .build = eight_heads,
     .reference = eight_heads_reference},
    {.op = &cg_op_attention_qkv,
     .label = "causal: more keys than are taken at a time",
     .in = {F32_FIXED(700, 48), OFFSETS(700, 2)},
     .n_in = 2,
     .n_out = 1,
     .build = causal_two,
     .reference = causal_two_reference},
    {0},
};

#define I32(...)                                                                                   \
    { CG_I32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, 0, 2, 0 }

const cg_bad_case cg_bad_attention_qkv[] = {
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 12), OFFSETS(3, 2)},
     2,
     no_heads,
     CG_EINVAL,
     "heads is 0, wanted 1 or more"},
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 9), OFFSETS(3, 2)},
     2,
     two_heads,
     CG_ESHAPE,
     "qkv is [3, 9]: 9 columns do not divide among q, k and v of 2 heads"},
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 8), OFFSETS(3, 2)},
     2,
     two_heads,
     CG_ESHAPE,
     "qkv is [3, 8]: 8 columns do not divide among q, k and v of 2 heads"},
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 0), OFFSETS(3, 2)},
     2,
     two_heads,
     CG_ESHAPE,
     "qkv is [3, 0]: 0 columns"},
    {&cg_op_attention_qkv,
     {F32_FIXED(12), OFFSETS(3, 2)},
     2,
     two_heads,
     CG_ESHAPE,
     "qkv is [12] of rank 1, wanted rank 2"},
    {&cg_op_attention_qkv,
     {I32(3, 12), OFFSETS(3, 2)},
     2,
     two_heads,
     CG_EDTYPE,
     "qkv is i32, wanted f32"},
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 12), F32_FIXED(2)},
     2,
     two_heads,
     CG_EDTYPE,
     "offset is f32, wanted i32"},
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 12), I32(2, 1)},
     2,
     two_heads,
     CG_ESHAPE,
     "offset is [2, 1] of rank 2, wanted rank 1"},
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 12), OFFSETS(3, 2), I32(3)},
     3,
     two_heads,
     CG_EDTYPE,
     "key_mask is i32, wanted f32"},
    {&cg_op_attention_qkv,
     {F32_FIXED(3, 12), OFFSETS(3, 2), F32_FIXED(3, 1)},
     3,
     two_heads,
     CG_ESHAPE,
     "key_mask is [3, 1], wanted [3]"},
    {0},
};
