/* The runner: a model ready to run at any batch size. It builds the graph for each set of sizes
 * it meets, plans it once, and keeps the plans used last; all of them share one arena. */
#ifndef CG_TRAIN_RUNNER_H
#define CG_TRAIN_RUNNER_H

#include "data/loader.h"
#include "graph/exec.h"
#include "models/clip.h"
#include "train/program.h"

CG_API_BEGIN

typedef struct cg_runner cg_runner;

/* Declares the model's parameters and allocates them, zeroed: initialise or load them next.
 * ctx is borrowed; the description is copied. */
cg_status cg_runner_create(cg_context *ctx, const cg_clip_desc *d, cg_runner **out);

/* For inference: the same with a checkpoint's weights, mapped (cg_params_map): what runs do not
 * touch is not read. It embeds and can tell the loss, but has no backward. errors  those of
 * cg_checkpoint_map */
cg_status cg_runner_open(cg_context *ctx, const cg_clip_desc *d, const char *folder,
                         cg_runner **out);
void cg_runner_free(cg_runner *r);

cg_params *cg_runner_params(cg_runner *r);
const cg_clip_desc *cg_runner_desc(const cg_runner *r);
cg_context *cg_runner_context(const cg_runner *r);

/* How graphs are made from here on (see train/program.h); plans made so far are freed. saved is
 * borrowed, and may be NULL. errors  CG_EUNSUPPORTED: bf16 on a processor that cannot multiply it
 */
cg_status cg_runner_set_program(cg_runner *r, cg_precision precision, cg_passes_off off,
                                cg_pass_saving *saved);

/* The run's seed, on which random nodes depend (0 at first), with the batch's epoch and samples. */
void cg_runner_set_seed(cg_runner *r, uint64_t seed);

/* Forward and backward for a batch of pairs (image and tokens are needed; sample too where
 * cg_clip_draws). gradient,
 * laid out as the trained block of the store, is set. The running statistics' next values wait
 * for cg_runner_commit. errors  CG_EINVAL: made by cg_runner_open */
cg_status cg_runner_backward(cg_runner *r, const cg_batch *batch, float *gradient, double *loss);
void cg_runner_commit(cg_runner *r);

/* After a backward whose loss or gradient was not finite: runs the batch again and names the first
 * node whose result was not. */
cg_status cg_runner_find_nonfinite(cg_runner *r, cg_nonfinite *out);

/* The loss of a batch as training sees it (batch statistics), summed in double, no gradient. */
cg_status cg_runner_loss(cg_runner *r, const cg_batch *batch, double *loss);

/* Embeddings by the model as used after training (running statistics): unit rows into
 * out[n, embed_dim]. The tokens' ids come with start and end, as the tokenizer gives them.
 * errors  CG_ENONFINITE: an embedding is not; the message names the first parameter that is not */
cg_status cg_runner_embed_images(cg_runner *r, const float *image, int64_t n, float *out);
cg_status cg_runner_embed_texts(cg_runner *r, const int32_t *token, const int32_t *offset,
                                int64_t n, float *out);

/* exp of the learned log temperature. */
double cg_runner_temperature(const cg_runner *r);

/* What a profile calls the time spent waiting for the loader. */
#define CG_WAITING "waiting for data"

/* What the current plan needs; and timing of nodes (see graph/exec.h). */
void cg_runner_report(const cg_runner *r, cg_plan_report *out);
cg_exec *cg_runner_exec(cg_runner *r);

CG_API_END

#endif
