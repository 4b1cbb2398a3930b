/* Cases: sum, mean; rows and segments: segment_mean, gather, segment_position, end_token,
 * segment_prefix. */
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

#include <string.h>

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -2, 2, 1 }
#define F32_SCALAR                                                                                 \
    { CG_F32, CG_SCALAR, CG_FILL_UNIFORM, -2, 2, 1 }
#define POSITIVE(...)                                                                              \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, 0, 2, 1 }
#define OFFSET(n, high)                                                                            \
    { CG_I32, CG_SHAPE(n), CG_FILL_OFFSETS, 0, high, 0 }
#define I32(n, high)                                                                               \
    { CG_I32, CG_SHAPE(n), CG_FILL_INTEGER, 0, high, 0 }
#define I64(n)                                                                                     \
    { CG_I64, CG_SHAPE(n), CG_FILL_INTEGER, 0, 9, 0 }

/* --- sum and mean ----------------------------------------------------------------------------- */

/* Axes are bits here. */
static void reduce(cg_case_data *d, unsigned axes) {
    cg_shape kept = d->in_shape[0]; /* the output's shape with 1 for axes that are gone */
    for (int k = 0; k < kept.rank; k++)
        if (axes >> k & 1) kept.dim[k] = 1;
    memset(d->out[0], 0, (size_t)cg_shape_count(&kept) * sizeof(double));
    for (int64_t i = 0; i < cg_shape_count(&d->in_shape[0]); i++)
        d->out[0][cg_ref_broadcast(&kept, &d->in_shape[0], i)] += d->in[0][i];
}

#define SUM(name, bits, keep, ...)                                                                 \
    static void build_##name(cg_graph *g, cg_value *const *in, cg_value **out) {                   \
        out[0] = cg_sum(g, in[0], __VA_ARGS__, keep);                                              \
    }                                                                                              \
    static void reference_##name(cg_case_data *d) {                                                \
        reduce(d, bits);                                                                           \
    }
SUM(none, 0, 0, CG_SCALAR)
SUM(0, 1, 0, CG_SHAPE(0))
SUM(1, 2, 0, CG_SHAPE(1))
SUM(2, 4, 0, CG_SHAPE(2))
SUM(0_kept, 1, 1, CG_SHAPE(0))
SUM(1_kept, 2, 1, CG_SHAPE(1))
SUM(01, 3, 0, CG_SHAPE(0, 1))
SUM(12, 6, 0, CG_SHAPE(2, 1))
SUM(02, 5, 0, CG_SHAPE(0, 2))
SUM(02_kept, 5, 1, CG_SHAPE(0, 2))
SUM(13, 10, 0, CG_SHAPE(1, 3))
SUM(135, 42, 0, CG_SHAPE(1, 3, 5))
SUM(012, 7, 0, CG_SHAPE(0, 1, 2))

#define SUM_CASE(name, text, operand)                                                              \
    { &cg_op_sum, text, {operand}, 1, 1, build_##name, reference_##name, 0, 0 }
/* Tolerance against the largest sum: what pieces and pairs must reach. */
#define SUM_EXACT(name, text, operand)                                                             \
    { &cg_op_sum, text, {operand}, 1, 1, build_##name, reference_##name, 5e-7, 0 }

static void build_sum_twice(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_sum(g, in[0], CG_SHAPE(1, 1), 0);
}

static void build_sum_negative(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_sum(g, in[0], CG_SHAPE(-1), 0);
}

static void build_mean_01(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_mean(g, in[0], CG_SHAPE(0, 1), 0);
}

static void reference_mean_01(cg_case_data *d) {
    reduce(d, 3);
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++)
        d->out[0][i] /= (double)(d->in_shape[0].dim[0] * d->in_shape[0].dim[1]);
}

static void build_mean_1_kept(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_mean(g, in[0], CG_SHAPE(1), 1);
}

static void reference_mean_1(cg_case_data *d) {
    reduce(d, 2);
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++)
        d->out[0][i] /= (double)d->in_shape[0].dim[1];
}

/* --- segment_mean and gather ------------------------------------------------------------------ */

static void build_segment_mean(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_segment_mean(g, in[0], in[1]);
}

static void reference_segment_mean(cg_case_data *d) {
    int64_t width = d->in_shape[0].dim[1], segments = d->out_shape[0].dim[0];
    for (int64_t s = 0; s < segments; s++) {
        int64_t begin = (int64_t)d->in[1][s], end = (int64_t)d->in[1][s + 1];
        for (int64_t c = 0; c < width; c++) {
            double sum = 0;
            for (int64_t r = begin; r < end; r++) sum += d->in[0][r * width + c];
            d->out[0][s * width + c] = end > begin ? sum / (double)(end - begin) : 0;
        }
    }
}

static void build_gather(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_gather(g, in[0], in[1]);
}

static void reference_gather(cg_case_data *d) {
    int64_t width = d->in_shape[0].dim[1];
    for (int64_t r = 0; r < d->in_shape[1].dim[0]; r++)
        for (int64_t c = 0; c < width; c++)
            d->out[0][r * width + c] = d->in[0][(int64_t)d->in[1][r] * width + c];
}

/* --- segment_position and end_token ----------------------------------------------------------- */

static void build_position_20(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_segment_position(g, in[0], 20);
}

static void build_position_20000(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_segment_position(g, in[0], 20000);
}

static void build_position_negative(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_segment_position(g, in[0], -1);
}

static void reference_position(cg_case_data *d) {
    memset(d->out[0], 0, (size_t)d->out_shape[0].dim[0] * sizeof(double));
    for (int64_t s = 0; s + 1 < d->in_shape[0].dim[0]; s++)
        for (int64_t r = (int64_t)d->in[0][s]; r < (int64_t)d->in[0][s + 1]; r++)
            d->out[0][r] = (double)r - d->in[0][s];
}

/* Segments of 3, 4, 5, … rows from row 1 on: as many as fit, none of them empty. */
static int64_t start(int64_t s) {
    return 1 + s * (s + 5) / 2;
}

static cg_value *end_token(cg_graph *g, cg_value *token, int64_t eos_id) {
    enum { MOST = 256 };
    int32_t offset[MOST];
    int64_t n = 0;
    for (; n < MOST && start(n) <= token->shape.dim[0]; n++) offset[n] = (int32_t)start(n);
    return cg_end_token(g, token, cg_constant(g, CG_I32, CG_SHAPE(n), offset), eos_id);
}

static void reference_end_token(cg_case_data *d, int64_t eos_id) {
    for (int64_t s = 0; s < d->out_shape[0].dim[0]; s++) {
        int64_t at = start(s);
        for (int64_t r = start(s + 1) - 1; r >= start(s); r--) {
            double token = d->in[0][r];
            if (eos_id < 0 ? token >= d->in[0][at] : token == (double)eos_id) at = r;
        }
        d->out[0][s] = (double)at;
    }
}

#define END_TOKEN_OF(name, eos_id)                                                                 \
    static void build_end_##name(cg_graph *g, cg_value *const *in, cg_value **out) {               \
        out[0] = end_token(g, in[0], eos_id);                                                      \
    }                                                                                              \
    static void reference_end_##name(cg_case_data *d) {                                            \
        reference_end_token(d, eos_id);                                                            \
    }
END_TOKEN_OF(largest, -1)
END_TOKEN_OF(3, 3)
END_TOKEN_OF(0, 0)

static void build_end_given(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_end_token(g, in[0], in[1], -1);
}

static void build_end_negative(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_end_token(g, in[0], in[1], -2);
}

/* --- segment_prefix --------------------------------------------------------------------------- */

/* Up to the end tokens of such segments. */
static void build_prefix(cg_graph *g, cg_value *const *in, cg_value **out) {
    cg_value *end = end_token(g, in[0], -1);
    out[0] = end ? cg_segment_prefix(g, end, end->node->in[1], in[0]->shape.dim[0]) : NULL;
}

static void reference_prefix(cg_case_data *d) {
    double row[256];
    cg_case_data ends = {.n_in = 1, .in = {d->in[0]}, .n_out = 1, .out = {row}};
    while (start(ends.out_shape[0].dim[0] + 1) <= d->in_shape[0].dim[0]) ends.out_shape[0].dim[0]++;
    reference_end_token(&ends, -1);
    for (int64_t r = 0; r < d->in_shape[0].dim[0]; r++) {
        d->out[0][r] = 0;
        for (int64_t s = 0; s < ends.out_shape[0].dim[0]; s++)
            if (r >= start(s) && r <= (int64_t)row[s]) d->out[0][r] = 1;
    }
}

static void build_prefix_given(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_segment_prefix(g, in[0], in[1], 9);
}

static void build_prefix_negative(cg_graph *g, cg_value *const *in, cg_value **out) {
    out[0] = cg_segment_prefix(g, in[0], in[1], -1);
}

#define PREFIX(text, operand)                                                                      \
    { &cg_op_segment_prefix, text, {operand}, 1, 1, build_prefix, reference_prefix, 0, 0 }
#define SEGMENT_MEAN(text, ...)                                                                    \
    {                                                                                              \
        &cg_op_segment_mean, text, {__VA_ARGS__}, 2, 1, build_segment_mean,                        \
            reference_segment_mean, 0, 0                                                           \
    }
#define POSITION(n, text, operand)                                                                 \
    { &cg_op_segment_position, text, {operand}, 1, 1, build_position_##n, reference_position, 0, 0 }
#define END_TOKEN(name, text, operand)                                                             \
    { &cg_op_end_token, text, {operand}, 1, 1, build_end_##name, reference_end_##name, 0, 0 }
#define GATHER(text, ...)                                                                          \
    { &cg_op_gather, text, {__VA_ARGS__}, 2, 1, build_gather, reference_gather, 0, 0 }

const cg_op_case cg_cases_reduce[] = {
    SUM_CASE(none, "no axis", F32(3, 4)),
    SUM_CASE(none, "of a scalar", F32_SCALAR),
    SUM_CASE(0, "vector", F32(37)),
    SUM_CASE(0, "columns", F32(7, 19)),
    SUM_CASE(0, "two columns", F32(7, 2)),
    SUM_CASE(0, "one row", F32(1, 19)),
    SUM_CASE(0_kept, "columns, kept", F32(7, 19)),
    SUM_CASE(0, "columns of no rows", F32(0, 5)),
    SUM_CASE(1, "rows", F32(7, 19)),
    SUM_CASE(1_kept, "rows, kept", F32(7, 19)),
    SUM_CASE(1, "middle axis", F32(3, 5, 4)),
    SUM_CASE(1_kept, "middle axis, kept", F32(3, 5, 4)),
    SUM_CASE(2, "an axis of 1", F32(3, 5, 1)),
    SUM_CASE(01, "leading axes", F32(3, 5, 4)),
    SUM_CASE(12, "trailing axes, not in order", F32(3, 5, 4)),
    SUM_CASE(02, "outer axes", F32(3, 5, 4)),
    SUM_CASE(02_kept, "outer axes, kept", F32(3, 5, 4)),
    SUM_CASE(13, "every second axis", F32(2, 3, 4, 5)),
    SUM_CASE(135, "every second of six", F32(2, 3, 2, 2, 3, 2)),
    SUM_CASE(13, "every second, short inner axes", F32(2, 3, 4, 1)),
    SUM_CASE(012, "all axes", F32(3, 5, 4)),
    SUM_EXACT(0, "long vector", POSITIVE(100003)),
    SUM_EXACT(0, "many rows", POSITIVE(5003, 17)),
    SUM_EXACT(0, "more rows than pieces", POSITIVE(70001, 3)),
    SUM_EXACT(0, "rows of some blocks", POSITIVE(301, 600)),
    SUM_EXACT(1, "long rows", POSITIVE(3, 40001)),
    SUM_EXACT(1, "large, middle axis", POSITIVE(5, 601, 33)),
    SUM_EXACT(02, "large, outer axes", POSITIVE(41, 23, 67)),
    {&cg_op_sum, "mean", {F32(3, 5, 4)}, 1, 1, build_mean_01, reference_mean_01, 0, 0},
    {&cg_op_sum, "mean, kept", {F32(3, 5, 4)}, 1, 1, build_mean_1_kept, reference_mean_1, 0, 0},
    SEGMENT_MEAN("small", F32(11, 5), OFFSET(6, 11)),
    SEGMENT_MEAN("one segment", F32(6, 3), OFFSET(2, 6)),
    SEGMENT_MEAN("rows of none", F32(20, 3), OFFSET(6, 13)),
    SEGMENT_MEAN("no segment", F32(6, 3), OFFSET(1, 6)),
    SEGMENT_MEAN("large", F32(501, 300), OFFSET(33, 499)),
    GATHER("small", F32(7, 5), I32(9, 7)),
    GATHER("no index", F32(7, 5), I32(0, 7)),
    GATHER("large", F32(97, 129), I32(310, 97)),
    GATHER("few rows of a large table", F32(701, 67), I32(9, 701)),
    POSITION(20, "rows of none at the end", OFFSET(6, 13)),
    POSITION(20, "all rows", OFFSET(5, 20)),
    POSITION(20, "no segment", OFFSET(1, 20)),
    POSITION(20000, "large", OFFSET(301, 19990)),
    END_TOKEN(largest, "largest of few", I32(30, 4)), /* ties: the first wins */
    END_TOKEN(largest, "largest", I32(5000, 49408)),
    END_TOKEN(largest, "no segment", I32(2, 9)),
    END_TOKEN(3, "first 3", I32(60, 5)),
    END_TOKEN(3, "no 3 anywhere", I32(60, 3)),
    END_TOKEN(0, "first 0, large", I32(20000, 40)),
    PREFIX("segments of several lengths, rows of none", I32(20, 9)),
    PREFIX("the first row of each", I32(30, 1)),
    PREFIX("no segment", I32(2, 9)),
    PREFIX("large", I32(20000, 1000)),
    {0},
};

const cg_bad_case cg_bad_reduce[] = {
    {&cg_op_sum, {F32(3)}, 1, build_1, CG_EINVAL, "axis is 1"},
    {&cg_op_sum, {F32(3, 4)}, 1, build_sum_negative, CG_EINVAL, "axis is -1"},
    {&cg_op_sum, {F32(3, 4)}, 1, build_sum_twice, CG_EINVAL, "axis 1 is listed twice"},
    {&cg_op_sum, {I64(3)}, 1, build_0, CG_EDTYPE, "x is i64, wanted f32"},
    {&cg_op_sum, {F32(3)}, 1, build_mean_01, CG_EINVAL, "axis is 1"},
    {&cg_op_segment_mean,
     {F32(3), I32(2, 3)},
     2,
     build_segment_mean,
     CG_ESHAPE,
     "x is [3] of rank 1, wanted rank 2"},
    {&cg_op_segment_mean,
     {F32(3, 2), F32(2)},
     2,
     build_segment_mean,
     CG_EDTYPE,
     "offset is f32, wanted i32"},
    {&cg_op_segment_mean,
     {F32(3, 2), I32(0, 3)},
     2,
     build_segment_mean,
     CG_ESHAPE,
     "offset is [0]"},
    {&cg_op_segment_mean,
     {I64(3), I32(2, 3)},
     2,
     build_segment_mean,
     CG_EDTYPE,
     "x is i64, wanted f32"},
    {&cg_op_gather,
     {F32(3), I32(2, 3)},
     2,
     build_gather,
     CG_ESHAPE,
     "table is [3] of rank 1, wanted rank 2"},
    {&cg_op_gather, {F32(3, 2), I64(2)}, 2, build_gather, CG_EDTYPE, "index is i64, wanted i32"},
    {&cg_op_gather,
     {F32(3, 2), {CG_I32, CG_SHAPE(2, 2), CG_FILL_INTEGER, 0, 3, 0}},
     2,
     build_gather,
     CG_ESHAPE,
     "index is [2, 2] of rank 2, wanted rank 1"},
    {&cg_op_segment_position, {OFFSET(3, 4)}, 1, build_position_negative, CG_EINVAL, "rows is -1"},
    {&cg_op_segment_position, {I64(3)}, 1, build_position_20, CG_EDTYPE, "offset is i64"},
    {&cg_op_segment_position, {I32(0, 3)}, 1, build_position_20, CG_ESHAPE, "offset is [0]"},
    {&cg_op_end_token,
     {I32(9, 3), OFFSET(3, 9)},
     2,
     build_end_negative,
     CG_EINVAL,
     "eos_id is -2, wanted -1 or more"},
    {&cg_op_end_token, {I64(9), OFFSET(3, 9)}, 2, build_end_given, CG_EDTYPE, "token is i64"},
    {&cg_op_end_token, {I32(9, 3), I64(3)}, 2, build_end_given, CG_EDTYPE, "offset is i64"},
    {&cg_op_end_token, {I32(9, 3), I32(0, 3)}, 2, build_end_given, CG_ESHAPE, "offset is [0]"},
    {&cg_op_segment_prefix, {I64(2), OFFSET(3, 9)}, 2, build_prefix_given, CG_EDTYPE, "row is i64"},
    {&cg_op_segment_prefix, {I32(2, 9), I64(3)}, 2, build_prefix_given, CG_EDTYPE, "offset is i64"},
    {&cg_op_segment_prefix,
     {{CG_I32, CG_SHAPE(2, 1), CG_FILL_INTEGER, 0, 9, 0}, OFFSET(3, 9)},
     2,
     build_prefix_given,
     CG_ESHAPE,
     "row is [2, 1] of rank 2, wanted rank 1"},
    {&cg_op_segment_prefix,
     {I32(2, 9), I32(0, 9)},
     2,
     build_prefix_given,
     CG_ESHAPE,
     "offset is [0]"},
    {&cg_op_segment_prefix,
     {I32(3, 9), OFFSET(3, 9)},
     2,
     build_prefix_given,
     CG_ESHAPE,
     "row has 3 elements, wanted 2, one for each segment"},
    {&cg_op_segment_prefix,
     {I32(2, 9), OFFSET(3, 9)},
     2,
     build_prefix_negative,
     CG_EINVAL,
     "rows is -1"},
    {0},
};
