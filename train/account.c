#include "train/account.h"

#include <string.h>

static void count_bytes(const cg_params *params, const cg_graph *g, int training, cg_account *out) {
    for (int i = 0; i < cg_params_count(params); i++) {
        const cg_param *p = cg_params_at(params, i);
        size_t bytes = cg_align64((size_t)p->count * cg_dtype_size(p->dtype));
        out->params += bytes;
        if (!training || !p->trainable) continue;
        out->gradients += bytes;
        out->moments += 2 * bytes;
    }
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->kind == CG_VALUE_INPUT)
            out->inputs +=
                (size_t)cg_shape_count(&g->value[i]->shape) * cg_dtype_size(g->value[i]->dtype);
    out->total = out->params + out->gradients + out->moments + out->inputs + out->plan.arena_bytes +
                 out->plan.frozen_bytes;
}

cg_status cg_account_plan(cg_context *ctx, const cg_clip_desc *d, const cg_clip_build *b,
                          const cg_program *how, cg_account *out) {
    int training = how->gradients;
    cg_params *params = NULL;
    cg_graph *g = NULL;
    cg_plan *plan = NULL;
    *out = (cg_account){0};
    cg_status s = cg_params_create(&params);
    if (s == CG_OK) s = cg_program_build(params, d, b, how, &g);
    if (s == CG_OK)
        s = training ? cg_plan_create(ctx, g, &plan) : cg_plan_create_frozen(ctx, g, &plan);
    if (s == CG_OK) {
        cg_plan_get_report(plan, &out->plan);
        count_bytes(params, g, training, out);
    }
    cg_plan_free(plan);
    cg_graph_free(g);
    cg_params_free(params);
    return s;
}

void cg_account_count(const cg_params *params, cg_account_params *out) {
    *out = (cg_account_params){0};
    for (int i = 0; i < cg_params_count(params); i++) {
        const cg_param *p = cg_params_at(params, i);
        if (!p->trainable) continue;
        out->tensors++;
        out->all += p->count;
        *(strncmp(p->name, "visual.", 7) == 0  ? &out->image
          : strncmp(p->name, "logit_", 6) == 0 ? &out->logits
                                               : &out->text) += p->count;
    }
}
