/* CLIP: two towers into one space, a learned temperature, a loss over all pairs of a batch.
 *
 * source  Radford et al., arXiv:2103.00020, sections 2.3 to 2.5; the sigmoid loss: Zhai et al.,
 *         arXiv:2303.15343. Names and shapes of parameters are those of openai/CLIP and open_clip
 *         checkpoints */
#ifndef CG_MODELS_CLIP_H
#define CG_MODELS_CLIP_H

#include "graph/graph.h"
#include "models/desc.h"

CG_API_BEGIN

/* How captions lie in memory. Both give the same embeddings; packed costs what the real tokens
 * cost, and is for towers in which padding cannot matter (cg_clip_text_packs). */
typedef enum cg_text_layout {
    CG_TEXT_PACKED,  /* one after another, no padding */
    CG_TEXT_UNIFORM, /* each padded to the same number of tokens */
} cg_text_layout;

/* What to build, and at which sizes. */
typedef struct cg_clip_build {
    int64_t images; /* pictures in a batch; 0: no image tower */
    int64_t texts;  /* captions in a batch; 0: no text tower */
    cg_text_layout layout;
    int64_t rows;   /* packed: token rows of all captions together, rounded up by cg_clip_rows */
    int64_t tokens; /* uniform: tokens of each caption, padding included; at most context_length,
                       and just that where the tower does not pack */
    int training;   /* batch norm uses the batch's statistics and updates the running ones; patches
                       are dropped where the description says so */
    int loss;       /* temperature, logits and loss too: images = texts */
} cg_clip_build;

/* The values of a built model; NULL where not asked for. Inputs of the graph:
 *
 *   image        f32 [images, size, size, 3], normalised
 *   packed:
 *     token        i32 [rows], the captions' ids one after another (CBOW: without start and end)
 *     token_offset i32 [texts + 1]: caption t has rows token_offset[t] … token_offset[t+1] - 1;
 *                  rows past the last belong to none and must hold a valid id
 *   uniform:
 *     token        i32 [texts, tokens], padded with text.pad_id
 *     token_mask   f32 [texts, tokens], where cg_clip_text_reads_mask: 1 for the tokens that the
 *                  tower reads, 0 for padding (CBOW: for start and end too)
 *   where cg_clip_draws (training with patch_dropout):
 *     stream       i64 [2], the run's seed and a step; the runner's step is the epoch, within which
 *                  samples differ
 *     sample       i64 [images], the pictures' global ids */
typedef struct cg_clip_values {
    cg_value *image_embedding; /* [images, embed_dim], unit rows */
    cg_value *text_embedding;  /* [texts, embed_dim], unit rows */
    cg_value *logits;          /* [images, texts]: temperature · cosine (+ bias) */
    cg_value *image_loss;      /* [images] loss of each row */
    cg_value *text_loss;       /* [texts] loss of each column; NULL with the sigmoid loss, whose
                                  rows hold every pair already */
    cg_value *loss;            /* scalar: mean of the two means, or the mean of image_loss */
} cg_clip_values;

/* Appends the model to g, declaring its parameters in g's store. Declares no outputs except the
 * updates of running statistics (training). The loss is the softmax one, or where the description
 * has init_logit_bias the sigmoid one. errors  stay with the graph, and are returned */
cg_status cg_clip_append(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b,
                         cg_clip_values *out);

/* Appends temperature and logits to a model that was built without a loss: v->logits from both
 * embeddings, of any numbers of pictures and captions. */
void cg_clip_append_logits(cg_graph *g, const cg_clip_desc *d, cg_clip_values *v);

/* n rounded up to a multiple of 64, at least 64: few distinct plans serve all batches. */
int64_t cg_clip_rows(int64_t n);

/* The sizes of a batch whose captions have `tokens` tokens together, as the tower reads them:
 * packed where that is possible, else padded to context_length. training and loss are 0. */
cg_clip_build cg_clip_batch(const cg_clip_desc *d, int64_t images, int64_t texts, int64_t tokens);

/* True where the tower reads captions without start and end tokens. */
int cg_clip_text_drops_specials(const cg_clip_desc *d);

/* True where padding cannot reach an embedding, so that captions may be packed. */
int cg_clip_text_packs(const cg_clip_desc *d);

/* True where the uniform layout wants token_mask. */
int cg_clip_text_reads_mask(const cg_clip_desc *d);

/* True where a training graph draws random numbers. */
int cg_clip_draws(const cg_clip_desc *d);

/* --- towers ----------------------------------------------------------------------------------- */

/* CLIP's ResNet: three-convolution stem, bottlenecks with anti-aliased strides, attention
 * pooling. image [N, S, S, 3] -> [N, embed_dim], not yet of unit length. Parameters visual.*;
 * training: running statistics are updated, momentum 0.1. */
cg_value *cg_resnet(cg_graph *g, const cg_clip_desc *d, cg_value *image, int training);

/* Vision transformer: patches, class token, learned positions, blocks, pooling, projection.
 * image [N, S, S, 3] -> [N, embed_dim], not yet of unit length. Parameters visual.* */
cg_value *cg_vit(cg_graph *g, const cg_clip_desc *d, cg_value *image, int training);

/* A batch of captions as a text tower reads it, whatever its layout. */
typedef struct cg_captions {
    int64_t texts;
    int64_t tokens;   /* of each caption; 0: packed */
    cg_value *token;  /* i32 [R] */
    cg_value *offset; /* i32 [texts + 1] */
    cg_value *mask;   /* f32 [R], or NULL */
} cg_captions;

/* Text transformer: token and position embedding, blocks, norm, the end token's row, projection.
 * -> [texts, embed_dim]. Parameters token_embedding.weight, positional_embedding, transformer.*,
 * ln_final.*, text_projection. */
cg_value *cg_text_transformer(cg_graph *g, const cg_clip_desc *d, const cg_captions *c);

/* Bag of words: mean of the token embeddings, layer norm, projection. -> [texts, embed_dim].
 * Parameters token_embedding.weight, ln_final.*, text_projection. */
cg_value *cg_cbow(cg_graph *g, const cg_clip_desc *d, const cg_captions *c);

/* The learned log temperature (logit_scale) -> exp of it, a scalar. */
cg_value *cg_temperature(cg_graph *g, const cg_clip_desc *d);

CG_API_END

#endif
