/* What is dynamic: the same model built at several sizes, and compared. */
#include "serialize/onnx/export_private.h"

#include <stdlib.h>
#include <string.h>

/* --- sizes ------------------------------------------------------------------------------------ */

int cg_onnx_same(cg_onnx_size a, cg_onnx_size b) {
    return a.factor == b.factor && memcmp(a.power, b.power, sizeof a.power) == 0;
}

int cg_onnx_is_fixed(cg_onnx_size a) {
    return cg_onnx_is(a, a.factor);
}

int cg_onnx_over(cg_onnx_size a, cg_onnx_size b, cg_onnx_size *out) {
    if (b.factor == 0 || a.factor % b.factor) return 0;
    *out = (cg_onnx_size){.factor = a.factor / b.factor};
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) {
        out->power[i] = (int8_t)(a.power[i] - b.power[i]);
        if (out->power[i] < 0) return 0;
    }
    return 1;
}

int64_t cg_onnx_number(const cg_onnx_export *x, cg_onnx_size size) {
    int64_t n = size.factor;
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++)
        for (int k = 0; k < size.power[i]; k++) n *= x->symbol[i].base;
    return n;
}

int cg_onnx_solve(const cg_onnx_export *x, const int64_t n[CG_ONNX_GRAPHS], cg_onnx_size *out) {
    *out = (cg_onnx_size){.factor = n[0]};
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) {
        const cg_onnx_symbol *s = &x->symbol[i];
        if (n[i + 1] == n[0]) continue;
        if (!s->name || n[i + 1] * s->base != n[0] * s->other || out->factor % s->base) return 0;
        out->power[i] = 1;
        out->factor /= s->base;
    }
    return 1;
}

/* --- graphs ----------------------------------------------------------------------------------- */

static cg_status differs(const cg_onnx_symbol *s, const char *node, const char *what) {
    return cg_error(CG_EUNSUPPORTED, "%s: %s is another at another number of %s", node, what,
                    s->name);
}

/* Numbers may follow a symbol, as sizes do. */
static int follows(const cg_onnx_symbol *s, int64_t a, int64_t b) {
    return a == b || b * s->base == a * s->other;
}

static cg_status compare_attributes(const cg_onnx_symbol *s, const cg_node *a, const cg_node *b) {
    for (const cg_attr_field *f = a->op->attr; f && f->name; f++) {
        const void *u = (const char *)a->attr + f->offset, *v = (const char *)b->attr + f->offset;
        const cg_shape *us = u, *vs = v;
        int same = 1;
        if (f->type == CG_ATTR_FLOAT) same = *(const float *)u == *(const float *)v;
        if (f->type == CG_ATTR_INT) same = follows(s, *(const int64_t *)u, *(const int64_t *)v);
        if (f->type == CG_ATTR_SHAPE) {
            same = us->rank == vs->rank;
            for (int i = 0; same && i < us->rank; i++) same = follows(s, us->dim[i], vs->dim[i]);
        }
        if (!same) return differs(s, a->name, f->name);
    }
    return CG_OK;
}

static cg_status compare(const cg_graph *g, const cg_onnx_symbol *s) {
    const cg_graph *h = s->graph;
    if (g->n_node != h->n_node || g->n_value != h->n_value)
        return differs(s, "the graph", "its number of nodes");
    for (int i = 0; i < g->n_node; i++) {
        const cg_node *a = g->node[i], *b = h->node[i];
        int same = a->op == b->op && a->n_in == b->n_in && a->n_out == b->n_out;
        for (int k = 0; same && k < a->n_in; k++) same = a->in[k]->id == b->in[k]->id;
        for (int k = 0; same && k < a->n_out; k++)
            same = a->out[k]->id == b->out[k]->id && a->out[k]->shape.rank == b->out[k]->shape.rank;
        if (!same) return differs(s, a->name, "the op, or an operand,");
        CG_TRY(compare_attributes(s, a, b));
    }
    return CG_OK;
}

/* --- what is known ---------------------------------------------------------------------------- */

static int same_everywhere(const cg_onnx_export *x, const cg_value *v) {
    size_t bytes = (size_t)cg_shape_count(&v->shape) * cg_dtype_size(v->dtype);
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) {
        if (!x->symbol[i].name) continue;
        const cg_value *w = x->symbol[i].graph->value[v->id];
        if (!cg_shape_equal(&v->shape, &w->shape)) return 0;
        if (v->kind == CG_VALUE_CONSTANT && memcmp(v->data, w->data, bytes) != 0) return 0;
    }
    return 1;
}

/* Of a node: what all operands are; without optimization only what is made of constants. */
static int known_of(const cg_onnx_export *x, const cg_node *n) {
    int known = CG_ONNX_KNOWN | CG_ONNX_CONSTANT | CG_ONNX_SAME;
    if (n->n_in == 0) return 0;
    for (int i = 0; i < n->n_in; i++) known &= x->known[n->in[i]->id];
    for (int i = 0; i < n->n_out; i++)
        if (!same_everywhere(x, n->out[i])) known &= ~CG_ONNX_SAME;
    if (!x->optimize && !(known & CG_ONNX_CONSTANT)) known = 0;
    return known & CG_ONNX_KNOWN ? known : 0;
}

cg_status cg_onnx_compare(cg_onnx_export *x) {
    const cg_graph *g = x->graph;
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++)
        if (x->symbol[i].name) CG_TRY(compare(g, &x->symbol[i]));
    for (int i = 0; i < g->n_value; i++) {
        const cg_value *v = g->value[i];
        if (v->kind == CG_VALUE_PARAM) x->known[i] = CG_ONNX_KNOWN | CG_ONNX_SAME;
        if (v->kind == CG_VALUE_CONSTANT)
            x->known[i] = (char)(CG_ONNX_KNOWN | CG_ONNX_CONSTANT |
                                 (same_everywhere(x, v) ? CG_ONNX_SAME : 0));
    }
    for (int i = 0; i < g->n_node; i++)
        for (int k = 0; k < g->node[i]->n_out; k++)
            x->known[g->node[i]->out[k]->id] = (char)known_of(x, g->node[i]);
    return CG_OK;
}

/* --- progressions ----------------------------------------------------------------------------- */

static int progression_in(cg_onnx_export *x, const cg_graph *g, const cg_value *v,
                          cg_onnx_progression *out, int i) {
    int64_t n = cg_shape_count(&v->shape);
    const int32_t *row = v->data;
    void *made = NULL;
    if (v->kind == CG_VALUE_RESULT) {
        if (cg_onnx_evaluate(x->ctx, g, v, &made) != CG_OK) return 0;
        row = made;
    }
    out->count[i] = n;
    out->start[i] = n > 0 ? row[0] : 0;
    out->step[i] = n > 1 ? row[1] - row[0] : 0;
    int is = 1;
    for (int64_t k = 1; is && k < n; k++) is = row[k] - row[k - 1] == out->step[i];
    free(made);
    return is;
}

int cg_onnx_find_progression(cg_onnx_export *x, const cg_value *v, cg_onnx_progression *out) {
    if (v->dtype != CG_I32 || v->shape.rank != 1 || !(x->known[v->id] & CG_ONNX_CONSTANT)) return 0;
    if (!progression_in(x, x->graph, v, out, 0)) return 0;
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++) {
        const cg_onnx_symbol *s = &x->symbol[i];
        out->count[i + 1] = out->count[0];
        out->start[i + 1] = out->start[0];
        out->step[i + 1] = out->step[0];
        if (s->name && !progression_in(x, s->graph, s->graph->value[v->id], out, i + 1)) return 0;
    }
    return 1;
}
