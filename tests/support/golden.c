#include "tests/support/golden.h"

#include "autodiff/grad.h"
#include "ops/passes/passes.h"
#include "tests/support/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>

/* --- the golden file -------------------------------------------------------------------------- */

static const char *meta(const golden *g, const char *key) {
    const char *text = cg_safetensors_meta_find(g->file, key);
    if (!text) fail_msg("%s: no metadata %s", g->path, key);
    return text;
}

static json_t *meta_json(const golden *g, const char *key) {
    json_t *j = json_loads(meta(g, key), 0, NULL);
    if (!j) fail_msg("%s: metadata %s is not JSON", g->path, key);
    return j;
}

double golden_training(const golden *g, const char *key) {
    json_t *j = json_object_get(g->training, key);
    if (!json_is_number(j)) fail_msg("%s: training lacks %s", g->path, key);
    return json_number_value(j);
}

/* The file's f32 lie aligned. */
const float *golden_expected(const golden *g, const char *prefix, const char *name, int64_t count) {
    char full[256];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const cg_tensor *t = cg_safetensors_find(g->file, full);
    if (!t) fail_msg("%s: no tensor %s", g->path, full);
    if (t->dtype != CG_F32 || cg_shape_count(&t->shape) != count)
        fail_msg("%s: %s has %lld elements of %s, wanted %lld of f32", g->path, full,
                 (long long)cg_shape_count(&t->shape), cg_dtype_name(t->dtype), (long long)count);
    return t->data;
}

static double length_of(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static int is_gradient(const cg_tensor *t) {
    return strncmp(t->name, "grad.", 5) == 0;
}

int golden_gradients(const golden *g) {
    const cg_tensor *t = cg_safetensors_tensors(g->file);
    int n = 0;
    for (int i = 0; i < cg_safetensors_count(g->file); i++) n += is_gradient(&t[i]);
    return n;
}

static double norm_of_gradients(const golden *g) {
    const cg_tensor *t = cg_safetensors_tensors(g->file);
    double sum = 0;
    for (int i = 0; i < cg_safetensors_count(g->file); i++)
        if (is_gradient(&t[i])) sum += pow(length_of(t[i].data, cg_shape_count(&t[i].shape)), 2);
    return sqrt(sum);
}

static int64_t rows_of(const golden *g, const char *name) {
    const cg_tensor *t = cg_safetensors_find(g->file, name);
    if (!t || t->shape.rank != 2) fail_msg("%s: no matrix %s", g->path, name);
    return t->shape.dim[0];
}

golden *golden_open(const char *name) {
    golden *g = calloc(1, sizeof *g);
    assert_non_null(g);
    snprintf(g->path, sizeof g->path, CG_SOURCE_DIR "/tests/golden/%s.safetensors", name);
    ok(cg_safetensors_open(g->path, &g->file));
    json_t *config = meta_json(g, "config"), *lengths = meta_json(g, "lengths");
    ok(cg_clip_desc_parse(g->path, config, &g->desc));
    if (cg_safetensors_meta_find(g->file, "training")) g->training = meta_json(g, "training");
    g->images = rows_of(g, "image_embedding");
    g->texts = rows_of(g, "text_embedding");
    assert_in_range(g->texts, 1, GOLDEN_CAPTIONS);
    assert_int_equal(g->texts, json_array_size(lengths));
    for (size_t t = 0; t < (size_t)g->texts; t++)
        g->length[t] = (int32_t)json_integer_value(json_array_get(lengths, t));
    g->first = atoi(meta(g, "first"));
    g->scale = exp((double)g->desc.init_logit_scale);
    g->gradient_norm = norm_of_gradients(g);
    json_decref(config);
    json_decref(lengths);
    return g;
}

void golden_close(golden *g) {
    json_decref(g->training);
    cg_safetensors_close(g->file);
    free(g);
}

/* --- judging ---------------------------------------------------------------------------------- */

void judge(verdict *v, const char *name, double found, double allowed) {
    double part = found / allowed;
    if (!(found <= allowed)) {
        print_error("%s %s: differs by %.3g, allowed %.3g\n", v->what, name, found, allowed);
        v->wrong++;
    }
    if (v->worst[0] && part <= v->part) return;
    v->part = part;
    snprintf(v->worst, sizeof v->worst, "%s: %.3g of %.3g allowed", name, found, allowed);
}

static double distance(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pow((double)a[i] - (double)b[i], 2);
    return sqrt(sum);
}

void judge_gradient(verdict *v, const golden *g, const cg_param *p, const float *found,
                    const float *wanted, double part) {
    judge(v, p->name, distance(found, wanted, p->count),
          part * length_of(wanted, p->count) + 1e-7 * g->gradient_norm);
}

void pronounce(const verdict *v) {
    print_message("             %s: worst is %s\n", v->what, v->worst);
    if (v->wrong) fail_msg("%s: %d wrong", v->what, v->wrong);
}

double largest_difference(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst)) worst = d; /* takes NaN too, and keeps it */
    }
    return worst;
}

double largest(const float *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

/* --- inputs ----------------------------------------------------------------------------------- */

cg_text_layout golden_layout(const golden *g) {
    return cg_clip_text_packs(&g->desc) ? CG_TEXT_PACKED : CG_TEXT_UNIFORM;
}

static void fill_inputs(golden_model *m, const golden *g, cg_text_layout layout) {
    int64_t size = g->desc.vision.image_size, total = 2 * g->texts;
    for (int64_t t = 0; t < g->texts; t++) total += g->length[t];
    int32_t *token = malloc((size_t)total * sizeof *token), offset[GOLDEN_CAPTIONS + 1];
    m->image = malloc((size_t)(g->images * size * size * 3) * sizeof *m->image);
    assert_true(token && m->image);
    cg_hash_image(g->first, g->images, size, m->image);
    cg_hash_captions(g->first, &g->desc.text, g->texts, g->length, token, offset);
    m->text =
        captions_lay_out(&g->desc, layout, g->desc.text.context_length, g->texts, token, offset);
    free(token);
}

/* --- the model -------------------------------------------------------------------------------- */

static void append_gradients(cg_graph *g, cg_value *loss) {
    int n = 0;
    cg_value **wrt = calloc((size_t)g->n_value, sizeof *wrt);
    cg_value **grad = calloc((size_t)g->n_value, sizeof *grad);
    assert_true(wrt && grad);
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->param && g->value[i]->param->trainable) wrt[n++] = g->value[i];
    ok(cg_grad(g, 1, &loss, NULL, n, wrt, grad));
    for (int i = 0; i < n; i++) cg_graph_output(g, wrt[i]->name, grad[i], CG_SET);
    free(wrt);
    free(grad);
}

static void build(golden_model *m, const golden *g, golden_setting s) {
    cg_clip_build b = {.images = g->images, .training = s.backward, .loss = s.backward};
    cg_clip_values v;
    captions_build(&m->text, &b);
    ok(cg_params_create(&m->params));
    ok(cg_graph_create(m->params, &m->graph));
    ok(cg_clip_append(m->graph, &g->desc, &b, &v));
    cg_graph_output(m->graph, "image_embedding", v.image_embedding, CG_KEEP);
    cg_graph_output(m->graph, "text_embedding", v.text_embedding, CG_KEEP);
    if (s.backward) {
        cg_graph_output(m->graph, "logits", v.logits, CG_KEEP);
        cg_graph_output(m->graph, "loss", v.loss, CG_KEEP);
    }
    cg_passes_off off = s.passes == 2 ? 0 : CG_PASSES_NONE;
    ok(cg_passes_run(m->graph, CG_STAGE_MODEL, off, NULL));
    if (s.backward) append_gradients(m->graph, cg_graph_find_output(m->graph, "loss")->value);
    if (s.passes) {
        cg_pass_common(m->graph);
        cg_pass_dead(m->graph);
    }
    ok(cg_passes_run(m->graph, CG_STAGE_WHOLE, off, NULL));
    ok(cg_graph_verify(m->graph));
}

static void bind(golden_model *m, const golden *g) {
    ok(cg_exec_bind_input(m->exec, "image", m->image));
    ok(captions_bind(&m->text, &g->desc, m->exec));
    for (int i = 0; i < m->graph->n_output; i++) {
        const cg_output *o = &m->graph->output[i];
        if (o->mode != CG_SET) continue;
        const cg_param *p = cg_params_find(m->params, o->name);
        ok(cg_exec_bind_output(m->exec, o->name, m->gradient + p->offset / sizeof(float)));
    }
}

golden_model golden_run(const golden *g, golden_setting s) {
    golden_model m = {0};
    ok(cg_context_create(s.threads, &m.ctx));
    fill_inputs(&m, g, s.layout);
    build(&m, g, s);
    ok(cg_params_alloc(m.params));
    cg_hash_params(m.params);
    m.gradient = calloc((size_t)cg_params_trained_elements(m.params), sizeof *m.gradient);
    assert_non_null(m.gradient);
    ok((s.backward ? cg_plan_create : cg_plan_create_frozen)(m.ctx, m.graph, &m.plan));
    ok(cg_exec_create(&m.exec));
    ok(cg_exec_use(m.exec, m.plan));
    bind(&m, g);
    ok(cg_exec_run(m.exec));
    return m;
}

void golden_forget(golden_model *m) {
    cg_exec_free(m->exec);
    cg_plan_free(m->plan);
    cg_graph_free(m->graph);
    cg_params_free(m->params);
    cg_context_free(m->ctx);
    free(m->gradient);
    free(m->image);
    captions_free(&m->text);
}

const float *golden_output(const golden_model *m, const char *name) {
    const float *x = cg_exec_output(m->exec, name);
    if (!x) fail_msg("no output %s", name);
    return x;
}

const float *golden_gradient(const golden_model *m, const cg_param *p) {
    return m->gradient + p->offset / sizeof(float);
}

void golden_compare(verdict *v, const golden *g, const golden_model *m, const char *name,
                    const char *prefix, double allowed) {
    const cg_output *o = cg_graph_find_output(m->graph, name);
    assert_non_null(o);
    int64_t n = cg_shape_count(&o->value->shape);
    judge(v, name,
          largest_difference(golden_output(m, name), golden_expected(g, prefix, name, n), n),
          allowed);
}
