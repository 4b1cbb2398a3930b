/* Writes ONNX files, which other runtimes run: a model's towers as inference graphs.
 *
 * Inputs and outputs, where `what` asks for the tower:
 *
 *   pixel_values    f32 [batch, 3, size, size], normalised; or with preprocessing
 *   pixels          u8 [batch, height, width, 3], pictures of any size, RGB
 *   input_ids       i64 [batch, tokens], as a tokenizer gives them, start and end included
 *   attention_mask  i64 [batch, tokens], where the tower reads a mask: 1 for a caption's tokens,
 *                   0 for the padding behind them
 *   image_embeds, text_embeds            f32 [batch, embed_dim], unit rows
 *   logits_per_image, logits_per_text    f32 [images, texts], [texts, images]: both towers
 *   probs                                f32 [batch, labels]: classifier
 *
 * Batches are dynamic, named "batch", or with both towers "images" and "texts"; so is "tokens", up
 * to the model's context_length, where padding cannot reach an embedding (cg_clip_text_packs); for
 * other towers captions must be padded to context_length.
 *
 * Files are whole or not there. Tensors above 1 KiB stand in PATH.data where that is asked for, or
 * where the file would be 2 GiB, which no reader takes. Where a file of that name is there, as an
 * older export's, they stand in PATH.1.data, or the next such name, which the model says: the older
 * pair is in place, and fits together, until the model is replaced, in one step. Then PATH.data and
 * others of these names are removed, those that an interrupted export has left, too. */
#ifndef CG_ONNX_EXPORT_H
#define CG_ONNX_EXPORT_H

#include "data/transform.h"
#include "graph/context.h"
#include "models/clip.h"
#include "serialize/tensor.h"

CG_API_BEGIN

typedef enum cg_onnx_what {
    CG_ONNX_IMAGE,
    CG_ONNX_TEXT,
    CG_ONNX_BOTH,
    CG_ONNX_CLASSIFIER, /* the image tower, and labels that are part of the file */
} cg_onnx_what;

/* All zero: the image tower, opset 17, f32, optimised. */
typedef struct cg_onnx_options {
    cg_onnx_what what;
    int opset;        /* 17 to 20; 0: 17, or 18 with preprocessing */
    cg_dtype weights; /* CG_F32, CG_F16 or CG_BF16: how matrices are stored; all is computed in f32
                         and vectors (norms, biases) stay so */
    int as_described; /* no passes, and parameters as they are: batch norms stay */
    int external;     /* weights in PATH.data, or PATH.1.data, … */
    const cg_meta *meta;
    int n_meta;
    const cg_preprocess *preprocess; /* pictures are prepared inside; NULL: outside */
    const float *classifier;         /* [labels, embed_dim], unit rows: the labels' embeddings */
    int64_t labels;
} cg_onnx_options;

/* params holds the model's parameters, allocated; they stay as they are. ctx computes what follows
 * from parameters alone. errors  CG_EINVAL: an option; CG_EUNSUPPORTED names a node that has no
 * form in the file; those of cg_file_create */
cg_status cg_onnx_export_clip(cg_context *ctx, const char *path, cg_params *params,
                              const cg_clip_desc *d, const cg_onnx_options *options);

/* Any graph, at the sizes that it has; its inputs and outputs keep their names, and whole numbers
 * become i64. Of the options opset, weights, as_described, external and the metadata are read. */
cg_status cg_onnx_export_graph(cg_context *ctx, const char *path, cg_graph *g,
                               const cg_onnx_options *options);

CG_API_END

#endif
