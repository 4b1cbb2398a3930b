/* Masks of attention that follow from an input. What a mask hides is found by its probes: it hides
 * the same always, and besides the keys whose number in the input is, or is not, a certain one. */
#include "serialize/onnx/import_private.h"

#include <math.h>
#include <string.h>

/* --- where a mask stands ---------------------------------------------------------------------- */

int cg_import_meets_softmax(const cg_job *j, int rank) {
    static const char *const passed[] = {"Add",     "Where",     "Cast",    "Identity",
                                         "Reshape", "Unsqueeze", "Squeeze", NULL};
    const CgOnnx__NodeProto *n = j->node;
    for (int step = 0; step < 8 && n->n_output > 0 && *n->output[0]; step++) {
        int at = cg_onnx_names_get(&j->m->reader, n->output[0]), through = 0;
        if (at < 0 || at == CG_SEVERAL) return 0;
        n = j->m->f->model->graph->node[at];
        if (strcmp(n->op_type, "Softmax") == 0) {
            int64_t axis = cg_onnx_int(n, "axis", -1);
            return axis == -1 || axis == rank - 1;
        }
        for (int i = 0; passed[i]; i++) through |= strcmp(n->op_type, passed[i]) == 0;
        if (!through) return 0;
    }
    return 0;
}

/* --- which keys it hides ---------------------------------------------------------------------- */

/* A key is seen where its number differs from c, is c, or is above c. */
typedef struct rule {
    enum { DIFFERS, EQUALS, ABOVE, RULES } kind;
    double c;
} rule;

static int holds(const rule *r, double x) {
    return r->kind == ABOVE ? x > r->c : (x == r->c) == (r->kind == EQUALS);
}

/* Added to scores, or what chooses between them and a low number: they are seen where it is
 * seen_if. */
typedef struct mask {
    const cg_item *item, *from; /* from: i64 [batch, keys] */
    int is_choice, seen_if, probes;
    int64_t differ; /* elements after which what is to be looked at comes again */
} mask;

static int sees(const mask *m, int p, int64_t i) {
    double x = cg_host_at(&m->item->probe[p], i);
    return m->is_choice ? (x != 0) == m->seen_if : x > -1e4;
}

static double number(const mask *m, int p, int64_t i) {
    int64_t keys = m->from->shape.dim[1], batch = m->from->shape.dim[0];
    int64_t n = batch > 1 ? i / (cg_item_count(m->item) / batch) : 0;
    return cg_host_at(&m->from->probe[p], n * keys + i % keys);
}

/* Is element i hidden always? Else it is seen just where the rule holds; what is seen adds 0. */
static int is_hidden(const mask *m, int64_t i) {
    for (int p = 0; p < m->probes; p++)
        if (sees(m, p, i)) return 0;
    return 1;
}

/* *hides counts the keys that are hidden by the rule. */
static int fits_element(const mask *m, const rule *r, int64_t i, int64_t *hides) {
    int hidden = is_hidden(m, i), ever = 0;
    for (int p = 0; p < m->probes; p++) {
        int key = holds(r, number(m, p, i));
        ever |= key;
        if (hidden) continue;
        if (sees(m, p, i) != key) return 0;
        if (key && !m->is_choice && cg_host_at(&m->item->probe[p], i) != 0) return 0;
        *hides += !key;
    }
    return ever;
}

static int fits(const mask *m, const rule *r) {
    int64_t hides = 0;
    for (int64_t i = 0; i < m->differ; i++)
        if (!fits_element(m, r, i, &hides)) return 0;
    return hides > 0;
}

/* Elements of the first rows, those that the probes hold of item and input; or all. */
static int64_t differing(const mask *m) {
    int64_t all = cg_item_count(m->item), batch = m->from->shape.dim[0];
    int64_t rows = m->from->probe[0].held / m->from->shape.dim[1], n = all / batch * rows;
    for (int p = 0; p < m->probes; p++)
        if (n % m->item->probe[p].held) return all;
    return n;
}

static int find_rule(const cg_importer *m, const mask *k, rule *r) {
    const cg_shape *s = &k->item->shape;
    int64_t batch = k->from->shape.dim[0];
    if (s->rank < 2 || s->dim[s->rank - 1] != k->from->shape.dim[1]) return 0;
    if (batch > 1 && (s->rank < 3 || s->dim[0] != batch)) return 0;
    for (int i = 0; i < 2 + m->n_number; i++)
        for (int kind = 0; kind < RULES; kind++) {
            *r = (rule){kind, i < 2 ? i : (double)m->number[i - 2]};
            if (fits(k, r)) return 1;
        }
    return 0;
}

/* --- as a value ------------------------------------------------------------------------------- */

/* 1 where the rule holds, else 0. */
static cg_value *apply(cg_graph *g, const rule *r, cg_value *x) {
    cg_value *d = r->c == 0 ? x : cg_add(g, x, cg_constant_f32(g, (float)-r->c));
    if (r->kind == ABOVE) return cg_clamp(g, d, 0, 1);
    d = cg_clamp(g, cg_mul(g, d, d), 0, 1);
    if (r->kind == DIFFERS) return d;
    return cg_add(g, cg_neg(g, d), cg_constant_f32(g, 1));
}

/* scores + (key - 1) 1e30, and what is hidden always -inf besides: exact wherever a row sees a
 * key. */
static cg_status add_mask(cg_job *j, cg_item *scores, const mask *m, const rule *r) {
    cg_item from = *m->from;
    int64_t batch = from.shape.dim[0], keys = from.shape.dim[1], hidden = 0;
    cg_item always = {.type = CG_ONNX_TYPE(FLOAT), .shape = m->item->shape}, key = {0}, sum;
    CG_TRY(
        cg_host_new_rows(&j->m->room, CG_ONNX_TYPE(FLOAT), always.shape, m->differ, &always.host));
    for (int64_t i = 0; i < always.host.held; i++) {
        always.host.x[i] = is_hidden(m, i) ? -INFINITY : 0;
        hidden += always.host.x[i] != 0;
    }
    cg_value *v;
    CG_TRY(cg_item_plain(j, &from, &v));
    v = apply(j->g, r, cg_cast(j->g, cg_reshape(j->g, v, CG_SHAPE(batch * keys)), CG_F32));
    v = cg_scale(j->g, cg_add(j->g, v, cg_constant_f32(j->g, -1)), 1e30f);
    key.type = CG_ONNX_TYPE(FLOAT);
    key.shape = (cg_shape){.rank = scores->shape.rank};
    for (int i = 0; i < key.shape.rank; i++) key.shape.dim[i] = 1;
    key.shape.dim[0] = batch;
    key.shape.dim[key.shape.rank - 1] = keys;
    key.v = v;
    key.view = cg_view_of(&key.shape);
    CG_TRY(cg_graph_status(j->g));
    CG_TRY(cg_import_binary(j, cg_add, scores, &key, &sum));
    if (!hidden) {
        j->out[0] = sum;
        return CG_OK;
    }
    return cg_import_binary(j, cg_add, &sum, &always, &j->out[0]);
}

enum { MOST_COMPARED = 1 << 24 }; /* elements, under every rule */

static cg_status try_mask(cg_job *j, cg_item *scores, mask m, int *done) {
    rule r;
    m.probes = j->m->n_probe;
    m.from = cg_item_source(j, m.item);
    if (!m.from || m.from->shape.rank != 2 || scores->shape.rank < 3) return CG_OK;
    if (!cg_import_meets_softmax(j, scores->shape.rank)) return CG_OK;
    m.differ = differing(&m);
    if (m.differ > MOST_COMPARED || !find_rule(j->m, &m, &r)) return CG_OK;
    *done = 1;
    return add_mask(j, scores, &m, &r);
}

static int is_score(const cg_item *x) {
    return x->v && !x->probed && cg_item_is_float(x);
}

cg_status cg_import_masked(cg_job *j, int *done) {
    const char *name = j->node->op_type;
    double low;
    *done = 0;
    for (int k = 0; k < j->n_in; k++)
        if (!j->in[k]) return CG_OK;
    for (int k = 0; k < 2 && j->n_in == 2 && strcmp(name, "Add") == 0; k++)
        if (!*done && j->in[k]->probed && is_score(j->in[1 - k]))
            CG_TRY(try_mask(j, j->in[1 - k], (mask){.item = j->in[k]}, done));
    if (strcmp(name, "Where") != 0 || j->n_in != 3 || !j->in[0]->probed) return CG_OK;
    for (int k = 1; k < 3 && !*done; k++)
        if (is_score(j->in[k]) && cg_item_number(j, j->in[3 - k], &low) && low <= -1e4)
            CG_TRY(try_mask(j, j->in[k],
                            (mask){.item = j->in[0], .is_choice = 1, .seen_if = k == 1}, done));
    return CG_OK;
}
