/* check_gradient: builds a small graph by hand, lets autodiff append the gradient, runs both, and
 * holds the gradient against finite differences.
 *     loss = mean over n of cross_entropy(l2norm(x) wᵀ + b, label)
 * A whole model is checked by cg_check_model (train/check.h), or `clipgraph check-grad`. */
#include <clipgraph.h>

#include <math.h>
#include <stdio.h>

enum { N = 4, D = 6, CLASSES = 3 };
static const char *const names[] = {"x", "w", "b"}, *const gradients[] = {"dx", "dw", "db"};
static const int sizes[] = {N * D, CLASSES *D, CLASSES};

/* Builders return NULL after a failure and pass it on, so that this reads as the formula does, and
 * the graph is asked once. */
static cg_status build(cg_graph *g) {
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(N, D));
    cg_value *w = cg_input(g, "w", CG_F32, CG_SHAPE(CLASSES, D));
    cg_value *b = cg_input(g, "b", CG_F32, CG_SHAPE(CLASSES));
    cg_value *label = cg_input(g, "label", CG_I32, CG_SHAPE(N));
    cg_value *logits = cg_linear(g, cg_l2norm(g, x, 1e-12F), w, b);
    cg_value *each = cg_softmax_cross_entropy(g, logits, label, 1);
    cg_value *loss = cg_mean(g, each, CG_SHAPE(0), 0); /* over axis 0 */
    cg_value *wrt[] = {x, w, b}, *grad[3];
    CG_TRY(cg_grad(g, 1, &loss, NULL, 3, wrt, grad)); /* ordinary nodes of the same graph */
    cg_graph_output(g, "loss", loss, CG_KEEP);        /* kept until the next run */
    for (int k = 0; k < 3; k++) cg_graph_output(g, gradients[k], grad[k], CG_KEEP);
    return cg_graph_status(g);
}

/* An input's memory, to which it is bound: a run reads its present numbers. */
typedef struct input {
    cg_exec *exec;
    int n;
    float number[N * D], at[N * D], direction[N * D];
} input;

/* The loss where the input has moved from `at` by t times a direction. */
static double loss_along(void *user, double t) {
    input *v = user;
    for (int i = 0; i < v->n; i++) v->number[i] = (float)(v->at[i] + t * v->direction[i]);
    if (cg_exec_run(v->exec) != CG_OK) return NAN;
    return *(const float *)cg_exec_output(v->exec, "loss");
}

/* Compares gradient · direction with the measured slope; *ok is cleared where they differ. */
static cg_status check(input *v, const char *name, cg_rng *r, int *ok) {
    double computed = 0;
    CG_TRY(cg_exec_run(v->exec));
    const float *gradient = cg_exec_output(v->exec, name);
    for (int i = 0; i < v->n; i++) {
        v->at[i] = v->number[i];
        v->direction[i] = (float)cg_rng_normal(r);
        computed += (double)gradient[i] * v->direction[i];
    }
    double measured = cg_derivative(loss_along, v, 0.02);
    loss_along(v, 0); /* back to where it was */
    int same = fabs(computed - measured) <= 1e-3 * fmax(fabs(measured), 0.01);
    printf("%s  computed %9.6f  measured %9.6f  %s\n", name, computed, measured,
           same ? "ok" : "WRONG");
    *ok &= same;
    return CG_OK;
}

static cg_status run(cg_exec *e, int *ok) {
    input in[3];
    int32_t label[N] = {0, 1, 2, 1};
    cg_rng r = cg_rng_at(7, CG_RNG_TEST, 0, 0); /* a stream of its own, the same on each run */
    CG_TRY(cg_exec_bind_input(e, "label", label));
    for (int k = 0; k < 3; k++) {
        in[k].exec = e;
        in[k].n = sizes[k];
        for (int i = 0; i < in[k].n; i++) in[k].number[i] = (float)cg_rng_normal(&r);
        CG_TRY(cg_exec_bind_input(e, names[k], in[k].number));
    }
    for (int k = 0; k < 3; k++) CG_TRY(check(&in[k], gradients[k], &r, ok));
    return CG_OK;
}

int main(void) {
    cg_context *ctx = NULL;
    cg_graph *g = NULL;
    cg_plan *plan = NULL;
    cg_exec *exec = NULL;
    int ok = 1;
    cg_status s = cg_context_create(0, &ctx);      /* 0: a thread for each processor */
    if (s == CG_OK) s = cg_graph_create(NULL, &g); /* NULL: no parameters, inputs only */
    if (s == CG_OK) s = build(g);
    if (s == CG_OK) s = cg_plan_create(ctx, g, &plan); /* order, memory, kernels: once */
    if (s == CG_OK) s = cg_exec_create(&exec);
    if (s == CG_OK) s = cg_exec_use(exec, plan);
    if (s == CG_OK) s = run(exec, &ok);
    if (s != CG_OK) fprintf(stderr, "check_gradient: %s\n", cg_error_message());
    cg_exec_free(exec); /* what uses comes before what is used */
    cg_plan_free(plan);
    cg_graph_free(g);
    cg_context_free(ctx);
    return s == CG_OK && ok ? 0 : 1;
}
