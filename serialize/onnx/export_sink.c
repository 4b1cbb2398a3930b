#include "serialize/onnx/export_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

cg_onnx_export *cg_onnx_of(cg_onnx_sink *s) {
    return (cg_onnx_export *)s; /* its first member */
}

/* --- errors and memory ------------------------------------------------------------------------ */

cg_onnx_ref *cg_onnx_failed(cg_onnx_export *x, cg_status code) {
    if (x->status != CG_OK) return NULL;
    x->status = code;
    snprintf(x->message, sizeof x->message, "%s", cg_error_message());
    return NULL;
}

static cg_onnx_ref *fail(cg_onnx_sink *s, cg_status code) {
    return cg_onnx_failed(cg_onnx_of(s), code);
}

void *cg_onnx_alloc(cg_onnx_export *x, size_t bytes) {
    void *p = cg_arena_alloc(&x->arena, bytes ? bytes : 1);
    if (!p) cg_onnx_failed(x, cg_error(CG_ENOMEM, "no memory to export a graph"));
    return p;
}

char *cg_onnx_format(cg_onnx_export *x, const char *format, ...) {
    va_list list, again;
    va_start(list, format);
    va_copy(again, list);
    int n = vsnprintf(NULL, 0, format, list);
    char *text = cg_onnx_alloc(x, (size_t)n + 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(list);
    return text;
}

/* --- tables ----------------------------------------------------------------------------------- */

static cg_onnx_entry *place(const cg_onnx_table *t, const char *key) {
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *c = key; *c; c++) h = (h ^ (unsigned char)*c) * 0x100000001b3u;
    size_t i = (size_t)h & (t->capacity - 1);
    while (t->entry[i].key && strcmp(t->entry[i].key, key) != 0) i = (i + 1) & (t->capacity - 1);
    return &t->entry[i];
}

void *cg_onnx_lookup(cg_onnx_table *t, const char *key) {
    return t->capacity && key ? place(t, key)->data : NULL;
}

static cg_status grow(cg_onnx_table *t) {
    cg_onnx_table more = {.capacity = t->capacity ? 2 * t->capacity : 1024};
    more.entry = calloc(more.capacity, sizeof *more.entry);
    if (!more.entry) return cg_error(CG_ENOMEM, "no memory to export a graph");
    for (size_t i = 0; i < t->capacity; i++)
        if (t->entry[i].key) *place(&more, t->entry[i].key) = t->entry[i];
    more.count = t->count;
    free(t->entry);
    *t = more;
    return CG_OK;
}

cg_status cg_onnx_remember(cg_onnx_table *t, const char *key, void *data) {
    if (2 * (t->count + 1) > t->capacity) CG_TRY(grow(t));
    cg_onnx_entry *e = place(t, key);
    t->count += e->key == NULL;
    *e = (cg_onnx_entry){key, data};
    return CG_OK;
}

const char *cg_onnx_name(cg_onnx_export *x, const char *base) {
    const char *name = base;
    for (int i = 1; name && cg_onnx_lookup(&x->names, name); i++)
        name = cg_onnx_format(x, "%s_%d", base, i);
    if (!name) return NULL;
    cg_status s = cg_onnx_remember(&x->names, name, x);
    if (s != CG_OK) cg_onnx_failed(x, s);
    return s == CG_OK ? name : NULL;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static CgOnnx__AttributeProto *attribute(cg_onnx_export *x, const cg_onnx_attr *from) {
    CgOnnx__AttributeProto *a = cg_onnx_alloc(x, sizeof *a);
    if (!a) return NULL;
    cg_onnx__attribute_proto__init(a);
    a->name = cg_onnx_format(x, "%s", from->name);
    a->has_type = 1;
    switch (from->kind) {
    case CG_ONNX_ATTR_INT:
        a->type = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        a->has_i = 1;
        a->i = from->i;
        break;
    case CG_ONNX_ATTR_FLOAT:
        a->type = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        a->has_f = 1;
        a->f = from->f;
        break;
    case CG_ONNX_ATTR_INTS:
        a->type = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        a->n_ints = (size_t)from->ints.rank;
        a->ints = cg_onnx_alloc(x, a->n_ints * sizeof *a->ints);
        if (!a->ints) return NULL;
        memcpy(a->ints, from->ints.dim, a->n_ints * sizeof *a->ints);
        break;
    case CG_ONNX_ATTR_TEXT:
        a->type = CG_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
        a->has_s = 1;
        a->s.data = (uint8_t *)cg_onnx_format(x, "%s", from->text);
        a->s.len = strlen(from->text);
        break;
    }
    return a;
}

/* What a node is made of, as a word: nodes of the same are made once. */
static const char *key_of(cg_onnx_export *x, const cg_onnx_node *n, const char *const *in) {
    char text[2048];
    int at = snprintf(text, sizeof text, "node %s", n->op);
    for (int i = 0; i < n->n_in && at < (int)sizeof text; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, "|%s", in[i]);
    for (const cg_onnx_attr *a = n->attr; a->name && at < (int)sizeof text; a++) {
        at += snprintf(text + at, sizeof text - (size_t)at, "|%s=%lld,%a,%s", a->name,
                       (long long)a->i, (double)a->f, a->text ? a->text : "");
        for (int i = 0; i < a->ints.rank && at < (int)sizeof text; i++)
            at += snprintf(text + at, sizeof text - (size_t)at, ",%lld", (long long)a->ints.dim[i]);
    }
    return at < (int)sizeof text ? cg_onnx_format(x, "%s", text) : NULL;
}

static cg_status push(cg_onnx_export *x, CgOnnx__NodeProto *node) {
    if (x->n_node == x->cap_node) {
        size_t more = x->cap_node ? 2 * x->cap_node : 256;
        CgOnnx__NodeProto **list = realloc(x->node, more * sizeof *list);
        if (!list) return cg_error(CG_ENOMEM, "no memory to export a graph");
        x->node = list;
        x->cap_node = more;
    }
    x->node[x->n_node++] = node;
    return CG_OK;
}

static cg_status append(cg_onnx_export *x, const cg_onnx_node *n, const char *const *in, int n_out,
                        const char **result) {
    size_t n_attr = 0;
    while (n->attr[n_attr].name) n_attr++;
    CgOnnx__NodeProto *node = cg_onnx_alloc(x, sizeof *node);
    if (!node) return x->status;
    cg_onnx__node_proto__init(node);
    node->op_type = cg_onnx_format(x, "%s", n->op);
    node->n_input = (size_t)n->n_in;
    node->n_output = (size_t)n_out;
    node->n_attribute = n_attr;
    node->input = cg_onnx_alloc(x, node->n_input * sizeof *node->input);
    node->output = cg_onnx_alloc(x, node->n_output * sizeof *node->output);
    node->attribute = cg_onnx_alloc(x, n_attr * sizeof *node->attribute);
    if (x->status != CG_OK) return x->status;
    for (int i = 0; i < n->n_in; i++) node->input[i] = (char *)(uintptr_t)in[i];
    for (size_t i = 0; i < n_attr; i++) node->attribute[i] = attribute(x, &n->attr[i]);
    const char *name = cg_onnx_name(x, cg_onnx_format(x, "%s/%s", x->path, n->op));
    node->name = (char *)(uintptr_t)name;
    for (int i = 0; i < n_out; i++) {
        result[i] = i == 0 ? name : cg_onnx_name(x, cg_onnx_format(x, "%s:%d", name, i));
        node->output[i] = (char *)(uintptr_t)result[i];
    }
    return x->status == CG_OK ? push(x, node) : x->status;
}

cg_status cg_onnx_append(cg_onnx_export *x, const cg_onnx_node *n, int n_out, const char **result) {
    const char *in[CG_ONNX_IN];
    for (int i = 0; i < n->n_in; i++) {
        in[i] = n->in[i] ? cg_onnx_name_of(x, n->in[i]) : NULL;
        if (!in[i]) return x->status == CG_OK ? CG_EINVAL : x->status;
    }
    const char *key = n_out == 1 ? key_of(x, n, in) : NULL;
    result[0] = cg_onnx_lookup(&x->made, key);
    if (result[0]) return CG_OK;
    cg_status s = append(x, n, in, n_out, result);
    if (s == CG_OK && key) s = cg_onnx_remember(&x->made, key, (void *)(uintptr_t)result[0]);
    if (s != CG_OK) cg_onnx_failed(x, s);
    return s;
}

cg_onnx_ref *cg_onnx_result(cg_onnx_export *x, const cg_onnx_node *n, int rank, int dims,
                            const cg_onnx_dim *dim) {
    const char *name;
    if (x->status != CG_OK || cg_onnx_append(x, n, 1, &name) != CG_OK) return NULL;
    cg_onnx_ref *t = cg_onnx_alloc(x, sizeof *t);
    if (!t) return NULL;
    t->name = name;
    t->rank = rank;
    t->n = dims;
    memcpy(t->dim, dim, (size_t)dims * sizeof *dim);
    return t;
}

/* --- what ops call ---------------------------------------------------------------------------- */

static cg_onnx_ref *value(cg_onnx_sink *s, const cg_value *v) {
    cg_onnx_export *x = cg_onnx_of(s);
    if (x->status != CG_OK) return NULL;
    if (!x->held[v->id] && x->known[v->id] & CG_ONNX_SAME)
        x->held[v->id] = cg_onnx_known_tensor(x, v);
    if (x->held[v->id] || x->status != CG_OK) return x->held[v->id];
    return cg_onnx_failed(
        x, cg_error(CG_EUNSUPPORTED, "operand %s has no form there that can be read so", v->name));
}

static cg_status give(cg_onnx_sink *s, const cg_value *v, cg_onnx_ref *t) {
    cg_onnx_export *x = cg_onnx_of(s);
    if (x->status == CG_OK && t) {
        x->held[v->id] = t;
        return CG_OK;
    }
    if (x->status == CG_OK) return cg_error(CG_EUNSUPPORTED, "it has no form there");
    return cg_error(x->status, "%s", x->message);
}

static cg_status give_rows(cg_onnx_sink *s, const cg_value *v, cg_onnx_ref *within,
                           cg_onnx_size length) {
    cg_onnx_ref *t = within ? cg_onnx_copy(cg_onnx_of(s), within) : NULL;
    if (t) t->within = length;
    return give(s, v, t);
}

static cg_onnx_ref *like(cg_onnx_sink *s, const cg_onnx_node *n, cg_onnx_ref *t) {
    return t ? cg_onnx_result(cg_onnx_of(s), n, t->rank, t->n, t->dim) : NULL;
}

static cg_onnx_ref *make(cg_onnx_sink *s, const cg_onnx_node *n, int rank,
                         const cg_onnx_size *size) {
    cg_onnx_dim dim[CG_ONNX_RANK];
    for (int i = 0; i < rank; i++) dim[i] = (cg_onnx_dim){size[i], i, CG_ONNX_WHOLE};
    return cg_onnx_result(cg_onnx_of(s), n, rank, rank, dim);
}

static cg_onnx_size size_of(cg_onnx_sink *s, const cg_value *v, int axis);

static cg_onnx_ref *pictures_made(cg_onnx_sink *s, const cg_onnx_node *n, const cg_value *out) {
    static const int axis[] = {0, 3, 1, 2};
    cg_onnx_dim dim[4];
    for (int i = 0; i < 4; i++)
        dim[i] = (cg_onnx_dim){size_of(s, out, axis[i]), axis[i], CG_ONNX_WHOLE};
    return cg_onnx_result(cg_onnx_of(s), n, 4, 4, dim);
}

/* The same value in another symbol's graph: the graphs are alike. */
static cg_onnx_size size_of(cg_onnx_sink *s, const cg_value *v, int axis) {
    cg_onnx_export *x = cg_onnx_of(s);
    int64_t n[CG_ONNX_GRAPHS] = {v->shape.dim[axis]};
    cg_onnx_size size = {0};
    for (int i = 0; i < CG_ONNX_SYMBOLS; i++)
        n[i + 1] = x->symbol[i].name ? x->symbol[i].graph->value[v->id]->shape.dim[axis] : n[0];
    if (!cg_onnx_solve(x, n, &size))
        cg_onnx_failed(x, cg_error(CG_EUNSUPPORTED,
                                   "dimension %d of %s does not follow the batch: it is %lld", axis,
                                   v->name, (long long)n[0]));
    return size;
}

static cg_status split(cg_onnx_sink *s, cg_onnx_ref *t, int n, cg_onnx_ref **part) {
    cg_onnx_export *x = cg_onnx_of(s);
    if (!t || x->status != CG_OK) return give(s, NULL, NULL);
    cg_onnx_dim last = t->dim[t->n - 1];
    int64_t size[CG_ONNX_IN] = {0};
    const char *name[CG_ONNX_IN] = {NULL};
    for (int i = 0; i < n; i++) size[i] = last.size.factor / n;
    cg_onnx_node call = {"Split", 2, {t, cg_onnx_integers(s, n, size)}, {CG_ONNX_INT("axis", -1)}};
    CG_TRY(cg_onnx_append(x, &call, n, name));
    for (int i = 0; i < n; i++) {
        part[i] = cg_onnx_copy(x, t);
        if (!part[i]) return x->status;
        part[i]->value = NULL;
        part[i]->data = NULL;
        part[i]->name = name[i];
        part[i]->dim[t->n - 1].size.factor = size[i];
    }
    return CG_OK;
}

const cg_onnx_calls cg_onnx_export_calls = {
    .value = value,
    .give = give,
    .give_rows = give_rows,
    .like = like,
    .make = make,
    .pictures_made = pictures_made,
    .binary = cg_onnx_form_binary,
    .product = cg_onnx_form_product,
    .split = split,
    .reduce = cg_onnx_form_reduce,
    .gather = cg_onnx_rows_gather,
    .plain = cg_onnx_form_plain,
    .rows = cg_onnx_form_rows,
    .pictures = cg_onnx_form_pictures,
    .reshape = cg_onnx_form_reshape,
    .transpose = cg_onnx_form_transpose,
    .repeat = cg_onnx_form_repeat,
    .constant = cg_onnx_constant_tensor,
    .range = cg_onnx_rows_range,
    .within = cg_onnx_rows_within,
    .segments = cg_onnx_rows_segments,
    .size = size_of,
    .fail = fail,
};
