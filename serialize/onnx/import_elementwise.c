/* Operators element by element. */
#include "serialize/onnx/import_private.h"

#include <math.h>
#include <string.h>

/* --- two operands ----------------------------------------------------------------------------- */

/* The atoms of a leading operand in the order in which they lie, and whether the other operand has
 * them, and where. */
typedef struct matched {
    int64_t size, lead, other; /* strides; other 0: it is repeated along this */
} matched;

typedef struct match {
    int n;
    matched atom[CG_VIEW_ATOMS];
} match;

static int find_match(cg_view lead, cg_view other, match *m) {
    int shift = lead.shape.rank - other.shape.rank, at = 0;
    if (shift < 0 || !cg_view_split(&other, &lead) || !cg_view_split(&lead, &other)) return 0;
    *m = (match){.n = lead.n};
    for (int i = 0; i < lead.n; i++) {
        int axis = lead.atom[i].axis - shift;
        int has = axis >= 0 && other.shape.dim[axis] > 1;
        m->atom[i].size = lead.atom[i].size;
        m->atom[i].lead = lead.atom[i].stride;
        if (has) {
            if (at == other.n || other.atom[at].size != lead.atom[i].size) return 0;
            m->atom[i].other = other.atom[at++].stride;
        }
    }
    for (int i = 1; i < m->n; i++)
        for (int k = i; k > 0 && m->atom[k - 1].lead < m->atom[k].lead; k--) {
            matched swap = m->atom[k];
            m->atom[k] = m->atom[k - 1];
            m->atom[k - 1] = swap;
        }
    return at == other.n;
}

/* Each dimension of `own`, the leading value's, is either repeated or not: *out is the other's
 * shape beside it. */
static int fits_own(const match *m, const cg_shape *own, cg_shape *out) {
    int at = 0;
    *out = *own;
    for (int d = 0; d < own->rank; d++) {
        int64_t need = own->dim[d];
        int first = at;
        for (; need > 1; at++) {
            if (at == m->n || m->atom[at].size < 1 || need % m->atom[at].size) return 0;
            if ((m->atom[at].other > 0) != (m->atom[first].other > 0)) return 0;
            need /= m->atom[at].size;
        }
        if (at > first && m->atom[first].other == 0) out->dim[d] = 1;
    }
    return at == m->n;
}

/* Neighbours of which the other operand has all or none, as one dimension each. */
static int fits_parts(const match *m, cg_shape *lead, cg_shape *other) {
    *lead = *other = (cg_shape){0};
    for (int i = 0; i < m->n; i++) {
        int has = m->atom[i].other > 0, joins = lead->rank > 0;
        if (joins) joins = (other->dim[lead->rank - 1] > 1) == has;
        if (!joins) {
            if (lead->rank == CG_MAX_RANK) return 0;
            lead->dim[lead->rank++] = 1;
            other->dim[other->rank++] = 1;
        }
        lead->dim[lead->rank - 1] *= m->atom[i].size;
        if (has) other->dim[other->rank - 1] *= m->atom[i].size;
    }
    return 1;
}

static cg_shape without_leading_ones(cg_shape s) {
    cg_shape out = {0};
    for (int i = 0; i < s.rank; i++)
        if (out.rank > 0 || s.dim[i] > 1) out.dim[out.rank++] = s.dim[i];
    return out;
}

/* The other operand, moved into the leading one's order. */
static cg_value *moved(cg_graph *g, cg_value *other, const match *m, cg_shape shape) {
    cg_view view = {.shape = {.rank = 1, .dim = {1}}};
    for (int i = 0; i < m->n; i++) {
        if (m->atom[i].other == 0) continue;
        view.atom[view.n++] = (cg_atom){m->atom[i].size, m->atom[i].other, 0};
        view.shape.dim[0] *= m->atom[i].size;
    }
    return cg_shaped(g, cg_view_move(g, other, &view), without_leading_ones(shape));
}

/* Rows of the last axis, where sequences lie so: passes work on matrices. Else as they are. */
static cg_shape preferred(const cg_item *x) {
    int last = x->shape.rank - 1;
    if (last < 1 || last > 2 || x->shape.dim[last] == 1 || cg_view_stride(&x->view, last) != 1)
        return x->v->shape;
    return CG_SHAPE(cg_item_count(x) / x->shape.dim[last], x->shape.dim[last]);
}

/* Both as they lie, beside one another; 0: they do not fit so. */
static int beside(cg_graph *g, cg_item *lead, cg_item *other, cg_value **a, cg_value **b) {
    match m;
    cg_shape own, shape = preferred(lead);
    if (!find_match(lead->view, other->view, &m)) return 0;
    if (!fits_own(&m, &shape, &own)) {
        shape = lead->v->shape;
        if (!fits_own(&m, &shape, &own) && !fits_parts(&m, &shape, &own)) return 0;
    }
    *a = cg_shaped(g, lead->v, shape);
    *b = moved(g, other->v, &m, own);
    return 1;
}

static void set(cg_item *out, cg_value *v, const cg_view *view) {
    *out = (cg_item){.type = CG_ONNX_TYPE(FLOAT), .shape = view->shape, .v = v, .view = *view};
}

/* Prefers the operand that is computed: what is fixed is moved once. */
static int leads(cg_job *j, const cg_item *a, const cg_item *b) {
    int64_t n = cg_item_count(a), k = cg_item_count(b);
    if (n != k) return n > k;
    return a->shape.rank > b->shape.rank ||
           (a->shape.rank == b->shape.rank && !cg_value_is_fixed(j->m, a->v));
}

cg_item cg_item_one_row(const cg_item *x, const cg_shape *other) {
    cg_item row = *x;
    int axis = other->rank - x->shape.rank;
    if (!x->host.x || x->v || x->weight || x->shape.rank == 0 || axis < 0) return row;
    if (x->shape.dim[0] == 1 || other->dim[axis] != x->shape.dim[0]) return row;
    if (!cg_host_is_one_row(&x->host)) return row;
    int64_t n = cg_item_count(x) / x->shape.dim[0];
    if (row.host.held > n) row.host.held = n;
    row.shape.dim[0] = row.host.shape.dim[0] = 1;
    return row;
}

cg_status cg_import_binary(cg_job *j, cg_binary_fn f, cg_item *a, cg_item *b, cg_item *out) {
    cg_value *x, *y;
    cg_shape shape;
    CG_TRY(cg_shape_broadcast(&a->shape, &b->shape, &shape));
    cg_item row_a = cg_item_one_row(a, &b->shape);
    if (row_a.shape.dim[0] != a->shape.dim[0]) a = &row_a;
    cg_item row_b = cg_item_one_row(b, &a->shape);
    if (row_b.shape.dim[0] != b->shape.dim[0]) b = &row_b;
    CG_TRY(cg_item_value(j, a));
    CG_TRY(cg_item_value(j, b));
    int a_leads = leads(j, a, b);
    cg_item *lead = a_leads ? a : b, *other = a_leads ? b : a;
    cg_view view = lead->view;
    if (cg_shape_equal(&lead->shape, &shape) && beside(j->g, lead, other, &x, &y)) {
        set(out, a_leads ? f(j->g, x, y) : f(j->g, y, x), &view);
    } else {
        CG_TRY(cg_item_plain(j, a, &x));
        CG_TRY(cg_item_plain(j, b, &y));
        view = cg_view_of(&shape);
        set(out, f(j->g, x, y), &view);
    }
    return out->v ? CG_OK : cg_graph_status(j->g);
}

/* --- with one number -------------------------------------------------------------------------- */

/* One operand is a number c, and so a scalar or a factor. */
static cg_value *with_number(cg_graph *g, cg_binary_fn f, cg_value *v, float c, int c_first) {
    if (f == cg_mul) return c == 1 ? v : cg_scale(g, v, c);
    if (f == cg_div && !c_first && c != 0 && isfinite(1 / c))
        return c == 1 ? v : cg_scale(g, v, 1 / c);
    if (f == cg_add && c == 0) return v;
    if (f == cg_sub && !c_first) return c == 0 ? v : cg_add(g, v, cg_constant_f32(g, -c));
    cg_value *k = cg_constant_f32(g, c);
    return c_first ? f(g, k, v) : f(g, v, k);
}

static cg_status import_arithmetic(cg_job *j, cg_binary_fn f) {
    double c;
    for (int k = 0; k < 2; k++) {
        cg_item *x = j->in[1 - k];
        if (!cg_item_number(j, j->in[k], &c) || j->in[k]->shape.rank > x->shape.rank) continue;
        CG_TRY(cg_item_value(j, x));
        cg_value *y = with_number(j->g, f, x->v, (float)c, k == 0);
        return cg_out_view(j, 0, y, &x->view);
    }
    return cg_import_binary(j, f, j->in[0], j->in[1], &j->out[0]);
}

static cg_status import_add(cg_job *j) {
    return import_arithmetic(j, cg_add);
}
static cg_status import_sub(cg_job *j) {
    return import_arithmetic(j, cg_sub);
}
static cg_status import_mul(cg_job *j) {
    return import_arithmetic(j, cg_mul);
}
static cg_status import_div(cg_job *j) {
    return import_arithmetic(j, cg_div);
}

/* --- one operand ------------------------------------------------------------------------------ */

/* y, made of x element by element, where a number beside x may have more axes of 1. */
static cg_status out_beside(cg_job *j, cg_value *y, const cg_item *x, const cg_item *number) {
    cg_view view = x->view;
    cg_shape shape;
    CG_TRY(cg_shape_broadcast(&x->shape, &number->shape, &shape));
    if (!cg_view_reshape(&view, &shape)) return cg_error(CG_EUNSUPPORTED, "makes too many axes");
    return cg_out_view(j, 0, y, &view);
}

typedef cg_value *(*unary_fn)(cg_graph *g, cg_value *x);

static cg_value *reciprocal(cg_graph *g, cg_value *x) {
    return cg_div(g, cg_constant_f32(g, 1), x);
}

static cg_status import_unary(cg_job *j) {
    static const struct {
        const char *name;
        unary_fn f;
    } list[] = {{"Sqrt", cg_sqrt},         {"Exp", cg_exp},   {"Floor", cg_floor},
                {"Log", cg_log},           {"Erf", cg_erf},   {"Tanh", cg_tanh},
                {"Sigmoid", cg_sigmoid},   {"Relu", cg_relu}, {"Neg", cg_neg},
                {"Reciprocal", reciprocal}};
    cg_item *x = j->in[0];
    CG_TRY(cg_item_value(j, x));
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strcmp(list[i].name, j->node->op_type) == 0)
            return cg_out_view(j, 0, list[i].f(j->g, x->v), &x->view);
    return cg_error(CG_EUNSUPPORTED, "this operator is not supported");
}

static cg_status import_gelu(cg_job *j) {
    const CgOnnx__AttributeProto *a = cg_onnx_attribute(j->node, "approximate");
    int by_tanh = a && a->s.len == 4 && memcmp(a->s.data, "tanh", 4) == 0;
    CG_TRY(cg_item_value(j, j->in[0]));
    cg_value *x = j->in[0]->v;
    return cg_out_view(j, 0, by_tanh ? cg_gelu_tanh(j->g, x) : cg_gelu(j->g, x), &j->in[0]->view);
}

static cg_status import_pow(cg_job *j) {
    double p;
    cg_item *x = j->in[0];
    if (!cg_item_number(j, j->in[1], &p))
        return cg_error(CG_EUNSUPPORTED, "has an exponent that is not one known number");
    CG_TRY(cg_item_value(j, x));
    cg_value *v = x->v, *y = NULL;
    if (p == 1) y = v;
    if (p == 2) y = cg_mul(j->g, v, v);
    if (p == 3) y = cg_mul(j->g, cg_mul(j->g, v, v), v);
    if (p == 0.5) y = cg_sqrt(j->g, v);
    if (p == -0.5) y = reciprocal(j->g, cg_sqrt(j->g, v));
    if (p == -1) y = reciprocal(j->g, v);
    if (!y && cg_graph_status(j->g) == CG_OK)
        return cg_error(CG_EUNSUPPORTED, "has exponent %g, wanted 1, 2, 3, 1/2, -1/2 or -1", p);
    return out_beside(j, y, x, j->in[1]);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static cg_status import_between(cg_job *j, cg_item *x, const cg_item *number, double low,
                                double high) {
    CG_TRY(cg_item_value(j, x));
    return out_beside(j, cg_clamp(j->g, x->v, (float)low, (float)high), x, number);
}

static cg_status import_clip(cg_job *j) {
    double bound[2] = {-INFINITY, INFINITY};
    for (int k = 1; k < 3; k++)
        if (k < j->n_in && j->in[k] && !cg_item_number(j, j->in[k], &bound[k - 1]))
            return cg_error(CG_EUNSUPPORTED, "has a bound that is not one known number");
    return import_between(j, j->in[0], j->in[0], bound[0], bound[1]);
}

/* The larger, or the smaller, of a tensor and a number. */
static cg_status import_bound(cg_job *j) {
    int is_max = strcmp(j->node->op_type, "Max") == 0;
    double c;
    for (int k = 0; j->n_in == 2 && k < 2; k++)
        if (cg_item_number(j, j->in[k], &c))
            return import_between(j, j->in[1 - k], j->in[k], is_max ? c : -INFINITY,
                                  is_max ? INFINITY : c);
    return cg_error(CG_EUNSUPPORTED, "is supported of a tensor and a known number only");
}

/* --- types and the like ------------------------------------------------------------------------
 */

/* Floats become floats, which are all f32 here; integers of a run as such stay as they are. */
static cg_status import_cast(cg_job *j) {
    int to = (int)cg_onnx_int(j->node, "to", 0);
    cg_item *x = j->in[0];
    if (!cg_onnx_type_name(to)) return cg_error(CG_EUNSUPPORTED, "casts to element type %d", to);
    int is_float = cg_item_is_float(x), wants_float = cg_onnx_type_is_float(to);
    if (is_float && !wants_float)
        return cg_error(CG_EUNSUPPORTED, "makes %s of floats of a run", cg_onnx_type_name(to));
    int keeps = to == x->type || to == CG_ONNX_TYPE(INT64) || to == CG_ONNX_TYPE(INT32);
    if (!wants_float && !keeps)
        return cg_error(CG_EUNSUPPORTED, "makes %s of integers of a run", cg_onnx_type_name(to));
    CG_TRY(cg_item_value(j, x));
    cg_value *v = is_float == wants_float ? x->v : cg_cast(j->g, x->v, CG_F32);
    CG_TRY(cg_out_view(j, 0, v, &x->view));
    j->out[0].type = wants_float ? CG_ONNX_TYPE(FLOAT) : to;
    return CG_OK;
}

static cg_status import_same(cg_job *j) {
    CG_TRY(cg_item_value(j, j->in[0]));
    return cg_out_view(j, 0, j->in[0]->v, &j->in[0]->view);
}

static cg_status import_dropout(cg_job *j) {
    double trains = 0;
    if (j->n_in > 2 && j->in[2] && !cg_item_number(j, j->in[2], &trains))
        return cg_error(CG_EUNSUPPORTED, "has a training_mode that only a run knows");
    if (trains != 0) return cg_error(CG_EUNSUPPORTED, "has training_mode true, wanted false");
    return import_same(j);
}

const cg_import_op cg_import_elementwise[] = {
    {"Add", 2, import_add},          {"Sub", 2, import_sub},
    {"Mul", 2, import_mul},          {"Div", 2, import_div},
    {"Pow", 2, import_pow},          {"Sqrt", 1, import_unary},
    {"Exp", 1, import_unary},        {"Floor", 1, import_unary},
    {"Log", 1, import_unary},        {"Erf", 1, import_unary},
    {"Tanh", 1, import_unary},       {"Sigmoid", 1, import_unary},
    {"Relu", 1, import_unary},       {"Neg", 1, import_unary},
    {"Reciprocal", 1, import_unary}, {"Gelu", 1, import_gelu},
    {"Clip", 1, import_clip},        {"Max", 2, import_bound},
    {"Min", 2, import_bound},

    {"Cast", 1, import_cast},        {"Identity", 1, import_same},
    {"Dropout", 1, import_dropout},  {NULL, 0, NULL}};
