#include "serialize/onnx/session.h"

#include "serialize/onnx/file.h"
#include "serialize/onnx/import.h"
#include "serialize/onnx/recognise.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT = 8, MOST_OUT = 64 };

typedef struct entry {
    cg_shape *shape; /* [inputs] rank -1: absent */
    uint64_t wanted; /* outputs, as bits */
    cg_graph *graph;
    cg_onnx_computed *computed; /* of its integers; NULL: none are computed */
    cg_plan *plan;              /* NULL: a free place */
    int frozen;
    uint64_t used;
} entry;

struct cg_onnx_session {
    cg_context *ctx;
    cg_onnx_how how;
    cg_onnx_file *file;
    cg_params *params;
    cg_exec *exec;
    const cg_onnx_port *input, *output;
    int n_input, n_output;
    cg_shape *shape;         /* of the run's inputs */
    const cg_tensor **bound; /* [n_input] NULL: absent */
    const int32_t **as_i32;  /* [n_input] integers as the graph has them */
    void **room;             /* [n_input] converted inputs */
    size_t *room_bytes;
    entry kept[KEPT];
    entry *current;
    uint64_t clock;
};

/* --- plans ------------------------------------------------------------------------------------ */

static void entry_free(entry *e) {
    cg_plan_free(e->plan);
    cg_graph_free(e->graph);
    cg_onnx_computed_free(e->computed);
    free(e->shape);
    *e = (entry){0};
}

static int is_same(const cg_onnx_session *s, const entry *e, uint64_t wanted) {
    if (!e->plan || e->wanted != wanted) return 0;
    for (int i = 0; i < s->n_input; i++)
        if (!cg_shape_equal(&e->shape[i], &s->shape[i])) return 0;
    return 1;
}

static cg_status build(cg_onnx_session *s, entry *e, uint64_t wanted) {
    cg_graph *g = e->graph;
    cg_budget budget = {0};
    CG_TRY(cg_onnx_import(s->file, s->shape, s->as_i32, wanted, g, &budget, &e->computed));
    cg_pass_common(g);
    cg_pass_dead(g);
    if (!s->how.literal) CG_TRY(cg_recognise(g, e->computed, &budget));
    CG_TRY(cg_passes_run(g, CG_STAGE_MODEL, s->how.off, NULL));
    cg_pass_common(g);
    cg_pass_dead(g);
    CG_TRY(cg_passes_run(g, CG_STAGE_WHOLE, s->how.off, NULL));
    if (s->how.bf16) cg_pass_bf16(g);
    return cg_graph_verify(g);
}

static cg_status plan(cg_onnx_session *s, entry *e) {
    cg_plan_free(e->plan);
    e->plan = NULL;
    CG_TRY(e->frozen ? cg_plan_create_frozen(s->ctx, e->graph, &e->plan)
                     : cg_plan_create(s->ctx, e->graph, &e->plan));
    cg_plan_report r;
    cg_plan_get_report(e->plan, &r);
    return cg_budget_check_run(r.arena_bytes, r.frozen_bytes);
}

static cg_status make(cg_onnx_session *s, entry *e, uint64_t wanted) {
    e->wanted = wanted;
    e->shape = malloc(((size_t)s->n_input + 1) * sizeof *e->shape);
    if (!e->shape) return cg_error(CG_ENOMEM, "no memory for a plan");
    memcpy(e->shape, s->shape, (size_t)s->n_input * sizeof *e->shape);
    CG_TRY(cg_graph_create(s->params, &e->graph));
    CG_TRY(build(s, e, wanted));
    e->frozen = s->clock > 0;
    return plan(s, e);
}

/* The one for the run's shapes that was used last, but before `before`. */
static entry *used_before(cg_onnx_session *s, uint64_t wanted, uint64_t before) {
    entry *last = NULL;
    for (int i = 0; i < KEPT; i++) {
        entry *e = &s->kept[i];
        if (is_same(s, e, wanted) && e->used < before && (!last || e->used > last->used)) last = e;
    }
    return last;
}

/* The plan that is kept for the run's shapes and whose graph its integers fit, if there is one:
 * then what is computed of them is there. No more than one fits, that which a new session would
 * make. */
static cg_status find_kept(cg_onnx_session *s, uint64_t wanted, entry **found) {
    entry *e = used_before(s, wanted, UINT64_MAX);
    for (; e; e = used_before(s, wanted, e->used)) {
        int fits = 1;
        if (e->computed) CG_TRY(cg_onnx_computed_run(e->computed, s->as_i32, &fits));
        if (fits) break;
    }
    *found = e;
    return CG_OK;
}

static entry *oldest(cg_onnx_session *s) {
    entry *e = &s->kept[0];
    for (int i = 1; i < KEPT; i++)
        if (s->kept[i].used < e->used) e = &s->kept[i];
    return e;
}

/* Makes the plan for the run's shapes and integers current. */
static cg_status use(cg_onnx_session *s, uint64_t wanted) {
    entry *e;
    CG_TRY(find_kept(s, wanted, &e));
    cg_status status = CG_OK;
    if (!e || !e->frozen) {
        cg_profile *p = cg_exec_get_profile(s->exec);
        double begun = cg_profile_begin(p);
        cg_exec_forget(s->exec); /* its plan may be the one that goes */
        if (e) {
            e->frozen = 1;
            status = plan(s, e);
        } else {
            e = oldest(s);
            entry_free(e);
            status = make(s, e, wanted);
        }
        cg_profile_end(p, "graphs and plans", begun);
    }
    s->current = NULL;
    if (status != CG_OK) {
        entry_free(e);
        return status;
    }
    e->used = ++s->clock;
    s->current = e;
    return cg_exec_use(s->exec, e->plan);
}

/* --- life ------------------------------------------------------------------------------------- */

static cg_status begin(cg_onnx_session *s, const char *path) {
    if (s->how.bf16) CG_TRY(cg_context_check_bf16());
    CG_TRY(cg_onnx_open(path, &s->file));
    for (int i = 0; i < s->how.n_inner; i++) {
        cg_status found = cg_onnx_expose(s->file, s->how.inner[i]);
        if (found != CG_OK) return cg_error_in(found, "%s", path);
    }
    s->n_input = cg_onnx_inputs(s->file, &s->input);
    s->n_output = cg_onnx_outputs(s->file, &s->output);
    if (s->n_output > MOST_OUT)
        return cg_error(CG_EUNSUPPORTED, "%s: has %d outputs, wanted at most %d", path, s->n_output,
                        MOST_OUT);
    size_t n = (size_t)s->n_input + 1;
    s->shape = calloc(n, sizeof *s->shape);
    s->bound = calloc(n, sizeof *s->bound);
    s->as_i32 = calloc(n, sizeof *s->as_i32);
    s->room = calloc(n, sizeof *s->room);
    s->room_bytes = calloc(n, sizeof *s->room_bytes);
    if (!s->shape || !s->bound || !s->as_i32 || !s->room || !s->room_bytes)
        return cg_error(CG_ENOMEM, "no memory for %s", path);
    CG_TRY(cg_params_create(&s->params));
    cg_status status = cg_onnx_params(s->file, s->params);
    if (status != CG_OK) return cg_error_in(status, "%s", path);
    return cg_exec_create(&s->exec);
}

cg_status cg_onnx_session_create(cg_context *ctx, const char *path, const cg_onnx_how *how,
                                 cg_onnx_session **out) {
    cg_onnx_session *s = *out = calloc(1, sizeof *s);
    if (!s) return cg_error(CG_ENOMEM, "no memory for %s", path);
    s->ctx = ctx;
    if (how) s->how = *how;
    cg_status status = begin(s, path);
    if (status == CG_OK) return CG_OK;
    cg_onnx_session_free(s);
    *out = NULL;
    return status;
}

void cg_onnx_session_free(cg_onnx_session *s) {
    if (!s) return;
    for (int i = 0; i < KEPT; i++) entry_free(&s->kept[i]);
    cg_exec_free(s->exec);
    cg_params_free(s->params);
    for (int i = 0; s->room && i < s->n_input; i++) free(s->room[i]);
    cg_onnx_close(s->file);
    free(s->shape);
    free(s->bound);
    free(s->as_i32);
    free(s->room);
    free(s->room_bytes);
    free(s);
}

const cg_onnx_file *cg_onnx_session_file(const cg_onnx_session *s) {
    return s->file;
}

const cg_graph *cg_onnx_session_graph(const cg_onnx_session *s) {
    return s->current ? s->current->graph : NULL;
}

cg_exec *cg_onnx_session_exec(cg_onnx_session *s) {
    return s->exec;
}

/* --- inputs ----------------------------------------------------------------------------------- */

static int is_float(cg_dtype t) {
    return t == CG_F32 || t == CG_F16 || t == CG_BF16;
}

static cg_status find_input(cg_onnx_session *s, const cg_tensor *t) {
    int at = 0;
    while (at < s->n_input && strcmp(s->input[at].name, t->name) != 0) at++;
    if (at == s->n_input) return cg_error(CG_ENOTFOUND, "there is no input %s", t->name);
    if (s->bound[at]) return cg_error(CG_EINVAL, "input %s is given twice", t->name);
    int fits = is_float(s->input[at].dtype) == is_float(t->dtype);
    if (!fits)
        return cg_error(CG_EDTYPE, "input %s is %s, wanted %s", t->name, cg_dtype_name(t->dtype),
                        s->input[at].is_bool ? "bool" : cg_dtype_name(s->input[at].dtype));
    CG_TRY(cg_shape_check(&t->shape, t->dtype));
    if (t->bytes != (size_t)cg_shape_count(&t->shape) * cg_dtype_size(t->dtype)) {
        char text[CG_SHAPE_TEXT];
        return cg_error(CG_ESHAPE, "input %s has %zu bytes, which is not %s of %s", t->name,
                        t->bytes, cg_shape_print(&t->shape, text), cg_dtype_name(t->dtype));
    }
    s->bound[at] = t;
    s->shape[at] = t->shape;
    return CG_OK;
}

static int64_t integer(const cg_tensor *t, int64_t i) {
    int64_t x = 0;
    if (t->dtype == CG_I64) memcpy(&x, (const char *)t->data + i * 8, sizeof x);
    if (t->dtype == CG_U8) x = ((const unsigned char *)t->data)[i];
    if (t->dtype == CG_I32) {
        int32_t narrow;
        memcpy(&narrow, (const char *)t->data + i * 4, sizeof narrow);
        x = narrow;
    }
    return x;
}

/* A bool is 0 or 1, whatever stands for true. */
static cg_status to_i32(const cg_tensor *t, int is_bool, int32_t *out) {
    for (int64_t i = 0; i < cg_shape_count(&t->shape); i++) {
        int64_t x = integer(t, i);
        if (x < INT32_MIN || x > INT32_MAX)
            return cg_error(CG_EINVAL, "input %s: element %lld is %lld, wanted an i32", t->name,
                            (long long)i, (long long)x);
        out[i] = is_bool ? x != 0 : (int32_t)x;
    }
    return CG_OK;
}

/* An input's numbers as the graph has them: its own memory where that can be read as it lies. */
static cg_status as_graph_has(cg_onnx_session *s, int i, cg_dtype dtype, const void **data) {
    const cg_tensor *t = s->bound[i];
    *data = t->data;
    int lies_so = t->dtype == dtype && (uintptr_t)t->data % cg_dtype_size(dtype) == 0;
    if (lies_so && !s->input[i].is_bool) return CG_OK;
    int64_t count = cg_shape_count(&t->shape);
    size_t bytes = cg_align64((size_t)count * cg_dtype_size(dtype));
    if (bytes > s->room_bytes[i]) {
        free(s->room[i]);
        s->room[i] = aligned_alloc(64, bytes);
        s->room_bytes[i] = s->room[i] ? bytes : 0;
        if (!s->room[i]) return cg_error(CG_ENOMEM, "no memory for input %s", t->name);
    }
    *data = s->room[i];
    return dtype == CG_F32 ? cg_tensor_to_f32(t->dtype, t->data, count, s->room[i])
                           : to_i32(t, s->input[i].is_bool, s->room[i]);
}

/* Integers come before the graph, which may depend on them. */
static cg_status take_integers(cg_onnx_session *s) {
    for (int i = 0; i < s->n_input; i++) {
        const void *data;
        s->as_i32[i] = NULL;
        if (!s->bound[i] || is_float(s->bound[i]->dtype)) continue;
        CG_TRY(as_graph_has(s, i, CG_I32, &data));
        s->as_i32[i] = data;
    }
    return CG_OK;
}

static cg_status bind_inputs(cg_onnx_session *s) {
    for (int i = 0; i < s->n_input; i++) {
        const void *data = s->as_i32[i];
        if (!s->bound[i] || !cg_graph_find_input(s->current->graph, s->input[i].name)) continue;
        if (!data) CG_TRY(as_graph_has(s, i, CG_F32, &data));
        CG_TRY(cg_exec_bind_input(s->exec, s->input[i].name, data));
    }
    return cg_onnx_computed_bind(s->current->computed, s->current->graph, s->exec);
}

/* --- runs ------------------------------------------------------------------------------------- */

static cg_status find_output(const cg_onnx_session *s, int k, const cg_tensor *t, int *at) {
    *at = k;
    if (!t->name) {
        if (k < s->n_output) return CG_OK;
        return cg_error(CG_ENOTFOUND, "there is no output %d, the file has %d", k, s->n_output);
    }
    for (*at = 0; *at < s->n_output; ++*at)
        if (strcmp(s->output[*at].name, t->name) == 0) return CG_OK;
    return cg_error(CG_ENOTFOUND, "there is no output %s", t->name);
}

/* What comes out must be as the file declares it, where it does. */
static cg_status check_declared(const cg_onnx_port *p, const cg_shape *found) {
    char text[CG_SHAPE_TEXT];
    if (p->rank >= 0 && p->rank != found->rank)
        return cg_error(CG_EFORMAT, "output %s is %s, declared with rank %d", p->name,
                        cg_shape_print(found, text), p->rank);
    for (int i = 0; i < p->rank; i++)
        if (p->dim[i] >= 0 && p->dim[i] != found->dim[i])
            return cg_error(CG_EFORMAT, "output %s is %s, dimension %d declared as %lld", p->name,
                            cg_shape_print(found, text), i, (long long)p->dim[i]);
    return CG_OK;
}

static cg_status read_outputs(cg_onnx_session *s, cg_tensor *out, int n_out) {
    for (int k = 0; k < n_out; k++) {
        int at;
        CG_TRY(find_output(s, k, &out[k], &at));
        const char *name = s->output[at].name;
        const cg_value *v = cg_graph_find_output(s->current->graph, name)->value;
        CG_TRY(check_declared(&s->output[at], &v->shape));
        out[k] = (cg_tensor){.name = name,
                             .dtype = v->dtype,
                             .shape = v->shape,
                             .data = cg_exec_output(s->exec, name),
                             .bytes = (size_t)cg_shape_count(&v->shape) * cg_dtype_size(v->dtype)};
    }
    return CG_OK;
}

static cg_status run(cg_onnx_session *s, const cg_tensor *in, int n_in, cg_tensor *out, int n_out) {
    uint64_t wanted = 0;
    for (int i = 0; i < s->n_input; i++) {
        s->bound[i] = NULL;
        s->shape[i] = (cg_shape){.rank = -1};
    }
    for (int i = 0; i < n_in; i++) CG_TRY(find_input(s, &in[i]));
    for (int k = 0; k < n_out; k++) {
        int at;
        CG_TRY(find_output(s, k, &out[k], &at));
        wanted |= (uint64_t)1 << at;
    }
    if (!wanted) return cg_error(CG_EINVAL, "no output is asked for");
    CG_TRY(take_integers(s));
    CG_TRY(use(s, wanted));
    CG_TRY(bind_inputs(s));
    CG_TRY(cg_exec_run(s->exec));
    return read_outputs(s, out, n_out);
}

cg_status cg_onnx_session_run(cg_onnx_session *s, const cg_tensor *in, int n_in, cg_tensor *out,
                              int n_out) {
    cg_status status = run(s, in, n_in, out, n_out);
    return status == CG_OK ? CG_OK : cg_error_in(status, "%s", s->file->path);
}
