#include "data/files.h"
#include "data/text.h"
#include "data/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A table being read, in place: fields are cut out of its own bytes. */
typedef struct table {
    const char *path;
    char *at, *end;
    char separator;
    long long line;  /* the line that `at` is in, from 1 */
    long long first; /* the line that the current record began in */
    char **field;    /* [n] of the current record */
    size_t n, capacity;
} table;

/* Cuts the next field out. *last is set where it ends its record. A quoted field may hold
 * separators, line ends and doubled quotes (RFC 4180). */
static cg_status read_field(table *t, char **field, int *last) {
    char *in = t->at, *out = t->at;
    *field = out;
    if (in < t->end && *in == '"') {
        for (in++;; in++) {
            if (in >= t->end)
                return cg_error(CG_EFORMAT, "%s: line %lld: a quote is not closed", t->path,
                                t->first);
            if (*in == '"' && *++in != '"') break;
            t->line += *in == '\n';
            *out++ = *in;
        }
    }
    while (in < t->end && *in != t->separator && *in != '\n') *out++ = *in++;
    *last = in >= t->end || *in == '\n';
    t->at = in + (in < t->end);
    if (*last && out > *field && out[-1] == '\r') out--;
    t->line += *last;
    *out = 0;
    return CG_OK;
}

/* Reads a record; n is 0 at the end of the table. Empty lines are skipped. */
static cg_status read_record(table *t) {
    int last = 0;
    t->n = 0;
    while (t->at < t->end && (*t->at == '\n' || (*t->at == '\r' && t->at[1] == '\n'))) {
        t->line++;
        t->at += *t->at == '\r' ? 2 : 1;
    }
    t->first = t->line;
    if (t->at >= t->end) return CG_OK;
    while (!last) {
        if (t->n == t->capacity) {
            size_t wanted = 2 * t->capacity + 16;
            char **bigger = realloc(t->field, wanted * sizeof *bigger);
            if (!bigger) return cg_error(CG_ENOMEM, "%s: no memory", t->path);
            t->field = bigger;
            t->capacity = wanted;
        }
        CG_TRY(read_field(t, &t->field[t->n], &last));
        t->n++;
    }
    return CG_OK;
}

/* "no column "x"; it has "a", "b"; did you mean "a"?" */
static cg_status no_column(const table *t, const char *name) {
    char list[512] = "";
    size_t used = 0, nearest = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (cg_text_distance(name, t->field[i]) < cg_text_distance(name, t->field[nearest]))
            nearest = i;
        if (used >= sizeof list - 80) continue;
        used += (size_t)snprintf(list + used, 70, "%s\"%.40s\"", i ? ", " : "", t->field[i]);
        if (used >= sizeof list - 80 && i + 1 < t->n) strcat(list, ", ...");
    }
    if (t->n == 1 && strpbrk(t->field[0], ",;\t"))
        return cg_error(CG_EFORMAT,
                        "%s: no column \"%.60s\"; it has one column, %s; is its "
                        "separator another one?",
                        t->path, name, list);
    return cg_error(CG_EFORMAT, "%s: no column \"%.60s\"; it has %s; did you mean \"%.40s\"?",
                    t->path, name, list, t->field[nearest]);
}

static cg_status find_column(const table *t, const char *name, size_t *column) {
    for (*column = 0; *column < t->n; ++*column)
        if (!strcmp(t->field[*column], name)) return CG_OK;
    return no_column(t, name);
}

/* `name`, seen from the folder of the file `table_path`. Allocated; NULL: no memory. */
static char *beside(const char *table_path, const char *name) {
    const char *slash = strrchr(table_path, '/');
    size_t folder = *name != '/' && slash ? (size_t)(slash + 1 - table_path) : 0;
    size_t n = strlen(name);
    char *out = malloc(folder + n + 1);
    if (!out) return NULL;
    memcpy(out, table_path, folder);
    memcpy(out + folder, name, n + 1);
    return out;
}

static cg_status read_pairs(table *t, size_t image, size_t caption, cg_dataset *d) {
    int64_t capacity = 0;
    size_t wanted = (image > caption ? image : caption) + 1;
    for (;;) {
        CG_TRY(read_record(t));
        if (t->n == 0) break;
        if (t->n < wanted)
            return cg_error(CG_EFORMAT, "%s: line %lld: %zu fields, wanted %zu or more", t->path,
                            t->first, t->n, wanted);
        char *clean;
        CG_TRY(cg_caption_clean(t->field[caption], &clean));
        CG_TRY(cg_dataset_append(d, &capacity, beside(t->path, t->field[image]), clean));
    }
    if (d->size == 0) return cg_error(CG_EFORMAT, "%s: no pair in it", t->path);
    return cg_dataset_number_captions(d);
}

static cg_status read_table(table *t, const cg_table_options *options, cg_dataset *d) {
    size_t image, caption;
    if (memchr(t->at, 0, (size_t)(t->end - t->at)))
        return cg_error(CG_EFORMAT, "%s: a zero byte in it, wanted UTF-8 text", t->path);
    if (t->end - t->at >= 3 && !memcmp(t->at, "\xef\xbb\xbf", 3)) t->at += 3;
    CG_TRY(read_record(t));
    if (t->n == 0) return cg_error(CG_EFORMAT, "%s: empty, wanted a header line", t->path);
    CG_TRY(find_column(t, options->image_column ? options->image_column : "filepath", &image));
    CG_TRY(find_column(t, options->caption_column ? options->caption_column : "title", &caption));
    return read_pairs(t, image, caption, d);
}

cg_status cg_dataset_table(const char *path, const cg_table_options *options, cg_dataset **out) {
    cg_table_options defaults = {0};
    if (!options) options = &defaults;
    *out = NULL;
    char *bytes;
    size_t size;
    CG_TRY(cg_file_read(path, &bytes, &size));
    table t = {.path = path, .at = bytes, .end = bytes + size, .line = 1};
    t.separator = options->separator ? options->separator : '\t';
    cg_dataset *d = cg_dataset_files(&options->decode);
    cg_status status = d ? read_table(&t, options, d) : CG_ENOMEM;
    free(t.field);
    free(bytes);
    if (status == CG_OK)
        *out = d;
    else
        cg_dataset_free(d);
    return status;
}
