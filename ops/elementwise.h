/* What ops that visit each element share: splitting work over threads, walking operands that
 * broadcast, copying rows. */
#ifndef CG_OPS_ELEMENTWISE_H
#define CG_OPS_ELEMENTWISE_H

#include "graph/op.h"
#include "ops/kernel.h"

/* A serial kernel on the items [begin, end). */
typedef void (*cg_range_fn)(const void *arg, int64_t begin, int64_t end);

/* Calls fn on parts of [0, items), one a thread, or on all of it where the elements it touches
 * are fewer than CG_PARALLEL_MIN. Parts start at multiples of grain: a kernel's vector loop then
 * meets its tail at the same items for every number of threads. */
void cg_parallel(int threads, int64_t items, int64_t grain, int64_t elements, cg_range_fn fn,
                 const void *arg);

/* The same over elements, for kernels whose arg is the task. */
enum { CG_ELEMENT_GRAIN = 64 };
void cg_parallel_elements(const cg_task *t, cg_range_fn fn);

/* A serial kernel on n elements of all operands and results, in f32; out[o] is NULL for a result
 * that the node does not have. */
enum { CG_ELEMENT_VALUES = 2 }; /* operands, and results, at most */
typedef void (*cg_element_fn)(const cg_task *t, const float *const *in, float *const *out,
                              int64_t n);

/* Calls fn on parts of the elements, in parallel. What is bf16 passes through cache. */
void cg_run_elements(const cg_task *t, cg_element_fn fn);

/* A walk over an output in row-major order, beside operands at strides of their own. Dimensions
 * of 1 are dropped and neighbours that all operands step through alike are merged, so that two
 * tensors of one shape are one dimension, and [.., C] with [C] are two. */
enum { CG_WALK_OPERANDS = 3 };
typedef struct cg_walk {
    int operands, rank; /* rank ≥ 2: padded in front */
    int64_t dim[CG_MAX_RANK];
    int64_t stride[CG_WALK_OPERANDS][CG_MAX_RANK]; /* in elements; 0 where it is repeated */
} cg_walk;

/* Operands of shape[i] broadcast to out. */
cg_walk cg_walk_broadcast(const cg_shape *out, int operands, const cg_shape *const *shape);

/* One operand at the strides given, one for each dimension of out. */
cg_walk cg_walk_strided(const cg_shape *out, const int64_t *stride);

/* Offset of an operand at row `row` (an index over all dimensions but the last). */
int64_t cg_walk_offset(const cg_walk *w, int operand, int64_t row);

/* The walk's unit: rows of n elements, contiguous in the output; operand i goes row[i] elements
 * from row to row, and within a row by its innermost stride. */
typedef struct cg_tile {
    int64_t rows, n;
    int64_t row[CG_WALK_OPERANDS];
    int64_t inner[CG_WALK_OPERANDS];
} cg_tile;

typedef void (*cg_tile_fn)(void *y, const void *const *in, const cg_tile *tile);

/* Calls fn on tiles that cover the task's first result, in parallel; the walk's operands are its
 * first ones. fn sees f32 where a value is bf16, which passes through cache; inner strides must
 * then be 1 or 0. */
void cg_walk_tiles(const cg_task *t, const cg_walk *w, cg_tile_fn fn);

/* Of all operands, three at most, broadcast: fn sees inner strides of 1 and 0, not all of them 0
 * where there are several operands. y may be written over an operand of its own type. */
cg_status cg_broadcast_run(const cg_task *t, cg_tile_fn fn);

/* The shape rule of y = f(a, b), f32 or bf16 or both of another type. */
cg_status cg_binary_infer(const cg_node *n, cg_type *out);

/* Defines such a kernel on f32: y = expression, in terms of a and b. */
#define CG_BINARY_TILE(name, expression)                                                           \
    CG_KERNEL static void name(void *y_data, const void *const *in, const cg_tile *t) {            \
        for (int64_t r = 0; r < t->rows; r++) {                                                    \
            float *y = (float *)y_data + r * t->n;                                                 \
            const float *a_row = (const float *)in[0] + r * t->row[0];                             \
            const float *b_row = (const float *)in[1] + r * t->row[1];                             \
            if (t->inner[0] == 0) {                                                                \
                const float a = *a_row;                                                            \
                CG_BINARY_ROW(const float b = b_row[i], expression)                                \
            } else if (t->inner[1] == 0) {                                                         \
                const float b = *b_row;                                                            \
                CG_BINARY_ROW(const float a = a_row[i], expression)                                \
            } else {                                                                               \
                CG_BINARY_ROW(const float a = a_row[i]; const float b = b_row[i], expression)      \
            }                                                                                      \
        }                                                                                          \
    }
#define CG_BINARY_ROW(load, expression)                                                            \
    _Pragma("omp simd") for (int64_t i = 0; i < t->n; i++) {                                       \
        load;                                                                                      \
        y[i] = expression;                                                                         \
    }

/* The shape rule of y = f(x) and dx = f(x or y, dy). */
cg_status cg_unary_infer(const cg_node *n, cg_type *out);
cg_status cg_unary_grad_infer(const cg_node *n, cg_type *out);

/* Zeroes and copies in parallel; rows of some bytes at strides in bytes. */
void cg_zero(int threads, void *to, size_t bytes);
void cg_copy_rows(int threads, int64_t rows, size_t row_bytes, void *to, size_t to_stride,
                  const void *from, size_t from_stride);

/* Copies rows of n elements at strides in elements, from f32 or bf16 to either, in parallel; other
 * types must be alike. */
typedef struct cg_rows {
    cg_dtype to_type, from_type;
    int64_t rows, n, to_stride, from_stride;
    void *to;
    const void *from;
} cg_rows;
void cg_convert_rows(int threads, const cg_rows *r);

/* The same for n neighbours, serial. */
void cg_convert(cg_dtype to_type, void *to, cg_dtype from_type, const void *from, int64_t n);

#endif
