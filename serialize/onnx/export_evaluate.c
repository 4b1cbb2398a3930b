/* Numbers that are known at export: values of parameters alone are computed by the engine itself,
 * one at a time, when the file is written. */
#include "graph/exec.h"
#include "serialize/onnx/export_private.h"
#include "serialize/onnx/strides.h"

#include <stdlib.h>
#include <string.h>

/* --- computing a value ------------------------------------------------------------------------ */

/* v in a graph of its own, with all that it is made of; made[] by the first graph's numbers. */
static cg_value *clone(cg_graph *to, const cg_value *v, cg_value **made) {
    if (made[v->id]) return made[v->id];
    if (v->kind == CG_VALUE_PARAM) {
        made[v->id] = cg_parameter(to, v->name, v->shape, v->param->spec);
    } else if (v->kind == CG_VALUE_CONSTANT) {
        made[v->id] = cg_constant(to, v->dtype, v->shape, v->data);
    } else {
        cg_node *n = v->node, *copy;
        cg_value *in[16];
        if (n->n_in > 16)
            return cg_graph_fail(to, cg_error(CG_EUNSUPPORTED, "%d operands", n->n_in));
        for (int i = 0; i < n->n_in; i++) in[i] = clone(to, n->in[i], made);
        copy = cg_node_add_out(to, n->op, n->attr, n->n_in, in, n->n_out);
        for (int i = 0; copy && i < n->n_out; i++) made[n->out[i]->id] = copy->out[i];
    }
    return made[v->id];
}

static cg_status run(cg_context *ctx, const cg_graph *g, void *out) {
    cg_plan *plan = NULL;
    cg_exec *exec = NULL;
    cg_status s = cg_plan_create(ctx, g, &plan);
    if (s == CG_OK) s = cg_exec_create(&exec);
    if (s == CG_OK) s = cg_exec_use(exec, plan);
    if (s == CG_OK) s = cg_exec_bind_output(exec, "value", out);
    if (s == CG_OK) s = cg_exec_run(exec);
    cg_exec_free(exec);
    cg_plan_free(plan);
    return s;
}

cg_status cg_onnx_evaluate(cg_context *ctx, const cg_graph *g, const cg_value *v, void **out) {
    size_t bytes = (size_t)cg_shape_count(&v->shape) * cg_dtype_size(v->dtype);
    cg_graph *alone = NULL;
    cg_value **made = calloc((size_t)g->n_value + 1, sizeof(cg_value *));
    cg_status s = cg_graph_create(g->params, &alone);
    *out = aligned_alloc(64, cg_align64(bytes + 1));
    if (s == CG_OK && (!made || !*out))
        s = cg_error(CG_ENOMEM, "no memory for %zu bytes of %s", bytes, v->name);
    if (s == CG_OK) {
        cg_graph_output(alone, "value", clone(alone, v, made), CG_SET);
        s = cg_graph_status(alone);
    }
    if (s == CG_OK) s = run(ctx, alone, *out);
    if (s != CG_OK) {
        free(*out);
        *out = NULL;
    }
    cg_graph_free(alone);
    free(made);
    return s;
}

/* --- as the file has it ----------------------------------------------------------------------- */

/* Round to nearest, ties to even; what is too large becomes infinite, NaN stays NaN. */
static uint16_t half(float f) {
    uint32_t u, sign, round;
    memcpy(&u, &f, sizeof u);
    sign = u >> 16 & 0x8000;
    u &= 0x7fffffff;
    if (u > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (u >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and above */
    if (u < 0x38800000) {                                  /* subnormal: multiples of 2⁻²⁴ */
        float magnitude;
        memcpy(&magnitude, &u, sizeof magnitude);
        magnitude += 0.5f; /* whose last place is 2⁻²⁴ */
        memcpy(&round, &magnitude, sizeof round);
        return (uint16_t)(sign | (round - 0x3f000000));
    }
    round = u + 0xfff + (u >> 13 & 1) - 0x38000000;
    return (uint16_t)(sign | round >> 13);
}

static uint16_t bfloat(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* The file's elements, and where they stand in the numbers. */
static cg_strides walk_of(const cg_onnx_initializer *i) {
    cg_strides w = {.rank = i->rank, .n = 1};
    for (int k = 0; k < w.rank; k++) {
        w.dim[k] = i->dim[k];
        w.stride[0][k] = 1;
        for (int d = i->t->order[k] + 1; d < i->t->n_from; d++) w.stride[0][k] *= i->t->from[d];
    }
    return w;
}

enum { PIECE = 4096 };

static void convert(const cg_onnx_initializer *i, const void *from, int64_t offset, void *to,
                    int64_t k) {
    cg_dtype source = i->t->dtype;
    if (source == CG_F32 && i->stored == CG_F16)
        ((uint16_t *)to)[k] = half(((const float *)from)[offset]);
    else if (source == CG_F32 && i->stored == CG_BF16)
        ((uint16_t *)to)[k] = bfloat(((const float *)from)[offset]);
    else if (source == CG_F32)
        ((float *)to)[k] = ((const float *)from)[offset];
    else if (source == CG_I32)
        ((int64_t *)to)[k] = ((const int32_t *)from)[offset];
    else
        memcpy((char *)to + (size_t)k * cg_dtype_size(source),
               (const char *)from + (size_t)offset * cg_dtype_size(source), cg_dtype_size(source));
}

/* A matrix's columns as rows, as many at a time as a cache line of the matrix has. */
static cg_status transpose(const cg_onnx_initializer *i, const void *from, cg_onnx_write_fn write,
                           void *arg) {
    enum { LINE = 16 };
    int64_t rows = i->dim[0], columns = i->dim[1];
    size_t size = cg_dtype_size(i->stored);
    void *buffer = malloc(LINE * (size_t)columns * size + 1);
    cg_status s = buffer ? CG_OK : cg_error(CG_ENOMEM, "no memory to transpose %s", i->name);
    for (int64_t r = 0; s == CG_OK && r < rows; r += LINE) {
        int64_t n = rows - r < LINE ? rows - r : LINE;
        for (int64_t c = 0; c < columns; c++)
            for (int64_t k = 0; k < n; k++)
                convert(i, from, c * rows + r + k, buffer, k * columns + c);
        s = write(arg, buffer, (size_t)(n * columns) * size);
    }
    free(buffer);
    return s;
}

static cg_status produce(const cg_onnx_initializer *i, const void *from, cg_onnx_write_fn write,
                         void *arg) {
    if (!i->t->permuted && i->stored == i->t->dtype) return write(arg, from, i->bytes);
    if (i->t->permuted && i->rank == 2) return transpose(i, from, write, arg);
    int64_t buffer[PIECE], left = (int64_t)(i->bytes / cg_dtype_size(i->stored));
    cg_strides w = walk_of(i);
    while (left > 0) {
        int64_t n = left < PIECE ? left : PIECE;
        for (int64_t k = 0; k < n; k++) {
            convert(i, from, w.offset[0], buffer, k);
            cg_strides_step(&w);
        }
        CG_TRY(write(arg, buffer, (size_t)n * cg_dtype_size(i->stored)));
        left -= n;
    }
    return CG_OK;
}

cg_status cg_onnx_produce(const cg_onnx_export *x, const cg_onnx_initializer *i,
                          cg_onnx_write_fn write, void *arg) {
    const cg_value *v = i->t->value;
    void *made = NULL;
    if (!v) return produce(i, i->t->data, write, arg);
    if (v->kind == CG_VALUE_PARAM) return produce(i, v->param->data, write, arg);
    if (v->kind == CG_VALUE_CONSTANT) return produce(i, v->data, write, arg);
    CG_TRY(cg_onnx_evaluate(x->ctx, x->graph, v, &made));
    cg_status s = produce(i, made, write, arg);
    free(made);
    return s;
}
