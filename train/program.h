/* The program: the graph of a whole training step or an inference, ready to be planned. The runner
 * runs it, the account says what it costs, `inspect` shows it. */
#ifndef CG_TRAIN_PROGRAM_H
#define CG_TRAIN_PROGRAM_H

#include "models/clip.h"
#include "ops/passes/passes.h"

CG_API_BEGIN

typedef enum cg_precision {
    CG_PRECISION_F32,
    CG_PRECISION_BF16, /* matrix operands are bf16; parameters, statistics, softmax, losses, weight
                          gradients and all sums f32 */
} cg_precision;

/* How a program is made; all zero: forward, f32, all passes. */
typedef struct cg_program {
    int gradients; /* with one output grad.NAME for each trained parameter */
    cg_precision precision;
    cg_passes_off off;     /* passes left out */
    cg_pass_saving *saved; /* [CG_MAX_PASSES] what each pass did is added here; or NULL */
} cg_program;

/* Builds the graph that a step (or an inference) runs, passes applied, into a new graph. Outputs:
 * image_loss and text_loss where b->loss, else image_embedding, text_embedding. params is
 * borrowed. */
cg_status cg_program_build(cg_params *params, const cg_clip_desc *d, const cg_clip_build *b,
                           const cg_program *how, cg_graph **out);

CG_API_END

#endif
