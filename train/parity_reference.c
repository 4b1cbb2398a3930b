/* The model's side of a parity check: as described and trained. */
#include "train/parity.h"

cg_status cg_parity_reference(cg_context *ctx, const cg_clip_desc *d, const char *folder,
                              cg_runner **out) {
    CG_TRY(cg_runner_open(ctx, d, folder, out));
    return cg_runner_set_program(*out, CG_PRECISION_F32, CG_PASSES_NONE, NULL);
}
