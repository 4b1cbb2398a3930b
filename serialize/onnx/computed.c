/* Before a run: the tape's nodes are evaluated on its integers, for those inputs of the graph that
 * follow from them; and what recognition has asked of these numbers is asked again. */
#include "serialize/onnx/computed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A form that computed inputs may have: asked when the graph is made, and answered by an input of
 * the graph, or by none. */
typedef struct question {
    int of_rows; /* else of keys */
    cg_mask mask;
    int causal;
    cg_chosen_rows rows;
    void *data;       /* what holds the answer */
    cg_value *value;  /* NULL: they are not of that form */
    const char *name; /* the value's */
} question;

enum { MOST_ASKED = 64 };

struct cg_onnx_computed {
    cg_importer *m;
    question asked[MOST_ASKED];
    int n_asked;
};

/* --- what is needed --------------------------------------------------------------------------- */

static void need(const cg_item *x, int until) {
    cg_tape *t = x->maker;
    if (!t) return;
    t->needed = 1;
    if (until > t->until) t->until = until;
}

cg_status cg_onnx_computed_make(cg_importer *m, cg_onnx_computed **out) {
    *out = NULL;
    for (int i = 0; i < m->n_tape; i++) cg_tape_drop(m, m->tape[i]);
    if (!m->n_computed) return CG_OK;
    for (int i = 0; i < m->n_computed; i++) need(m->computed[i].item, 0);
    for (int i = m->n_tape - 1; i >= 0; i--)
        for (int k = 0; m->tape[i]->needed && k < m->tape[i]->n_in; k++)
            if (m->tape[i]->in[k]) need(m->tape[i]->in[k], i);
    *out = calloc(1, sizeof **out);
    if (!*out) return cg_error(CG_ENOMEM, "no memory for integers");
    (*out)->m = m;
    return CG_OK;
}

void cg_onnx_computed_free(cg_onnx_computed *n) {
    if (!n) return;
    for (int i = 0; i < n->n_asked; i++) free(n->asked[i].data);
    cg_importer_end(n->m);
    free(n);
}

/* --- what is asked ---------------------------------------------------------------------------- */

const void *cg_onnx_computed_numbers(const cg_onnx_computed *n, const cg_value *v) {
    for (int i = 0; n && v->kind == CG_VALUE_INPUT && i < n->m->n_computed; i++)
        if (strcmp(n->m->computed[i].name, v->name) == 0) return n->m->computed[i].data;
    return NULL;
}

/* Marks one row of each sequence. */
static int choose_rows(const cg_chosen_rows *r, int32_t *mark) {
    memset(mark, 0, (size_t)(r->sequences * r->rows) * sizeof *mark);
    for (int64_t s = 0; s < r->sequences; s++) {
        const int32_t *index = r->index + s * r->width;
        int64_t row = index[0] / r->width;
        if (row / r->rows != s) return 0;
        for (int64_t c = 0; c < r->width; c++)
            if (index[c] != row * r->width + c) return 0;
        mark[row] = 1;
    }
    return 1;
}

static int is_so(const question *q) {
    return q->of_rows ? choose_rows(&q->rows, q->data)
                      : cg_mask_is_of_keys(&q->mask, q->causal, q->data);
}

static int is_same_mask(const cg_mask *a, const cg_mask *b) {
    int same = a->n == b->n && memcmp(a->dim, b->dim, sizeof a->dim) == 0;
    for (int i = 0; same && i < a->n; i++) {
        const cg_mask_part *p = &a->part[i], *q = &b->part[i];
        same = p->added == q->added && p->chosen == q->chosen &&
               p->seen_where_0 == q->seen_where_0 && p->behind == q->behind &&
               memcmp(p->stride, q->stride, sizeof p->stride) == 0;
    }
    return same;
}

static int is_same(const question *a, const question *b) {
    return a->of_rows == b->of_rows && a->causal == b->causal && is_same_mask(&a->mask, &b->mask) &&
           memcmp(&a->rows, &b->rows, sizeof a->rows) == 0;
}

/* Whatever the answer is, it is kept: the graph is one for integers that are answered so. */
static cg_value *ask(cg_onnx_computed *n, cg_graph *g, question q, cg_dtype dtype, int64_t count) {
    char name[48];
    for (int i = 0; i < n->n_asked; i++)
        if (is_same(&n->asked[i], &q)) return n->asked[i].value;
    if (n->n_asked == MOST_ASKED) return NULL;
    q.data = aligned_alloc(64, cg_align64((size_t)count * cg_dtype_size(dtype) + 1));
    if (!q.data) return cg_graph_fail(g, cg_error(CG_ENOMEM, "no memory for integers"));
    if (is_so(&q)) {
        snprintf(name, sizeof name, "\"computed %d\"", n->m->n_computed + n->n_asked);
        q.value = cg_input(g, name, dtype, CG_SHAPE(count));
        q.name = q.value ? q.value->name : NULL;
    }
    n->asked[n->n_asked++] = q;
    return q.value;
}

cg_value *cg_onnx_computed_keys(cg_onnx_computed *n, cg_graph *g, const cg_mask *mask, int causal) {
    return ask(n, g, (question){.mask = *mask, .causal = causal}, CG_F32,
               mask->dim[0] * mask->dim[3]);
}

cg_value *cg_onnx_computed_rows(cg_onnx_computed *n, cg_graph *g, const cg_chosen_rows *rows) {
    return ask(n, g, (question){.of_rows = 1, .rows = *rows}, CG_I32, rows->sequences * rows->rows);
}

/* --- runs ------------------------------------------------------------------------------------- */

static cg_status store_of(const cg_importer *m, const cg_tape *maker) {
    for (int i = 0; i < m->n_computed; i++)
        if (m->computed[i].item->maker == maker) CG_TRY(cg_computed_store(&m->computed[i]));
    return CG_OK;
}

static cg_status evaluate(cg_importer *m, int i, int *fits) {
    cg_tape *t = m->tape[i];
    CG_TRY(cg_tape_run(m, t, fits));
    if (*fits) CG_TRY(store_of(m, t));
    for (int k = 0; k < t->n_in; k++) {
        cg_tape *maker = t->in[k] ? t->in[k]->maker : NULL;
        if (maker && maker->until == i) cg_tape_drop(m, maker);
    }
    if (t->until <= i) cg_tape_drop(m, t);
    return CG_OK;
}

cg_status cg_onnx_computed_run(cg_onnx_computed *n, const int32_t *const *integers, int *fits) {
    cg_importer *m = n->m;
    char text[200];
    *fits = 1;
    m->integers = integers;
    m->room.budget.steps = 0;
    cg_status s = cg_tape_inputs(m);
    if (s == CG_OK) s = store_of(m, NULL);
    for (int i = 0; i < m->n_tape && s == CG_OK && *fits; i++) {
        if (!m->tape[i]->needed) continue;
        s = evaluate(m, i, fits);
        if (s != CG_OK) s = cg_error_in(s, "%s", cg_onnx_node_text(m->tape[i]->node, text));
    }
    for (int i = 0; i < m->n_tape; i++) cg_tape_drop(m, m->tape[i]);
    for (int i = 0; i < n->n_asked && s == CG_OK && *fits; i++)
        *fits = is_so(&n->asked[i]) == (n->asked[i].name != NULL);
    return s;
}

static cg_status bind(const cg_graph *g, cg_exec *e, const char *name, const void *data) {
    return name && cg_graph_find_input(g, name) ? cg_exec_bind_input(e, name, data) : CG_OK;
}

cg_status cg_onnx_computed_bind(const cg_onnx_computed *n, const cg_graph *g, cg_exec *e) {
    for (int i = 0; n && i < n->m->n_computed; i++)
        CG_TRY(bind(g, e, n->m->computed[i].name, n->m->computed[i].data));
    for (int i = 0; n && i < n->n_asked; i++)
        CG_TRY(bind(g, e, n->asked[i].name, n->asked[i].data));
    return CG_OK;
}
