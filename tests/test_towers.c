/* labels: unit */
/* Towers as a whole, where no numbers from elsewhere are needed: captions packed and padded are the
 * same model, captions without a word are captions, and the published models have the published
 * sizes. */
#include "autodiff/grad.h"
#include "graph/op.h"
#include "ops/ops.h"
#include "tests/support/captions.h"
#include "tests/support/hash.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "train/account.h"
#include "train/program.h"
#include "train/runner.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- small models ----------------------------------------------------------------------------- */

enum { CONTEXT = 77, LONGEST = CONTEXT - 2 };

/* A model with a small ViT; text: further keys of text_cfg, in single quotes. */
static cg_clip_desc small_model(const char *text) {
    char json[1024];
    cg_clip_desc d;
    snprintf(json, sizeof json,
             "{'embed_dim': 12, 'quick_gelu': true,"
             " 'vision_cfg': {'image_size': 16, 'layers': 1, 'width': 16, 'head_width': 8,"
             "                'patch_size': 8},"
             " 'text_cfg': {'context_length': %d, 'vocab_size': 97, 'width': 24, %s}}",
             CONTEXT, text);
    for (char *c = json; *c; c++)
        if (*c == '\'') *c = '"';
    json_t *j = json_loads(json, 0, NULL);
    assert_non_null(j);
    ok(cg_clip_desc_parse("description", j, &d));
    json_decref(j);
    return d;
}

#define TRANSFORMER "'text_arch': 'transformer', 'heads': 3, 'layers': 2"
#define CBOW        "'text_arch': 'cbow'"

static const char *const that_pack[] = {
    TRANSFORMER,
    TRANSFORMER ", 'pool_type': 'eos', 'eos_id': 1, 'pad_id': 2, 'ls_init_value': 0.1",
    TRANSFORMER ", 'no_causal_mask': true, 'use_pad_mask': true, 'norm': 'rmsnorm'",
    TRANSFORMER ", 'no_causal_mask': true, 'use_pad_mask': true, 'pool_type': 'first'",
    CBOW,
    CBOW ", 'norm': 'rmsnorm', 'pad_id': 5",
};
enum { THAT_PACK = sizeof that_pack / sizeof *that_pack };

/* --- packed and uniform ----------------------------------------------------------------------- */

/* Captions of 0 … n - 1 words through a text tower, and the gradients of Σ weight · embedding. */
typedef struct text_run {
    cg_params *params;
    cg_graph *graph;
    cg_plan *plan;
    cg_exec *exec;
    captions text;
    cg_value *embedding;
} text_run;

static cg_value *weighted_sum(cg_graph *g, cg_value *x) {
    int64_t n = cg_shape_count(&x->shape);
    float *weight = malloc((size_t)n * sizeof *weight);
    assert_non_null(weight);
    for (int64_t i = 0; i < n; i++) weight[i] = (float)cg_hash_unit(cg_hash_name("weight"), i);
    x = cg_mul(g, x, cg_constant(g, CG_F32, x->shape, weight));
    free(weight);
    return cg_sum(g, x, CG_SHAPE(0, 1), 0);
}

static void build(text_run *r, const cg_clip_desc *d) {
    cg_clip_build b = {0};
    cg_clip_values v;
    cg_value *wrt[128], *grad[128];
    int n = 0;
    captions_build(&r->text, &b);
    ok(cg_params_create(&r->params));
    ok(cg_graph_create(r->params, &r->graph));
    ok(cg_clip_append(r->graph, d, &b, &v));
    for (int i = 0; i < r->graph->n_value && n < 128; i++)
        if (r->graph->value[i]->param) wrt[n++] = r->graph->value[i];
    cg_value *sum = weighted_sum(r->graph, v.text_embedding);
    ok(cg_grad(r->graph, 1, &sum, NULL, n, wrt, grad));
    for (int i = 0; i < n; i++) cg_graph_output(r->graph, wrt[i]->name, grad[i], CG_KEEP);
    cg_graph_output(r->graph, "text_embedding", v.text_embedding, CG_KEEP);
    cg_pass_dead(r->graph);
    ok(cg_graph_verify(r->graph));
}

static text_run run_text(cg_context *ctx, const cg_clip_desc *d, cg_text_layout layout,
                         int64_t tokens, int64_t n) {
    int32_t length[LONGEST + 1], offset[LONGEST + 2];
    int32_t *token = malloc((size_t)(n * CONTEXT) * sizeof *token);
    text_run r = {0};
    assert_non_null(token);
    for (int32_t i = 0; i < n; i++) length[i] = i;
    cg_hash_captions(0, &d->text, n, length, token, offset);
    r.text = captions_lay_out(d, layout, tokens, n, token, offset);
    free(token);
    build(&r, d);
    ok(cg_params_alloc(r.params));
    cg_hash_params(r.params);
    ok(cg_plan_create(ctx, r.graph, &r.plan));
    ok(cg_exec_create(&r.exec));
    ok(cg_exec_use(r.exec, r.plan));
    ok(captions_bind(&r.text, d, r.exec));
    ok(cg_exec_run(r.exec));
    return r;
}

static void forget(text_run *r) {
    cg_exec_free(r->exec);
    cg_plan_free(r->plan);
    cg_graph_free(r->graph);
    cg_params_free(r->params);
    captions_free(&r->text);
}

static double length_of(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* Every output: ‖Δ‖ ≤ 1e-5 · ‖x‖ + 1e-7 · ‖all of them‖. */
static void assert_same(const char *what, const text_run *a, const text_run *b) {
    double all = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < a->graph->n_output; i++) {
            const cg_output *o = &a->graph->output[i];
            int64_t n = cg_shape_count(&o->value->shape);
            const float *x = cg_exec_output(a->exec, o->name),
                        *y = cg_exec_output(b->exec, o->name);
            assert_true(x && y);
            double length = length_of(x, n), difference = 0;
            for (int64_t k = 0; k < n; k++) difference += pow((double)x[k] - (double)y[k], 2);
            if (pass == 0)
                all = hypot(all, length);
            else if (!(sqrt(difference) <= 1e-5 * length + 1e-7 * all))
                fail_msg("%s: %s differs by %.3g of %.3g", what, o->name, sqrt(difference), length);
        }
}

static void assert_captions_differ(const char *what, const text_run *r, int64_t n, int64_t d) {
    const float *x = cg_exec_output(r->exec, "text_embedding");
    for (int64_t i = 1; i < n; i++) {
        double difference = 0;
        for (int64_t k = 0; k < d; k++)
            difference += fabs((double)x[i * d + k] - (double)x[(i - 1) * d + k]);
        if (!(difference > 1e-4))
            fail_msg("%s: captions %d and %d are embedded alike", what, (int)i - 1, (int)i);
    }
}

static void packed_and_uniform_are_the_same_model(void **state) {
    (void)state;
    static const struct {
        int64_t captions, tokens;
    } size[] = {{LONGEST + 1, CONTEXT}, {20, 21}, {1, 2}};
    cg_context *ctx;
    ok(cg_context_create(1, &ctx));
    for (int i = 0; i < THAT_PACK; i++)
        for (int k = 0; k < 3; k++) {
            cg_clip_desc d = small_model(that_pack[i]);
            text_run a = run_text(ctx, &d, CG_TEXT_PACKED, 0, size[k].captions);
            text_run b = run_text(ctx, &d, CG_TEXT_UNIFORM, size[k].tokens, size[k].captions);
            assert_same(that_pack[i], &a, &b);
            assert_captions_differ(that_pack[i], &a, size[k].captions, d.embed_dim);
            forget(&a);
            forget(&b);
        }
    cg_context_free(ctx);
}

static void what_sees_padding_is_not_packed(void **state) {
    (void)state;
    static const char *const text[] = {TRANSFORMER ", 'pool_type': 'last'",
                                       TRANSFORMER ", 'no_causal_mask': true"};
    for (int i = 0; i < 2; i++) {
        cg_clip_desc d = small_model(text[i]);
        cg_params *params;
        cg_graph *g;
        cg_clip_values v;
        cg_clip_build b = {.texts = 1, .layout = CG_TEXT_PACKED, .rows = 64};
        assert_false(cg_clip_text_packs(&d));
        ok(cg_params_create(&params));
        ok(cg_graph_create(params, &g));
        assert_int_equal(cg_clip_append(g, &d, &b, &v), CG_EINVAL);
        assert_string_equal(cg_error_message(),
                            "captions cannot be packed: this text tower sees padding");
        cg_graph_free(g);
        cg_params_free(params);
    }
}

/* --- captions without a word ------------------------------------------------------------------ */

static void check_empty_captions(cg_context *ctx, const char *text) {
    enum { N = 4, SIZE = 16 };
    cg_clip_desc d = small_model(text);
    int32_t none[N] = {0}, token[2 * N], offset[N + 1];
    static float image[N * SIZE * SIZE * 3];
    cg_runner *r;
    double loss;
    ok(cg_runner_create(ctx, &d, &r));
    cg_params_init(cg_runner_params(r), 1);
    int64_t n = cg_params_trained_elements(cg_runner_params(r));
    float *gradient = calloc((size_t)n, sizeof *gradient);
    assert_non_null(gradient);
    cg_hash_image(0, N, SIZE, image);
    cg_hash_captions(0, &d.text, N, none, token, offset);
    cg_batch b = {.n = N, .image = image, .token = token, .offset = offset};
    ok(cg_runner_backward(r, &b, gradient, &loss));
    if (!isfinite(loss)) fail_msg("%s: the loss is %g", text, loss);
    /* one caption for all pictures: neither direction can do better than chance on average */
    assert_true(loss > log(N) - 1e-4);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(gradient[i])) fail_msg("%s: a gradient is %g", text, (double)gradient[i]);
    free(gradient);
    cg_runner_free(r);
}

static void captions_without_a_word_are_learned_from(void **state) {
    (void)state;
    cg_context *ctx;
    ok(cg_context_create(1, &ctx));
    for (int i = 0; i < THAT_PACK; i++) check_empty_captions(ctx, that_pack[i]);
    check_empty_captions(ctx, TRANSFORMER ", 'no_causal_mask': true");
    check_empty_captions(ctx, TRANSFORMER ", 'pool_type': 'last'");
    cg_context_free(ctx);
}

/* --- the published models --------------------------------------------------------------------- */

/* arXiv:2103.00020, tables 19 and 20: million parameters, GFLOPs of a picture; and the parameters
 * exactly, as the same shapes have them in PyTorch. */
static const struct {
    const char *name;
    int64_t parameters;
    double millions, gflop;
} published[] = {
    {"RN50", 102007137, 102.01, 12.22},          {"RN101", 119688033, 119.69, 19.54},
    {"RN50x4", 178300601, 178.30, 42.56},        {"RN50x16", 290979217, 290.98, 149.39},
    {"RN50x64", 623258305, 623.26, 529.11},      {"ViT-B-32", 151277313, 151.28, 8.82},
    {"ViT-B-16", 149620737, 149.62, 35.13},      {"ViT-L-14", 427616513, 427.62, 162.03},
    {"ViT-L-14-336", 427944193, 427.94, 381.92},
};

static void parameters_are_as_published(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        cg_clip_desc d = describe(published[i].name);
        cg_clip_build b = cg_clip_batch(&d, 1, 1, d.text.context_length);
        cg_params *params;
        cg_graph *g;
        cg_account_params count;
        b.training = b.loss = 1;
        ok(cg_params_create(&params));
        ok(cg_program_build(params, &d, &b, &(cg_program){.off = CG_PASSES_NONE}, &g));
        cg_account_count(params, &count);
        if (count.all != published[i].parameters)
            fail_msg("%s: %lld parameters, wanted %lld", published[i].name, (long long)count.all,
                     (long long)published[i].parameters);
        assert_true(fabs(1e-6 * (double)count.all - published[i].millions) <= 0.005);
        cg_graph_free(g);
        cg_params_free(params);
    }
}

/* What the paper counts and nobody asks for: a ResNet's attention pool has one query, but is
 * counted with the queries, attention and output of every pixel, too; and a convolution's taps
 * outside the picture. */
static double pool_of_all(const cg_clip_desc *d) {
    if (d->vision.n_layers != 4) return 0;
    double side = (double)d->vision.image_size / 32, hw = side * side;
    double c = 32 * (double)d->vision.width, e = (double)d->embed_dim;
    return hw * (2 * c * c + 2 * c * e + 4 * (hw + 1) * c);
}

static double flops_of(const cg_node *n) {
    if (strcmp(n->op->name, "conv2d") == 0) {
        const cg_shape *weight = &n->in[1]->shape;
        return 2.0 * (double)(cg_shape_count(&n->out[0]->shape) * cg_shape_count(weight) /
                              weight->dim[0]);
    }
    return n->op->flops ? (double)n->op->flops(n) : 0;
}

static void flops_are_as_published(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        cg_clip_desc d = describe(published[i].name);
        cg_clip_build b = {.images = 1};
        cg_params *params;
        cg_graph *g;
        double flops = pool_of_all(&d);
        ok(cg_params_create(&params));
        ok(cg_program_build(params, &d, &b, &(cg_program){.off = CG_PASSES_NONE}, &g));
        for (int k = 0; k < g->n_node; k++) flops += flops_of(g->node[k]);
        if (fabs(1e-9 * flops / published[i].gflop - 1) > 0.01)
            fail_msg("%s: %.2f GFLOP, wanted %.2f", published[i].name, 1e-9 * flops,
                     published[i].gflop);
        cg_graph_free(g);
        cg_params_free(params);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_and_uniform_are_the_same_model),
        cmocka_unit_test(what_sees_padding_is_not_packed),
        cmocka_unit_test(captions_without_a_word_are_learned_from),
        cmocka_unit_test(parameters_are_as_published),
        cmocka_unit_test(flops_are_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
