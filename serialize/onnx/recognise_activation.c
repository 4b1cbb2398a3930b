/* Activations that are spelt out, recognised by what they compute: a node that follows from one
 * value alone, through ops element by element and numbers, is evaluated at points between -12 and
 * 12 and compared with gelu, gelu_tanh, quickgelu and silu. */
#include "ops/passes/rewrite.h"
#include "serialize/onnx/recognise.h"
#include "serialize/onnx/view.h"

#include <math.h>

enum { POINTS = 97, DEEPEST = 12, FOLLOWED = 5 };

typedef struct point {
    const cg_value *x;
    double u;
    cg_budget *budget;
} point;

/* v at x = u. Returns 0 where v is not of x alone, or takes too long. */
static int value_at(cg_value *v, const point *p, int depth, double *out);

static int operand_at(cg_value *v, const point *p, int depth, double *out) {
    float c;
    if (cg_unshaped(v) == p->x) {
        *out = p->u;
        return 1;
    }
    if (cg_one_number(v, &c)) {
        *out = (double)c;
        return 1;
    }
    return value_at(v, p, depth + 1, out);
}

static int value_at(cg_value *v, const point *p, int depth, double *out) {
    v = cg_unshaped(v);
    const cg_node *n = v->node;
    double a, b = 0;
    if (!n || depth > DEEPEST || v->index || n->n_in < 1 || n->n_in > 2 || n->n_out != 1) return 0;
    if (cg_budget_walk(p->budget, 1) != CG_OK) return 0;
    if (!operand_at(n->in[0], p, depth, &a)) return 0;
    if (n->n_in == 2 && !operand_at(n->in[1], p, depth, &b)) return 0;
    if (n->op == &cg_op_add)
        *out = a + b;
    else if (n->op == &cg_op_sub)
        *out = a - b;
    else if (n->op == &cg_op_mul)
        *out = a * b;
    else if (n->op == &cg_op_div)
        *out = a / b;
    else if (n->op == &cg_op_scale)
        *out = a * (double)*(const float *)n->attr;
    else if (n->op == &cg_op_erf)
        *out = erf(a);
    else if (n->op == &cg_op_tanh)
        *out = tanh(a);
    else if (n->op == &cg_op_sigmoid)
        *out = 1 / (1 + exp(-a));
    else if (n->op == &cg_op_exp)
        *out = exp(a);
    else
        return 0;
    return 1;
}

static double gelu(double x) {
    return 0.5 * x * erfc(-x / sqrt(2));
}
static double gelu_tanh(double x) {
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}
static double quickgelu(double x) {
    return x / (1 + exp(-1.702 * x));
}
static double silu(double x) {
    return x / (1 + exp(-x));
}

typedef cg_value *(*builder)(cg_graph *g, cg_value *x);
static const struct {
    double (*f)(double x);
    builder build;
} known[] = {
    {gelu, cg_gelu}, {gelu_tanh, cg_gelu_tanh}, {quickgelu, cg_quickgelu}, {silu, cg_silu}};

static builder compare(cg_value *y, const cg_value *x, cg_budget *b) {
    int fits[4] = {1, 1, 1, 1};
    for (int i = 0; i < POINTS; i++) {
        double u = 0.25 * (i - POINTS / 2), found;
        if (!value_at(y, &(point){x, u, b}, 0, &found)) return NULL;
        int any = 0;
        for (int k = 0; k < 4; k++) {
            double wanted = known[k].f(u);
            any |= fits[k] &= fabs(found - wanted) <= 2e-6 * (1 + fabs(wanted));
        }
        if (!any) return NULL;
    }
    for (int k = 0; k < 4; k++)
        if (fits[k]) return known[k].build;
    return NULL;
}

/* The operand of the curve's node, before it was scaled or made a polynomial of: what y is compared
 * with. Each step up is a candidate. */
static cg_value *up(cg_value *x) {
    float c;
    const cg_node *n = x->node;
    if (!n || n->n_in < 1) return NULL;
    cg_value *other = cg_with_number(n, &c);
    if (!other && n->op == &cg_op_mul) other = n->in[0];
    if (!other && n->op == &cg_op_add) other = n->in[0];
    return other ? cg_unshaped(other) : NULL;
}

/* From the curve down to the last node that follows from it, up from it to the value it follows
 * from. */
static int rewrite(cg_graph *g, cg_node *curve, cg_budget *b) {
    cg_node *last = curve;
    for (int down = 0; last && down < FOLLOWED; down++) {
        cg_value *x = cg_unshaped(curve->in[0]);
        for (int steps = 0; x && steps < FOLLOWED; steps++, x = up(x)) {
            if (cg_shape_count(&x->shape) != cg_shape_count(&last->out[0]->shape)) continue;
            builder build = down ? compare(last->out[0], x, b) : NULL;
            if (!build) continue;
            g->named = last->name;
            cg_value *y = cg_shaped(g, build(g, x), last->out[0]->shape);
            if (!y) return 0;
            cg_value_replace(g, last->out[0], y);
            last->dead = 1;
            return 1;
        }
        last = cg_only_reader(g, last->out[0]);
    }
    return 0;
}

int cg_recognise_activation(cg_graph *g, cg_budget *b) {
    int rewrites = 0;
    for (int i = 0, n = g->n_node; i < n && g->status == CG_OK; i++) {
        const cg_op *op = g->node[i]->op;
        if (!g->node[i]->dead && (op == &cg_op_erf || op == &cg_op_tanh || op == &cg_op_sigmoid))
            rewrites += rewrite(g, g->node[i], b);
    }
    return rewrites;
}
