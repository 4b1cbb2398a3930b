/* Exporting a trained model: an ONNX file with what its users need beside it, and a certificate
 * that it does what the model does. A folder is written, whole or not at all:
 *
 *   NAME.onnx, NAME.onnx.data   the file (serialize/onnx/export.h), and its weights where external
 *   NAME.json                   the certificate
 *   open_clip_config.json       the model's description and how its pictures are prepared
 *   tokenizer.json              where texts are read; cuts them to the context length, and leaves
 *                               HTML entities, which our own unescapes, to its reader
 *   labels.txt                  classifier: a label a line, as columns of `probs`
 *
 * The file is read back by our own session, and run beside the model (train/parity.h); above the
 * tolerance there is no folder. Its metadata, all text, begin with "clipgraph.": version, what,
 * model_cfg, preprocess_cfg, image_size, context_length, pad_id, embed_dim, vision_activation,
 * text_activation, normalized (embeddings are unit rows), weights, temperature, bias, labels,
 * templates, tokenizer_xxh64 (of tokenizer.json) and parity, the figures as JSON. */
#ifndef CG_TRAIN_EXPORT_H
#define CG_TRAIN_EXPORT_H

#include "train/model.h"
#include "train/parity.h"

CG_API_BEGIN

/* Fills `found` of every case by another runtime, and says which it was ("onnxruntime 1.20"). */
typedef cg_status (*cg_export_check)(void *arg, const char *path, cg_parity *p, char name[64]);

/* All zero: the image tower, f32, opset 17, named "model". */
typedef struct cg_export_options {
    cg_onnx_what what;
    int opset;                /* 0: what is needed, 17 at least */
    cg_dtype weights;         /* CG_F32, CG_F16 or CG_BF16 */
    int as_described;         /* no passes */
    int external;             /* weights in a file of their own */
    int inside;               /* pictures are prepared inside the file */
    const char *name;         /* of the file; NULL: "model" */
    double tolerance;         /* 0: cg_export_tolerance */
    const char *const *label; /* classifier: [labels] */
    int64_t labels;
    cg_templates templates;     /* the sentences that labels stand in */
    const cg_dataset *pictures; /* compared, too; or NULL */
    int64_t most;               /* of them; 0: 64 */
    const cg_dataset *data; /* accuracy or recall is measured on it, by model and file; or NULL */
    int64_t batch;          /* of those data, pictures and captions at a time; 0: 64 */
    double most_loss;       /* what they may lose by the file, 0.005 for half a point */
    cg_export_check check;  /* by another runtime, too; or NULL */
    int (*stop)(void *arg); /* asked between steps: nonzero gives up; or NULL */
    void *arg;              /* of both */
} cg_export_options;

/* On data, fractions. A classifier: how often the label that is a picture's caption is the first
 * (among the first five); pictures whose caption is no label are left out. Else: how often a
 * picture's caption is among the first 1 and 5 of all captions, and one of a caption's pictures
 * among the pictures. What the file has not, a tower, is the model's. */
typedef struct cg_accuracy_figure {
    const char *name; /* "top1", "image_to_text_recall5" */
    double model, file;
} cg_accuracy_figure;

typedef struct cg_accuracy {
    int64_t pictures, candidates; /* labels, or captions */
    double limit;                 /* of a loss */
    cg_accuracy_figure figure[4];
    int n; /* 0: there were no data */
} cg_accuracy;

/* What was written, and how near to the model it is. */
typedef struct cg_certificate {
    cg_onnx_what what;
    int opset;
    cg_dtype weights;
    int optimized, external, inside;
    double tolerance;
    size_t bytes, data_bytes; /* of the file, and of the one with its weights */
    cg_parity_result parity;  /* by our session */
    cg_parity_result literal; /* by our session, each operator as it stands, without passes */
    char checked_by[64];      /* the other runtime; "" : none */
    cg_parity_result checked; /* by that */
    cg_accuracy accuracy;     /* on data */
    int64_t truncated;        /* texts of labels that were cut to the context length */
    char *json;               /* NAME.json; freed by cg_certificate_free */
} cg_certificate;

/* What embeddings may differ by, an element: with f32 weights cg_parity_exact, with f16 2e-3, with
 * bf16 2e-2; and there no more than rounding explains (cg_parity_limit). */
double cg_export_tolerance(const cg_export_options *o);

/* errors  CG_EINVAL: an option; `folder` is there and holds no export of this name, which has a
 *         certificate, or anything else; CG_EFORMAT: the
 *         file differs from the model by more than the tolerance (cg_parity_check), or loses more
 * of its accuracy or recall than it may; those of cg_onnx_export_clip and of the check;
 *         CG_EINTERRUPTED: by `stop` */
cg_status cg_export(cg_model *m, const char *folder, const cg_export_options *o,
                    cg_certificate *out);
void cg_certificate_free(cg_certificate *c); /* an all-zero or freed one is allowed */

CG_API_END

#endif
