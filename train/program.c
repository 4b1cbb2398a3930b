#include "train/program.h"

#include "autodiff/grad.h"

#include <stdio.h>
#include <stdlib.h>

/* One output grad.NAME for each trained parameter. */
static cg_status append_gradients(cg_graph *g, cg_value *loss) {
    int n = 0;
    cg_value **wrt = malloc(2 * (size_t)g->n_value * sizeof *wrt + 1);
    if (!wrt) return cg_error(CG_ENOMEM, "no memory to differentiate");
    cg_value **grad = wrt + g->n_value;
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->param && g->value[i]->param->trainable) wrt[n++] = g->value[i];
    cg_status s = cg_grad(g, 1, &loss, NULL, n, wrt, grad);
    for (int i = 0; s == CG_OK && i < n; i++) {
        char name[256];
        snprintf(name, sizeof name, "grad.%s", wrt[i]->name);
        cg_graph_output(g, name, grad[i], CG_SET);
    }
    free(wrt);
    return s;
}

static void append_outputs(cg_graph *g, const cg_clip_build *b, const cg_clip_values *v) {
    if (b->loss) {
        cg_graph_output(g, "image_loss", v->image_loss, CG_KEEP);
        if (v->text_loss) cg_graph_output(g, "text_loss", v->text_loss, CG_KEEP);
    } else {
        if (b->images) cg_graph_output(g, "image_embedding", v->image_embedding, CG_KEEP);
        if (b->texts) cg_graph_output(g, "text_embedding", v->text_embedding, CG_KEEP);
    }
}

/* The loss is an output while the model is rewritten, so that it is followed and not removed. */
static cg_status build(cg_graph *g, const cg_clip_desc *d, const cg_clip_build *b,
                       const cg_program *how) {
    cg_clip_values v;
    CG_TRY(cg_clip_append(g, d, b, &v));
    append_outputs(g, b, &v);
    if (how->gradients) cg_graph_output(g, "loss", v.loss, CG_KEEP);
    CG_TRY(cg_passes_run(g, CG_STAGE_MODEL, how->off, how->saved));
    if (how->gradients) {
        cg_value *loss = cg_graph_find_output(g, "loss")->value;
        cg_graph_drop_output(g, "loss");
        CG_TRY(append_gradients(g, loss));
    }
    cg_pass_common(g);
    cg_pass_dead(g);
    CG_TRY(cg_passes_run(g, CG_STAGE_WHOLE, how->off, how->saved));
    if (how->precision == CG_PRECISION_BF16) cg_pass_bf16(g);
    return cg_graph_verify(g);
}

cg_status cg_program_build(cg_params *params, const cg_clip_desc *d, const cg_clip_build *b,
                           const cg_program *how, cg_graph **out) {
    CG_TRY(cg_graph_create(params, out));
    cg_status s = build(*out, d, b, how);
    if (s == CG_OK) return CG_OK;
    cg_graph_free(*out);
    *out = NULL;
    return s;
}
