#include "serialize/onnx/export.h"

#include "ops/passes/passes.h"
#include "serialize/onnx/export_preprocess.h"
#include "serialize/onnx/export_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES, TEXTS, TOKENS };

static cg_onnx_ref *input_like(cg_onnx_export *x, const char *name, const cg_value *v,
                               int picture) {
    static const int channels_second[] = {0, 3, 1, 2};
    cg_onnx_dim dim[CG_ONNX_RANK];
    for (int i = 0; i < v->shape.rank; i++) {
        int axis = picture ? channels_second[i] : i;
        dim[i] = (cg_onnx_dim){cg_onnx_size_of(&x->sink, v, axis), axis, CG_ONNX_WHOLE};
    }
    return cg_onnx_input(x, name, cg_onnx_data_type(v->dtype), v->shape.rank, dim);
}

/* --- an export from begin to end -------------------------------------------------------------- */

/* Binds the graph's inputs. */
typedef cg_status (*bind_fn)(cg_onnx_export *x, const void *arg);

static cg_status fill(cg_onnx_export *x, bind_fn bind, const void *arg) {
    CG_TRY(cg_onnx_compare(x));
    x->path = "input";
    cg_status s = bind(x, arg);
    if (s == CG_OK) s = x->status;
    if (s != CG_OK) return x->status == CG_OK ? s : cg_error(s, "%s", x->message);
    CG_TRY(cg_onnx_walk(x));
    return cg_onnx_export_outputs(x);
}

static cg_status run(cg_onnx_export *x, const char *path, const cg_onnx_options *o, bind_fn bind,
                     const void *arg) {
    x->sink.call = &cg_onnx_export_calls;
    x->sink.opset = o->opset ? o->opset : o->preprocess ? 18 : 17;
    x->optimize = !o->as_described;
    x->weights = o->weights;
    x->last = &x->first;
    x->held = calloc((size_t)x->graph->n_value + 1, sizeof(cg_onnx_ref *));
    x->known = calloc((size_t)x->graph->n_value + 1, 1);
    cg_status s = x->held && x->known ? CG_OK : cg_error(CG_ENOMEM, "no memory to export a graph");
    if (s == CG_OK) s = fill(x, bind, arg);
    if (s != CG_OK)
        cg_error_in(s, "%s", path);
    else
        s = cg_onnx_write(x, path, o->external, o->meta, o->n_meta);
    free(x->held);
    free(x->known);
    free(x->node);
    free(x->names.entry);
    free(x->made.entry);
    cg_arena_free(&x->arena);
    return s;
}

static cg_status check(const cg_onnx_options *o) {
    int least = o->preprocess ? 18 : 17;
    if (o->opset && (o->opset < least || o->opset > 20))
        return cg_error(CG_EINVAL, "opset %d, wanted %d to 20", o->opset, least);
    if (o->weights != CG_F32 && o->weights != CG_F16 && o->weights != CG_BF16)
        return cg_error(CG_EINVAL, "weights as %s, wanted f32, f16 or bf16",
                        cg_dtype_name(o->weights));
    return CG_OK;
}

/* --- any graph -------------------------------------------------------------------------------- */

static cg_status bind_graph(cg_onnx_export *x, const void *arg) {
    (void)arg;
    for (int i = 0; i < x->graph->n_value; i++) {
        const cg_value *v = x->graph->value[i];
        if (v->kind == CG_VALUE_INPUT) x->held[i] = input_like(x, v->name, v, 0);
    }
    return x->status;
}

cg_status cg_onnx_export_graph(cg_context *ctx, const char *path, cg_graph *g,
                               const cg_onnx_options *options) {
    CG_TRY(check(options));
    CG_TRY(cg_graph_status(g));
    cg_onnx_export x = {.ctx = ctx, .graph = g};
    return run(&x, path, options, bind_graph, NULL);
}

/* --- a model ---------------------------------------------------------------------------------- */

typedef struct job {
    const cg_clip_desc *d;
    const cg_onnx_options *o;
} job;

/* The labels' logits as probabilities. */
static cg_value *classify(cg_graph *g, const job *j, cg_value *image) {
    cg_value *label =
        cg_constant(g, CG_F32, CG_SHAPE(j->o->labels, j->d->embed_dim), j->o->classifier);
    cg_value *t = cg_temperature(g, j->d);
    cg_scope_push(g, "classifier");
    cg_value *probs = cg_softmax(g, cg_mul(g, cg_matmul(g, image, label, 0, 1), t));
    cg_scope_pop(g);
    return probs;
}

static cg_status append(cg_graph *g, const job *j, const cg_clip_build *b) {
    cg_clip_values v;
    CG_TRY(cg_clip_append(g, j->d, b, &v));
    if (j->o->what == CG_ONNX_BOTH) {
        cg_clip_append_logits(g, j->d, &v);
        cg_scope_push(g, "logits");
        cg_value *other = cg_transpose(g, v.logits, CG_SHAPE(1, 0));
        cg_scope_pop(g);
        cg_graph_output(g, "logits_per_image", v.logits, CG_KEEP);
        cg_graph_output(g, "logits_per_text", other, CG_KEEP);
    }
    if (j->o->what == CG_ONNX_CLASSIFIER)
        cg_graph_output(g, "probs", classify(g, j, v.image_embedding), CG_KEEP);
    if (b->images) cg_graph_output(g, "image_embeds", v.image_embedding, CG_KEEP);
    if (b->texts) cg_graph_output(g, "text_embeds", v.text_embedding, CG_KEEP);
    return cg_graph_status(g);
}

/* Passes of the model alone: what those of the whole graph fuse is taken apart again in a file. */
static cg_status build(cg_params *params, const job *j, const cg_clip_build *b, cg_graph **out) {
    cg_passes_off off = j->o->as_described ? CG_PASSES_NONE : 0;
    CG_TRY(cg_graph_create(params, out));
    CG_TRY(append(*out, j, b));
    CG_TRY(cg_passes_run(*out, CG_STAGE_MODEL, off, NULL));
    cg_pass_common(*out);
    cg_pass_dead(*out);
    return cg_graph_status(*out);
}

/* Sizes at which graphs are built. Batches are small primes, for which no size of a model stands by
 * chance; captions are as long as they may be, and one token shorter. */
static cg_clip_build begin(cg_onnx_export *x, const job *j) {
    cg_clip_build b = {.layout = CG_TEXT_UNIFORM, .tokens = j->d->text.context_length};
    int both = j->o->what == CG_ONNX_BOTH;
    if (j->o->what != CG_ONNX_TEXT) {
        b.images = 5;
        x->symbol[IMAGES] =
            (cg_onnx_symbol){.name = both ? "images" : "batch", .base = b.images, .other = 7};
    }
    if (j->o->what != CG_ONNX_TEXT && !both) {
        b.tokens = 0;
        return b;
    }
    b.texts = 11;
    x->symbol[TEXTS] =
        (cg_onnx_symbol){.name = both ? "texts" : "batch", .base = b.texts, .other = 13};
    if (cg_clip_text_packs(j->d) && b.tokens > 2)
        x->symbol[TOKENS] =
            (cg_onnx_symbol){.name = "tokens", .base = b.tokens, .other = b.tokens - 1};
    return b;
}

static cg_status build_all(cg_onnx_export *x, cg_params *params, const job *j) {
    cg_clip_build b = begin(x, j);
    CG_TRY(build(params, j, &b, &x->graph));
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) {
        cg_clip_build other = b;
        cg_onnx_symbol *s = &x->symbol[i];
        if (!s->name) continue;
        if (i == IMAGES) other.images = s->other;
        if (i == TEXTS) other.texts = s->other;
        if (i == TOKENS) other.tokens = s->other;
        CG_TRY(build(params, j, &other, &s->graph));
    }
    return CG_OK;
}

/* 1 for tokens that the tower reads, as f32: a bag of words leaves out a caption's first and last.
 */
static cg_onnx_ref *mask(cg_onnx_export *x, const job *j, cg_onnx_ref *given) {
    enum { FLOAT = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT };
    cg_onnx_sink *s = &x->sink;
    if (given && cg_clip_text_drops_specials(j->d)) {
        cg_onnx_ref *place = cg_onnx_range(s, given->dim[1].size);
        cg_onnx_ref *end = cg_onnx_reduce(s, "ReduceSum", given, CG_SHAPE(1), 1);
        end = cg_onnx_binary(s, "Sub", end, cg_onnx_integer(s, 1));
        cg_onnx_ref *begun = cg_onnx_binary(s, "Greater", place, cg_onnx_integer(s, 0));
        given = cg_onnx_binary(s, "Less", place, end);
        given = cg_onnx_binary(s, "And", given, begun);
    }
    cg_onnx_node cast = {"Cast", 1, {given}, {CG_ONNX_INT("to", FLOAT)}};
    return cg_onnx_like(s, &cast, given);
}

static cg_status bind_clip(cg_onnx_export *x, const void *arg) {
    const job *j = arg;
    const cg_value *image = cg_graph_find_input(x->graph, "image");
    const cg_value *token = cg_graph_find_input(x->graph, "token");
    const cg_value *token_mask = cg_graph_find_input(x->graph, "token_mask");
    if (image)
        x->held[image->id] = j->o->preprocess ? cg_onnx_preprocessed(x, image, j->o->preprocess)
                                              : input_like(x, "pixel_values", image, 1);
    if (token) x->held[token->id] = input_like(x, "input_ids", token, 0);
    if (!token_mask) return x->status;
    cg_onnx_dim dim[2];
    for (int i = 0; i < 2; i++)
        dim[i] = (cg_onnx_dim){cg_onnx_size_of(&x->sink, token_mask, i), i, CG_ONNX_WHOLE};
    cg_onnx_ref *given = cg_onnx_input(x, "attention_mask", cg_onnx_data_type(CG_I64), 2, dim);
    x->path = "text/mask";
    x->held[token_mask->id] = mask(x, j, given);
    return x->status;
}

static cg_status check_clip(const cg_params *params, const job *j) {
    const cg_onnx_options *o = j->o;
    CG_TRY(check(o));
    if (!cg_params_ready(params)) return cg_error(CG_EINVAL, "the parameters have no values yet");
    if (o->what == CG_ONNX_CLASSIFIER && (!o->classifier || o->labels < 1))
        return cg_error(CG_EINVAL, "labels for a classifier: found %lld, wanted one or more",
                        (long long)o->labels);
    if (o->preprocess && o->what == CG_ONNX_TEXT)
        return cg_error(CG_EINVAL, "preprocessing of pictures, for a text tower");
    if (o->preprocess && o->preprocess->size != j->d->vision.image_size)
        return cg_error(CG_EINVAL, "preprocessing to %d pixels a side, for a tower that reads %lld",
                        o->preprocess->size, (long long)j->d->vision.image_size);
    return CG_OK;
}

cg_status cg_onnx_export_clip(cg_context *ctx, const char *path, cg_params *params,
                              const cg_clip_desc *d, const cg_onnx_options *options) {
    const job j = {d, options};
    CG_TRY(check_clip(params, &j));
    cg_onnx_export x = {.ctx = ctx,
                        .inner = options->what == CG_ONNX_CLASSIFIER ? "image_embeds" : NULL};
    cg_status s = build_all(&x, params, &j);
    if (s == CG_OK) s = run(&x, path, options, bind_clip, &j);
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) cg_graph_free(x.symbol[i].graph);
    cg_graph_free(x.graph);
    return s;
}
