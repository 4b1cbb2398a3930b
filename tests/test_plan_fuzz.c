/* labels: unit fuzz */
/* The planner and the executor on random graphs of real ops: chains, fans, views, broadcasts, ops
 * that work in place, several results, outputs of every mode, updates.
 *
 * The same graph is planned once with a few outputs, where memory is reused, written over and
 * viewed, and once with every value kept, where nothing may be. Both must give the same bits. It
 * catches a value whose memory is given away while it is still read, an in-place op that spoils
 * another reader, a view that outlives its bytes, outputs that are set, added or updated wrongly,
 * and passes that merge or drop what they must not. */
#include "graph/exec.h"
#include "graph/rng.h"
#include "ops/ops.h"
#include "tests/support/ok.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
enum { GRAPHS = 1500 };
#else
enum { GRAPHS = 20000 };
#endif
enum { MOST_VALUES = 80, MOST_ELEMENTS = 2000, MOST_OUTPUTS = 6, ROWS = 4, COLUMNS = 6 };
enum { STATE = 3 }; /* the number of the value that is updated */

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

/* Mostly a recent value: chains are where memory is reused. */
static cg_value *pick(random_graph *f) {
    int recent = below(f, 4) && f->n > 6;
    return f->value[recent ? f->n - 1 - below(f, 6) : below(f, f->n)];
}

static void put(random_graph *f, cg_value *v) {
    if (v && f->n < MOST_VALUES) f->value[f->n++] = v;
}

static int fits(const cg_value *x, const cg_value *y) {
    cg_shape s;
    return cg_shape_broadcast(&x->shape, &y->shape, &s) == CG_OK &&
           cg_shape_count(&s) < MOST_ELEMENTS;
}

/* A norm of x, with the latest values of its width as gain and bias. */
static cg_value *norm(random_graph *f, cg_value *x) {
    int64_t width = x->shape.dim[x->shape.rank - 1];
    cg_value *found[2] = {NULL, NULL};
    for (int i = f->n - 1, k = 0; i >= 0 && k < 2; i--)
        if (f->value[i]->shape.rank == 1 && f->value[i]->shape.dim[0] == width)
            found[k++] = f->value[i];
    if (!found[0]) return NULL;
    cg_value *gain = found[0], *bias = found[1] ? found[1] : found[0];
    return below(f, 2) ? cg_layer_norm(f->g, x, gain, bias, 1e-5f)
                       : cg_batch_norm(f->g, x, gain, bias, 1e-3f).y;
}

static cg_value *reshaped(random_graph *f, cg_value *x) {
    int64_t count = cg_shape_count(&x->shape);
    int whole = count == ROWS * COLUMNS;
    switch (below(f, 3)) {
    case 0:
        return whole ? cg_reshape(f->g, x, CG_SHAPE(ROWS, COLUMNS)) : NULL;
    case 1:
        return whole ? cg_reshape(f->g, x, CG_SHAPE(2, ROWS * COLUMNS / 2)) : NULL;
    default:
        return cg_reshape(f->g, x, CG_SHAPE(count));
    }
}

static cg_value *choose_op(random_graph *f) {
    cg_graph *g = f->g;
    cg_value *x = pick(f), *y = pick(f);
    int rank = x->shape.rank;
    int64_t rows = rank ? x->shape.dim[0] : 0;
    switch (below(f, 12)) {
    case 0:
    case 1:
        return fits(x, y) ? cg_add(g, x, y) : NULL;
    case 2:
        return fits(x, y) ? cg_scale(g, cg_mul(g, x, y), .5f) : NULL;
    case 3:
        return cg_relu(g, x);
    case 4:
        return cg_clamp(g, x, -1, 1);
    case 5:
    case 6:
        return reshaped(f, x);
    case 7:
        return rank && x->shape.dim[rank - 1] ? cg_l2norm(g, x, 1e-6f) : NULL;
    case 8:
        return rank ? cg_sum(g, x, CG_SHAPE(0), below(f, 2)) : NULL;
    case 9:
        return rank == 2 && cg_shape_count(&x->shape) < MOST_ELEMENTS / 2
                   ? cg_concat(g, 2, (cg_value *[]){x, x}, 0)
                   : NULL;
    case 10:
        return rows > 1 ? cg_slice(g, x, 0, 1, rows - 1) : NULL;
    default:
        return rank ? norm(f, x) : NULL;
    }
}

/* The same seed makes the same graph. */
static void build(random_graph *f, cg_params *params, uint64_t seed) {
    static const float six[COLUMNS] = {1, 2, 3, -1, .5f, -2};
    cg_param_spec normal = {.init = CG_INIT_NORMAL, .scale = .3f}, state = normal;
    state.state = 1;
    *f = (random_graph){.rng = cg_rng_at(seed, CG_RNG_TEST, 0, 0)};
    ok(cg_graph_create(params, &f->g));
    put(f, cg_input(f->g, "a", CG_F32, CG_SHAPE(ROWS, COLUMNS)));
    put(f, cg_input(f->g, "b", CG_F32, CG_SHAPE(COLUMNS)));
    put(f, cg_parameter(f->g, "p", CG_SHAPE(ROWS, COLUMNS), normal));
    put(f, cg_parameter(f->g, "s", CG_SHAPE(ROWS, COLUMNS), state));
    put(f, cg_constant(f->g, CG_F32, CG_SHAPE(COLUMNS), six));
    for (int k = 8 + below(f, 30); k > 0; k--) put(f, choose_op(f));
    ok(cg_graph_status(f->g));
}

/* --- its outputs ------------------------------------------------------------------------------ */

typedef struct outputs {
    int n, value[MOST_OUTPUTS], mode[MOST_OUTPUTS];
    int64_t count[MOST_OUTPUTS];
    float *memory[MOST_OUTPUTS]; /* twos, before the run */
    int updated;                 /* the value that s becomes, or -1 */
} outputs;

static const char *name_of(char kind, int i) {
    static char name[4][16];
    static int turn;
    char *s = name[turn++ % 4];
    snprintf(s, sizeof name[0], "%c%d", kind, i);
    return s;
}

static void declare_some(random_graph *f, outputs *o) {
    const cg_shape whole = CG_SHAPE(ROWS, COLUMNS);
    *o = (outputs){.n = 1 + below(f, MOST_OUTPUTS), .updated = -1};
    for (int i = 0; i < o->n; i++) {
        static const cg_output_mode modes[] = {CG_KEEP, CG_SET, CG_ADD};
        o->value[i] = below(f, f->n);
        o->mode[i] = modes[below(f, 3)];
        o->count[i] = cg_shape_count(&f->value[o->value[i]]->shape);
        o->memory[i] = malloc(((size_t)o->count[i] + 1) * sizeof(float));
        assert_non_null(o->memory[i]);
        for (int64_t k = 0; k < o->count[i]; k++) o->memory[i][k] = 2;
        cg_graph_output(f->g, name_of('o', i), f->value[o->value[i]], (cg_output_mode)o->mode[i]);
    }
    for (int i = 0; i < f->n; i++)
        if (f->value[i]->kind == CG_VALUE_RESULT && cg_shape_equal(&f->value[i]->shape, &whole) &&
            below(f, 3) == 0)
            o->updated = i;
    if (o->updated >= 0) cg_graph_update(f->g, f->value[STATE], f->value[o->updated]);
    if (below(f, 2)) cg_pass_common(f->g);
    cg_pass_dead(f->g);
    ok(cg_graph_verify(f->g));
}

static void declare_all(random_graph *f) {
    for (int i = 0; i < f->n; i++) cg_graph_output(f->g, name_of('k', i), f->value[i], CG_KEEP);
}

/* --- both plans ------------------------------------------------------------------------------- */

typedef struct execution {
    cg_plan *plan;
    cg_exec *exec;
} execution;

static execution prepare(cg_context *ctx, const cg_graph *g, const float *a, const float *b) {
    execution e;
    ok(cg_plan_create(ctx, g, &e.plan));
    ok(cg_exec_create(&e.exec));
    ok(cg_exec_use(e.exec, e.plan));
    if (cg_graph_find_input(g, "a")) ok(cg_exec_bind_input(e.exec, "a", a));
    if (cg_graph_find_input(g, "b")) ok(cg_exec_bind_input(e.exec, "b", b));
    return e;
}

static void finish(execution *e) {
    cg_exec_free(e->exec);
    cg_plan_free(e->plan);
}

static void assert_same(uint64_t seed, const char *what, int64_t n, const float *found,
                        const float *wanted, float added) {
    for (int64_t k = 0; k < n; k++) {
        float x = added != 0 ? added + wanted[k] : wanted[k];
        if (memcmp(&x, &found[k], sizeof x) == 0 || (isnan(x) && isnan(found[k]))) continue;
        fail_msg("graph %d, %s: element %d is %g, wanted %g", (int)seed, what, (int)k,
                 (double)found[k], (double)x);
    }
}

static void compare(uint64_t seed, const outputs *o, const execution *some, const execution *all) {
    for (int i = 0; i < o->n; i++) {
        const float *found =
            o->mode[i] == CG_KEEP ? cg_exec_output(some->exec, name_of('o', i)) : o->memory[i];
        assert_same(seed, name_of('o', i), o->count[i], found,
                    cg_exec_output(all->exec, name_of('k', o->value[i])),
                    o->mode[i] == CG_ADD ? 2 : 0);
    }
}

static void check_graph(cg_context *ctx, uint64_t seed, int64_t *reused) {
    cg_params *params;
    random_graph f, whole;
    outputs o;
    cg_plan_report report;
    float a[ROWS * COLUMNS], b[COLUMNS];
    ok(cg_params_create(&params));
    build(&f, params, seed);
    build(&whole, params, seed);
    declare_some(&f, &o);
    declare_all(&whole);
    ok(cg_params_alloc(params));
    cg_params_init(params, seed);
    for (int i = 0; i < ROWS * COLUMNS; i++) a[i] = (float)cg_rng_normal(&f.rng);
    for (int i = 0; i < COLUMNS; i++) b[i] = (float)cg_rng_normal(&f.rng);
    execution some = prepare(ctx, f.g, a, b), all = prepare(ctx, whole.g, a, b);
    cg_plan_get_report(some.plan, &report);
    *reused += report.n_inplace + report.n_views;
    for (int i = 0; i < o.n; i++)
        if (o.mode[i] != CG_KEEP) ok(cg_exec_bind_output(some.exec, name_of('o', i), o.memory[i]));
    ok(cg_exec_run(all.exec));
    ok(cg_exec_run(some.exec));
    compare(seed, &o, &some, &all);
    cg_exec_commit(some.exec);
    if (o.updated >= 0)
        assert_same(seed, "the update", ROWS * COLUMNS, cg_params_find(params, "s")->data,
                    cg_exec_output(all.exec, name_of('k', o.updated)), 0);
    for (int i = 0; i < o.n; i++) free(o.memory[i]);
    finish(&some);
    finish(&all);
    cg_graph_free(f.g);
    cg_graph_free(whole.g);
    cg_params_free(params);
}

static void plans_agree(void **state) {
    (void)state;
    cg_context *ctx;
    int64_t reused = 0;
    ok(cg_context_create(2, &ctx));
    for (uint64_t seed = 0; seed < GRAPHS; seed++) check_graph(ctx, seed, &reused);
    assert_true(reused > GRAPHS); /* or the graphs do not try what they should */
    cg_context_free(ctx);
}

/* Each value fits, but not all of them: a sum that wraps around would be a small arena. */
static void what_no_arena_holds_is_refused(void **state) {
    (void)state;
    enum { VALUES = 20 };
    cg_context *ctx;
    cg_graph *g;
    cg_plan *plan;
    ok(cg_context_create(1, &ctx));
    ok(cg_graph_create(NULL, &g));
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE((int64_t)1 << 58));
    for (int i = 0; i < VALUES; i++) {
        x = cg_exp(g, x);
        cg_graph_output(g, name_of('k', i), x, CG_KEEP);
    }
    assert_int_equal(cg_plan_create(ctx, g, &plan), CG_ENOMEM);
    assert_string_equal(cg_error_message(),
                        "the values of a graph of 20 nodes have too many bytes");
    cg_graph_free(g);
    cg_context_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans_agree),
                                       cmocka_unit_test(what_no_arena_holds_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
