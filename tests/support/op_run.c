#include "tests/support/op_run.h"

#include "autodiff/grad.h"
#include "graph/exec.h"
#include "graph/rng.h"
#include "ops/passes/recompute.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define REQUIRE(c, call)                                                                           \
    do {                                                                                           \
        if ((call) != CG_OK)                                                                       \
            fail_msg("%s: %s: %s", (c)->op->name, (c)->label, cg_error_message());                 \
    } while (0)

static void *allocate(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 64 + 63) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, bytes + 64);
    return p;
}

static double *doubles(int64_t n) {
    return allocate((size_t)n * sizeof(double));
}

/* --- numbers ---------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void fill_offsets(double *x, int64_t n, double high, cg_rng *r) {
    for (int64_t i = 1; i < n; i++) x[i] = (double)cg_rng_below(r, (uint64_t)high + 1);
    qsort(x, (size_t)n, sizeof *x, ascending);
    if (n > 3) x[2] = x[1];     /* an empty segment */
    if (n > 4) x[n - 1] = high; /* the last one reaches the end */
    if (n > 1) x[0] = 0;
    if (n > 1 && x[n - 1] == 0) x[n - 1] = high;
}

static void fill_distinct(double *x, int64_t n, double low, double high, cg_rng *r) {
    for (int64_t i = 0; i < n; i++) {
        int64_t other = (int64_t)cg_rng_below(r, (uint64_t)i + 1);
        x[i] = x[other];
        x[other] = (double)(float)(low + (high - low) * (double)i / (double)n);
    }
}

static void fill(double *x, const cg_case_operand *o, cg_rng *r) {
    int64_t n = cg_shape_count(&o->shape);
    if (o->fill == CG_FILL_DISTINCT) {
        fill_distinct(x, n, o->low, o->high, r);
        return;
    }
    if (o->fill == CG_FILL_OFFSETS) {
        fill_offsets(x, n, o->high, r);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        do x[i] = cg_rng_range(r, o->low, o->high);
        while (o->fill == CG_FILL_NONZERO && fabs(x[i]) < 0.1);
        if (o->fill == CG_FILL_INTEGER) x[i] = floor(x[i]);
        if (o->dtype == CG_F32) x[i] = (double)(float)x[i];
    }
}

int64_t cg_fixture_out_count(const cg_fixture *f, int output) {
    return cg_shape_count(&f->out_shape[output]);
}

int64_t cg_fixture_in_count(const cg_fixture *f, int operand) {
    return cg_shape_count(&f->c->in[operand].shape);
}

void cg_case_inputs(cg_graph *g, const cg_case_operand *operand, int n, cg_value **in) {
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "in%d", i);
        in[i] = cg_input(g, name, operand[i].dtype, operand[i].shape);
    }
}

/* The shapes of the outputs, and seeds for those that have a gradient. */
static void fixture_outputs(cg_fixture *f, cg_rng *r) {
    cg_graph *g;
    cg_value *in[CG_CASE_IN] = {0}, *out[CG_CASE_OUT] = {0};
    REQUIRE(f->c, cg_graph_create(NULL, &g));
    cg_case_inputs(g, f->c->in, f->c->n_in, in);
    f->c->build(g, in, out);
    REQUIRE(f->c, cg_graph_verify(g));
    for (int o = 0; o < f->c->n_out; o++) {
        if (!out[o]) fail_msg("%s: %s: output %d is NULL", f->c->op->name, f->c->label, o);
        f->out_shape[o] = out[o]->shape;
        if (out[o]->dtype != CG_F32) continue;
        int64_t n = cg_fixture_out_count(f, o);
        f->seed[o] = doubles(n);
        for (int64_t i = 0; i < n; i++) f->seed[o][i] = (double)(float)cg_rng_range(r, -1, 1);
    }
    cg_graph_free(g);
}

cg_fixture cg_fixture_make(const cg_op_case *c) {
    cg_fixture f = {.c = c};
    uint64_t name = 0;
    for (const char *s = c->label; *s; s++) name = cg_mix64(name + (unsigned char)*s);
    for (int i = 0; i < c->n_in; i++) {
        cg_rng r = cg_rng_at(0, CG_RNG_TEST, name, (uint64_t)i);
        f.in[i] = doubles(cg_shape_count(&c->in[i].shape));
        fill(f.in[i], &c->in[i], &r);
    }
    cg_rng r = cg_rng_at(0, CG_RNG_TEST, name, CG_CASE_IN);
    fixture_outputs(&f, &r);
    return f;
}

void cg_fixture_free(cg_fixture *f) {
    for (int i = 0; i < CG_CASE_IN; i++) free(f->in[i]);
    for (int o = 0; o < CG_CASE_OUT; o++) free(f->seed[o]);
}

cg_case_data cg_fixture_data(const cg_fixture *f, double *const *out) {
    cg_case_data d = {.n_in = f->c->n_in, .n_out = f->c->n_out};
    for (int i = 0; i < d.n_in; i++) {
        d.in_shape[i] = f->c->in[i].shape;
        d.in[i] = f->in[i];
    }
    for (int o = 0; o < d.n_out; o++) {
        d.out_shape[o] = f->out_shape[o];
        d.out[o] = out[o];
    }
    return d;
}

/* --- a run ------------------------------------------------------------------------------------ */

enum { MOST_OPS = 256 };
static struct {
    const cg_op *op;
    unsigned bf16_in, bf16_out;
    int n_out;
} planned[MOST_OPS];

static int place_of(const cg_op *op) {
    int i = 0;
    while (i < MOST_OPS - 1 && planned[i].op && planned[i].op != op) i++;
    return i;
}

int cg_op_was_run(const cg_op *op) {
    return planned[place_of(op)].op == op;
}

int cg_op_most_out(const cg_op *op) {
    return planned[place_of(op)].n_out;
}

void cg_op_ran_bf16(const cg_op *op, unsigned *in, unsigned *out) {
    *in = planned[place_of(op)].bf16_in;
    *out = planned[place_of(op)].bf16_out;
}

static void mark(const cg_node *n) {
    int at = place_of(n->op);
    planned[at].op = n->op;
    if (n->n_out > planned[at].n_out) planned[at].n_out = n->n_out;
    for (int i = 0; i < n->n_in && i < 32; i++)
        if (n->in[i]->dtype == CG_BF16) planned[at].bf16_in |= 1u << i;
    for (int o = 0; o < n->n_out; o++)
        if (n->out[o]->dtype == CG_BF16) planned[at].bf16_out |= 1u << o;
}

static cg_value *named_output(cg_graph *g, const char *prefix, int i, cg_value *v) {
    char name[16];
    snprintf(name, sizeof name, "%s%d", prefix, i);
    cg_graph_output(g, name, v, CG_KEEP);
    return v;
}

/* Lets what reads v, which is now bf16, read a cast of it. */
static void widen_readers(cg_graph *g, cg_value *v) {
    v->dtype = CG_BF16;
    cg_value *wide = cg_cast(g, v, CG_F32);
    if (!wide) return;
    cg_value_replace(g, v, wide);
    wide->node->in[0] = v;
}

/* Lets nodes read v rounded; where it leaves the graph it stays as it is. */
static void round_readers(cg_graph *g, cg_value *v) {
    int n_node = g->n_node;
    cg_value *rounded = cg_cast(g, cg_cast(g, v, CG_BF16), CG_F32);
    for (int i = 0; i < n_node; i++)
        for (int k = 0; k < g->node[i]->n_in; k++)
            if (g->node[i]->in[k] == v) g->node[i]->in[k] = rounded;
}

/* Do n's operands want to be bf16 together (those of a product)? Its result is then bf16 only where
 * they are. */
static int coupled(cg_graph *g, cg_node *n) {
    cg_type type[8];
    cg_value *x = n->n_in ? n->in[0] : NULL;
    if (!x || x->dtype != CG_F32 || !cg_op_reads_bf16(n->op, 0)) return 0;
    n->in[0] = cg_cast(g, x, CG_BF16);
    int refused = n->op->infer(n, type) != CG_OK;
    n->in[0] = x;
    return refused;
}

/* Makes n's operands bf16 that r asks for; none where the op wants others to be so, too. */
static int narrow_operands(cg_graph *g, cg_node *n, const cg_case_run *r) {
    cg_value *saved[CG_CASE_IN];
    cg_type type[8];
    int count = 0, most = n->n_in < CG_CASE_IN ? n->n_in : CG_CASE_IN;
    for (int k = 0; k < most; k++) {
        saved[k] = n->in[k];
        if (!(r->bf16_in >> k & 1) || !cg_op_reads_bf16(n->op, k) || n->in[k]->dtype != CG_F32)
            continue;
        n->in[k] = cg_cast(g, n->in[k], CG_BF16);
        count++;
    }
    if (count && n->op->infer(n, type) != CG_OK) {
        memcpy(n->in, saved, (size_t)most * sizeof *saved);
        return 0;
    }
    for (int k = 0; k < most; k++)
        if (r->rounded && n->in[k] != saved[k]) n->in[k] = cg_cast(g, n->in[k], CG_F32);
    if (n->op->view && count && !r->rounded) widen_readers(g, n->out[0]);
    return count;
}

/* Makes the operands and results bf16 that r asks for. Returns how many. */
static int narrow(cg_graph *g, const cg_case_run *r) {
    int count = 0, n_node = g->n_node;
    for (int i = 0; i < n_node; i++) {
        cg_node *n = g->node[i];
        int together = coupled(g, n), operands = narrow_operands(g, n, r);
        count += operands;
        if (together && operands == 0) continue;
        for (int o = 0; o < n->n_out; o++) {
            if (!(r->bf16_out >> o & 1) || !(n->op->bf16_out >> o & 1) || n->op->view) continue;
            if (n->out[o]->dtype != CG_F32) continue;
            if (r->rounded)
                round_readers(g, n->out[o]);
            else
                widen_readers(g, n->out[o]);
            count++;
        }
    }
    cg_graph_order(g);
    return count;
}

/* Lets a gradient give its op's first result again, where that is the case's output 0. */
static void repeat(cg_graph *g) {
    const cg_value *y = cg_graph_find_output(g, "out0")->value;
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i]->out[0] != y) continue;
        cg_node *gradient = cg_gradient_of(g, g->node[i]);
        if (!gradient) continue;
        named_output(g, "again", 0, cg_gradient_gives_again(g, g->node[i], gradient));
        cg_graph_sweep(g);
        cg_graph_order(g);
        return;
    }
}

/* The case's graph: forward, gradients, passes. */
static void build(const cg_fixture *f, cg_case_run *r, cg_graph *g) {
    const cg_op_case *c = f->c;
    cg_value *raw[CG_CASE_IN] = {0}, *in[CG_CASE_IN] = {0}, *out[CG_CASE_OUT] = {0};
    cg_case_inputs(g, c->in, c->n_in, raw);
    for (int i = 0; i < c->n_in; i++) {
        int wrap = r->wrap && c->in[i].dtype == CG_F32;
        in[i] = wrap ? cg_scale(g, raw[i], 1) : raw[i];
        if (r->keep) named_output(g, "kept", i, in[i]);
    }
    c->build(g, in, out);
    for (int o = 0; o < c->n_out; o++) named_output(g, "out", o, out[o]);

    cg_value *seeded[CG_CASE_OUT], *seed[CG_CASE_OUT], *wrt[CG_CASE_IN], *dx[CG_CASE_IN];
    int n_seed = 0, n_wrt = 0, operand[CG_CASE_IN];
    for (int o = 0; o < c->n_out; o++) {
        if (!f->seed[o] || !(r->seeds >> o & 1)) continue;
        char name[16];
        snprintf(name, sizeof name, "seed%d", o);
        seeded[n_seed] = out[o];
        seed[n_seed++] = cg_input(g, name, CG_F32, f->out_shape[o]);
    }
    for (int i = 0; i < c->n_in; i++) {
        if (!c->in[i].differentiate) continue;
        operand[n_wrt] = i;
        wrt[n_wrt++] = raw[i];
    }
    REQUIRE(c, cg_graph_status(g));
    if (r->seeds && n_wrt) {
        REQUIRE(c, cg_grad(g, n_seed, seeded, seed, n_wrt, wrt, dx));
        for (int i = 0; i < n_wrt; i++) named_output(g, "dx", operand[i], dx[i]);
    }
    cg_pass_common(g);
    cg_pass_dead(g);
    if (r->again) repeat(g);
    if (r->bf16_in || r->bf16_out) r->narrowed = narrow(g, r);
    REQUIRE(c, cg_graph_verify(g));
}

/* The upper half of an f32, of a number that it holds. */
static uint16_t bf16_of(double x) {
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static double of_bf16(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

static void store(void *to, cg_dtype type, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (type == CG_F32) ((float *)to)[i] = (float)from[i];
        if (type == CG_BF16) ((uint16_t *)to)[i] = bf16_of(from[i]);
        if (type == CG_I32) ((int32_t *)to)[i] = (int32_t)from[i];
        if (type == CG_I64) ((int64_t *)to)[i] = (int64_t)from[i];
        if (type == CG_U8) ((uint8_t *)to)[i] = (uint8_t)from[i];
    }
}

static void load(double *to, cg_dtype type, const void *from, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (type == CG_F32) to[i] = (double)((const float *)from)[i];
        if (type == CG_BF16) to[i] = of_bf16(((const uint16_t *)from)[i]);
        if (type == CG_I32) to[i] = (double)((const int32_t *)from)[i];
        if (type == CG_I64) to[i] = (double)((const int64_t *)from)[i];
        if (type == CG_U8) to[i] = (double)((const uint8_t *)from)[i];
    }
}

static int is_nth(const char *name, const char *prefix, int i) {
    char wanted[16];
    snprintf(wanted, sizeof wanted, "%s%d", prefix, i);
    return strcmp(name, wanted) == 0;
}

/* The numbers of a graph's input of that name. */
static const double *numbers_of(const cg_fixture *f, const char *name) {
    for (int i = 0; i < CG_CASE_IN; i++)
        if (is_nth(name, "in", i)) return f->in[i];
    for (int o = 0; o < CG_CASE_OUT; o++)
        if (is_nth(name, "seed", o)) return f->seed[o];
    return NULL;
}

/* Where an output's numbers go. */
static double **result_of(cg_case_run *r, const char *name) {
    for (int i = 0; i < CG_CASE_IN; i++) {
        if (is_nth(name, "dx", i)) return &r->dx[i];
        if (is_nth(name, "kept", i)) return &r->kept[i];
        if (i < CG_CASE_OUT && is_nth(name, "out", i)) return &r->out[i];
    }
    if (is_nth(name, "again", 0)) return &r->repeated;
    return NULL;
}

static void collect(const cg_graph *g, const cg_exec *e, cg_case_run *r, int again) {
    for (int i = 0; i < g->n_output; i++) {
        const cg_output *o = &g->output[i];
        int64_t n = cg_shape_count(&o->value->shape);
        double **to = result_of(r, o->name), *now = doubles(n);
        load(now, o->value->dtype, cg_exec_output(e, o->name), n);
        if (!again) {
            *to = now;
            continue;
        }
        r->unstable |= memcmp(*to, now, (size_t)n * sizeof *now) != 0;
        free(now);
    }
}

static void note_kernels(const cg_graph *g, const cg_plan *p, cg_case_run *r) {
    r->slow[0] = '\0';
    for (int i = 0; i < g->n_node; i++) {
        const char *impl = cg_plan_impl(p, i);
        mark(g->node[i]);
        if (strcmp(impl, "ref") == 0 || strstr(impl, "ref:"))
            snprintf(r->slow, sizeof r->slow, "%s: %s", g->node[i]->op->name, impl);
    }
}

void cg_case_run_do(const cg_fixture *f, cg_case_run *r) {
    cg_graph *g;
    cg_plan *p;
    cg_exec *e;
    REQUIRE(f->c, cg_graph_create(NULL, &g));
    build(f, r, g);
    if ((r->bf16_in || r->bf16_out) && r->narrowed == 0) {
        cg_graph_free(g);
        return;
    }
    REQUIRE(f->c, cg_plan_create(r->ctx, g, &p));
    note_kernels(g, p, r);
    REQUIRE(f->c, cg_exec_create(&e));
    REQUIRE(f->c, cg_exec_use(e, p));
    void *memory[CG_CASE_IN + CG_CASE_OUT];
    int n_memory = 0;
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        if (v->kind != CG_VALUE_INPUT) continue;
        size_t size = cg_dtype_size(v->dtype);
        int64_t n = cg_shape_count(&v->shape);
        char *at = memory[n_memory++] = allocate((size_t)n * size);
        if (r->shift) at += size;
        store(at, v->dtype, numbers_of(f, v->name), n);
        REQUIRE(f->c, cg_exec_bind_input(e, v->name, at));
    }
    for (int again = 0; again < 2; again++) {
        REQUIRE(f->c, cg_exec_run(e));
        collect(g, e, r, again);
    }
    for (int i = 0; i < n_memory; i++) free(memory[i]);
    cg_exec_free(e);
    cg_plan_free(p);
    cg_graph_free(g);
}

void cg_case_run_free(cg_case_run *r) {
    for (int o = 0; o < CG_CASE_OUT; o++) free(r->out[o]);
    for (int i = 0; i < CG_CASE_IN; i++) {
        free(r->dx[i]);
        free(r->kept[i]);
    }
    free(r->repeated);
}
