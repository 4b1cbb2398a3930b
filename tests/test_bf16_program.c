/* labels: unit grad */
/* A model's program in bf16: which values are, how near it is to f32, how it trains. */
#include "graph/op.h"
#include "ops/ops.h"
#include "tests/support/models.h"
#include "tests/support/ok.h"
#include "train/optimizer.h"
#include "train/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The relative difference of all gradients together that is allowed, about three times what was
 * found for ViTs, and half as much again for ResNets: the norms of tiny ones see few pixels, and
 * amplify what is rounded before them. Learning rates that leave of the loss what can be compared.
 */
typedef struct model {
    const char *name;
    double gradient, loss, lr;
} model;

static const model models[] = {
    {"tiny-resnet-cbow", 0.25, 0.02, 1e-5},
    {"tiny-resnet-transformer", 0.25, 0.02, 1e-5},
    {"tiny-vit-cbow", 0.05, 0.01, 2e-4},
    {"tiny-vit-transformer", 0.05, 0.01, 2e-4},
};
enum { MODELS = sizeof models / sizeof *models, PAIRS = 8, STEPS = 30 };

/* --- which values ----------------------------------------------------------------------------- */

/* Bits of the operands that a matrix op multiplies; 0: it is none. */
static unsigned multiplied(const cg_op *op) {
    if (op == &cg_op_linear || op == &cg_op_matmul || op == &cg_op_conv2d ||
        op == &cg_op_conv2d_grad_data || op == &cg_op_conv2d_grad_weights)
        return 3;
    if (op == &cg_op_attention) return 7;
    if (op == &cg_op_attention_grad) return 7 | 1u << 5 | 1u << 7;
    if (op == &cg_op_attention_qkv) return 1;
    if (op == &cg_op_attention_qkv_grad) return 1 | 1u << 2 | 1u << 4;
    return 0;
}

/* The logits, or a gradient of theirs: products of embeddings. */
static int is_logits(const cg_node *n) {
    int unit = 0;
    for (int k = 0; k < n->n_in; k++) unit |= n->in[k]->node && n->in[k]->node->op == &cg_op_l2norm;
    return n->op == &cg_op_matmul && unit;
}

static void check_operands(const char *name, const cg_node *n, int *products, int *logits) {
    unsigned operands = multiplied(n->op);
    cg_dtype wanted = is_logits(n) ? CG_F32 : CG_BF16;
    *products += operands && wanted == CG_BF16;
    *logits += is_logits(n);
    for (int k = 0; operands >> k; k++)
        if ((operands >> k & 1) && n->in[k]->dtype != wanted)
            fail_msg("%s: operand %d of %s, %s, is %s", name, k, n->name, n->op->name,
                     cg_dtype_name(n->in[k]->dtype));
}

static void check_values(const char *name, int training) {
    cg_clip_desc d = describe(name);
    cg_clip_build b = cg_clip_batch(&d, PAIRS, PAIRS, (int64_t)PAIRS * (PAIRS_LONGEST + 2));
    cg_program how = {.gradients = training, .precision = CG_PRECISION_BF16};
    cg_params *params;
    cg_graph *g;
    int products = 0, logits = 0;
    b.training = b.loss = training;
    ok(cg_params_create(&params));
    ok(cg_program_build(params, &d, &b, &how, &g));
    for (int i = 0; i < g->n_node; i++) check_operands(name, g->node[i], &products, &logits);
    assert_true(products > 4);
    assert_int_equal(logits, training ? 3 : 0);
    for (int i = 0; i < g->n_value; i++)
        if (g->value[i]->kind != CG_VALUE_RESULT) assert_true(g->value[i]->dtype != CG_BF16);
    for (int i = 0; i < g->n_output; i++) assert_true(g->output[i].value->dtype != CG_BF16);
    assert_non_null(cg_graph_find_output(g, training ? "image_loss" : "image_embedding"));
    cg_graph_free(g);
    cg_params_free(params);
}

static void test_values(void **state) {
    (void)state;
    for (int m = 0; m < MODELS; m++)
        for (int training = 0; training < 2; training++) check_values(models[m].name, training);
}

/* --- training --------------------------------------------------------------------------------- */

typedef struct trial {
    double loss, last; /* at the start, and after STEPS steps */
    float *gradient;   /* at the start */
    int64_t n;
} trial;

static trial train(cg_context *ctx, const model *m, cg_precision precision) {
    cg_clip_desc d = describe(m->name);
    cg_batch b = make_pairs(&d, PAIRS);
    cg_runner *r;
    cg_optimizer *o;
    ok(cg_runner_create(ctx, &d, &r));
    ok(cg_runner_set_program(r, precision, 0, NULL));
    cg_params *params = cg_runner_params(r);
    cg_params_init(params, 3);
    trial t = {.n = cg_params_trained_elements(params)};
    float *gradient = calloc((size_t)t.n, sizeof *gradient);
    t.gradient = calloc((size_t)t.n, sizeof *t.gradient);
    if (!gradient || !t.gradient) fail_msg("no memory for gradients");
    ok(cg_optimizer_create(params, (cg_adamw){.beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f}, 2, &o));
    for (int step = 0; step < STEPS; step++) {
        ok(cg_runner_backward(r, &b, gradient, &t.last));
        if (step == 0) {
            t.loss = t.last;
            memcpy(t.gradient, gradient, (size_t)t.n * sizeof *gradient);
        }
        cg_optimizer_step(o, gradient, cg_optimizer_norm(o, gradient), m->lr);
        cg_runner_commit(r);
    }
    ok(cg_runner_loss(r, &b, &t.last));
    cg_optimizer_free(o);
    cg_runner_free(r);
    free(gradient);
    free_pairs(&b);
    return t;
}

static void test_training(void **state) {
    (void)state;
    cg_context *ctx;
    if (!cg_context_has_bf16()) { /* then it is refused, by name */
        assert_int_equal(cg_context_check_bf16(), CG_EUNSUPPORTED);
        return;
    }
    ok(cg_context_create(2, &ctx));
    for (int m = 0; m < MODELS; m++) {
        trial f32 = train(ctx, &models[m], CG_PRECISION_F32);
        trial bf16 = train(ctx, &models[m], CG_PRECISION_BF16);
        double all = 0, off = 0;
        for (int64_t i = 0; i < f32.n; i++) {
            all += pow((double)f32.gradient[i], 2);
            off += pow((double)f32.gradient[i] - (double)bf16.gradient[i], 2);
        }
        off = sqrt(off / all);
        double loss = fabs(bf16.loss / f32.loss - 1), last = fabs(bf16.last / f32.last - 1);
        if (!(off > 0) || !(off <= models[m].gradient) || !(loss <= models[m].loss) ||
            !(last <= 0.02) || !(f32.last < 0.6 * f32.loss))
            fail_msg("%s: bf16's gradient is off by %.3g of f32's; losses are %.5g and %.5g, "
                     "after %d steps %.5g and %.5g",
                     models[m].name, off, bf16.loss, f32.loss, (int)STEPS, bf16.last, f32.last);
        free(f32.gradient);
        free(bf16.gradient);
    }
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_training),
    };
    return cmocka_run_group_tests_name("bf16 programs", tests, NULL, NULL);
}
