/* The model's side of a parity check: as described and trained. */
#include "train/parity.h"

#include "serialize/checkpoint.h"

#include <math.h>

/* To so many bits, no finer than 2^least: to nearest, ties to even. */
static float narrow(float x, int bits, int least) {
    int exponent;
    if (!isfinite(x)) return x;
    frexpf(x, &exponent);
    float unit = ldexpf(1, exponent - bits > least ? exponent - bits : least);
    return rintf(x / unit) * unit;
}

/* What a file stores in half: matrices, and whatever else has two dimensions that count. */
static int is_matrix(const cg_param *q) {
    int wide = 0;
    for (int i = 0; i < q->shape.rank; i++) wide += q->shape.dim[i] > 1;
    return wide > 1 && q->dtype == CG_F32;
}

static void narrow_all(cg_params *p, cg_dtype weights) {
    int half = weights == CG_F16;
    for (int i = 0; i < cg_params_count(p); i++) {
        const cg_param *q = cg_params_at(p, i);
        float *x = q->data;
        for (int64_t k = 0; is_matrix(q) && k < q->count; k++)
            x[k] = narrow(x[k], half ? 11 : 8, half ? -24 : -133);
    }
}

cg_status cg_parity_reference(cg_context *ctx, const cg_clip_desc *d, const char *folder,
                              cg_dtype weights, cg_runner **out) {
    if (weights == CG_F32) {
        CG_TRY(cg_runner_open(ctx, d, folder, out));
    } else {
        CG_TRY(cg_runner_create(ctx, d, out));
        cg_status s = cg_checkpoint_weights(folder, cg_runner_params(*out));
        if (s != CG_OK) {
            cg_runner_free(*out);
            return s;
        }
        narrow_all(cg_runner_params(*out), weights);
    }
    return cg_runner_set_program(*out, CG_PRECISION_F32, CG_PASSES_NONE, NULL);
}
