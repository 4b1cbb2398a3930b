/* labels: unit */
/* Our own files, run by our own runtime: what is exported of a model gives the embeddings that the
 * model gives, and takes the ops that the model takes. */
#include "ops/ops.h"
#include "serialize/onnx/export.h"
#include "serialize/onnx/session.h"
#include "tests/support/golden.h"
#include "tests/support/hash.h"
#include "tests/support/models.h"
#include "train/runner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH "onnx_round.tmp.onnx"
enum { N = 3, MOST_PIXELS = N * 3 * 64 * 64, MOST_TOKENS = N * 128, MOST_WIDTH = 256 };

typedef struct round {
    cg_clip_desc d;
    cg_context *ctx;
    cg_runner *r;
    float image[MOST_PIXELS], pixels[MOST_PIXELS]; /* [n, h, w, c], and as files have them */
    int32_t token[MOST_TOKENS], offset[N + 1];
    int64_t id[MOST_TOKENS], mask[MOST_TOKENS], tokens;
    float image_embedding[N * MOST_WIDTH], text_embedding[N * MOST_WIDTH];
} round_trip;

static round_trip *open_model(const char *name) {
    static const int32_t length[N] = {7, 3, 5};
    round_trip *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->d = describe(name);
    ok(cg_context_create(2, &t->ctx));
    ok(cg_runner_create(t->ctx, &t->d, &t->r));
    cg_hash_params(cg_runner_params(t->r));
    int64_t side = t->d.vision.image_size, area = side * side;
    assert_true(N * 3 * area <= MOST_PIXELS && t->d.embed_dim <= MOST_WIDTH);
    cg_hash_image(0, N, side, t->image);
    for (int64_t i = 0; i < N * 3 * area; i++)
        t->pixels[(i / 3 / area * 3 + i % 3) * area + i / 3 % area] = t->image[i];
    cg_hash_captions(0, &t->d.text, N, length, t->token, t->offset);
    t->tokens = cg_clip_text_packs(&t->d) ? 9 : t->d.text.context_length;
    for (int64_t i = 0; i < N * t->tokens; i++) {
        int64_t at = t->offset[i / t->tokens] + i % t->tokens;
        t->mask[i] = at < t->offset[i / t->tokens + 1];
        t->id[i] = t->mask[i] ? t->token[at] : t->d.text.pad_id;
    }
    ok(cg_runner_embed_images(t->r, t->image, N, t->image_embedding));
    ok(cg_runner_embed_texts(t->r, t->token, t->offset, N, t->text_embedding));
    return t;
}

static void close_model(round_trip *t) {
    cg_runner_free(t->r);
    cg_context_free(t->ctx);
    free(t);
    (void)unlink(PATH);
    (void)unlink(PATH ".data");
}

/* The inputs that the file has. */
static int inputs_of(const round_trip *t, const cg_onnx_file *f, cg_tensor in[3]) {
    int64_t side = t->d.vision.image_size;
    const cg_tensor all[3] = {
        {"pixel_values", CG_F32, CG_SHAPE(N, 3, side, side), t->pixels,
         (size_t)(N * 3 * side * side) * sizeof(float)},
        {"input_ids", CG_I64, CG_SHAPE(N, t->tokens), t->id, (size_t)(N * t->tokens) * 8},
        {"attention_mask", CG_I64, CG_SHAPE(N, t->tokens), t->mask, (size_t)(N * t->tokens) * 8}};
    const cg_onnx_port *port;
    int n = cg_onnx_inputs(f, &port);
    assert_true(n >= 1 && n <= 3);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 3; k++)
            if (strcmp(port[i].name, all[k].name) == 0) in[i] = all[k];
    return n;
}

static int count(const cg_graph *g, const cg_op *op) {
    int n = 0;
    for (int i = 0; i < g->n_node; i++) n += g->node[i]->op == op;
    return n;
}

/* Exports both towers and runs them, twice: the second time with weights laid out. */
static void check(const round_trip *t, cg_onnx_options o, double allowed) {
    cg_onnx_session *s;
    cg_tensor in[3] = {{0}}, out[2];
    o.what = CG_ONNX_BOTH;
    ok(cg_onnx_export_clip(t->ctx, PATH, cg_runner_params(t->r), &t->d, &o));
    ok(cg_onnx_session_create(t->ctx, PATH, NULL, &s));
    int n = inputs_of(t, cg_onnx_session_file(s), in);
    for (int k = 0; k < 2; k++) {
        out[0] = (cg_tensor){.name = "image_embeds"};
        out[1] = (cg_tensor){.name = "text_embeds"};
        ok(cg_onnx_session_run(s, in, n, out, 2));
        int64_t elements = N * t->d.embed_dim;
        assert_true(largest_difference(out[0].data, t->image_embedding, elements) <= allowed);
        assert_true(largest_difference(out[1].data, t->text_embedding, elements) <= allowed);
    }
    const cg_graph *g = cg_onnx_session_graph(s);
    assert_int_equal(count(g, &cg_op_l2norm), 2);
    assert_int_equal(count(g, &cg_op_erf), 0);
    if (o.as_described) assert_int_equal(count(g, &cg_op_softmax), 0);
    cg_onnx_session_free(s);
}

static const char *const names[] = {"tiny-vit-transformer", "tiny-resnet-cbow",
                                    "tiny-resnet-transformer", "tiny-vit-cbow"};

static void test_models(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        round_trip *t = open_model(names[i]);
        check(t, (cg_onnx_options){0}, 1e-5);
        check(t, (cg_onnx_options){.opset = 20, .as_described = 1}, 1e-5);
        check(t, (cg_onnx_options){.external = 1, .opset = 18}, 1e-5);
        close_model(t);
    }
}

/* Matrices that are stored in half the bytes are as exact as those. */
static void test_narrow_weights(void **state) {
    (void)state;
    round_trip *t = open_model(names[0]);
    check(t, (cg_onnx_options){.weights = CG_F16}, 4e-3);
    check(t, (cg_onnx_options){.weights = CG_BF16}, 4e-2);
    close_model(t);
}

/* Pictures of any size go in as bytes, and are prepared in the file. */
static void test_preprocessing(void **state) {
    (void)state;
    enum { W = 50, H = 41 };
    round_trip *t = open_model(names[2]);
    cg_preprocess how = cg_preprocess_default();
    static uint8_t rgb[W * H * 3];
    for (int i = 0; i < W * H * 3; i++) rgb[i] = (uint8_t)(i % 3 * 40 + i / 3 % W * 3 + i / 3 / W);
    how.size = (int)t->d.vision.image_size;
    float wanted[MOST_WIDTH];
    cg_image picture = {.rgb = rgb, .width = W, .height = H};
    ok(cg_preprocess_image(&picture, &how, t->image));
    ok(cg_runner_embed_images(t->r, t->image, 1, wanted));
    cg_onnx_options o = {.what = CG_ONNX_IMAGE, .preprocess = &how};
    ok(cg_onnx_export_clip(t->ctx, PATH, cg_runner_params(t->r), &t->d, &o));
    cg_onnx_session *s;
    ok(cg_onnx_session_create(t->ctx, PATH, NULL, &s));
    cg_tensor in = {"pixels", CG_U8, CG_SHAPE(1, H, W, 3), rgb, sizeof rgb}, out = {0};
    ok(cg_onnx_session_run(s, &in, 1, &out, 1));
    /* a colour that lies between two may be rounded to the other */
    assert_true(largest_difference(out.data, wanted, t->d.embed_dim) <= 2e-3);
    cg_onnx_session_free(s);
    close_model(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_narrow_weights),
        cmocka_unit_test(test_preprocessing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
