/* What is known at export: parameters, values made of them, and numbers that mappings want. */
#include "serialize/onnx/export_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cg_onnx_data_type(cg_dtype t) {
    switch (t) {
    case CG_F32:
        return CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    case CG_F16:
        return CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16;
    case CG_BF16:
        return CG_ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16;
    case CG_U8:
        return CG_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    case CG_I32:
    case CG_I64:
        break;
    }
    return CG_ONNX__TENSOR_PROTO__DATA_TYPE__INT64; /* in the file all whole numbers are */
}

static cg_onnx_ref *new_tensor(cg_onnx_export *x, cg_dtype dtype, const cg_shape *shape) {
    cg_onnx_ref *t = cg_onnx_alloc(x, sizeof *t);
    if (!t) return NULL;
    t->dtype = dtype;
    t->rank = t->n = t->n_from = shape->rank;
    for (int i = 0; i < shape->rank; i++) {
        t->dim[i] = (cg_onnx_dim){cg_onnx_fixed(shape->dim[i]), i, CG_ONNX_WHOLE};
        t->from[i] = shape->dim[i];
        t->order[i] = i;
    }
    return t;
}

cg_onnx_ref *cg_onnx_known_tensor(cg_onnx_export *x, const cg_value *v) {
    cg_onnx_ref *t = new_tensor(x, v->dtype, &v->shape);
    if (t) t->value = v;
    return t;
}

cg_onnx_ref *cg_onnx_constant_tensor(cg_onnx_sink *s, cg_dtype dtype, const cg_shape *shape,
                                     const void *data) {
    cg_onnx_export *x = cg_onnx_of(s);
    size_t bytes = (size_t)cg_shape_count(shape) * cg_dtype_size(dtype);
    cg_onnx_ref *t = new_tensor(x, dtype, shape);
    void *copy = t ? cg_onnx_alloc(x, bytes) : NULL;
    if (!copy) return NULL;
    memcpy(copy, data, bytes);
    t->data = copy;
    return t;
}

/* --- names ------------------------------------------------------------------------------------ */

/* The first parameter of which a value is made. */
static const char *root(const cg_value *v) {
    if (v->kind == CG_VALUE_PARAM) return v->name;
    for (int i = 0; v->kind == CG_VALUE_RESULT && i < v->node->n_in; i++) {
        const char *name = root(v->node->in[i]);
        if (name) return name;
    }
    return NULL;
}

/* Numbers of a small constant: "constant/1.702", "constant/1.0", "constant/[0,-1,12,64]". */
static const char *spelled(cg_onnx_export *x, const cg_onnx_ref *t) {
    char text[256];
    int at = 0, n = 1;
    for (int i = 0; i < t->n_from; i++) n *= (int)t->from[i];
    if (n > 8 || (t->dtype != CG_F32 && t->dtype != CG_I64)) return "constant";
    for (int i = 0; i < n; i++) {
        if (t->dtype == CG_F32) {
            double v = ((const float *)t->data)[i];
            at += snprintf(text + at, sizeof text - (size_t)at, "%s%.9g%s", i ? "," : "", v,
                           v == rint(v) && fabs(v) < 1e9 ? ".0" : "");
        } else {
            at += snprintf(text + at, sizeof text - (size_t)at, "%s%lld", i ? "," : "",
                           (long long)((const int64_t *)t->data)[i]);
        }
    }
    return cg_onnx_format(x, t->n_from ? "constant/[%s]" : "constant/%s", text);
}

static const char *base_name(cg_onnx_export *x, const cg_onnx_ref *t) {
    const char *name = t->value ? root(t->value) : spelled(x, t);
    if (!name) return x->path;
    if (t->value && t->value->kind != CG_VALUE_PARAM)
        return cg_onnx_format(x, "%s.%s", name, t->value->node ? "folded" : "constant");
    return t->permuted ? cg_onnx_format(x, "%s.transposed", name) : name;
}

/* What two initializers that are the same have alike; of constants a hash, which others may have.
 */
static const char *key_of(cg_onnx_export *x, const cg_onnx_ref *t) {
    char text[400];
    int at =
        snprintf(text, sizeof text, "store %d %d", t->value ? t->value->id : -1, (int)t->dtype);
    for (int i = 0; i < t->n_from; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, ",%lld:%d", (long long)t->from[i],
                       t->order[i]);
    if (t->value) return cg_onnx_format(x, "%s", text);
    int64_t n = 1;
    for (int i = 0; i < t->n_from; i++) n *= t->from[i];
    uint64_t h = 0xcbf29ce484222325u;
    const unsigned char *bytes = t->data;
    for (size_t i = 0; i < (size_t)n * cg_dtype_size(t->dtype); i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    if (n <= 1 && t->dtype == CG_I64) h = (uint64_t)(n ? *(const int64_t *)t->data : 0);
    return cg_onnx_format(x, "%s %llx", text, (unsigned long long)h);
}

/* --- storing ---------------------------------------------------------------------------------- */

/* Matrices are stored as the caller says; vectors, among them a matrix of one row, are not. */
static cg_dtype stored_type(const cg_onnx_export *x, const cg_onnx_ref *t) {
    int wide = 0;
    for (int i = 0; i < t->n_from; i++) wide += t->from[i] > 1;
    if (t->dtype != CG_F32) return t->dtype == CG_I32 ? CG_I64 : t->dtype;
    return wide > 1 && t->value && root(t->value) ? x->weights : CG_F32;
}

static cg_onnx_initializer *store(cg_onnx_export *x, cg_onnx_ref *t) {
    cg_onnx_initializer *i = cg_onnx_alloc(x, sizeof *i);
    if (!i) return NULL;
    const char *base = base_name(x, t);
    i->name = base ? cg_onnx_name(x, base) : NULL;
    i->t = t;
    i->stored = stored_type(x, t);
    i->rank = t->n_from;
    i->bytes = cg_dtype_size(i->stored);
    for (int k = 0; k < t->n_from; k++) {
        i->dim[k] = t->from[t->order[k]];
        i->bytes *= (size_t)i->dim[k];
    }
    if (!i->name) return NULL;
    *x->last = i;
    x->last = &i->next;
    return i;
}

/* A weight that is stored in half is widened when the file is loaded. */
static const char *widened(cg_onnx_export *x, const char *name) {
    enum { FLOAT = CG_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT };
    cg_onnx_ref half = {.name = name};
    const char *path = x->path, *result = NULL;
    x->path = name;
    cg_onnx_append(x, &(cg_onnx_node){"Cast", 1, {&half}, {CG_ONNX_INT("to", FLOAT)}}, 1, &result);
    x->path = path;
    return result;
}

/* Of two under one key, so of one type and shape. */
static int is_same(const cg_onnx_ref *a, const cg_onnx_ref *b) {
    size_t bytes = cg_dtype_size(a->dtype);
    for (int k = 0; k < a->n_from; k++) bytes *= (size_t)a->from[k];
    return a->value || memcmp(a->data, b->data, bytes) == 0;
}

const char *cg_onnx_store(cg_onnx_export *x, cg_onnx_ref *t) {
    const char *key = key_of(x, t);
    cg_onnx_initializer *i;
    for (; key && (i = cg_onnx_lookup(&x->made, key)); key = cg_onnx_format(x, "%s, another", key))
        if (is_same(i->t, t)) return i->read_as;
    cg_onnx_ref *own = key ? cg_onnx_copy(x, t) : NULL;
    i = own ? store(x, own) : NULL;
    if (!i) return NULL;
    i->read_as = i->name;
    if (i->stored == CG_F16 || (i->stored == CG_BF16 && t->dtype == CG_F32))
        i->read_as = widened(x, i->name);
    cg_status s = i->read_as ? cg_onnx_remember(&x->made, key, i) : x->status;
    if (s != CG_OK) cg_onnx_failed(x, s);
    return s == CG_OK ? i->read_as : NULL;
}

/* 0, 1, … as numbers, or where their count is not known as a node. */
static const char *count_up(cg_onnx_export *x, const cg_onnx_ref *t) {
    cg_onnx_size n = t->dim[t->n - 1].size;
    if (cg_onnx_is_fixed(n)) {
        int64_t *row = cg_onnx_alloc(x, (size_t)n.factor * sizeof *row);
        for (int64_t i = 0; row && i < n.factor; i++) row[i] = i;
        cg_onnx_ref *made = row ? cg_onnx_integers(&x->sink, n.factor, row) : NULL;
        return made ? cg_onnx_store(x, made) : NULL;
    }
    cg_onnx_ref *length = cg_onnx_shape_tensor(x, 1, &n);
    int64_t zero = 0;
    cg_onnx_node squeeze = {"Squeeze", 2, {length, cg_onnx_integers(&x->sink, 1, &zero)}, {{0}}};
    cg_onnx_node range = {"Range",
                          3,
                          {cg_onnx_integer(&x->sink, 0), cg_onnx_make(&x->sink, &squeeze, 0, NULL),
                           cg_onnx_integer(&x->sink, 1)},
                          {{0}}};
    cg_onnx_ref *made = cg_onnx_make(&x->sink, &range, 1, &n);
    return made ? made->name : NULL;
}

const char *cg_onnx_name_of(cg_onnx_export *x, cg_onnx_ref *t) {
    if (!t->name && t->counts) t->name = count_up(x, t);
    if (!t->name && (t->value || t->data)) t->name = cg_onnx_store(x, t);
    return t->name;
}
