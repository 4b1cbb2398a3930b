/* Does an exported file do what its model does? The same inputs go through both, and the results
 * are compared.
 *
 * The model's side is its graph as it is described and trained, in f32, without any pass. Inputs
 * are always the same: drawn pictures, none of them square but one, some smaller than the model
 * reads, prepared as the model's pictures are; and captions that go wrong easily: of no word, of
 * one, of all tokens that fit and one less, in several scripts, with end tokens in the middle, with
 * the largest id first. Batches have several sizes, and captions several paddings.
 *
 *     cg_parity *p;
 *     cg_parity_result r;
 *     CG_TRY(cg_parity_create(reference, tokenizer, &options, &p));
 *     CG_TRY(cg_parity_run(ctx, "model.onnx", p));       or by another runtime
 *     CG_TRY(cg_parity_compare(p, &r));
 *     return cg_parity_check(&r, 1e-5); */
#ifndef CG_TRAIN_PARITY_H
#define CG_TRAIN_PARITY_H

#include "data/dataset.h"
#include "data/tokenizer.h"
#include "data/transform.h"
#include "serialize/onnx/export.h"
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
    float *found; /* for the runtime to fill; zeros at first */
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

/* reference: its passes off (cg_runner_set_program), f32; it embeds here, and is not kept.
 * tokenizer may be NULL: the captions are then ids alone. errors  CG_ENONFINITE: the model's
 * embeddings */
cg_status cg_parity_create(cg_runner *reference, const cg_tokenizer *tokenizer,
                           const cg_parity_options *o, cg_parity **out);
void cg_parity_free(cg_parity *p);

int cg_parity_cases(const cg_parity *p, cg_parity_case **list);

/* Fills `found` of every case with what the file makes of it, run by our own session.
 * errors  those of serialize/onnx/session.h; CG_EFORMAT: inputs or outputs that are not those */
cg_status cg_parity_run(cg_context *ctx, const char *path, cg_parity *p);

/* How far one output is from the model's. */
typedef struct cg_parity_figure {
    const char *output;
    cg_parity_kind kind;
    double max_difference; /* of an element; logits: of one divided by the temperature */
    double min_cosine;     /* of a row of embeddings; else 1 */
    int64_t rows, agree;   /* rows whose best match is the model's: among the model's embeddings of
                              the other tower, among captions, among labels */
    double lead;           /* the most by which the model prefers its own best to the file's */
    char where[64];        /* the case of max_difference */
} cg_parity_figure;

typedef struct cg_parity_result {
    cg_parity_figure figure[CG_PARITY_OUT];
    int n;
    int cases;
    int64_t pictures, captions; /* different ones */
    double temperature;
} cg_parity_result;

cg_status cg_parity_compare(const cg_parity *p, cg_parity_result *out);

/* What an element may differ by where embeddings may by tolerance: logits over the temperature by 4
 * of it, probabilities by 2 · max(temperature, 1) of it. */
double cg_parity_limit(const cg_parity_result *r, const cg_parity_figure *f, double tolerance);

/* errors  CG_EFORMAT: names the output, the case and the figures; a difference above its limit, or
 *         another best match where the model's lead is more than two such differences explain */
cg_status cg_parity_check(const cg_parity_result *r, double tolerance);

CG_API_END

#endif
