/* labels: golden */
/* A whole small CLIP (ResNet and bag of words, every parameter randomised) against what
 * tools/make_golden.py computed in double with PyTorch: embeddings, logits, loss, each gradient,
 * running statistics, inference, ten training steps. And the same plan against itself: with and
 * without passes, with one thread and two. */
#include "autodiff/grad.h"
#include "graph/exec.h"
#include "graph/op.h"
#include "models/clip.h"
#include "serialize/safetensors.h"
#include "tests/support/hash.h"
#include "train/optimizer.h"
#include "train/runner.h"
#include "train/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>

#define GOLDEN CG_SOURCE_DIR "/tests/golden/resnet_cbow.safetensors"

enum { MAX_BATCH = 16 };

static const double embedding_tolerance = 1e-5;

/* --- the golden file -------------------------------------------------------------------------- */

static struct {
    cg_safetensors *file;
    cg_clip_desc desc;
    json_t *training;
    int64_t batch, rows;
    int first;                 /* number of the inputs of step 0 */
    int32_t length[MAX_BATCH]; /* of caption t - S, for inputs of number S */
    double scale;              /* exp of the log temperature */
    double gradient_norm;      /* of all gradients together */
} golden;

static void ok(cg_status s) {
    if (s != CG_OK) fail_msg("%s: %s", cg_status_name(s), cg_error_message());
}

static json_t *golden_json(const char *key) {
    const char *text = cg_safetensors_meta_find(golden.file, key);
    if (!text) fail_msg(GOLDEN ": no metadata %s", key);
    json_t *j = json_loads(text, 0, NULL);
    if (!j) fail_msg(GOLDEN ": metadata %s is not JSON", key);
    return j;
}

static int golden_int(const char *key) {
    const char *text = cg_safetensors_meta_find(golden.file, key);
    if (!text) fail_msg(GOLDEN ": no metadata %s", key);
    return atoi(text);
}

static double training(const char *key) {
    json_t *j = json_object_get(golden.training, key);
    if (!json_is_number(j)) fail_msg(GOLDEN ": training lacks %s", key);
    return json_number_value(j);
}

/* A tensor of the file, which must have `count` elements; the file's f32 lie aligned. */
static const float *expected(const char *prefix, const char *name, int64_t count) {
    char full[256];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const cg_tensor *t = cg_safetensors_find(golden.file, full);
    if (!t) fail_msg(GOLDEN ": no tensor %s", full);
    if (t->dtype != CG_F32 || cg_shape_count(&t->shape) != count)
        fail_msg(GOLDEN ": %s has %lld elements of %s, wanted %lld of f32", full,
                 (long long)cg_shape_count(&t->shape), cg_dtype_name(t->dtype), (long long)count);
    return t->data;
}

static double length_of(const float *x, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static double norm_of_gradients(void) {
    const cg_tensor *t = cg_safetensors_tensors(golden.file);
    double sum = 0;
    for (int i = 0; i < cg_safetensors_count(golden.file); i++)
        if (strncmp(t[i].name, "grad.", 5) == 0)
            sum += pow(length_of(t[i].data, cg_shape_count(&t[i].shape)), 2);
    return sqrt(sum);
}

static int open_golden(void **state) {
    (void)state;
    ok(cg_safetensors_open(GOLDEN, &golden.file));
    json_t *config = golden_json("config"), *lengths = golden_json("lengths"),
           *course = golden_json("training");
    ok(cg_clip_desc_parse(GOLDEN, config, &golden.desc));
    golden.training = course;
    golden.batch = (int64_t)json_array_size(lengths);
    assert_in_range(golden.batch, 1, MAX_BATCH);
    int32_t total = 0;
    for (int64_t t = 0; t < golden.batch; t++)
        total += golden.length[t] = (int32_t)json_integer_value(json_array_get(lengths, (size_t)t));
    golden.rows = cg_clip_rows(total);
    golden.first = golden_int("first");
    golden.scale = exp((double)golden.desc.init_logit_scale);
    golden.gradient_norm = norm_of_gradients();
    json_decref(config);
    json_decref(lengths);
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    json_decref(golden.training);
    cg_safetensors_close(golden.file);
    return 0;
}

/* --- judging ---------------------------------------------------------------------------------- */

/* The largest part of what is allowed, and how many exceed it. */
typedef struct verdict {
    const char *what;
    double part;
    char worst[160];
    int wrong;
} verdict;

static void judge(verdict *v, const char *name, double found, double allowed) {
    double part = found / allowed;
    if (!(found <= allowed)) {
        print_error("%s %s: differs by %.3g, allowed %.3g\n", v->what, name, found, allowed);
        v->wrong++;
    }
    if (v->worst[0] && part <= v->part) return;
    v->part = part;
    snprintf(v->worst, sizeof v->worst, "%s: %.3g of %.3g allowed", name, found, allowed);
}

static void pronounce(const verdict *v) {
    print_message("             %s: worst is %s\n", v->what, v->worst);
    if (v->wrong) fail_msg("%s: %d wrong", v->what, v->wrong);
}

static double largest_difference(const float *a, const float *b, int64_t n) {
    double worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst)) worst = d; /* takes NaN too, and keeps it */
    }
    return worst;
}

static double largest(const float *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most;
}

static double distance(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pow((double)a[i] - (double)b[i], 2);
    return sqrt(sum);
}

/* ‖Δ‖ ≤ part · ‖g‖ + 1e-7 · ‖all gradients‖: a key bias has a true gradient of zero. */
static void judge_gradient(verdict *v, const cg_param *p, const float *found, const float *wanted,
                           double part) {
    judge(v, p->name, distance(found, wanted, p->count),
          part * length_of(wanted, p->count) + 1e-7 * golden.gradient_norm);
}

/* --- the model -------------------------------------------------------------------------------- */

typedef struct setting {
    int backward; /* batch statistics, loss and gradients; 0: inference */
    int passes;
    int threads;
} setting;

/* A model that has run step 0, not yet committed. */
typedef struct model {
    cg_context *ctx;
    cg_params *params;
    cg_graph *graph;
    cg_plan *plan;
    cg_exec *exec;
    float *gradient; /* laid out as the trained block */
    float *image;
    int32_t *token, *offset;
} model;

/* Captions of that number; extra tokens are put before and after each. */
static void fill_tokens(int number, int extra, int32_t *token, int32_t *offset) {
    int32_t *id = calloc((size_t)golden.rows, sizeof *id);
    assert_non_null(id);
    cg_hash_token(number, golden.rows, golden.desc.text.vocab_size, id);
    int64_t from = 0, to = 0;
    for (int64_t t = 0; t < golden.batch; t++) {
        int32_t n = golden.length[(t + number) % golden.batch];
        offset[t] = (int32_t)to;
        for (int k = 0; k < extra; k++) token[to++] = 1;
        for (int32_t i = 0; i < n; i++) token[to++] = id[from++];
        for (int k = 0; k < extra; k++) token[to++] = 2;
    }
    offset[golden.batch] = (int32_t)to;
    while (from < golden.rows) token[to++] = id[from++]; /* of no caption: must not matter */
    free(id);
}

static void fill_inputs(model *m, int number, int extra) {
    int64_t size = golden.desc.vision.image_size;
    m->image = malloc((size_t)(golden.batch * size * size * 3) * sizeof *m->image);
    m->token = malloc((size_t)(golden.rows + 2 * extra * golden.batch) * sizeof *m->token);
    m->offset = malloc((size_t)(golden.batch + 1) * sizeof *m->offset);
    assert_true(m->image && m->token && m->offset);
    cg_hash_image(number, golden.batch, size, m->image);
    fill_tokens(number, extra, m->token, m->offset);
}

static void append_gradients(model *m, cg_value *loss) {
    cg_graph *g = m->graph;
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

static void build(model *m, setting s) {
    cg_clip_build b = {.images = golden.batch,
                       .texts = golden.batch,
                       .rows = golden.rows,
                       .training = s.backward,
                       .loss = s.backward};
    cg_clip_values v;
    ok(cg_params_create(&m->params));
    ok(cg_graph_create(m->params, &m->graph));
    ok(cg_clip_append(m->graph, &golden.desc, &b, &v));
    if (s.backward) {
        append_gradients(m, v.loss);
        cg_graph_output(m->graph, "logits", v.logits, CG_KEEP);
        cg_graph_output(m->graph, "loss", v.loss, CG_KEEP);
    }
    cg_graph_output(m->graph, "image_embedding", v.image_embedding, CG_KEEP);
    cg_graph_output(m->graph, "text_embedding", v.text_embedding, CG_KEEP);
    if (s.passes) {
        cg_pass_common(m->graph);
        cg_pass_dead(m->graph);
    }
    ok(cg_graph_verify(m->graph));
}

static void bind(model *m) {
    ok(cg_exec_bind_input(m->exec, "image", m->image));
    ok(cg_exec_bind_input(m->exec, "token", m->token));
    ok(cg_exec_bind_input(m->exec, "token_offset", m->offset));
    for (int i = 0; i < m->graph->n_output; i++) {
        const cg_output *o = &m->graph->output[i];
        if (o->mode != CG_SET) continue;
        const cg_param *p = cg_params_find(m->params, o->name);
        ok(cg_exec_bind_output(m->exec, o->name, m->gradient + p->offset / sizeof(float)));
    }
}

static model run(setting s) {
    model m = {0};
    ok(cg_context_create(s.threads, &m.ctx));
    build(&m, s);
    ok(cg_params_alloc(m.params));
    cg_hash_params(m.params);
    m.gradient = calloc((size_t)cg_params_trained_elements(m.params), sizeof *m.gradient);
    assert_non_null(m.gradient);
    fill_inputs(&m, golden.first, 0);
    ok(cg_plan_create(m.ctx, m.graph, &m.plan));
    ok(cg_exec_create(&m.exec));
    ok(cg_exec_use(m.exec, m.plan));
    bind(&m);
    ok(cg_exec_run(m.exec));
    return m;
}

static void forget(model *m) {
    cg_exec_free(m->exec);
    cg_plan_free(m->plan);
    cg_graph_free(m->graph);
    cg_params_free(m->params);
    cg_context_free(m->ctx);
    free(m->gradient);
    free(m->image);
    free(m->token);
    free(m->offset);
}

static const float *output(const model *m, const char *name) {
    const float *x = cg_exec_output(m->exec, name);
    if (!x) fail_msg("no output %s", name);
    return x;
}

static const float *gradient(const model *m, const cg_param *p) {
    return m->gradient + p->offset / sizeof(float);
}

/* --- against PyTorch -------------------------------------------------------------------------- */

static void the_hash_is_the_same_on_both_sides(void **state) {
    (void)state;
    const float *wanted = expected("", "hash", 16);
    for (int64_t i = 0; i < 16; i++) {
        float found = (float)cg_hash_unit(cg_hash_name("hash"), i);
        if (found != wanted[i])
            fail_msg("hash element %d: found %.9g, wanted %.9g", (int)i, (double)found,
                     (double)wanted[i]);
    }
}

static void compare_output(verdict *v, const model *m, const char *name, const char *prefix,
                           double allowed) {
    const cg_output *o = cg_graph_find_output(m->graph, name);
    assert_non_null(o);
    int64_t n = cg_shape_count(&o->value->shape);
    judge(v, name, largest_difference(output(m, name), expected(prefix, name, n), n), allowed);
}

static void forward_in_training(void **state) {
    (void)state;
    model m = run((setting){.backward = 1, .passes = 1, .threads = 1});
    verdict v = {.what = "embeddings"}, l = {.what = "logits and loss"};
    compare_output(&v, &m, "image_embedding", "", embedding_tolerance);
    compare_output(&v, &m, "text_embedding", "", embedding_tolerance);
    compare_output(&l, &m, "logits", "", 1e-5 * golden.scale);
    compare_output(&l, &m, "loss", "", 1e-5 * golden.scale);
    forget(&m);
    pronounce(&v);
    pronounce(&l);
}

static void gradients(void **state) {
    (void)state;
    model m = run((setting){.backward = 1, .passes = 1, .threads = 1});
    verdict v = {.what = "gradients"};
    int found = 0, stored = 0;
    for (int i = 0; i < cg_params_count(m.params); i++) {
        const cg_param *p = cg_params_at(m.params, i);
        if (!p->trainable) continue;
        judge_gradient(&v, p, gradient(&m, p), expected("grad.", p->name, p->count), 1e-4);
        found++;
    }
    for (int i = 0; i < cg_safetensors_count(golden.file); i++)
        stored += strncmp(cg_safetensors_tensors(golden.file)[i].name, "grad.", 5) == 0;
    forget(&m);
    pronounce(&v);
    assert_int_equal(found, stored);
}

static void running_statistics(void **state) {
    (void)state;
    model m = run((setting){.backward = 1, .passes = 1, .threads = 1});
    cg_exec_commit(m.exec);
    verdict v = {.what = "running statistics"};
    for (int i = 0; i < cg_params_count(m.params); i++) {
        const cg_param *p = cg_params_at(m.params, i);
        if (p->trainable) continue;
        if (p->dtype == CG_I64) {
            assert_int_equal(*(int64_t *)p->data, 6);
            continue;
        }
        const float *wanted = expected("stat.", p->name, p->count);
        judge(&v, p->name, largest_difference(p->data, wanted, p->count),
              1e-5 * largest(wanted, p->count));
    }
    forget(&m);
    pronounce(&v);
}

static void inference(void **state) {
    (void)state;
    model m = run((setting){.passes = 1, .threads = 1});
    verdict v = {.what = "embeddings at inference"};
    compare_output(&v, &m, "image_embedding", "eval.", embedding_tolerance);
    compare_output(&v, &m, "text_embedding", "", embedding_tolerance);
    forget(&m);
    pronounce(&v);
}

/* --- ten steps of training, through the runner ------------------------------------------------ */

static cg_adamw adamw(void) {
    return (cg_adamw){.beta1 = (float)training("beta1"),
                      .beta2 = (float)training("beta2"),
                      .eps = (float)training("eps"),
                      .weight_decay = (float)training("weight_decay"),
                      .clip_norm = (float)training("clip_norm")};
}

static double train_step(cg_runner *r, cg_optimizer *o, float *gradient_block, int step) {
    model m = {0};
    double loss;
    fill_inputs(&m, golden.first + step, 1);
    cg_batch b = {.n = golden.batch, .image = m.image, .token = m.token, .offset = m.offset};
    ok(cg_runner_backward(r, &b, gradient_block, &loss));
    cg_runner_commit(r);
    double lr = cg_schedule_lr(training("lr"), step, (int64_t)training("warmup"),
                               (int64_t)training("steps"));
    cg_optimizer_step(o, gradient_block, cg_optimizer_norm(o, gradient_block), lr);
    float *t = cg_params_find(cg_runner_params(r), "logit_scale")->data;
    *t = fminf(fmaxf(*t, 0), (float)training("logit_scale_max"));
    forget(&m);
    return loss;
}

static void ten_losses(void **state) {
    (void)state;
    int steps = (int)training("steps");
    const float *wanted = expected("", "losses", steps);
    cg_context *ctx;
    cg_runner *r;
    cg_optimizer *o;
    ok(cg_context_create(1, &ctx));
    ok(cg_runner_create(ctx, &golden.desc, &r));
    cg_hash_params(cg_runner_params(r));
    ok(cg_optimizer_create(cg_runner_params(r), adamw(), 1, &o));
    size_t elements = (size_t)cg_params_trained_elements(cg_runner_params(r));
    float *block = calloc(elements, sizeof *block);
    assert_non_null(block);
    verdict v = {.what = "losses of training"};
    for (int step = 0; step < steps; step++) {
        char name[32];
        snprintf(name, sizeof name, "step %d", step);
        judge(&v, name, fabs(train_step(r, o, block, step) - (double)wanted[step]), 1e-4);
    }
    free(block);
    cg_optimizer_free(o);
    cg_runner_free(r);
    cg_context_free(ctx);
    pronounce(&v);
}

/* --- against itself --------------------------------------------------------------------------- */

/* Whether a kernel's name is that of oneDNN's scalar reference: "ref", "ref:any", "gemm ref:any".
 */
static int is_reference(const char *impl) {
    return strcmp(impl, "ref") == 0 || strstr(impl, "ref:") != NULL;
}

static void no_reference_kernel(void **state) {
    (void)state;
    int wrong = 0;
    for (int backward = 0; backward < 2; backward++) {
        model m = run((setting){.backward = backward, .passes = 1, .threads = 1});
        for (int i = 0; i < m.graph->n_node; i++) {
            const cg_node *n = m.graph->node[i];
            if (!is_reference(cg_plan_impl(m.plan, i))) continue;
            print_error("%s: %s runs %s\n", n->name, n->op->name, cg_plan_impl(m.plan, i));
            wrong++;
        }
        forget(&m);
    }
    assert_int_equal(wrong, 0);
}

static void assert_same_bits(const char *what, const model *a, const model *b) {
    for (int i = 0; i < cg_params_count(a->params); i++) {
        const cg_param *p = cg_params_at(a->params, i);
        if (p->trainable &&
            memcmp(gradient(a, p), gradient(b, p), (size_t)p->count * sizeof(float)))
            fail_msg("%s: the gradient of %s differs by %.3g, wanted the same bits", what, p->name,
                     largest_difference(gradient(a, p), gradient(b, p), p->count));
    }
    int64_t n = golden.batch * golden.batch;
    if (memcmp(output(a, "logits"), output(b, "logits"), (size_t)n * sizeof(float)))
        fail_msg("%s: the logits differ by %.3g, wanted the same bits", what,
                 largest_difference(output(a, "logits"), output(b, "logits"), n));
}

static void passes_keep_every_bit(void **state) {
    (void)state;
    model a = run((setting){.backward = 1, .passes = 0, .threads = 1});
    model b = run((setting){.backward = 1, .passes = 1, .threads = 1});
    assert_true(b.graph->n_node < a.graph->n_node);
    assert_same_bits("passes", &a, &b);
    forget(&a);
    forget(&b);
}

static void second_run_keeps_every_bit(void **state) {
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        model a = run((setting){.backward = 1, .passes = 1, .threads = threads});
        model b = run((setting){.backward = 1, .passes = 1, .threads = threads});
        assert_same_bits("two executions", &a, &b);
        ok(cg_exec_run(b.exec)); /* not committed: the same again */
        assert_same_bits("two runs", &a, &b);
        forget(&a);
        forget(&b);
    }
}

static void two_threads_differ_by_rounding_only(void **state) {
    (void)state;
    model a = run((setting){.backward = 1, .passes = 1, .threads = 1});
    model b = run((setting){.backward = 1, .passes = 1, .threads = 2});
    verdict v = {.what = "one thread and two"};
    for (int i = 0; i < cg_params_count(a.params); i++) {
        const cg_param *p = cg_params_at(a.params, i);
        if (p->trainable) judge_gradient(&v, p, gradient(&b, p), gradient(&a, p), 1e-5);
    }
    int64_t n = golden.batch * golden.batch;
    judge(&v, "logits", largest_difference(output(&a, "logits"), output(&b, "logits"), n),
          2e-6 * golden.scale);
    forget(&a);
    forget(&b);
    pronounce(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_the_same_on_both_sides),
        cmocka_unit_test(forward_in_training),
        cmocka_unit_test(gradients),
        cmocka_unit_test(running_statistics),
        cmocka_unit_test(inference),
        cmocka_unit_test(ten_losses),
        cmocka_unit_test(no_reference_kernel),
        cmocka_unit_test(passes_keep_every_bit),
        cmocka_unit_test(second_run_keeps_every_bit),
        cmocka_unit_test(two_threads_differ_by_rounding_only),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
