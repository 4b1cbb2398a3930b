/* Writes an ONNX file of a described model, its weights a hash of their names, and beside it inputs
 * and what our own runtime makes of them, as .npy files, for tools/check_onnx.py.
 *
 *     onnx_sample MODEL.json PREFIX [what=image|text|both|classifier] [opset=N]
 *                 [weights=f32|f16|bf16] [described=1] [external=1] [initial=1]
 *                 [preprocess=shortest|longest|squash] [filter=linear]
 *
 *     onnx_sample ops FOLDER [opset=N]
 *
 * The first writes PREFIX.onnx and, for k = 0, 1 and 2, PREFIX.k.NAME.npy, NAME being an input's or
 * output's.
 */
#include "graph/file.h"
#include "serialize/npy.h"
#include "serialize/onnx/export.h"
#include "tests/support/hash.h"
#include "tests/support/onnx_cases.h"
#include "tests/support/op_run.h"
#include "train/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCHES = 3, LABELS = 3 };
static const int64_t batch_sizes[BATCHES] = {3, 2, 1};
static const int32_t lengths[BATCHES][3] = {{7, 12, 4}, {5, 2}, {9}};

typedef struct sample {
    const char *prefix;
    cg_clip_desc d;
    cg_context *ctx;
    cg_runner *r;
    cg_onnx_options o;
} sample;

static void need(cg_status s) {
    if (s == CG_OK) return;
    fprintf(stderr, "onnx_sample: %s\n", cg_error_message());
    exit(1);
}

static void *zeroed(int64_t n, size_t size) {
    void *p = calloc((size_t)n + 1, size);
    if (!p) need(cg_error(CG_ENOMEM, "no memory"));
    return p;
}

static void save(const sample *s, int k, const char *name, cg_dtype dtype, cg_shape shape,
                 const void *data) {
    char path[1024];
    snprintf(path, sizeof path, "%s.%d.%s.npy", s->prefix, k, name);
    need(cg_npy_save(path, dtype, &shape, data));
}

static void images(const sample *s, int k) {
    int64_t n = batch_sizes[k], side = s->d.vision.image_size, pixels = side * side;
    float *x = zeroed(n * pixels * 3, sizeof *x), *nchw = zeroed(n * pixels * 3, sizeof *nchw);
    float *y = zeroed(n * s->d.embed_dim, sizeof *y);
    cg_hash_image(k, n, side, x);
    for (int64_t i = 0; i < n; i++)
        for (int64_t p = 0; p < pixels; p++)
            for (int64_t c = 0; c < 3; c++)
                nchw[(i * 3 + c) * pixels + p] = x[(i * pixels + p) * 3 + c];
    need(cg_runner_embed_images(s->r, x, n, y));
    save(s, k, "pixel_values", CG_F32, CG_SHAPE(n, 3, side, side), nchw);
    save(s, k, "image_embeds", CG_F32, CG_SHAPE(n, s->d.embed_dim), y);
    free(y);
    free(nchw);
    free(x);
}

static void texts(const sample *s, int k) {
    int64_t n = batch_sizes[k], t = s->d.text.context_length;
    int32_t offset[8], length[3], *token = zeroed(n * t, sizeof *token);
    for (int i = 0; i < 3; i++) length[i] = lengths[k][i] < t - 2 ? lengths[k][i] : (int32_t)t - 2;
    cg_hash_captions(k, &s->d.text, n, length, token, offset);
    if (cg_clip_text_packs(&s->d)) { /* then as long as the longest */
        t = 0;
        for (int64_t i = 0; i < n; i++)
            if (offset[i + 1] - offset[i] > t) t = offset[i + 1] - offset[i];
    }
    int64_t *id = zeroed(n * t, sizeof *id), *mask = zeroed(n * t, sizeof *mask);
    float *y = zeroed(n * s->d.embed_dim, sizeof *y);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < t; j++) {
            mask[i * t + j] = j < offset[i + 1] - offset[i];
            id[i * t + j] = mask[i * t + j] ? token[offset[i] + j] : s->d.text.pad_id;
        }
    need(cg_runner_embed_texts(s->r, token, offset, n, y));
    save(s, k, "input_ids", CG_I64, CG_SHAPE(n, t), id);
    save(s, k, "attention_mask", CG_I64, CG_SHAPE(n, t), mask);
    save(s, k, "text_embeds", CG_F32, CG_SHAPE(n, s->d.embed_dim), y);
    free(y);
    free(mask);
    free(id);
    free(token);
}

/* A picture of its own size, and what our preprocessing makes of it: "pixel_values" [S, S, 3]. */
static void picture(const sample *s, int k) {
    static const int size[BATCHES][2] = {{100, 61}, {47, 213}, {33, 32}};
    int width = size[k][0], height = size[k][1];
    int64_t n = 3 * (int64_t)width * height, side = s->d.vision.image_size;
    uint8_t *rgb = zeroed(n, 1);
    float *x = zeroed(n, sizeof *x), *y = zeroed(s->d.embed_dim, sizeof *y);
    float *ready = zeroed(side * side * 3, sizeof *ready);
    uint64_t key = cg_hash_name("picture");
    for (int64_t i = 0; i < n; i++) { /* blocks of noise, and slopes between them */
        int64_t column = i / 3 % width, row = i / 3 / width;
        int noise = (column / 9 + row / 7 + i) % 2;
        rgb[i] = (uint8_t)(noise ? 127.5 + 127.5 * cg_hash_unit(key, i)
                                 : (double)(3 * column + 2 * row));
        x[i] = rgb[i];
    }
    need(cg_preprocess_image(&(cg_image){.rgb = rgb, .width = width, .height = height},
                             s->o.preprocess, ready));
    need(cg_runner_embed_images(s->r, ready, 1, y));
    save(s, k, "pixels", CG_F32, CG_SHAPE(1, height, width, 3), x);
    save(s, k, "pixel_values", CG_F32, CG_SHAPE(side, side, 3), ready);
    save(s, k, "image_embeds", CG_F32, CG_SHAPE(1, s->d.embed_dim), y);
    free(ready);
    free(y);
    free(x);
    free(rgb);
}

/* Labels' embeddings that are no tower's. */
static float *labels(const sample *s) {
    float *x = zeroed(LABELS * s->d.embed_dim, sizeof *x);
    for (int64_t i = 0; i < LABELS * s->d.embed_dim; i++)
        x[i] = (float)cg_hash_unit(cg_hash_name("labels"), i) / 8;
    save(s, 0, "labels", CG_F32, CG_SHAPE(LABELS, s->d.embed_dim), x);
    return x;
}

/* As a new model has them, vectors aside, which would be all alike: hashed weights grow too large
 * in a hundred layers. */
static void initialise(cg_params *p) {
    cg_params_init(p, 1);
    for (int i = 0; i < cg_params_count(p); i++) {
        cg_param *t = cg_params_at(p, i);
        float *x = t->data;
        for (int64_t k = 0; t->dtype == CG_F32 && t->shape.rank == 1 && k < t->count; k++)
            x[k] += 0.1f * (float)cg_hash_unit(cg_hash_name(t->name), k);
    }
    cg_params_changed(p);
}

static int read_preprocess(cg_preprocess *p, const char *text) {
    static const char *const mode[] = {"preprocess=shortest", "preprocess=longest",
                                       "preprocess=squash"};
    if (strcmp(text, "filter=linear") == 0) p->interpolation = CG_BILINEAR;
    for (int i = 0; i < 3; i++)
        if (strcmp(text, mode[i]) == 0) {
            p->resize_mode = (cg_resize_mode)i;
            return 1;
        }
    return 0;
}

static void read_option(sample *s, const char *text) {
    static const char *const what[] = {"what=image", "what=text", "what=both", "what=classifier"};
    for (int i = 0; i < 4; i++)
        if (strcmp(text, what[i]) == 0) s->o.what = (cg_onnx_what)i;
    if (strncmp(text, "opset=", 6) == 0) s->o.opset = atoi(text + 6);
    if (strcmp(text, "weights=f16") == 0) s->o.weights = CG_F16;
    if (strcmp(text, "weights=bf16") == 0) s->o.weights = CG_BF16;
    if (strcmp(text, "described=1") == 0) s->o.as_described = 1;
    if (strcmp(text, "external=1") == 0) s->o.external = 1;
}

/* --- ops -------------------------------------------------------------------------------------- */

/* Numbers as a file has them: f32 or i64. */
static void save_numbers(const char *path, const double *x, cg_dtype dtype, const cg_shape *shape) {
    int64_t n = cg_shape_count(shape);
    cg_dtype to = dtype == CG_F32 ? CG_F32 : CG_I64;
    void *numbers = zeroed(n, 8);
    for (int64_t i = 0; i < n; i++)
        if (to == CG_F32)
            ((float *)numbers)[i] = (float)x[i];
        else
            ((int64_t *)numbers)[i] = (int64_t)x[i];
    need(cg_npy_save(path, to, shape, numbers));
    free(numbers);
}

static void export_case(cg_context *ctx, const cg_op_case *c, const char *prefix, int opset) {
    char path[1024];
    cg_graph *g = cg_onnx_case_graph(c);
    snprintf(path, sizeof path, "%s.onnx", prefix);
    cg_status s = cg_onnx_export_graph(ctx, path, g, &(cg_onnx_options){.opset = opset});
    if (s != CG_OK) {
        printf("%s: %s: %s\n", c->op->name, c->label, cg_error_message());
        cg_graph_free(g);
        return;
    }
    cg_fixture f = cg_fixture_make(c);
    cg_case_run r = {.ctx = ctx};
    cg_case_run_do(&f, &r);
    for (int i = 0; i < c->n_in; i++) {
        snprintf(path, sizeof path, "%s.in%d.npy", prefix, i);
        save_numbers(path, f.in[i], c->in[i].dtype, &c->in[i].shape);
    }
    for (int i = 0; i < c->n_out; i++) {
        const cg_value *v = g->output[i].value;
        snprintf(path, sizeof path, "%s.out%d.npy", prefix, i);
        save_numbers(path, r.out[i], v->dtype, &v->shape);
    }
    cg_case_run_free(&r);
    cg_fixture_free(&f);
    cg_graph_free(g);
}

static int all_cases(const char *folder, int opset) {
    cg_context *ctx;
    char prefix[512];
    need(cg_context_create(0, &ctx));
    for (int i = 0; cg_onnx_case(i); i++) {
        const cg_op_case *c = cg_onnx_case(i);
        snprintf(prefix, sizeof prefix, "%s/%d.%s", folder, i, c->op->name);
        if (c->op->onnx && c->op != &cg_op_cast) export_case(ctx, c, prefix, opset);
    }
    cg_context_free(ctx);
    return 0;
}

int main(int argc, char **argv) {
    static const cg_meta meta[] = {{"clipgraph.sample", "1"}};
    sample s = {.o = {.meta = meta, .n_meta = 1}};
    cg_preprocess p = cg_preprocess_default();
    char path[1024];
    float *label = NULL;
    int initial = 0;
    if (argc < 3)
        need(cg_error(CG_EINVAL, "usage: onnx_sample MODEL.json PREFIX [option=value …]"));
    if (strcmp(argv[1], "ops") == 0)
        return all_cases(argv[2], argc > 3 ? atoi(argv[3] + strlen("opset=")) : 17);
    s.prefix = argv[2];
    need(cg_clip_desc_load(argv[1], &s.d));
    p.size = (int)s.d.vision.image_size;
    for (int i = 3; i < argc; i++) {
        read_option(&s, argv[i]);
        if (read_preprocess(&p, argv[i])) s.o.preprocess = &p;
        if (strcmp(argv[i], "initial=1") == 0) initial = 1;
    }
    need(cg_context_create(0, &s.ctx));
    need(cg_runner_create(s.ctx, &s.d, &s.r));
    if (initial)
        initialise(cg_runner_params(s.r));
    else
        cg_hash_params(cg_runner_params(s.r));
    if (s.o.what == CG_ONNX_CLASSIFIER) {
        s.o.classifier = label = labels(&s);
        s.o.labels = LABELS;
    }
    snprintf(path, sizeof path, "%s.onnx", s.prefix);
    need(cg_onnx_export_clip(s.ctx, path, cg_runner_params(s.r), &s.d, &s.o));
    for (int k = 0; k < BATCHES; k++) {
        if (s.o.preprocess)
            picture(&s, k);
        else if (s.o.what != CG_ONNX_TEXT)
            images(&s, k);
        if (s.o.what == CG_ONNX_TEXT || s.o.what == CG_ONNX_BOTH) texts(&s, k);
    }
    float t = (float)cg_runner_temperature(s.r), bias = 0;
    const cg_param *learned = cg_params_find(cg_runner_params(s.r), "logit_bias");
    if (learned) bias = *(const float *)learned->data;
    save(&s, 0, "bias", CG_F32, CG_SCALAR, &bias);
    save(&s, 0, "temperature", CG_F32, CG_SCALAR, &t);
    free(label);
    cg_runner_free(s.r);
    cg_context_free(s.ctx);
    return 0;
}
