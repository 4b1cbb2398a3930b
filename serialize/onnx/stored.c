#include "serialize/onnx/stored.h"

#include "serialize/onnx/stored_private.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TYPE(name) CG_ONNX__TENSOR_PROTO__DATA_TYPE__##name

static cg_status numbers(const cg_onnx_tensor *t, float **out) {
    *out = malloc((size_t)t->count * sizeof **out + 1);
    if (!*out) return cg_error(CG_ENOMEM, "no memory for %lld numbers", (long long)t->count);
    cg_onnx_tensor_floats(t, *out);
    return CG_OK;
}

cg_status cg_onnx_differs(const char *name, int64_t at, double found, double wanted) {
    return cg_error(CG_EFORMAT, "%s: element %" PRId64 " is %.9g, wanted %.9g", name, at, found,
                    wanted);
}

int cg_onnx_same_bits(double a, double b) {
    return a == b && !signbit(a) == !signbit(b);
}

/* --- parameters ------------------------------------------------------------------------------- */

void cg_onnx_base(const char *name, const char *end, char base[CG_ONNX_BASE], int *number) {
    size_t n = strlen(name), tail = strlen(end), digits = 0;
    *base = '\0';
    *number = 0;
    while (digits < 6 && digits < n && isdigit((unsigned char)name[n - 1 - digits])) digits++;
    if (digits > 0 && digits < n && name[n - 1 - digits] == '_') {
        *number = atoi(name + n - digits);
        n -= digits + 1;
    }
    if (n <= tail || strncmp(name + n - tail, end, tail) != 0 || n - tail >= CG_ONNX_BASE) return;
    memcpy(base, name, n - tail);
    base[n - tail] = '\0';
}

/* found[rows, columns] is wanted[columns, rows], as many rows at a time as a cache line has. */
static cg_status check_transpose(const cg_onnx_tensor *t, const float *found, const float *wanted) {
    enum { LINE = 16 };
    int64_t rows = t->shape.dim[0], columns = t->shape.dim[1];
    for (int64_t r = 0; r < rows; r += LINE)
        for (int64_t c = 0; c < columns; c++)
            for (int64_t k = r; k < rows && k < r + LINE; k++)
                if (!cg_onnx_same_bits(found[k * columns + c], wanted[c * rows + k]))
                    return cg_onnx_differs(t->name, k * columns + c, (double)found[k * columns + c],
                                           (double)wanted[c * rows + k]);
    return CG_OK;
}

static cg_status check_parameter(const cg_onnx_tensor *t, const float *found, const cg_param *q,
                                 int transposed) {
    const float *wanted = q->data;
    if (t->count != q->count || (transposed && t->shape.rank != 2))
        return cg_error(CG_EFORMAT, "%s: has %" PRId64 " elements, the parameter %" PRId64, t->name,
                        t->count, q->count);
    if (q->dtype != CG_F32) return cg_error(CG_EFORMAT, "%s: is not kept in f32", t->name);
    if (transposed) return check_transpose(t, found, wanted);
    if (memcmp(found, wanted, (size_t)t->count * sizeof *found) == 0) return CG_OK;
    int64_t at = 0;
    while (cg_onnx_same_bits((double)found[at], (double)wanted[at])) at++;
    return cg_onnx_differs(t->name, at, (double)found[at], (double)wanted[at]);
}

/* As described the matrix is as it was given, otherwise transposed. */
static cg_status check_labels(const cg_onnx_tensor *t, const float *found,
                              const cg_onnx_stored *wanted) {
    int64_t labels = wanted->labels, width = wanted->width;
    if (t->count != labels * width)
        return cg_error(CG_EFORMAT, "%s: has %" PRId64 " elements, wanted %" PRId64, t->name,
                        t->count, labels * width);
    for (int64_t l = 0; l < labels; l++)
        for (int64_t k = 0; k < width; k++) {
            int64_t at = wanted->as_described ? l * width + k : k * labels + l;
            double is = (double)found[at], should = (double)wanted->label[l * width + k];
            if (!(fabs(is - should) <= 1e-5)) return cg_onnx_differs(t->name, at, is, should);
        }
    return CG_OK;
}

enum { FEW = 8 };

/* More numbers than a few are those of a causal mask: keys behind the query are not seen. */
static cg_status check_constant(const cg_onnx_tensor *t, const float *found) {
    int64_t length = t->shape.dim[0];
    if (t->count <= FEW) return CG_OK;
    if (t->shape.rank != 2 || t->shape.dim[1] != length)
        return cg_error(CG_EFORMAT, "%s: has %" PRId64 " numbers, which no parameter has", t->name,
                        t->count);
    for (int64_t at = 0; at < t->count; at++) {
        float wanted = at % length > at / length ? -1e30f : 0.0f;
        if (!cg_onnx_same_bits(found[at], wanted))
            return cg_onnx_differs(t->name, at, (double)found[at], (double)wanted);
    }
    return CG_OK;
}

/* *held: it is one that follows from the checkpoint. */
static cg_status check_tensor(const cg_onnx_file *f, const cg_onnx_tensor *t, const float *found,
                              const cg_onnx_stored *wanted, int *held) {
    char base[CG_ONNX_BASE];
    int number;
    *held = 1;
    const cg_param *q = cg_params_find(wanted->params, t->name);
    if (q) return check_parameter(t, found, q, 0);
    cg_onnx_base(t->name, ".transposed", base, &number);
    q = cg_params_find(wanted->params, base);
    if (q && number == 0) return check_parameter(t, found, q, 1);
    cg_onnx_base(t->name, ".folded", base, &number);
    if (*base && !wanted->as_described) return cg_onnx_check_folded(f, t, found, wanted->params);
    if (strcmp(t->name, "classifier") == 0 && wanted->label) return check_labels(t, found, wanted);
    *held = 0;
    if (strncmp(t->name, "constant", 8) == 0) return check_constant(t, found);
    return cg_error(CG_EFORMAT, "%s: it is no parameter, nor does it follow from any", t->name);
}

/* A node's own tensor would be seen by none of these checks. */
static cg_status check_no_constants(const cg_onnx_file *f) {
    const CgOnnx__GraphProto *g = f->model->graph;
    char text[200];
    for (size_t i = 0; i < g->n_node; i++)
        if (strcmp(g->node[i]->op_type, "Constant") == 0)
            return cg_error(CG_EFORMAT, "%s has numbers of its own",
                            cg_onnx_node_text(g->node[i], text));
    return CG_OK;
}

static cg_status check_stored(const cg_onnx_file *f, const cg_onnx_tensor *t,
                              const cg_onnx_stored *wanted, int64_t *compared) {
    float *found;
    int held;
    if (!cg_onnx_type_is_float(t->type)) return CG_OK;
    if (t->type != TYPE(FLOAT)) return cg_error(CG_EFORMAT, "%s: is not stored in f32", t->name);
    CG_TRY(numbers(t, &found));
    cg_status s = check_tensor(f, t, found, wanted, &held);
    if (held) *compared += t->count;
    free(found);
    return s;
}

cg_status cg_onnx_check_stored(const char *path, const cg_onnx_stored *wanted, int64_t *compared) {
    cg_onnx_file *f;
    *compared = 0;
    CG_TRY(cg_onnx_open(path, &f));
    cg_status s = check_no_constants(f);
    for (size_t i = 0; i < f->model->graph->n_initializer && s == CG_OK; i++)
        s = check_stored(f, &f->tensor[i], wanted, compared);
    cg_onnx_close(f);
    return s;
}

/* --- the same, rounded ------------------------------------------------------------------------ */

/* 2^exponent, no less than the least f32. */
static float power(int exponent) {
    uint32_t bits =
        exponent < -126 ? (uint32_t)1 << (exponent + 149) : (uint32_t)(exponent + 127) << 23;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To so many bits, no finer than 2^least: to nearest, ties to even. */
static float narrow(float x, int bits, int least) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    int exponent = (int)(u >> 23 & 255) - 126 - bits;
    float unit = power(exponent > least ? exponent : least);
    return isfinite(x) ? rintf(x / unit) * unit : x;
}

static int is_half(int type) {
    return type == TYPE(FLOAT16) || type == TYPE(BFLOAT16);
}

/* Elements that stay as they are. */
static cg_status check_kept(const cg_onnx_tensor *t, const cg_onnx_tensor *exact) {
    size_t n = (size_t)t->count;
    double *found = malloc(2 * n * sizeof *found + 1), *wanted = found + n;
    if (!found) return cg_error(CG_ENOMEM, "no memory for %zu numbers", n);
    cg_onnx_tensor_numbers(t, found);
    cg_onnx_tensor_numbers(exact, wanted);
    cg_status s = CG_OK;
    for (size_t i = 0; i < n && s == CG_OK; i++)
        if (!cg_onnx_same_bits(found[i], wanted[i]))
            s = cg_onnx_differs(t->name, (int64_t)i, found[i], wanted[i]);
    free(found);
    return s;
}

static cg_status check_half(const cg_onnx_tensor *t, const cg_onnx_tensor *exact) {
    float *found = NULL, *wanted = NULL;
    int f16 = t->type == TYPE(FLOAT16), bits = f16 ? 11 : 8, least = f16 ? -24 : -133;
    cg_status s = numbers(t, &found);
    if (s == CG_OK) s = numbers(exact, &wanted);
    for (int64_t i = 0; i < t->count && s == CG_OK; i++) {
        float y = narrow(wanted[i], bits, least);
        if (!cg_onnx_same_bits(found[i], y))
            s = cg_onnx_differs(t->name, i, (double)found[i], (double)y);
    }
    free(found);
    free(wanted);
    return s;
}

static cg_status check_tensors(const cg_onnx_file *f, const cg_onnx_file *exact) {
    size_t n = f->model->graph->n_initializer;
    if (n != exact->model->graph->n_initializer)
        return cg_error(CG_EFORMAT, "has %zu tensors, the f32 file %zu", n,
                        exact->model->graph->n_initializer);
    for (size_t i = 0; i < n; i++) {
        const cg_onnx_tensor *t = &f->tensor[i], *e = &exact->tensor[i];
        int half = is_half(t->type) && e->type == TYPE(FLOAT);
        if (strcmp(t->name, e->name) != 0 || !cg_shape_equal(&t->shape, &e->shape) ||
            (t->type != e->type && !half))
            return cg_error(CG_EFORMAT, "%s: is not like the f32 file's %s", t->name, e->name);
        CG_TRY(half ? check_half(t, e) : check_kept(t, e));
    }
    return CG_OK;
}

/* Are two messages the same? Where there is no memory they are not. */
static int same_message(const ProtobufCMessage *a, const ProtobufCMessage *b) {
    size_t n = protobuf_c_message_get_packed_size(a);
    if (n != protobuf_c_message_get_packed_size(b)) return 0;
    uint8_t *bytes = malloc(2 * n + 1);
    if (bytes) {
        protobuf_c_message_pack(a, bytes);
        protobuf_c_message_pack(b, bytes + n);
    }
    int same = bytes && memcmp(bytes, bytes + n, n) == 0;
    free(bytes);
    return same;
}

static int same_ports(CgOnnx__ValueInfoProto *const *a, size_t n, CgOnnx__ValueInfoProto *const *b,
                      size_t m) {
    int same = n == m;
    for (size_t i = 0; i < n && same; i++) same = same_message(&a[i]->base, &b[i]->base);
    return same;
}

/* Does the node widen a tensor that is stored in half? Returns its number, or -1. */
static int widens(const CgOnnx__NodeProto *n, const cg_onnx_names *halves) {
    if (strcmp(n->op_type, "Cast") != 0 || n->n_input != 1 || n->n_output != 1) return -1;
    int at = cg_onnx_names_get(halves, n->input[0]);
    int to_f32 = n->n_attribute == 1 && n->attribute[0]->i == TYPE(FLOAT);
    return to_f32 ? at : -1;
}

static int same_text(const char *a, const char *b) {
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* widened: of what Cast makes of tensors in half, the tensor's number. */
static int same_node(const cg_onnx_file *f, const CgOnnx__NodeProto *n,
                     const CgOnnx__NodeProto *exact, const cg_onnx_names *widened) {
    int same = same_text(n->op_type, exact->op_type) && same_text(n->name, exact->name) &&
               same_text(n->domain, exact->domain) && n->n_input == exact->n_input &&
               n->n_output == exact->n_output && n->n_attribute == exact->n_attribute;
    for (size_t i = 0; same && i < n->n_input; i++) {
        int at = cg_onnx_names_get(widened, n->input[i]);
        same = strcmp(at < 0 ? n->input[i] : f->tensor[at].name, exact->input[i]) == 0;
    }
    for (size_t i = 0; same && i < n->n_output; i++)
        same = strcmp(n->output[i], exact->output[i]) == 0;
    for (size_t i = 0; same && i < n->n_attribute; i++)
        same = same_message(&n->attribute[i]->base, &exact->attribute[i]->base);
    return same;
}

static cg_status check_nodes(const cg_onnx_file *f, const cg_onnx_file *exact,
                             const cg_onnx_names *halves, cg_onnx_names *widened) {
    const CgOnnx__GraphProto *g = f->model->graph, *e = exact->model->graph;
    char text[200];
    size_t at = 0;
    for (size_t i = 0; i < g->n_node; i++) {
        const CgOnnx__NodeProto *n = g->node[i];
        int half = widens(n, halves);
        if (half >= 0) {
            CG_TRY(cg_onnx_names_set(widened, n->output[0], half));
        } else if (at == e->n_node || !same_node(f, n, e->node[at++], widened)) {
            return cg_error(CG_EFORMAT, "%s is not the f32 file's", cg_onnx_node_text(n, text));
        }
    }
    if (at == e->n_node) return CG_OK;
    return cg_error(CG_EFORMAT, "%zu nodes, the f32 file has %zu", at, e->n_node);
}

static cg_status check_all(const cg_onnx_file *f, const cg_onnx_file *exact) {
    const CgOnnx__GraphProto *g = f->model->graph, *e = exact->model->graph;
    cg_onnx_names halves = {0}, widened = {0};
    cg_status s = CG_OK;
    if (f->opset != exact->opset || !same_ports(g->input, g->n_input, e->input, e->n_input) ||
        !same_ports(g->output, g->n_output, e->output, e->n_output))
        return cg_error(CG_EFORMAT, "its opset, inputs or outputs are not the f32 file's");
    for (size_t i = 0; i < g->n_initializer && s == CG_OK; i++)
        if (is_half(f->tensor[i].type)) s = cg_onnx_names_set(&halves, f->tensor[i].name, (int)i);
    if (s == CG_OK) s = check_nodes(f, exact, &halves, &widened);
    cg_onnx_names_free(&halves);
    cg_onnx_names_free(&widened);
    return s == CG_OK ? check_tensors(f, exact) : s;
}

cg_status cg_onnx_check_rounded(const char *path, const char *exact) {
    cg_onnx_file *f, *e;
    CG_TRY(cg_onnx_open(path, &f));
    cg_status s = cg_onnx_open(exact, &e);
    if (s == CG_OK) s = check_all(f, e);
    cg_onnx_close(f);
    cg_onnx_close(e);
    return s;
}
