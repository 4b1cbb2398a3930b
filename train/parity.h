/* Does an exported file do what its model does? The same inputs go through both, and the results
 * are compared.
 *
 * The model's side is its graph as it is described and trained, in f32, without any pass. Inputs
 * are always the same: drawn pictures, none of them square but one, some smaller than the model
 * reads, prepared as the model's pictures are; and captions that go wrong easily: of no word, of
 * one, of all tokens that fit and one less, in several scripts, with end tokens in the middle, with
 * the largest id first. Batches have several sizes, and captions several paddings.
 *
 * A file is held against the model stage by stage, each by what the file's own stage before gave:
 * prepared pixels, embeddings, what is made of embeddings. Some rows of a table are never read, and
 * a single number hardly counts: serialize/onnx/stored.h compares those.
 *
 *     cg_parity *p;
 *     cg_parity_result r;
 *     CG_TRY(cg_parity_reference(ctx, desc, "logs/first", &reference));
 *     CG_TRY(cg_parity_create(reference, tokenizer, &options, &p));
 *     CG_TRY(cg_parity_run(ctx, "model.onnx", CG_PARITY_INSIDE, p)); or by another runtime
 *     CG_TRY(cg_parity_compare(p, CG_PARITY_INSIDE, 1e-5, &r));
 *     return cg_parity_check(&r); */
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
    const cg_dataset *pictures; /* compared besides; or NULL. Those that cannot be read are left
                                   out, but not all */
    int64_t most;               /* of them */
} cg_parity_options;

typedef enum cg_parity_kind {
    CG_PARITY_PIXELS, /* as the tower reads them: 255ths of what a pixel can be */
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
    float *found; /* for the runtime to fill; zeros at first */
} cg_parity_output;

enum { CG_PARITY_IN = 3, CG_PARITY_OUT = 5 };

/* One run of the file: inputs under its names, and what comes of them. */
typedef struct cg_parity_case {
    char name[64]; /* "3 pictures, 5 captions of 32 tokens" */
    cg_tensor in[CG_PARITY_IN];
    int n_in;
    cg_parity_output out[CG_PARITY_OUT];
    int n_out;   /* outputs of the file; behind them stand */
    int n_inner; /* values inside it (serialize/onnx/export.h), which our session can give */
    int resized; /* pictures are resized by the file */
} cg_parity_case;

typedef struct cg_parity cg_parity;

/* The model of a checkpoint as it is described and trained, without passes, in f32.
 * errors  those of cg_runner_open */
cg_status cg_parity_reference(cg_context *ctx, const cg_clip_desc *d, const char *folder,
                              cg_runner **out);

/* reference is one of cg_parity_reference; it embeds here, and is not kept; nor are tokenizer and
 * o->pictures. o->preprocess and o->label must outlive *out.
 * tokenizer may be NULL: the captions are then ids alone. errors  CG_ENONFINITE: the model's
 * embeddings */
cg_status cg_parity_create(cg_runner *reference, const cg_tokenizer *tokenizer,
                           const cg_parity_options *o, cg_parity **out);
void cg_parity_free(cg_parity *p);

int cg_parity_cases(const cg_parity *p, cg_parity_case **list);

/* What a run looks at. */
typedef enum cg_parity_view {
    CG_PARITY_OUTSIDE, /* the file's outputs */
    CG_PARITY_INSIDE   /* values inside, too */
} cg_parity_view;

/* Fills `found` of every case with what the file makes of it, run by our own session: as it is
 * meant to be; or with a look inside, which goes operator by operator, without passes, and shares
 * least with the model's side.
 * errors  those of serialize/onnx/session.h; CG_EFORMAT: inputs or outputs that are not those */
cg_status cg_parity_run(cg_context *ctx, const char *path, cg_parity_view view, cg_parity *p);

/* How far numbers are from what they should be: pixels in 255ths; embeddings' elements; logits
 * divided by the temperature; logarithms of probabilities (of 1e-30 for less) divided by the
 * temperature, or by 1 where that is more.
 *
 * Pixels and embeddings should be the model's. Logits, and with a look inside probabilities, should
 * be those of the embeddings that the file gave; else probabilities those of the model. */
typedef struct cg_parity_figure {
    const char *output;
    cg_parity_kind kind;
    double most, limit;      /* of an element, in the case that comes nearest to its limit */
    char where[64];          /* that case */
    double rms;              /* of all */
    double min_cosine;       /* of a row of embeddings; else 1 */
    int64_t elements, apart; /* pixels: those that are another 255th */
    int64_t rows, agree; /* rows whose best match is the model's: among the model's embeddings of
                            the other tower, among captions, among labels */
    double lead;         /* the most by which the model prefers its own best to the file's */
} cg_parity_figure;

typedef struct cg_parity_result {
    cg_parity_figure figure[CG_PARITY_OUT]; /* by kind */
    int n;
    int cases;
    int64_t pictures, captions; /* different ones */
    int64_t given, left_out;    /* pictures: of them, the caller's; his that could not be read */
    double tolerance;
} cg_parity_result;

/* Limits: embeddings, tolerance, and where the file resizes pictures 2e-4 more, because single
 * pixels may then be one 255th apart; pixels, one 255th, and one in a hundred may be apart; what is
 * made of the file's own embeddings, 1e-6; probabilities that are held against the model, 8 times
 * what embeddings may. errors  CG_ENOMEM */
cg_status cg_parity_compare(const cg_parity *p, cg_parity_view view, double tolerance,
                            cg_parity_result *out);

/* errors  CG_EFORMAT: names the output, the case and the figures that are beyond a limit */
cg_status cg_parity_check(const cg_parity_result *r);

CG_API_END

#endif
