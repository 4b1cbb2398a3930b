/* The program: the graph of a whole training step or an inference, ready to be planned. The runner
 * runs it, the account says what it costs, `inspect` shows it. */
#ifndef CG_TRAIN_PROGRAM_H
#define CG_TRAIN_PROGRAM_H

#include "models/clip.h"

CG_API_BEGIN

/* Builds the graph that a step (or an inference) runs, passes applied, into a new graph:
 * gradients: with one output grad.NAME for each trained parameter. Outputs: image_loss and
 * text_loss where b->loss, else image_embedding, text_embedding. params is borrowed. */
cg_status cg_program_build(cg_params *params, const cg_clip_desc *d, const cg_clip_build *b,
                           int gradients, cg_graph **out);

CG_API_END

#endif
