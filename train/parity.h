/* Does an exported file do what its model does? The same inputs go through both, and the results
 * are compared.
 *
 * The model's side is its graph as it is described and trained, in f32, without any pass. Where the
 * file's weights are stored in half, it runs a second time with matrices rounded so: how far that
 * takes it from itself says how far the file may be. Inputs
 * are always the same: drawn pictures, none of them square but one, some smaller than the model
 * reads, prepared as the model's pictures are; and captions that go wrong easily: of no word, of
 * one, of all tokens that fit and one less, in several scripts, with end tokens in the middle, with
 * the largest id first. Batches have several sizes, and captions several paddings.
 *
 *     cg_parity *p;
 *     cg_parity_result r;
 *     CG_TRY(cg_parity_reference(ctx, desc, "logs/first", CG_F32, &reference));
 *     CG_TRY(cg_parity_create(reference, NULL, tokenizer, &options, &p));
 *     CG_TRY(cg_parity_run(ctx, "model.onnx", NULL, p)); or by another runtime
 *     CG_TRY(cg_parity_compare(p, &r));
 *     return cg_parity_check(&r, 1e-5); */
#ifndef CG_TRAIN_PARITY_H
#define CG_TRAIN_PARITY_H

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "data/transform.h"
#include "serialize/onnx/export.h"
#include "serialize/onnx/session.h"
#include "train/runner.h"

CG_API_BEGIN

/* What the file has, in the words of serialize/onnx/export.h. */
typedef struct cg_parity_options {
    cg_onnx_what what;
    const cg_preprocess *preprocess; /* of pictures; never NULL */
    int inside;                      /* pictures are prepared inside the file */
    const float *label;              /* classifier: [labels, embed_dim] */
    int64_t labels;
    const cg_dataset *pictures; /* compared besides; or NULL. Those that cannot be read are left out
                                 */
    int64_t most;               /* of them */
} cg_parity_options;

typedef enum cg_parity_kind {
    CG_PARITY_EMBEDDINGS,
    CG_PARITY_LOGITS,
    CG_PARITY_PROBABILITIES,
} cg_parity_kind;

/* f32 [rows, width] */
typedef struct cg_parity_output {
    const char *name;
    cg_parity_kind kind;
    int64_t rows, width;
    const float *wanted;
    const float *rounded; /* with weights rounded as in the file; NULL: they are f32 */
    float *found;         /* for the runtime to fill; zeros at first */
} cg_parity_output;

enum { CG_PARITY_IN = 3, CG_PARITY_OUT = 4 };

/* One run of the file: inputs under its names, and what comes of them. */
typedef struct cg_parity_case {
    char name[64]; /* "3 pictures, 5 captions of 32 tokens" */
    cg_tensor in[CG_PARITY_IN];
    int n_in;
    cg_parity_output out[CG_PARITY_OUT];
    int n_out;
} cg_parity_case;

typedef struct cg_parity cg_parity;

/* The model of a checkpoint as it is described and trained, without passes, in f32; its matrices
 * rounded to `weights` where that is CG_F16 or CG_BF16. errors  those of cg_runner_open */
cg_status cg_parity_reference(cg_context *ctx, const cg_clip_desc *d, const char *folder,
                              cg_dtype weights, cg_runner **out);

/* reference and, where the file's weights are not f32, rounded (else NULL) are those of
 * cg_parity_reference; they embed here, and are not kept.
 * tokenizer may be NULL: the captions are then ids alone. errors  CG_ENONFINITE: the model's
 * embeddings */
cg_status cg_parity_create(cg_runner *reference, cg_runner *rounded, const cg_tokenizer *tokenizer,
                           const cg_parity_options *o, cg_parity **out);
void cg_parity_free(cg_parity *p);

int cg_parity_cases(const cg_parity *p, cg_parity_case **list);

/* Fills `found` of every case with what the file makes of it, run by our own session; how may be
 * NULL. A session that recognises nothing shares least with the model's side.
 * errors  those of serialize/onnx/session.h; CG_EFORMAT: inputs or outputs that are not those */
cg_status cg_parity_run(cg_context *ctx, const char *path, const cg_onnx_how *how, cg_parity *p);

/* How far numbers are from the model's: embeddings' elements; logits divided by the temperature;
 * logarithms of probabilities (of 1e-30 for less) divided by the temperature, or by 1 where that is
 * more. */
typedef struct cg_parity_distance {
    double most, rms;  /* of an element */
    double min_cosine; /* of a row of embeddings; else 1 */
} cg_parity_distance;

typedef struct cg_parity_figure {
    const char *output;
    cg_parity_kind kind;
    cg_parity_distance file;
    cg_parity_distance rounding; /* of the rounded model; zeros and 1 where weights are f32 */
    int64_t rows, agree; /* rows whose best match is the model's: among the model's embeddings of
                            the other tower, among captions, among labels */
    int64_t elements;
    double lead;    /* the most by which the model prefers its own best to the file's */
    char where[64]; /* the case of file.most */
} cg_parity_figure;

typedef struct cg_parity_result {
    cg_parity_figure figure[CG_PARITY_OUT];
    int n;
    int cases;
    int64_t pictures, captions; /* different ones */
    int rounded;                /* weights are not f32 */
    int inside;
} cg_parity_result;

cg_status cg_parity_compare(const cg_parity *p, cg_parity_result *out);

/* What an element of an embedding may differ by where nothing is rounded: 1e-5, or 2e-4 where
 * pictures are prepared inside, because single pixels may then be one 255th apart. */
double cg_parity_exact(int inside);

/* What may be, where an element of an embedding may differ by tolerance: logits over the
 * temperature by 4 of it, logarithms of probabilities over the temperature by 8. Where weights are
 * rounded, besides, some times what rounding does to the model, and cg_parity_exact: three times
 * its greatest difference or six times its rms; twice its rms, or four times where rows are no
 * embeddings; three times its greatest angle. Where they are f32, rms is INFINITY and min_cosine
 * -1: the greatest difference bounds both. */
cg_parity_distance cg_parity_limit(const cg_parity_result *r, const cg_parity_figure *f,
                                   double tolerance);

/* errors  CG_EFORMAT: names the output, the case and the figures; a distance above its limit, or
 *         another best match where the model's lead is more than two such differences explain */
cg_status cg_parity_check(const cg_parity_result *r, double tolerance);

CG_API_END

#endif
