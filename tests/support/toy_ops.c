#include "tests/support/toy_ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -- toy ops: all that the graph knows of an op, and nothing of ops/ --------------------------- */

static const cg_attr_field toy_fields[] = {CG_ATTR(toy_attr, factor, FLOAT),
                                           CG_ATTR(toy_attr, times, INT),
                                           CG_ATTR(toy_attr, shape, SHAPE),
                                           {0}};

int64_t toy_count(const cg_value *v) {
    return cg_shape_count(&v->shape);
}

cg_status toy_infer_same(const cg_node *n, cg_type *out) {
    for (int i = 1; i < n->n_in; i++) {
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        if (toy_count(n->in[i]) != toy_count(n->in[0]))
            return cg_error(CG_ESHAPE, "b is %s, wanted as many elements as a, %s",
                            cg_shape_print(&n->in[i]->shape, found),
                            cg_shape_print(&n->in[0]->shape, wanted));
    }
    *out = (cg_type){n->in[0]->dtype, n->in[0]->shape};
    return CG_OK;
}

static cg_status infer_flat(const cg_node *n, cg_type *out) {
    *out = (cg_type){n->in[0]->dtype, CG_SHAPE(toy_count(n->in[0]))};
    return CG_OK;
}

static cg_status infer_extremes(const cg_node *n, cg_type *out) {
    out[0] = out[1] = (cg_type){n->in[0]->dtype, CG_SCALAR};
    return CG_OK;
}

static cg_status run_scale(const cg_task *t) {
    const toy_attr *a = t->node->attr;
    for (int64_t i = 0; i < toy_count(t->node->out[0]); i++)
        ((float *)t->out[0])[i] = a->factor * ((const float *)t->in[0])[i];
    return CG_OK;
}

/* In index order backwards, so that a wrong overwrite of one operand by another's shows. */
static cg_status run_plus(const cg_task *t) {
    int64_t n = toy_count(t->node->out[0]);
    for (int64_t i = n - 1; i >= 0; i--)
        ((float *)t->out[0])[i] =
            ((const float *)t->in[0])[i] + ((const float *)t->in[1])[n - 1 - i];
    return CG_OK;
}

static cg_status run_flat(const cg_task *t) {
    if (t->in[0] != t->out[0])
        memcpy(t->out[0], t->in[0], (size_t)toy_count(t->node->out[0]) * sizeof(float));
    return CG_OK;
}

/* Works in scratch, which it spoils. */
static cg_status run_extremes(const cg_task *t) {
    int64_t n = toy_count(t->node->in[0]);
    float *copy = t->scratch;
    memcpy(copy, t->in[0], (size_t)n * sizeof *copy);
    float low = copy[0], high = copy[0];
    for (int64_t i = 0; i < n; i++) {
        low = fminf(low, copy[i]);
        high = fmaxf(high, copy[i]);
        copy[i] = NAN;
    }
    *(float *)t->out[0] = low;
    *(float *)t->out[1] = high;
    return CG_OK;
}

int toy_alive_states; /* kernels prepared and not yet released */

static cg_status prepare_extremes(cg_prep *p) {
    p->scratch = (size_t)toy_count(p->node->in[0]) * sizeof(float);
    p->impl = "toy:copy";
    p->state = &toy_alive_states;
    toy_alive_states++;
    return CG_OK;
}

static void release_extremes(void *state) {
    (*(int *)state)--;
}

static int64_t flops_scale(const cg_node *n) {
    return toy_count(n->out[0]);
}

static cg_status run_broken(const cg_task *t) {
    (void)t;
    return cg_error(CG_EKERNEL, "the kernel is out of order");
}

static cg_status prepare_broken(cg_prep *p) {
    (void)p;
    return cg_error(CG_EUNSUPPORTED, "no kernel for this processor");
}

const cg_op toy_op_scale = {.name = "scale",
                            .min_in = 1,
                            .max_in = 1,
                            .n_out = 1,
                            .attr_size = sizeof(toy_attr),
                            .attr = toy_fields,
                            .infer = toy_infer_same,
                            .run = run_scale,
                            .flops = flops_scale,
                            .inplace = 1};
/* y = a + reversed b: never written over an operand */
const cg_op toy_op_plus = {
    .name = "plus", .min_in = 2, .max_in = 2, .n_out = 1, .infer = toy_infer_same, .run = run_plus};
const cg_op toy_op_flat = {.name = "flat",
                           .min_in = 1,
                           .max_in = 1,
                           .n_out = 1,
                           .infer = infer_flat,
                           .run = run_flat,
                           .view = 1};
const cg_op toy_op_extremes = {.name = "extremes",
                               .min_in = 1,
                               .max_in = 1,
                               .n_out = 2,
                               .infer = infer_extremes,
                               .prepare = prepare_extremes,
                               .run = run_extremes,
                               .release = release_extremes};
const cg_op toy_op_broken = {.name = "broken",
                             .min_in = 1,
                             .max_in = 1,
                             .n_out = 1,
                             .infer = toy_infer_same,
                             .run = run_broken};
const cg_op toy_op_unprepared = {.name = "unprepared",
                                 .min_in = 1,
                                 .max_in = 1,
                                 .n_out = 1,
                                 .infer = toy_infer_same,
                                 .prepare = prepare_broken,
                                 .run = run_broken};

/* c = a + b, element by element: may be written over either */
static cg_status run_add(const cg_task *t) {
    for (int64_t i = 0; i < toy_count(t->node->out[0]); i++)
        ((float *)t->out[0])[i] = ((const float *)t->in[0])[i] + ((const float *)t->in[1])[i];
    return CG_OK;
}
const cg_op toy_op_add = {.name = "add",
                          .min_in = 2,
                          .max_in = 2,
                          .n_out = 1,
                          .infer = toy_infer_same,
                          .run = run_add,
                          .inplace = 3};

cg_value *toy_scale(cg_graph *g, cg_value *x, float factor) {
    toy_attr a = {.factor = factor};
    return cg_node_add1(g, &toy_op_scale, &a, 1, &x);
}

cg_value *toy_add(cg_graph *g, cg_value *a, cg_value *b) {
    return cg_node_add1(g, &toy_op_add, NULL, 2, (cg_value *[]){a, b});
}

cg_value *toy_plus(cg_graph *g, cg_value *a, cg_value *b) {
    return cg_node_add1(g, &toy_op_plus, NULL, 2, (cg_value *[]){a, b});
}

cg_value *toy_flat(cg_graph *g, cg_value *x) {
    return cg_node_add1(g, &toy_op_flat, NULL, 1, &x);
}

/* -- a graph, its plan and execution ----------------------------------------------------------- */

int toy_setup(void **state) {
    toy_fixture *f = *state = calloc(1, sizeof *f);
    return !f || cg_params_create(&f->params) != CG_OK ||
           cg_graph_create(f->params, &f->g) != CG_OK || cg_context_create(2, &f->ctx) != CG_OK ||
           cg_exec_create(&f->exec) != CG_OK;
}

int toy_teardown(void **state) {
    toy_fixture *f = *state;
    cg_exec_free(f->exec);
    cg_plan_free(f->plan);
    cg_graph_free(f->g);
    cg_params_free(f->params);
    cg_context_free(f->ctx);
    free(f);
    return 0;
}

cg_plan_report toy_plan(toy_fixture *f) {
    cg_plan_report report;
    ok(cg_graph_verify(f->g));
    cg_plan_free(f->plan);
    ok(cg_plan_create(f->ctx, f->g, &f->plan));
    ok(cg_exec_use(f->exec, f->plan));
    cg_plan_get_report(f->plan, &report);
    return report;
}

cg_value *toy_input(toy_fixture *f) {
    return cg_input(f->g, "x", CG_F32, two_by_three);
}
