/* CLIP: two towers into one space, a learned temperature, a symmetric loss.
 *
 * source  Radford et al., arXiv:2103.00020, sections 2.3 to 2.5; names and shapes of parameters
 *         are those of openai/CLIP and open_clip checkpoints */
#ifndef CG_MODELS_CLIP_H
#define CG_MODELS_CLIP_H

#include "graph/graph.h"
#include "models/desc.h"

/* What to build, and at which sizes. */
typedef struct cg_clip_build {
    int64_t images; /* pictures in a batch; 0: no image tower */
    int64_t texts;  /* captions in a batch; 0: no text tower */
    int64_t rows;   /* token rows of all captions together, rounded up as cg_clip_rows does */
    int training;   /* batch norm uses the batch's statistics and updates the running ones */
    int loss;       /* temperature, logits and loss too: images = texts */
} cg_clip_build;

/* The values of a built model; NULL where not asked for. Inputs of the graph:
 *
 *   image        f32 [images, size, size, 3], normalised
 *   token        i32 [rows], the captions' ids one after another (CBOW: without start and end)
 *   token_offset i32 [texts + 1]: caption t has rows token_offset[t] … token_offset[t+1] - 1;
 *                rows past the last belong to none and must hold a valid id */
typedef struct cg_clip_values {
    cg_value *image_embedding; /* [images, embed_dim], unit rows */
    cg_value *text_embedding;  /* [texts, embed_dim], unit rows */
    cg_value *logits;          /* [images, texts]: temperature · cosine */
    cg_value *image_loss;      /* [images] cross-entropy of each row */
    cg_value *text_loss;       /* [texts] cross-entropy of each column */
    cg_value *loss;            /* scalar: mean of the two means */
} cg_clip_values;

/* Appends the model to g, declaring its parameters in g's store. Declares no outputs except the
 * updates of running statistics (training). errors  stay with the graph, and are returned */
cg_status cg_clip_append(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b,
                         cg_clip_values *out);

/* n rounded up to a multiple of 64, at least 64: few distinct plans serve all batches. */
int64_t cg_clip_rows(int64_t n);

/* True where the tower reads captions without start and end tokens. */
int cg_clip_text_drops_specials(const cg_clip_desc *d);

/* --- towers ---------------------------------------------------------------------------------- */

/* CLIP's ResNet: three-convolution stem, bottlenecks with anti-aliased strides, attention
 * pooling. image [N, S, S, 3] -> [N, embed_dim], not yet of unit length. Parameters visual.*;
 * training: running statistics are updated, momentum 0.1. */
cg_value *cg_resnet(cg_graph *g, const cg_clip_desc *d, cg_value *image, int training);

/* Bag of words: mean of the token embeddings, layer norm, projection.
 * token i32 [R], offset i32 [T + 1] -> [T, embed_dim]. Parameters token_embedding.weight,
 * ln_final.*, text_projection. */
cg_value *cg_cbow(cg_graph *g, const cg_clip_desc *d, cg_value *token, cg_value *offset);

/* The learned log temperature (logit_scale) -> exp of it, a scalar. */
cg_value *cg_temperature(cg_graph *g, const cg_clip_desc *d);

#endif
