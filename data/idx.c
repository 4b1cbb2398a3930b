/* IDX: the format of MNIST and the data made like it. Big-endian: 00 00, the type (08: bytes), the
 * number of sizes, the sizes, the bytes.
 *
 * source  LeCun, Cortes, Burges: the MNIST database, "File formats" */
#include "data/dataset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const int64_t most_bytes = INT64_C(1) << 33;

typedef struct idx_dataset {
    cg_dataset base; /* first, so that a pointer to one is a pointer to the other */
    int width, height;
    uint8_t *pixel; /* [size, height, width] */
} idx_dataset;

static cg_status idx_image(const cg_dataset *d, int64_t i, cg_image *out) {
    const idx_dataset *x = (const idx_dataset *)d;
    int64_t n = (int64_t)x->width * x->height;
    CG_TRY(cg_image_alloc(x->width, x->height, out));
    for (int64_t k = 0; k < n; k++) memset(out->rgb + 3 * k, x->pixel[i * n + k], 3);
    return CG_OK;
}

static void idx_free(cg_dataset *d) {
    free(((idx_dataset *)d)->pixel);
    free(d);
}

/* ---- files ---- */

/* One file of bytes and its sizes. */
typedef struct idx_file {
    int64_t size[3];
    uint8_t *bytes; /* [size[0], …]; the caller's to free */
} idx_file;

/* Reads n bytes; zlib reads what is not gzipped as it stands. */
static cg_status read_bytes(gzFile f, const char *path, void *out, int64_t n) {
    for (int64_t got = 0; got < n;) {
        int64_t piece = n - got < 1 << 26 ? n - got : 1 << 26;
        int k = gzread(f, (uint8_t *)out + got, (unsigned)piece);
        int problem = 0;
        const char *text = k <= 0 ? gzerror(f, &problem) : "";
        if (k < 0 && problem == Z_ERRNO) return cg_error(CG_EIO, "%s: %s", path, strerror(errno));
        if (k < 0 && problem != Z_BUF_ERROR)
            return cg_error(CG_EFORMAT, "%s: damaged gzip data (%s)", path, text);
        if (k <= 0)
            return cg_error(CG_EFORMAT, "%s: cut short: %lld bytes are missing", path,
                            (long long)(n - got));
        got += k;
    }
    return CG_OK;
}

static int64_t big_endian(const uint8_t b[4]) {
    return (int64_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

static cg_status read_sizes(gzFile f, const char *path, int n_sizes, idx_file *out) {
    static const char *const what[] = {"", "labels (idx1)", "", "pictures (idx3)"};
    uint8_t head[16];
    CG_TRY(read_bytes(f, path, head, 4));
    if (head[0] || head[1] || head[2] != 8 || head[3] != n_sizes)
        return cg_error(CG_EFORMAT,
                        "%s: begins with %02x %02x %02x %02x, wanted 00 00 08 %02x: IDX %s%s", path,
                        head[0], head[1], head[2], head[3], (unsigned)n_sizes, what[n_sizes],
                        n_sizes == 3 && head[3] == 1 ? "; these are labels" : "");
    CG_TRY(read_bytes(f, path, head, 4 * n_sizes));
    for (int k = 0; k < 3; k++) out->size[k] = k < n_sizes ? big_endian(head + 4 * k) : 1;
    if (!out->size[0]) return cg_error(CG_EFORMAT, "%s: holds nothing", path);
    for (int k = 1; k < n_sizes; k++)
        if (out->size[k] < 1 || out->size[k] > 65500)
            return cg_error(CG_EFORMAT, "%s: pictures of %lld x %lld, wanted 1 to 65500", path,
                            (long long)out->size[2], (long long)out->size[1]);
    return CG_OK;
}

static cg_status read_contents(gzFile f, const char *path, int n_sizes, idx_file *out) {
    char more;
    CG_TRY(read_sizes(f, path, n_sizes, out));
    int64_t picture = out->size[1] * out->size[2], n = out->size[0] * picture;
    if (out->size[0] > most_bytes / picture)
        return cg_error(CG_EUNSUPPORTED, "%s: more than %lld bytes", path, (long long)most_bytes);
    out->bytes = malloc((size_t)n);
    if (!out->bytes) return cg_error(CG_ENOMEM, "%s: no memory for %lld bytes", path, (long long)n);
    CG_TRY(read_bytes(f, path, out->bytes, n));
    if (gzread(f, &more, 1) != 0) /* which also reads and checks gzip's checksum */
        return cg_error(CG_EFORMAT, "%s: goes on, or is damaged, behind its %lld bytes", path,
                        (long long)n);
    return CG_OK;
}

static cg_status read_idx(const char *path, int n_sizes, idx_file *out) {
    errno = 0;
    gzFile f = gzopen(path, "rb");
    if (!f) return cg_error(CG_EIO, "%s: %s", path, strerror(errno ? errno : ENOMEM));
    cg_status status = read_contents(f, path, n_sizes, out);
    gzclose_r(f);
    return status;
}

int cg_idx_begins(const char *path) {
    uint8_t head[4] = {0};
    gzFile f = gzopen(path, "rb");
    int n = f ? gzread(f, head, 4) : 0;
    if (f) gzclose_r(f);
    return n == 4 && !head[0] && !head[1] && head[2] == 8 && (head[3] == 3 || head[3] == 1);
}

/* ---- the dataset ---- */

/* Puts `to` in place of the last `from` in the path's name. 0: there is none. */
static int replace(char *path, const char *from, const char *to) {
    char *slash = strrchr(path, '/'), *found = NULL;
    for (char *at = slash ? slash : path; (at = strstr(at, from)); at++) found = at;
    if (found) memcpy(found, to, strlen(to)); /* both are as long */
    return found != NULL;
}

static cg_status labels_path(const char *images, char **out) {
    *out = strdup(images);
    if (!*out) return cg_error(CG_ENOMEM, "%s: no memory", images);
    replace(*out, "idx3", "idx1"); /* often left out of the name */
    if (replace(*out, "images", "labels")) return CG_OK;
    return cg_error(CG_EFORMAT,
                    "%s: which are its labels? Wanted a name with \"images\" in it, as in "
                    "train-images-idx3-ubyte.gz, beside train-labels-idx1-ubyte.gz",
                    images);
}

/* The classes given, or numbers from 0 to the largest label. */
static cg_status settle_classes(const idx_file *label, const cg_classes *given, cg_classes *out) {
    int most = 0;
    char name[16];
    for (int32_t k = 0; given && k < given->n; k++) { /* lines are labels; a key may only agree */
        const cg_class *c = &given->at[k];
        snprintf(name, sizeof name, "%d", (int)k);
        if (strcmp(c->key, c->name) != 0 && strcmp(c->key, name) != 0)
            return cg_error(CG_EFORMAT, "class \"%.80s\" is number %d, but has the key \"%.80s\"",
                            c->name, (int)k, c->key);
    }
    if (given) return cg_classes_copy(given, out);
    for (int64_t i = 0; i < label->size[0]; i++)
        if (label->bytes[i] > most) most = label->bytes[i];
    for (int k = 0; k <= most; k++) {
        snprintf(name, sizeof name, "%d", k);
        CG_TRY(cg_classes_add(out, name, name));
    }
    return cg_classes_index(out, "labels");
}

static cg_status add_pairs(cg_dataset *d, const char *images, const char *labels,
                           const idx_file *label) {
    int64_t capacity = 0;
    for (int64_t i = 0; i < label->size[0]; i++) {
        int class = label->bytes[i];
        if (class >= d->classes.n)
            return cg_error(CG_EFORMAT, "%s: label %d of picture %lld, but the classes are 0 to %d",
                            labels, class, (long long)i, (int)d->classes.n - 1);
        size_t room = strlen(images) + 24;
        char *path = malloc(room);
        if (path) snprintf(path, room, "%s#%lld", images, (long long)i);
        CG_TRY(cg_dataset_append(d, &capacity, path, strdup(d->classes.at[class].caption)));
    }
    return cg_dataset_number_captions(d);
}

static cg_status read_pairs(idx_dataset *x, const char *images, const char *labels,
                            const cg_classes *classes) {
    idx_file picture = {0}, label = {0};
    cg_status status = read_idx(images, 3, &picture);
    x->pixel = picture.bytes;
    x->height = (int)picture.size[1];
    x->width = (int)picture.size[2];
    if (status == CG_OK) status = read_idx(labels, 1, &label);
    if (status == CG_OK && picture.size[0] != label.size[0])
        status = cg_error(CG_EFORMAT, "%s has %lld pictures, but %s %lld labels", images,
                          (long long)picture.size[0], labels, (long long)label.size[0]);
    if (status == CG_OK) status = settle_classes(&label, classes, &x->base.classes);
    if (status == CG_OK) status = add_pairs(&x->base, images, labels, &label);
    free(label.bytes);
    return status;
}

cg_status cg_dataset_idx(const char *images, const cg_classes *classes, cg_dataset **out) {
    static const cg_dataset_ops ops = {idx_image, idx_free};
    char *labels;
    *out = NULL;
    cg_status status = labels_path(images, &labels);
    idx_dataset *x = calloc(1, sizeof *x);
    if (status == CG_OK && !x) status = cg_error(CG_ENOMEM, "%s: no memory", images);
    if (x) x->base.ops = &ops;
    if (status == CG_OK) status = read_pairs(x, images, labels, classes);
    free(labels);
    if (status == CG_OK)
        *out = &x->base;
    else if (x)
        cg_dataset_free(&x->base);
    return status;
}
