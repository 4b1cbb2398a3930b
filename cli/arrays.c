#include "cli/arrays.h"

#include "graph/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cli_arrays_free(cli_arrays *in) {
    for (int i = 0; i < in->n_npy; i++) cg_npy_close(&in->npy[i]);
    for (int i = 0; i < in->n_random; i++) free(in->random[i]);
}

char *cli_split(char *text) {
    char *rest = strchr(text, '=');
    *rest = '\0';
    return rest + 1;
}

cg_status cli_arrays_load(char *const *input, int n, cli_arrays *in) {
    for (int i = 0; i < n; i++) {
        const char *path = cli_split(input[i]);
        for (int k = 0; k < i; k++)
            if (strcmp(input[k], input[i]) == 0)
                return cg_error(CG_EINVAL, "--input: %s is given twice", input[i]);
        CG_TRY(cg_npy_open(path, &in->npy[i]));
        const cg_npy *y = &in->npy[in->n_npy++];
        in->tensor[in->n++] =
            (cg_tensor){input[i], y->dtype, y->shape, y->data,
                        (size_t)cg_shape_count(&y->shape) * cg_dtype_size(y->dtype)};
    }
    return CG_OK;
}

static cg_status parse_size(const char *name, const char *text, const cg_onnx_port *p,
                            cg_shape *out) {
    *out = (cg_shape){0};
    for (const char *at = text; *at;) {
        char *end;
        long long x = strtoll(at, &end, 10);
        if (end == at || x < 1 || (*end && *end != ',') || out->rank == CG_MAX_RANK)
            return cg_error(CG_EINVAL, "--random: %s: found \"%s\", wanted sizes as in 1,3,224,224",
                            name, text);
        out->dim[out->rank++] = x;
        at = *end ? end + 1 : end;
    }
    if (p->rank >= 0 && out->rank != p->rank)
        return cg_error(CG_EINVAL, "--random: %s: found %d sizes, wanted %d", name, out->rank,
                        p->rank);
    return CG_OK;
}

/* Its sizes: those given, else the file's, and 1 where that leaves them open. */
static cg_status size_of(char *const *size, int n_size, const cg_onnx_port *p, cg_shape *out) {
    for (int i = 0; i < n_size; i++) {
        size_t n = strlen(p->name);
        if (strncmp(size[i], p->name, n) == 0 && size[i][n] == '=')
            return parse_size(p->name, size[i] + n + 1, p, out);
    }
    if (p->rank < 0)
        return cg_error(CG_EINVAL, "--random: input %s has no rank in the file: give %s=D,D,...",
                        p->name, p->name);
    *out = (cg_shape){.rank = p->rank};
    for (int i = 0; i < p->rank; i++) out->dim[i] = p->dim[i] < 0 ? 1 : p->dim[i];
    return CG_OK;
}

/* Numbers of N(0, 1), or integers 0 and 1, which are token ids and masks alike. */
static cg_status draw(const cg_onnx_port *p, cg_shape shape, cli_arrays *in) {
    cg_dtype dtype = p->dtype == CG_F16 || p->dtype == CG_BF16 ? CG_F32 : p->dtype;
    CG_TRY(cg_shape_check(&shape, dtype));
    int64_t count = cg_shape_count(&shape);
    size_t size = cg_dtype_size(dtype);
    char *data = malloc((size_t)count * size + 1);
    if (!data) return cg_error(CG_ENOMEM, "no memory for input %s", p->name);
    in->random[in->n_random++] = data;
    cg_rng r = cg_rng_at(0, CG_RNG_INIT, 0, (uint64_t)in->n);
    memset(data, 0, (size_t)count * size);
    for (int64_t i = 0; i < count; i++) {
        float x = dtype == CG_F32 ? (float)cg_rng_normal(&r) : 0;
        if (dtype == CG_F32)
            memcpy(data + (size_t)i * size, &x, size);
        else
            data[(size_t)i * size] = (char)(cg_rng_u32(&r) >> 31 | (i == 0)); /* little-endian */
    }
    in->tensor[in->n++] = (cg_tensor){p->name, dtype, shape, data, (size_t)count * size};
    return CG_OK;
}

/* Sizes are of inputs that there are. */
static cg_status check_sizes(char *const *size, int n_size, const cg_onnx_file *f) {
    const cg_onnx_port *port;
    int n = cg_onnx_inputs(f, &port);
    for (int i = 0; i < n_size; i++) {
        size_t length = strcspn(size[i], "="), at = 0;
        char list[400] = "";
        int found = 0;
        for (int k = 0; k < n; k++) {
            found |= strlen(port[k].name) == length && memcmp(port[k].name, size[i], length) == 0;
            if (at < sizeof list)
                at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", k ? ", " : "",
                                       port[k].name);
        }
        if (!found)
            return cg_error(CG_EINVAL, "--random: there is no input \"%.*s\"; the file has %s",
                            (int)length, size[i], list);
    }
    return CG_OK;
}

cg_status cli_arrays_draw(char *const *size, int n_size, const cg_onnx_file *f, cli_arrays *in) {
    const cg_onnx_port *port;
    CG_TRY(check_sizes(size, n_size, f));
    int n = cg_onnx_inputs(f, &port), loaded = in->n;
    for (int i = 0; i < n; i++) {
        int given = 0;
        for (int k = 0; k < loaded; k++) given |= strcmp(in->tensor[k].name, port[i].name) == 0;
        if (given) continue;
        cg_shape shape;
        if (in->n == CLI_ARRAYS)
            return cg_error(CG_EUNSUPPORTED, "more than %d inputs", CLI_ARRAYS);
        CG_TRY(size_of(size, n_size, &port[i], &shape));
        CG_TRY(draw(&port[i], shape, in));
    }
    return CG_OK;
}
