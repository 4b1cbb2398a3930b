/* `clipgraph inspect --json` */
#include "cli/inspect.h"
#include "serialize/shape_json.h"

#include <stdio.h>
#include <stdlib.h>

static json_t *layers_json(const inspected *m) {
    json_t *list = json_array();
    for (int i = 0; i < m->n_layers; i++) {
        const cg_layer *l = &m->layer[i];
        json_array_append_new(list, json_pack("{s:s, s:s?, s:i, s:o, s:I, s:I, s:I}", "name",
                                              l->name, "op", l->op, "nodes", l->nodes, "output",
                                              cg_shape_json(&l->shape), "parameters",
                                              (json_int_t)l->params, "flops", (json_int_t)l->flops,
                                              "activation_bytes", (json_int_t)l->activation_bytes));
    }
    return list;
}

static json_t *account_json(const cg_account *c) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "frozen_bytes",
        (json_int_t)c->plan.frozen_bytes, "total_bytes", (json_int_t)c->total, "parameter_bytes",
        (json_int_t)c->params, "gradient_bytes", (json_int_t)c->gradients, "moment_bytes",
        (json_int_t)c->moments, "batch_bytes", (json_int_t)c->inputs, "arena_bytes",
        (json_int_t)c->plan.arena_bytes, "arena_lower_bound", (json_int_t)c->plan.lower_bound,
        "scratch_bytes", (json_int_t)c->plan.scratch_bytes, "no_reuse_bytes",
        (json_int_t)c->plan.all_bytes, "flops", (json_int_t)c->plan.flops);
}

cg_status inspect_print_json(const inspect_arguments *a, const inspected *m) {
    json_t *all =
        json_pack("{s:s, s:s, s:o, s:I, s:I, s:o, s:{s:I, s:I, s:I, s:I, s:i}, s:{s:o, s:o, s:o}}",
                  "path", m->path, "graph", a->inference ? "inference" : "training", "model_cfg",
                  cg_clip_desc_json(&m->desc), "batch_size", (json_int_t)m->build.images,
                  "caption_tokens", (json_int_t)m->tokens, "layers", layers_json(m), "parameters",
                  "all", (json_int_t)m->count.all, "image", (json_int_t)m->count.image, "text",
                  (json_int_t)m->count.text, "logits", (json_int_t)m->count.logits, "tensors",
                  m->count.tensors, "memory", "training_step", account_json(&m->training),
                  "embed_images", account_json(&m->images), "embed_texts", account_json(&m->texts));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(all);
    return text ? CG_OK : cg_error(CG_EFORMAT, "%s: the path is not UTF-8", m->path);
}
