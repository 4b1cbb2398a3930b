#include "serialize/params_io.h"

#include "graph/nearest.h"
#include "serialize/safetensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAMES_SHOWN = 4,  /* in a message, before "and N more" */
    NAME_LIMIT = 200, /* longer names are cut in messages */
    TEXT = 900,
};

cg_status cg_params_save(const cg_params *p, const char *path, const cg_meta *meta,
                         int meta_count) {
    int count = cg_params_count(p);
    if (!cg_params_block(p))
        return cg_error(CG_EINVAL, "%s: the parameter store is not allocated", path);
    cg_tensor *tensors = calloc((size_t)count + 1, sizeof *tensors);
    cg_meta *lines = calloc((size_t)meta_count + 1, sizeof *lines);
    cg_status status = cg_error(CG_ENOMEM, "no memory to write %s", path);
    if (tensors && lines) {
        lines[0] = (cg_meta){"format", "pt"};
        if (meta_count > 0) memcpy(lines + 1, meta, (size_t)meta_count * sizeof *lines);
        for (int i = 0; i < count; i++) {
            const cg_param *q = cg_params_at(p, i);
            tensors[i] = (cg_tensor){.name = q->name,
                                     .dtype = q->dtype,
                                     .shape = q->shape,
                                     .data = q->data,
                                     .bytes = (size_t)q->count * cg_dtype_size(q->dtype)};
        }
        status = cg_safetensors_save(path, tensors, count, lines, meta_count + 1);
    }
    free(lines);
    free(tensors);
    return status;
}

/* -- messages ------------------------------------------------------------------------------ */

typedef struct text {
    char s[TEXT];
    size_t n;
} text;

__attribute__((format(printf, 2, 3))) static void put(text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->s + t->n, TEXT - t->n, format, args);
    va_end(args);
    if (n > 0) t->n += (size_t)n < TEXT - t->n ? (size_t)n : TEXT - t->n - 1;
}

/* The parameter that the file lacks and whose name is nearest; NULL: none is near. */
static const char *nearest(const cg_params *p, const unsigned char *found, const char *name) {
    const char *best = NULL;
    int least = (int)strlen(name) / 3 + 1;
    for (int i = 0; i < cg_params_count(p); i++) {
        const char *candidate = cg_params_at(p, i)->name;
        int d = found[i] ? CG_FAR : cg_edit_distance(name, candidate);
        if (d < least) {
            least = d;
            best = candidate;
        }
    }
    return best;
}

static int put_missing(text *t, const cg_params *p, const unsigned char *found) {
    int missing = 0;
    for (int i = 0; i < cg_params_count(p); i++) missing += !found[i];
    if (!missing) return 0;
    put(t, "%d tensor%s missing (", missing, missing == 1 ? " is" : "s are");
    for (int i = 0, shown = 0; i < cg_params_count(p) && shown < NAMES_SHOWN; i++)
        if (!found[i]) put(t, "%s%.*s", shown++ ? ", " : "", NAME_LIMIT, cg_params_at(p, i)->name);
    if (missing > NAMES_SHOWN) put(t, " and %d more", missing - NAMES_SHOWN);
    put(t, ")");
    return missing;
}

static int put_unexpected(text *t, const cg_params *p, const unsigned char *found,
                          const cg_tensor *tensors, int count) {
    int unexpected = 0;
    for (int i = 0; i < count; i++) unexpected += !cg_params_find(p, tensors[i].name);
    if (!unexpected) return 0;
    put(t, "%s%d tensor%s unexpected (", t->n ? "; " : "", unexpected,
        unexpected == 1 ? " is" : "s are");
    for (int i = 0, shown = 0; i < count && shown < NAMES_SHOWN; i++) {
        if (cg_params_find(p, tensors[i].name)) continue;
        const char *meant = nearest(p, found, tensors[i].name);
        put(t, "%s%.*s", shown++ ? ", " : "", NAME_LIMIT, tensors[i].name);
        if (meant) put(t, ", did it mean %s?", meant);
    }
    if (unexpected > NAMES_SHOWN) put(t, " and %d more", unexpected - NAMES_SHOWN);
    put(t, ")");
    return unexpected;
}

/* -- loading ------------------------------------------------------------------------------- */

static int same_shape(const cg_shape *found, const cg_shape *wanted) {
    if (cg_shape_equal(found, wanted)) return 1;
    /* logit_scale is [] in some files and [1] in others */
    return found->rank <= 1 && wanted->rank <= 1 && cg_shape_count(found) == 1 &&
           cg_shape_count(wanted) == 1;
}

static cg_status check_tensor(const cg_param *q, const cg_tensor *t) {
    if (!same_shape(&t->shape, &q->shape)) {
        char found[CG_SHAPE_TEXT], wanted[CG_SHAPE_TEXT];
        return cg_error(CG_ESHAPE, "tensor %s: shape %s, wanted %s", t->name,
                        cg_shape_print(&t->shape, found), cg_shape_print(&q->shape, wanted));
    }
    int fits = q->dtype == CG_F32 ? t->dtype == CG_F32 || t->dtype == CG_F16 || t->dtype == CG_BF16
                                  : t->dtype == q->dtype;
    if (!fits)
        return cg_error(CG_EDTYPE, "tensor %s: %s, wanted %s", t->name, cg_dtype_name(t->dtype),
                        q->dtype == CG_F32 ? "f32, f16 or bf16" : cg_dtype_name(q->dtype));
    return CG_OK;
}

/* found: one flag per parameter, zero on entry. */
static cg_status check_all(const cg_params *p, const cg_tensor *tensors, int count,
                           const cg_params_load_options *options, unsigned char *found) {
    for (int i = 0; i < count; i++) {
        const cg_param *q = cg_params_find(p, tensors[i].name);
        if (!q) continue;
        if (found[q->index]) return cg_error(CG_EINVAL, "tensor %s: given twice", q->name);
        found[q->index] = 1;
    }
    text t = {"", 0};
    int differ = 0;
    if (!options->allow_missing) differ += put_missing(&t, p, found);
    if (!options->allow_unexpected) differ += put_unexpected(&t, p, found, tensors, count);
    if (differ) return cg_error(CG_EINVAL, "%s", t.s);
    for (int i = 0; i < count; i++) {
        const cg_param *q = cg_params_find(p, tensors[i].name);
        if (q) CG_TRY(check_tensor(q, &tensors[i]));
    }
    return CG_OK;
}

cg_status cg_params_load_tensors(cg_params *p, const cg_tensor *tensors, int count,
                                 const cg_params_load_options *options) {
    static const cg_params_load_options strict;
    if (!cg_params_block(p)) return cg_error(CG_EINVAL, "the parameter store is not allocated");
    unsigned char *found = calloc((size_t)cg_params_count(p) + 1, 1);
    if (!found) return cg_error(CG_ENOMEM, "no memory to match parameters");
    cg_status status = check_all(p, tensors, count, options ? options : &strict, found);
    free(found);
    CG_TRY(status);
    for (int i = 0; i < count; i++) {
        const cg_param *q = cg_params_find(p, tensors[i].name);
        if (!q || q->count == 0) continue;
        if (q->dtype == CG_F32)
            CG_TRY(cg_tensor_to_f32(tensors[i].dtype, tensors[i].data, q->count, q->data));
        else
            memcpy(q->data, tensors[i].data, tensors[i].bytes);
    }
    cg_params_changed(p);
    return CG_OK;
}

cg_status cg_params_load(cg_params *p, const char *path, const cg_params_load_options *options) {
    cg_safetensors *s;
    CG_TRY(cg_safetensors_open(path, &s));
    cg_status status =
        cg_params_load_tensors(p, cg_safetensors_tensors(s), cg_safetensors_count(s), options);
    if (status != CG_OK) cg_error_in(status, "%s", path);
    cg_safetensors_close(s);
    return status;
}
