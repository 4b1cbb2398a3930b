#include "serialize/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

enum { HEADER_ALIGN = 64 };

static const struct {
    char descr[4];
    cg_dtype dtype;
} descrs[] = {{"<f4", CG_F32}, {"<f2", CG_F16}, {"<i4", CG_I32}, {"<i8", CG_I64}, {"|u1", CG_U8}};
#define WANTED "<f4, <f2, <i4, <i8 or |u1"

enum { DESCRS = sizeof descrs / sizeof *descrs };

/* -- writing ------------------------------------------------------------------------------- */

static cg_status write_header(cg_file *f, const char *descr, const cg_shape *shape) {
    char text[256 + HEADER_ALIGN];
    int n =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < shape->rank; i++)
        n +=
            snprintf(text + n, sizeof text - (size_t)n, "%s%" PRId64, i ? ", " : "", shape->dim[i]);
    n += snprintf(text + n, sizeof text - (size_t)n, "%s), }", shape->rank == 1 ? "," : "");
    while ((sizeof magic + 4 + (size_t)n + 1) % HEADER_ALIGN != 0) text[n++] = ' ';
    text[n++] = '\n';
    unsigned char version_length[4] = {1, 0, (unsigned char)(n & 255), (unsigned char)(n >> 8)};
    cg_file_write(f, magic, sizeof magic);
    cg_file_write(f, version_length, sizeof version_length);
    return cg_file_write(f, text, (size_t)n);
}

cg_status cg_npy_create(const char *path, cg_dtype dtype, const cg_shape *shape, cg_file **out) {
    const char *descr = NULL;
    for (int i = 0; i < DESCRS; i++)
        if (descrs[i].dtype == dtype) descr = descrs[i].descr;
    if (!descr)
        return cg_error(CG_EDTYPE, "%s: %s, wanted f32, f16, i32, i64 or u8", path,
                        cg_dtype_name(dtype));
    cg_status status = cg_shape_check(shape, dtype);
    if (status != CG_OK) return cg_error_in(status, "%s", path);
    cg_file *f;
    CG_TRY(cg_file_create(path, &f));
    status = write_header(f, descr, shape);
    if (status != CG_OK) {
        cg_file_abandon(f);
        return status;
    }
    *out = f;
    return CG_OK;
}

cg_status cg_npy_save(const char *path, cg_dtype dtype, const cg_shape *shape, const void *data) {
    cg_file *f = NULL;
    CG_TRY(cg_npy_create(path, dtype, shape, &f));
    cg_file_write(f, data, (size_t)cg_shape_count(shape) * cg_dtype_size(dtype));
    return cg_file_commit(f);
}

/* -- reading ------------------------------------------------------------------------------- */

/* A cursor over the header: a Python dict of strings, booleans and tuples of integers. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *c) {
    while (c->at < c->end && strchr(" \t\n", *c->at) && *c->at) c->at++;
}

static int accept(cursor *c, const char *word) {
    size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return 0;
    c->at += n;
    return 1;
}

/* A string without escapes; 0 where there is none or it does not fit. */
static int accept_string(cursor *c, char *out, size_t room) {
    const char *quote = accept(c, "'") ? "'" : accept(c, "\"") ? "\"" : NULL;
    size_t n = 0;
    if (!quote) return 0;
    while (c->at < c->end && *c->at != *quote && n + 1 < room) out[n++] = *c->at++;
    out[n] = '\0';
    return c->at < c->end && *c->at++ == *quote;
}

static int accept_count(cursor *c, int64_t *out) {
    skip_space(c);
    const char *first = c->at;
    int64_t x = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        int digit = *c->at - '0';
        if (x > (INT64_MAX - digit) / 10) return 0;
        x = 10 * x + digit;
    }
    *out = x;
    return c->at > first;
}

static cg_status read_descr(cursor *c, cg_dtype *out) {
    char descr[16];
    /* anything but a string is a record type */
    if (!accept_string(c, descr, sizeof descr))
        return cg_error(CG_EUNSUPPORTED, "the element type is no simple one, wanted " WANTED);
    for (int i = 0; i < DESCRS; i++)
        if (strcmp(descr, descrs[i].descr) == 0) {
            *out = descrs[i].dtype;
            return CG_OK;
        }
    return cg_error(CG_EUNSUPPORTED, "element type '%s', wanted " WANTED, descr);
}

static cg_status read_shape(cursor *c, cg_shape *out) {
    *out = CG_SCALAR;
    if (!accept(c, "(")) return cg_error(CG_EFORMAT, "the shape is no tuple");
    while (!accept(c, ")")) {
        int64_t dim;
        if (!accept_count(c, &dim))
            return cg_error(CG_EFORMAT, "dimension %d of the shape is not a count", out->rank);
        if (out->rank == CG_MAX_RANK)
            return cg_error(CG_EUNSUPPORTED, "more than %d dimensions", CG_MAX_RANK);
        out->dim[out->rank++] = dim;
        if (accept(c, ",")) continue;
        if (!accept(c, ")")) return cg_error(CG_EFORMAT, "the shape does not end");
        break;
    }
    return CG_OK;
}

static cg_status read_member(cursor *c, cg_npy *a, unsigned *seen) {
    char key[32];
    if (!accept_string(c, key, sizeof key) || !accept(c, ":"))
        return cg_error(CG_EFORMAT, "the header is no dictionary");
    unsigned which = strcmp(key, "descr") == 0           ? 1
                     : strcmp(key, "fortran_order") == 0 ? 2
                     : strcmp(key, "shape") == 0         ? 4
                                                         : 0;
    if (!which) return cg_error(CG_EFORMAT, "key '%s' of the header is unknown", key);
    if (*seen & which) return cg_error(CG_EFORMAT, "key '%s' of the header is given twice", key);
    *seen |= which;
    if (which == 1) return read_descr(c, &a->dtype);
    if (which == 4) return read_shape(c, &a->shape);
    if (accept(c, "True")) return cg_error(CG_EUNSUPPORTED, "Fortran order, wanted C order");
    return accept(c, "False") ? CG_OK : cg_error(CG_EFORMAT, "fortran_order is no boolean");
}

static cg_status read_header(cursor *c, cg_npy *a) {
    unsigned seen = 0;
    if (!accept(c, "{")) return cg_error(CG_EFORMAT, "the header is no dictionary");
    while (!accept(c, "}")) {
        CG_TRY(read_member(c, a, &seen));
        if (accept(c, ",")) continue;
        if (!accept(c, "}")) return cg_error(CG_EFORMAT, "the header does not end");
        break;
    }
    skip_space(c);
    if (c->at != c->end) return cg_error(CG_EFORMAT, "the header goes on after its end");
    if (seen != 7) return cg_error(CG_EFORMAT, "the header lacks descr, fortran_order or shape");
    return cg_shape_check(&a->shape, a->dtype) == CG_OK ? CG_OK : CG_EFORMAT;
}

static cg_status read_file(cg_npy *a) {
    const unsigned char *file = a->map.data;
    size_t bytes = a->map.bytes, start = sizeof magic + 4, length;
    if (bytes < start + 2 || memcmp(file, magic, sizeof magic) != 0)
        return cg_error(CG_EFORMAT, "not a .npy file");
    if (file[6] == 1) {
        length = (size_t)file[8] | (size_t)file[9] << 8;
    } else if (file[6] == 2 || file[6] == 3) { /* 3 differs in field names only */
        length = (size_t)file[8] | (size_t)file[9] << 8 | (size_t)file[10] << 16 |
                 (size_t)file[11] << 24;
        start += 2;
    } else {
        return cg_error(CG_EUNSUPPORTED, "version %d, wanted 1 to 3", file[6]);
    }
    if (length > bytes - start)
        return cg_error(CG_EFORMAT, "header of %zu bytes, but the file ends after %zu", length,
                        bytes - start);
    cursor c = {(const char *)file + start, (const char *)file + start + length};
    CG_TRY(read_header(&c, a));
    start += length;
    size_t wanted = (size_t)cg_shape_count(&a->shape) * cg_dtype_size(a->dtype);
    if (wanted != bytes - start) {
        char text[CG_SHAPE_TEXT];
        return cg_error(CG_EFORMAT, "%zu bytes of data, but %s of %s takes %zu", bytes - start,
                        cg_shape_print(&a->shape, text), cg_dtype_name(a->dtype), wanted);
    }
    if (start % cg_dtype_size(a->dtype) != 0)
        return cg_error(CG_EFORMAT, "data begin at %zu, wanted a multiple of %zu", start,
                        cg_dtype_size(a->dtype));
    a->data = file + start;
    return CG_OK;
}

cg_status cg_npy_open(const char *path, cg_npy *out) {
    cg_npy a = {0};
    CG_TRY(cg_file_map(path, &a.map));
    cg_status status = read_file(&a);
    if (status != CG_OK) {
        cg_file_unmap(&a.map);
        return cg_error_in(status, "%s", path);
    }
    *out = a;
    return CG_OK;
}

void cg_npy_close(cg_npy *a) {
    cg_file_unmap(&a->map);
    *a = (cg_npy){0};
}
