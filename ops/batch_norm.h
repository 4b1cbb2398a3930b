/* What batch_norm, batch_norm_inference and their gradients share: x is seen as [rows, channels]
 * and swept block by block. Only for those files. */
#ifndef CG_OPS_BATCH_NORM_H
#define CG_OPS_BATCH_NORM_H

#include "ops/bf16.h"
#include "ops/ops.h"

typedef struct cg_batch_norm_attr {
    float eps;
    int64_t relu; /* of batch_norm: 0 or 1; of its gradient, a cg_batch_norm_mask */
} cg_batch_norm_attr;

/* How the gradient finds out where relu let y through. */
typedef enum cg_batch_norm_mask {
    CG_MASK_NONE,   /* there was no relu */
    CG_MASK_AGAIN,  /* y is computed again, from x and the residual where there is one */
    CG_MASK_FROM_Y, /* y is an operand */
} cg_batch_norm_mask;

extern const cg_attr_field cg_batch_norm_fields[], cg_batch_norm_inference_fields[];

/* Rows are cut into chunks by the shape alone, never by the number of threads, so that sums come
 * out the same on any number of them; a block of rows stays in the first-level cache. Where
 * channels are few, `fold` rows are one, whose channels repeat, so that vectors are full. */
typedef struct cg_batch_norm_grid {
    int64_t rows, channels, fold;
    int64_t block; /* rows */
    int64_t chunk; /* rows, a multiple of block */
    int64_t chunks;
} cg_batch_norm_grid;

cg_batch_norm_grid cg_batch_norm_grid_of(const cg_shape *x);

/* Per channel of the grid: doubles, floats, and four floats a chunk; and of each thread, blocks
 * that hold what is bf16 as f32. */
enum { CG_BATCH_NORM_BLOCKS = 5 };
typedef struct cg_batch_norm_room {
    double *doubles;
    float *floats, *partial, *block;
} cg_batch_norm_room;
enum { CG_BATCH_NORM_DOUBLES = 2, CG_BATCH_NORM_FLOATS = 6 };

size_t cg_batch_norm_scratch(const cg_prep *p, const cg_batch_norm_grid *grid);
cg_batch_norm_room cg_batch_norm_room_of(void *scratch, const cg_batch_norm_grid *grid);

/* Calls fn on all blocks, a chunk's in order and by one thread; backwards: the chunks from the last
 * to the first, which meets what an earlier sweep left in the cache. */
typedef struct cg_batch_norm_block {
    const cg_batch_norm_grid *grid;
    int64_t chunk, before;   /* rows of this chunk in earlier blocks */
    int64_t at, rows, count; /* first element; how many rows, elements */
    float *buffer;           /* CG_BATCH_NORM_BLOCKS of them */
    int bf16;                /* kernels find, and write, bf16 */
} cg_batch_norm_block;
typedef void (*cg_batch_norm_fn)(const void *job, const cg_batch_norm_block *block);
void cg_batch_norm_sweep(const cg_task *t, const cg_batch_norm_grid *grid, int backwards, int bf16,
                         cg_batch_norm_fn fn, const void *job);

/* A tensor in a sweep; data NULL: absent. */
typedef struct cg_batch_norm_tensor {
    void *data;
    int bf16;
} cg_batch_norm_tensor;

static inline cg_batch_norm_tensor cg_batch_norm_in(const cg_task *t, int i) {
    return (cg_batch_norm_tensor){(void *)(uintptr_t)t->in[i], cg_is_bf16(t->node->in[i])};
}
static inline cg_batch_norm_tensor cg_batch_norm_out(const cg_task *t, int i) {
    return (cg_batch_norm_tensor){t->out[i], cg_is_bf16(t->node->out[i])};
}

/* Whether all of n tensors that are there are bf16: a sweep then has kernels that read and write
 * that; where types are mixed, what is bf16 passes through f32 buffers. */
int cg_batch_norm_all_bf16(int n, const cg_batch_norm_tensor *x);

/* The block's elements of x: where they are, or widened in buffer `which`. NULL: absent. */
const void *cg_batch_norm_load(cg_batch_norm_tensor x, const cg_batch_norm_block *b, int which);
/* Where to write the block's elements of y, and what is done when they are written. */
void *cg_batch_norm_open(cg_batch_norm_tensor y, const cg_batch_norm_block *b, int which);
void cg_batch_norm_close(cg_batch_norm_tensor y, const cg_batch_norm_block *b, int which);

/* Calls body(…, c, lanes) for all channels from c on. Of bf16 there are few at a time, so that what
 * belongs to them stays in registers while the rows of a block pass; of f32 as many as there are,
 * up to CG_LANES, since its rows are better read in the order in which they lie. */
enum { CG_LANES = 512, CG_LANES_BF16 = 32 };
#define CG_EACH_LANES(channels, bf16, body, ...)                                                   \
    for (int64_t c = 0, lanes; c < (channels); c += lanes) {                                       \
        lanes = (channels)-c;                                                                      \
        if (!(bf16)) {                                                                             \
            if (lanes > CG_LANES) lanes = CG_LANES;                                                \
            body(__VA_ARGS__, 0, c, (int)lanes);                                                   \
        } else if (lanes < CG_LANES_BF16) {                                                        \
            body(__VA_ARGS__, 1, c, (int)lanes);                                                   \
        } else {                                                                                   \
            lanes = CG_LANES_BF16;                                                                 \
            body(__VA_ARGS__, 1, c, CG_LANES_BF16);                                                \
        }                                                                                          \
    }

/* Repeats values of x's channels over those of the grid. */
void cg_batch_norm_spread(const cg_batch_norm_grid *grid, const float *from, float *to);

/* mean and var [channels of x], in one sweep; uses all of scratch. */
void cg_batch_norm_statistics(const cg_task *t, const cg_batch_norm_grid *grid,
                              cg_batch_norm_tensor x, float *mean, float *var);

/* Vectors per channel of the grid. */
typedef struct cg_batch_norm_affine {
    const float *mean, *factor, *bias;
} cg_batch_norm_affine;

/* Into the first three of the room's floats; factor = gain / sqrt(var + eps). */
cg_batch_norm_affine cg_batch_norm_affine_of(const cg_task *t, const cg_batch_norm_grid *grid,
                                             const float *gain, const float *bias,
                                             const float *mean, const float *var, float eps);

/* y = (x - mean) · factor + bias, plus the residual, its negative part cut off where relu is set;
 * y may be x or the residual. */
void cg_batch_norm_apply(const cg_task *t, const cg_batch_norm_grid *grid, cg_batch_norm_tensor x,
                         cg_batch_norm_tensor residual, cg_batch_norm_affine a, int relu,
                         cg_batch_norm_tensor y);

/* What is differentiated. dy is masked: d. */
typedef struct cg_batch_norm_back {
    cg_batch_norm_tensor x, dy, other; /* other: the residual or y, as the mask needs */
    cg_batch_norm_mask mask;
    cg_batch_norm_affine affine;
    cg_batch_norm_tensor dx, dresidual, y; /* results, the last two absent where not wanted */
    const float *b, *e;                    /* per channel of the grid */
    float *partial;
} cg_batch_norm_back;

/* sum[c] = Σ d, sum[c + channels of x] = Σ d · (x - mean), in the room's doubles. */
void cg_batch_norm_sums(const cg_task *t, const cg_batch_norm_grid *grid, cg_batch_norm_back *j);

/* dx = d · factor + (x - mean) · b + e, dresidual = d, y again; dx may be x or dy. */
void cg_batch_norm_back_apply(const cg_task *t, const cg_batch_norm_grid *grid,
                              const cg_batch_norm_back *j);

/* Refuses x unless f32 of rank 1 or more and not empty, and operands first … last unless f32 of
 * x's channels; names are the operands'. */
cg_status cg_batch_norm_check(const cg_node *n, int first, int last, const char *const *name);

/* Operand i is of x's shape, f32 or what the op reads. */
cg_status cg_batch_norm_check_like(const cg_node *n, int i, const char *name);

#endif
