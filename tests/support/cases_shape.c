/* Cases: reshape, transpose, concat, slice, broadcast. */
#include "tests/support/op_case.h"
#include "tests/support/reference.h"

#define F32(...)                                                                                   \
    { CG_F32, CG_SHAPE(__VA_ARGS__), CG_FILL_UNIFORM, -2, 2, 1 }
#define F32_SCALAR                                                                                 \
    { CG_F32, CG_SCALAR, CG_FILL_UNIFORM, -2, 2, 1 }
#define I32(...)                                                                                   \
    { CG_I32, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, 0, 9, 0 }
#define I64(...)                                                                                   \
    { CG_I64, CG_SHAPE(__VA_ARGS__), CG_FILL_INTEGER, -9, 9, 0 }

/* A build function whose expression reads g and in. */
#define BUILD(name, expression)                                                                    \
    static void name(cg_graph *g, cg_value *const *in, cg_value **out) {                           \
        out[0] = (expression);                                                                     \
    }

/* --- reshape ---------------------------------------------------------------------------------- */

BUILD(reshape_4_6, cg_reshape(g, in[0], CG_SHAPE(4, 6)))
BUILD(reshape_solved, cg_reshape(g, in[0], CG_SHAPE(3, -1, 2)))
BUILD(reshape_scalar, cg_reshape(g, in[0], CG_SCALAR))
BUILD(reshape_twice, cg_reshape(g, in[0], CG_SHAPE(-1, -1)))
BUILD(reshape_5, cg_reshape(g, in[0], CG_SHAPE(5, -1)))
BUILD(reshape_rank, cg_reshape(g, in[0], ((cg_shape){.rank = 7})))

static void reference_copy(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) d->out[0][i] = d->in[0][i];
}

/* --- transpose -------------------------------------------------------------------------------- */

static void permute(cg_case_data *d, cg_shape axes) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {
        int64_t at[CG_MAX_RANK] = {0}, from[CG_MAX_RANK] = {0};
        cg_ref_index(&d->out_shape[0], i, at);
        for (int k = 0; k < axes.rank; k++) from[axes.dim[k]] = at[k];
        d->out[0][i] = d->in[0][cg_ref_element(&d->in_shape[0], from)];
    }
}

#define TRANSPOSE(name, ...)                                                                       \
    BUILD(build_##name, cg_transpose(g, in[0], CG_SHAPE(__VA_ARGS__)))                             \
    static void reference_##name(cg_case_data *d) {                                                \
        permute(d, CG_SHAPE(__VA_ARGS__));                                                         \
    }
TRANSPOSE(swap, 1, 0)
TRANSPOSE(same, 0, 1, 2)
TRANSPOSE(rows, 1, 0, 2)
TRANSPOSE(cycle, 2, 0, 1)
TRANSPOSE(reverse, 2, 1, 0)
TRANSPOSE(to_nhwc, 0, 2, 3, 1)
TRANSPOSE(six, 3, 5, 0, 2, 4, 1)
BUILD(transpose_twice, cg_transpose(g, in[0], CG_SHAPE(1, 1)))
BUILD(transpose_short, cg_transpose(g, in[0], CG_SHAPE(0)))
BUILD(transpose_negative, cg_transpose(g, in[0], CG_SHAPE(0, -1)))

#define TRANSPOSE_CASE(name, text, operand)                                                        \
    { &cg_op_transpose, text, {operand}, 1, 1, build_##name, reference_##name, 0, 0 }

/* --- concat and slice ------------------------------------------------------------------------- */

BUILD(concat_0, cg_concat(g, 2, in, 0))
BUILD(concat_1, cg_concat(g, 3, in, 1))
BUILD(concat_2, cg_concat(g, 2, in, 2))
BUILD(concat_one, cg_concat(g, 1, in, 0))
BUILD(concat_self, cg_concat(g, 2, ((cg_value *[]){in[0], in[0]}), 1))
BUILD(concat_none, cg_concat(g, 0, in, 0))
BUILD(concat_axis_3, cg_concat(g, 2, in, 3))

static void join(cg_case_data *d, int axis, int n) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {
        int64_t at[CG_MAX_RANK] = {0};
        cg_ref_index(&d->out_shape[0], i, at);
        int k = 0;
        for (; k < n && at[axis] >= d->in_shape[k % d->n_in].dim[axis]; k++)
            at[axis] -= d->in_shape[k % d->n_in].dim[axis];
        d->out[0][i] = d->in[k % d->n_in][cg_ref_element(&d->in_shape[k % d->n_in], at)];
    }
}

static void reference_concat_0(cg_case_data *d) {
    join(d, 0, d->n_in);
}

static void reference_concat_1(cg_case_data *d) {
    join(d, 1, d->n_in);
}

static void reference_concat_2(cg_case_data *d) {
    join(d, 2, d->n_in);
}

static void reference_concat_self(cg_case_data *d) {
    join(d, 1, 2);
}

static void part(cg_case_data *d, int axis, int64_t start) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++) {
        int64_t at[CG_MAX_RANK] = {0};
        cg_ref_index(&d->out_shape[0], i, at);
        at[axis] += start;
        d->out[0][i] = d->in[0][cg_ref_element(&d->in_shape[0], at)];
    }
}

#define SLICE(name, axis, start, length)                                                           \
    BUILD(build_##name, cg_slice(g, in[0], axis, start, length))                                   \
    static void reference_##name(cg_case_data *d) {                                                \
        part(d, axis, start);                                                                      \
    }
SLICE(first, 0, 0, 2)
SLICE(middle, 1, 1, 2)
SLICE(last, 2, 3, 1)
SLICE(whole, 1, 0, 4)
SLICE(nothing, 1, 2, 0)
SLICE(third, 1, 96, 96)
BUILD(slice_axis, cg_slice(g, in[0], 3, 0, 1))
BUILD(slice_negative_axis, cg_slice(g, in[0], -1, 0, 1))
BUILD(slice_beyond, cg_slice(g, in[0], 1, 3, 2))
BUILD(slice_huge, cg_slice(g, in[0], 1, 2, INT64_MAX))
BUILD(slice_before, cg_slice(g, in[0], 1, -1, 2))

#define SLICE_CASE(name, text, operand)                                                            \
    { &cg_op_slice, text, {operand}, 1, 1, build_##name, reference_##name, 0, 0 }

/* --- broadcast -------------------------------------------------------------------------------- */

BUILD(broadcast_3_4, cg_broadcast(g, in[0], CG_SHAPE(3, 4)))
BUILD(broadcast_2_3_4, cg_broadcast(g, in[0], CG_SHAPE(2, 3, 4)))
BUILD(broadcast_large, cg_broadcast(g, in[0], CG_SHAPE(67, 3, 129)))
BUILD(broadcast_empty, cg_broadcast(g, in[0], CG_SHAPE(0, 4)))

static void reference_broadcast(cg_case_data *d) {
    for (int64_t i = 0; i < cg_shape_count(&d->out_shape[0]); i++)
        d->out[0][i] = d->in[0][cg_ref_broadcast(&d->in_shape[0], &d->out_shape[0], i)];
}

#define BROADCAST_CASE(name, text, operand)                                                        \
    { &cg_op_broadcast, text, {operand}, 1, 1, name, reference_broadcast, 0, 0 }

const cg_op_case cg_cases_shape[] = {
    {&cg_op_reshape, "to [4, 6]", {F32(2, 3, 4)}, 1, 1, reshape_4_6, reference_copy, 0, 0},
    {&cg_op_reshape, "one solved", {F32(4, 6)}, 1, 1, reshape_solved, reference_copy, 0, 0},
    {&cg_op_reshape, "to a scalar", {F32(1, 1)}, 1, 1, reshape_scalar, reference_copy, 0, 0},
    {&cg_op_reshape, "i32", {I32(24)}, 1, 1, reshape_4_6, reference_copy, 0, 0},
    TRANSPOSE_CASE(swap, "matrix", F32(5, 7)),
    TRANSPOSE_CASE(swap, "square", F32(6, 6)),
    TRANSPOSE_CASE(swap, "matrix of blocks", F32(48, 128)),
    TRANSPOSE_CASE(swap, "matrix of broken blocks", F32(67, 35)),
    TRANSPOSE_CASE(swap, "column", F32(9, 1)),
    TRANSPOSE_CASE(swap, "i32", I32(5, 7)),
    TRANSPOSE_CASE(swap, "large", F32(211, 133)),
    TRANSPOSE_CASE(same, "nothing moves", F32(2, 3, 4)),
    TRANSPOSE_CASE(rows, "rows stay whole", F32(3, 4, 5)),
    TRANSPOSE_CASE(rows, "large, rows stay whole", F32(13, 51, 33)),
    TRANSPOSE_CASE(cycle, "cycle", F32(3, 4, 5)),
    TRANSPOSE_CASE(cycle, "empty", F32(3, 0, 5)),
    TRANSPOSE_CASE(reverse, "reverse", F32(3, 4, 5)),
    TRANSPOSE_CASE(to_nhwc, "nchw to nhwc", F32(2, 3, 5, 7)),
    TRANSPOSE_CASE(to_nhwc, "large, nchw to nhwc", F32(3, 35, 13, 17)),
    TRANSPOSE_CASE(six, "six axes", F32(2, 3, 2, 3, 2, 4)),
    {&cg_op_concat, "first axis", {F32(2, 3), F32(4, 3)}, 2, 1, concat_0, reference_concat_0, 0, 0},
    {&cg_op_concat,
     "three, one of them empty",
     {F32(2, 3, 2), F32(2, 0, 2), F32(2, 1, 2)},
     3,
     1,
     concat_1,
     reference_concat_1,
     0,
     0},
    {&cg_op_concat,
     "last axis",
     {F32(2, 3, 1), F32(2, 3, 4)},
     2,
     1,
     concat_2,
     reference_concat_2,
     0,
     0},
    {&cg_op_concat, "one operand", {F32(2, 3)}, 1, 1, concat_one, reference_copy, 0, 0},
    {&cg_op_concat, "with itself", {F32(2, 3)}, 1, 1, concat_self, reference_concat_self, 0, 0},
    {&cg_op_concat, "i64", {I64(2, 3), I64(1, 3)}, 2, 1, concat_0, reference_concat_0, 0, 0},
    {&cg_op_concat,
     "large",
     {F32(67, 1, 131), F32(67, 2, 131), F32(67, 1, 131)},
     3,
     1,
     concat_1,
     reference_concat_1,
     0,
     0},
    SLICE_CASE(first, "first axis", F32(3, 4)),
    SLICE_CASE(middle, "middle axis", F32(3, 4, 2)),
    SLICE_CASE(last, "last axis", F32(2, 3, 4)),
    SLICE_CASE(whole, "all of it", F32(3, 4)),
    SLICE_CASE(nothing, "nothing of it", F32(3, 4)),
    SLICE_CASE(middle, "i64", I64(3, 4)),
    SLICE_CASE(third, "large", F32(187, 288)),
    BROADCAST_CASE(broadcast_3_4, "scalar", F32_SCALAR),
    BROADCAST_CASE(broadcast_3_4, "row", F32(4)),
    BROADCAST_CASE(broadcast_3_4, "column", F32(3, 1)),
    BROADCAST_CASE(broadcast_3_4, "same shape", F32(3, 4)),
    BROADCAST_CASE(broadcast_3_4, "i32", I32(4)),
    BROADCAST_CASE(broadcast_2_3_4, "outer axes", F32(2, 1, 4)),
    BROADCAST_CASE(broadcast_2_3_4, "inner axes", F32(2, 1, 1)),
    BROADCAST_CASE(broadcast_large, "large, row", F32(129)),
    BROADCAST_CASE(broadcast_large, "large, column", F32(67, 1, 1)),
    BROADCAST_CASE(broadcast_large, "large, middle", F32(3, 1)),
    BROADCAST_CASE(broadcast_empty, "empty", F32(4)),
    {0},
};

const cg_bad_case cg_bad_shape[] = {
    {&cg_op_reshape,
     {F32(5, 5)},
     1,
     reshape_4_6,
     CG_ESHAPE,
     "x is [5, 5] of 25 elements, shape [4, 6] wants 24"},
    {&cg_op_reshape, {F32(4)}, 1, reshape_twice, CG_ESHAPE, "[-1, -1]"},
    {&cg_op_reshape, {F32(4)}, 1, reshape_5, CG_ESHAPE, "[5, -1]"},
    {&cg_op_reshape, {F32(4)}, 1, reshape_rank, CG_ESHAPE, "rank 7"},
    {&cg_op_transpose,
     {F32(2, 3)},
     1,
     transpose_twice,
     CG_EINVAL,
     "axes are [1, 1], wanted each axis of [2, 3] once"},
    {&cg_op_transpose, {F32(2, 3)}, 1, transpose_short, CG_EINVAL, "axes are [0]"},
    {&cg_op_transpose, {F32(2, 3)}, 1, transpose_negative, CG_EINVAL, "axes are [0, -1]"},
    {&cg_op_transpose, {F32(2, 3, 4)}, 1, build_swap, CG_EINVAL, "axes are [1, 0]"},
    {&cg_op_transpose, {I64(2, 3)}, 1, build_swap, CG_EDTYPE, "x is i64"},
    {&cg_op_concat,
     {F32(2, 3), F32(2, 4)},
     2,
     concat_0,
     CG_ESHAPE,
     "operand 1 is [2, 4], wanted [2, 3] but for axis 0"},
    {&cg_op_concat, {F32(2, 3), F32(2, 3, 1)}, 2, concat_0, CG_ESHAPE, "operand 1 is [2, 3, 1]"},
    {&cg_op_concat, {F32(2, 3), I64(2, 3)}, 2, concat_0, CG_EDTYPE, "operand 1 is i64, wanted f32"},
    {&cg_op_concat, {F32(2, 3), F32(2, 3)}, 2, concat_axis_3, CG_EINVAL, "axis is 3"},
    {&cg_op_concat, {F32(2, 3)}, 1, concat_none, CG_EINVAL, "has 0 operands"},
    {&cg_op_slice, {F32(2, 4)}, 1, slice_axis, CG_EINVAL, "axis is 3"},
    {&cg_op_slice, {F32(2, 4)}, 1, slice_negative_axis, CG_EINVAL, "axis is -1"},
    {&cg_op_slice,
     {F32(2, 4)},
     1,
     slice_beyond,
     CG_EINVAL,
     "start 3 and length 2, wanted a part of axis 1 of x, which is [2, 4]"},
    {&cg_op_slice, {F32(2, 4)}, 1, slice_huge, CG_EINVAL, "start 2 and length"},
    {&cg_op_slice, {F32(2, 4)}, 1, slice_before, CG_EINVAL, "start -1"},
    {&cg_op_broadcast,
     {F32(3)},
     1,
     broadcast_3_4,
     CG_ESHAPE,
     "x is [3], wanted a shape that broadcasts to [3, 4]"},
    {&cg_op_broadcast, {F32(2, 3, 4)}, 1, broadcast_3_4, CG_ESHAPE, "x is [2, 3, 4]"},
    {&cg_op_broadcast, {F32(2, 3, 4)}, 1, broadcast_empty, CG_ESHAPE, "broadcasts to [0, 4]"},
    {&cg_op_broadcast, {I64(4)}, 1, broadcast_3_4, CG_EDTYPE, "x is i64"},
    {0},
};
