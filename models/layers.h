/* What towers are made of: layers that declare their parameters. Private to models/. */
#ifndef CG_MODELS_LAYERS_H
#define CG_MODELS_LAYERS_H

#include "graph/graph.h"
#include "models/desc.h"

/* start, start + step, …: a constant i32 [count]. Offsets of equal sequences, labels, rows.
 * errors  CG_EINVAL: a number that no i32 holds */
cg_value *cg_arange(cg_graph *g, int64_t count, int64_t start, int64_t step);

/* How a linear layer starts: weights of that kind and scale; biases uniform in ±bias (0: zero). */
typedef struct cg_linear_init {
    cg_init_kind kind;
    float weight, bias;
} cg_linear_init;

/* x [..., in] -> [..., out]. Parameters PATH.weight [out, in], PATH.bias [out]; named by the last
 * part of the path. */
cg_value *cg_linear_layer(cg_graph *g, const char *path, cg_value *x, int64_t out,
                          cg_linear_init init);

/* Layer or RMS norm over the last axis, eps 1e-5. Parameters PATH.weight and, of a layer norm,
 * PATH.bias; scope as above. */
cg_value *cg_norm_layer(cg_graph *g, const char *path, cg_value *x, cg_norm norm);

/* A convolution without bias over x [N, H, W, C], padded by kernel / 2; Kaiming-uniform with a =
 * √5, which is U(±1/√fan_in). Parameter PATH.weight. */
cg_value *cg_conv_layer(cg_graph *g, const char *path, cg_value *x, int64_t out, int64_t kernel,
                        int64_t stride);

/* Batch norm, eps 1e-5, its gain starting at `gain`. training: by the batch's statistics, with
 * updates of the running ones, momentum 0.1. Parameters PATH.weight, .bias, .running_mean,
 * .running_var, .num_batches_tracked. */
cg_value *cg_batch_norm_layer(cg_graph *g, const char *path, cg_value *x, float gain, int training);

/* CLIP's way out of a tower: x [N, in] · weight [in, embed_dim], normal with std in^-½. */
cg_value *cg_projection(cg_graph *g, const char *name, cg_value *x, int64_t embed_dim);

/* The text towers' way out: text_projection as above, or with proj_bias a linear layer. */
cg_value *cg_text_projection(cg_graph *g, const cg_clip_desc *d, cg_value *x);

/* Residual attention blocks, pre-norm: x += attention(ln_1(x)), x += mlp(ln_2(x)).
 * source  arXiv:2103.00020, section 2.4; names of openai/CLIP's ResidualAttentionBlock */
typedef struct cg_blocks {
    const char *path; /* parameters PATH.resblocks.N.* */
    int64_t width, heads, layers, mlp_width;
    float ls_init_value; /* NaN: no layer scale */
    cg_activation act;   /* never CG_ACT_DEFAULT */
    cg_norm norm;
    int causal;
    cg_value *offset;                 /* i32 [S + 1]: rows of each sequence */
    cg_value *mask;                   /* f32 [R] or NULL: keys that are seen */
    cg_linear_init in, out, fc, proj; /* attention's in- and out-projection, the MLP's two */
} cg_blocks;

/* x [R, width] -> [R, width] */
cg_value *cg_transformer(cg_graph *g, const cg_blocks *b, cg_value *x);

/* The activation meant by act in a model with that quick_gelu. */
cg_activation cg_activation_of(cg_activation act, int quick_gelu);

/* Channels inside the MLPs of blocks of that width, as open_clip's int(width * mlp_ratio): of the
 * decimal that was written, because the float next to 2.6 would leave 640 of them one less. */
int64_t cg_mlp_width(int64_t width, float mlp_ratio);

#endif
