/* labels: grad fuzz */
/* Gradients of random graphs: what cg_grad appends, after the passes, against differences of
 * fourth order along a random direction. The op table tests each rule alone; this catches what
 * goes wrong between them: contributions of several readers that are not all added, what was
 * broadcast and is not summed back, a value that is two operands of one node, several results of
 * which some have a gradient, gradients through views, and passes that spoil either direction. */
#include "autodiff/grad.h"
#include "graph/exec.h"
#include "graph/rng.h"
#include "ops/ops.h"
#include "tests/support/ok.h"

#include <math.h>

#if defined(__SANITIZE_ADDRESS__)
enum { GRAPHS = 1500 };
#else
enum { GRAPHS = 20000 };
#endif
enum { MOST_VALUES = 80, MOST_ELEMENTS = 500, ROWS = 4, COLUMNS = 6 };
enum { A = ROWS * COLUMNS, ELEMENTS = A + COLUMNS }; /* of input a; of a and b */

/* --- a random graph --------------------------------------------------------------------------- */

typedef struct random_graph {
    cg_graph *g;
    cg_value *value[MOST_VALUES];
    int n;
    cg_rng rng;
} random_graph;

static int below(random_graph *f, int n) {
    return (int)cg_rng_below(&f->rng, (uint64_t)n);
}

/* Mostly a recent value, for depth. */
static cg_value *pick(random_graph *f) {
    int recent = below(f, 3) && f->n > 5;
    return f->value[recent ? f->n - 1 - below(f, 5) : below(f, f->n)];
}

static void put(random_graph *f, cg_value *v) {
    if (v && f->n < MOST_VALUES && cg_shape_count(&v->shape) < MOST_ELEMENTS) f->value[f->n++] = v;
}

static int fits(const cg_value *x, const cg_value *y) {
    cg_shape s;
    return cg_shape_broadcast(&x->shape, &y->shape, &s) == CG_OK &&
           cg_shape_count(&s) < MOST_ELEMENTS;
}

/* A norm over the last axis; of a batch norm the statistics are used too. */
static void put_norm(random_graph *f, cg_value *x) {
    cg_value *gain = NULL, *bias = NULL;
    for (int i = 0; i < f->n; i++)
        if (f->value[i]->shape.rank == 1 && f->value[i]->shape.dim[0] == x->shape.dim[1])
            *(below(f, 2) ? &gain : &bias) = f->value[i];
    if (!gain || !bias || x->shape.dim[0] < 3) return; /* two rows leave a norm nearly no slope */
    if (below(f, 2)) {
        put(f, cg_layer_norm(f->g, x, gain, bias, .1f));
        return;
    }
    cg_batch_norm_result r = cg_batch_norm(f->g, x, gain, bias, .1f);
    put(f, r.y);
    put(f, r.mean);
    put(f, cg_scale(f->g, r.var, .3f));
}

static void put_matrix_op(random_graph *f, cg_value *x, int kind) {
    cg_graph *g = f->g;
    switch (kind) {
    case 0:
        put(f, cg_concat(g, 2, (cg_value *[]){x, x}, below(f, 2)));
        break;
    case 1:
        put(f, cg_transpose(g, x, CG_SHAPE(1, 0)));
        break;
    case 2:
        put(f, cg_scale(g, cg_matmul(g, x, x, 0, 1), .2f));
        break;
    case 3:
        put(f, cg_scale(g, cg_matmul(g, x, x, 1, 0), .2f));
        break;
    case 4:
        put(f, cg_linear(g, x, x, NULL));
        break;
    default:
        put_norm(f, x);
        break;
    }
}

/* Smooth ops only: a kink would spoil the differences. */
static void put_op(random_graph *f) {
    cg_graph *g = f->g;
    cg_value *x = pick(f), *y = pick(f);
    int rank = x->shape.rank, kind = below(f, 14);
    int64_t count = cg_shape_count(&x->shape), rows = rank ? x->shape.dim[0] : 0;
    if (kind >= 8) {
        if (rank == 2) put_matrix_op(f, x, kind - 8);
    } else if (kind == 0) {
        if (fits(x, y)) put(f, cg_add(g, x, y));
    } else if (kind <= 2) {
        if (fits(x, y)) put(f, cg_scale(g, cg_mul(g, x, y), .4f));
    } else if (kind == 3) {
        put(f, cg_exp(g, cg_scale(g, x, .1f)));
    } else if (kind == 4) {
        if (rank) put(f, cg_l2norm(g, x, 1e-2f));
    } else if (kind == 5) {
        if (rank) put(f, cg_sum(g, x, CG_SHAPE(below(f, rank)), below(f, 2)));
    } else if (kind == 6) {
        if (rows > 1) put(f, cg_slice(g, x, 0, 1, rows - 1));
    } else {
        put(f, cg_reshape(g, x, CG_SHAPE(count)));
        if (count % 2 == 0) put(f, cg_reshape(g, x, CG_SHAPE(2, count / 2)));
    }
}

/* A weighted sum of squares of some of the values, the last among them. */
static cg_value *loss_of(random_graph *f) {
    cg_value *loss = NULL;
    for (int i = 0; i < f->n; i++) {
        cg_value *v = f->value[i];
        cg_shape axes = {.rank = v->shape.rank};
        for (int k = 0; k < axes.rank; k++) axes.dim[k] = k;
        cg_value *s = cg_scale(f->g, cg_sum(f->g, cg_mul(f->g, v, v), axes, 0), .05f);
        loss = loss && below(f, 3) ? cg_add(f->g, loss, s) : s;
    }
    return loss;
}

static void build(random_graph *f, uint64_t seed) {
    *f = (random_graph){.rng = cg_rng_at(seed, CG_RNG_TEST, 7, 0)};
    ok(cg_graph_create(NULL, &f->g));
    put(f, cg_input(f->g, "a", CG_F32, CG_SHAPE(ROWS, COLUMNS)));
    put(f, cg_input(f->g, "b", CG_F32, CG_SHAPE(COLUMNS)));
    for (int k = 3 + below(f, 9); k > 0; k--) put_op(f);
    cg_value *loss = loss_of(f), *grad[2];
    ok(cg_grad(f->g, 1, &loss, NULL, 2, f->value, grad));
    cg_graph_output(f->g, "loss", loss, CG_KEEP);
    cg_graph_output(f->g, "da", grad[0], CG_SET);
    cg_graph_output(f->g, "db", grad[1], CG_ADD);
    cg_pass_common(f->g);
    cg_pass_dead(f->g);
    ok(cg_graph_verify(f->g));
}

/* --- its slope along a direction -------------------------------------------------------------- */

typedef struct slope {
    double loss, found, wanted;
} slope;

static double loss_at(cg_exec *e, float *x, const float *start, const float *u, double step) {
    for (int i = 0; i < ELEMENTS; i++) x[i] = (float)((double)start[i] + step * (double)u[i]);
    ok(cg_exec_run(e));
    return (double)*(const float *)cg_exec_output(e, "loss");
}

static slope measure(cg_exec *e, cg_rng *rng) {
    const double h = 2e-3;
    float start[ELEMENTS], u[ELEMENTS], x[ELEMENTS], gradient[ELEMENTS] = {0};
    slope s = {0};
    for (int i = 0; i < ELEMENTS; i++) {
        start[i] = (float)(cg_rng_normal(rng) * .7);
        u[i] = (float)cg_rng_normal(rng);
    }
    ok(cg_exec_bind_input(e, "a", x));
    ok(cg_exec_bind_input(e, "b", x + A));
    ok(cg_exec_bind_output(e, "da", gradient));
    ok(cg_exec_bind_output(e, "db", gradient + A));
    s.loss = loss_at(e, x, start, u, 0);
    for (int i = 0; i < ELEMENTS; i++) s.found += (double)gradient[i] * (double)u[i];
    double near = loss_at(e, x, start, u, h) - loss_at(e, x, start, u, -h);
    double far = loss_at(e, x, start, u, 2 * h) - loss_at(e, x, start, u, -2 * h);
    s.wanted = (8 * near - far) / (12 * h);
    return s;
}

/* The loss is an f32: differences over 2e-3 are off by some 1e-4 of it. The slope must agree to
 * 3 %, of a floor where it is small against the loss. */
static void check_graph(cg_context *ctx, uint64_t seed, int *judged) {
    random_graph f;
    cg_plan *plan;
    cg_exec *e;
    build(&f, seed);
    ok(cg_plan_create(ctx, f.g, &plan));
    ok(cg_exec_create(&e));
    ok(cg_exec_use(e, plan));
    slope s = measure(e, &f.rng);
    double scale = fmax(fmax(fabs(s.found), fabs(s.wanted)), 2e-2 * fmax(1, fabs(s.loss)));
    if (isfinite(s.wanted)) { /* products of products may overflow */
        ++*judged;
        if (!(fabs(s.found - s.wanted) <= .03 * scale))
            fail_msg("graph %d: the slope is %g, wanted %g (the loss is %g)", (int)seed, s.found,
                     s.wanted, s.loss);
    }
    cg_exec_free(e);
    cg_plan_free(plan);
    cg_graph_free(f.g);
}

static void slopes_agree(void **state) {
    (void)state;
    cg_context *ctx;
    int judged = 0;
    ok(cg_context_create(1, &ctx));
    for (uint64_t seed = 0; seed < GRAPHS; seed++) check_graph(ctx, seed, &judged);
    assert_true(judged > GRAPHS * 9 / 10);
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(slopes_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
