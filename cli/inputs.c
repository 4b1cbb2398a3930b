#include "cli/inputs.h"

#include "cli/data.h"
#include "data/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --- texts ------------------------------------------------------------------------------------ */

void cli_lines_free(cli_lines *l) {
    free(l->line);
    free(l->text);
    *l = (cli_lines){0};
}

/* Cuts l->text at `separator`; trim: white space around a part goes. */
static cg_status cut(cli_lines *l, char separator, int trim, int keep_empty) {
    size_t most = 1;
    l->n = 0;
    for (const char *p = l->text; *p; p++) most += *p == separator;
    l->line = malloc(most * sizeof *l->line);
    if (!l->line) return cg_error(CG_ENOMEM, "no memory for %zu lines", most);
    for (char *p = l->text, *next; p; p = next) {
        next = strchr(p, separator);
        if (next) *next++ = '\0';
        if (!next && !*p) break; /* behind the last line's end */
        size_t n = strlen(p);
        while (n && (p[n - 1] == '\r' || (trim && strchr(" \t\n", p[n - 1])))) p[--n] = '\0';
        while (trim && *p && strchr(" \t\n", *p)) p++;
        if (keep_empty || *p) l->line[l->n++] = p;
    }
    return CG_OK;
}

cg_status cli_lines_read(const char *path, int keep_empty, cli_lines *out) {
    size_t size;
    *out = (cli_lines){0};
    CG_TRY(cg_file_read(path, &out->text, &size));
    cg_status s = strlen(out->text) == size
                      ? CG_OK
                      : cg_error(CG_EFORMAT, "%s: has a zero byte at %zu: no text file", path,
                                 strlen(out->text));
    if (s == CG_OK && strncmp(out->text, "\xef\xbb\xbf", 3) == 0)
        memmove(out->text, out->text + 3, size - 2);
    if (s == CG_OK) s = cut(out, '\n', 0, keep_empty);
    if (s != CG_OK) cli_lines_free(out);
    return s;
}

cg_status cli_lines_split(const char *text, cli_lines *out) {
    *out = (cli_lines){.text = strdup(text)};
    cg_status s = out->text ? cut(out, ',', 1, 1) : cg_error(CG_ENOMEM, "no memory for labels");
    if (s != CG_OK) cli_lines_free(out);
    return s;
}

/* --- labels ----------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A file of classes (data/classes.h) names the labels, too: KEY<tab>NAME. */
static void drop_keys(const cli_lines *labels) {
    for (int64_t i = 0; i < labels->n; i++) {
        char *tab = strchr(labels->line[i], '\t');
        if (tab && tab[1]) labels->line[i] = tab + 1;
    }
}

/* A label given twice would share its probability with itself. */
static cg_status check_labels(const cli_lines *labels) {
    if (labels->n == 0) return cg_error(CG_EINVAL, "no labels: the list is empty");
    for (int64_t i = 0; i < labels->n; i++)
        if (!labels->line[i][0]) return cg_error(CG_EINVAL, "label %" PRId64 " is empty", i + 1);
    char **sorted = malloc((size_t)labels->n * sizeof *sorted);
    if (!sorted) return cg_error(CG_ENOMEM, "no memory for %" PRId64 " labels", labels->n);
    memcpy(sorted, labels->line, (size_t)labels->n * sizeof *sorted);
    qsort(sorted, (size_t)labels->n, sizeof *sorted, by_text);
    cg_status s = CG_OK;
    for (int64_t i = 1; i < labels->n && s == CG_OK; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            s = cg_error(CG_EINVAL, "label \"%s\" is given twice", sorted[i]);
    free(sorted);
    return s;
}

cg_status cli_labels_read(const char *labels, const char *file, cli_lines *out) {
    if (labels) {
        CG_TRY(cli_lines_split(labels, out));
        return check_labels(out);
    }
    CG_TRY(cli_lines_read(file, 0, out));
    drop_keys(out);
    return check_labels(out) == CG_OK ? CG_OK : cg_error_in(CG_EFORMAT, "%s", file);
}

/* --- templates -------------------------------------------------------------------------------- */

enum { KEY_TEMPLATE = 2000, KEY_TEMPLATES };

static const struct argp_option template_options[] = {
    {"template", KEY_TEMPLATE, "TEXT", 0,
     "the sentence a label stands in, in place of {} (default: the label alone). Several may be "
     "given: their embeddings are averaged",
     0},
    {"templates", KEY_TEMPLATES, "FILE", 0, "the same from a file, one per line", 0},
    {0},
};

static error_t parse_template(int key, char *text, struct argp_state *state) {
    cli_templates *t = state->input;
    if (!t) return ARGP_ERR_UNKNOWN;
    switch (key) {
    case KEY_TEMPLATE:
        if (!strstr(text, "{}"))
            argp_error(state, "--template: \"%s\" has no {} for the label", text);
        if (t->n_given == CLI_TEMPLATES_GIVEN)
            argp_error(state, "--template: more than %d; give --templates FILE",
                       CLI_TEMPLATES_GIVEN);
        t->given[t->n_given++] = text;
        return 0;
    case KEY_TEMPLATES:
        t->path = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_templates_argp = {.options = template_options, .parser = parse_template};

cg_status cli_templates_read(cli_templates *t) {
    int n = t->n_given;
    if (t->path) CG_TRY(cli_lines_read(t->path, 1, &t->file)); /* empty ones too: lines count */
    if (t->file.n > 1 << 20)
        return cg_error(CG_EFORMAT, "%s: %" PRId64 " lines, at most %d can be read", t->path,
                        t->file.n, 1 << 20);
    t->text = malloc(((size_t)n + (size_t)t->file.n + 1) * sizeof *t->text);
    if (!t->text) return cg_error(CG_ENOMEM, "no memory for templates");
    for (int i = 0; i < n; i++) t->text[i] = t->given[i];
    for (int64_t i = 0; i < t->file.n; i++) {
        if (!t->file.line[i][0]) continue;
        t->text[n] = t->file.line[i];
        if (!strstr(t->text[n++], "{}"))
            return cg_error(CG_EFORMAT, "%s: line %" PRId64 ": \"%.80s\" has no {} for the label",
                            t->path, i + 1, t->file.line[i]);
    }
    if (t->path && n == t->n_given) return cg_error(CG_EFORMAT, "%s: no template in it", t->path);
    t->all = (cg_templates){t->text, n};
    return CG_OK;
}

void cli_templates_free(cli_templates *t) {
    cli_lines_free(&t->file);
    free(t->text);
    *t = (cli_templates){0};
}

/* --- pictures --------------------------------------------------------------------------------- */

static cg_status append(cg_dataset *d, int64_t *capacity, const char *path) {
    return cg_dataset_append(d, capacity, strdup(path), calloc(1, 1));
}

static cg_status append_argument(const char *command, cg_dataset *d, int64_t *capacity,
                                 const char *path) {
    struct stat st;
    cg_dataset *inside;
    if (stat(path, &st) != 0)
        return cg_error(errno == ENOENT ? CG_ENOTFOUND : CG_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) return append(d, capacity, path);
    CG_TRY(cg_dataset_folder(path, NULL, &inside));
    cli_report_skipped(command, inside);
    cg_status s = CG_OK;
    for (int64_t i = 0; i < inside->size && s == CG_OK; i++)
        s = append(d, capacity, inside->path[i]);
    cg_dataset_free(inside);
    return s;
}

cg_status cli_pictures(const char *command, char *const *path, int n, cg_dataset **out) {
    int64_t capacity = 0;
    cg_status s = CG_OK;
    *out = cg_dataset_files(NULL);
    if (!*out) return CG_ENOMEM;
    for (int i = 0; i < n && s == CG_OK; i++)
        s = append_argument(command, *out, &capacity, path[i]);
    if (s == CG_OK) s = cg_dataset_number_captions(*out);
    if (s == CG_OK) return CG_OK;
    cg_dataset_free(*out);
    *out = NULL;
    return s;
}

static void report(const char *command, int64_t total, const cg_loader_report *r) {
    int64_t left_out = r->unreadable + r->too_large;
    fflush(stdout);
    if (!left_out) return;
    fprintf(stderr, "clipgraph %s: %" PRId64 " of %" PRId64 " pictures left out:\n", command,
            left_out, total);
    for (int i = 0; i < r->n_first; i++) fprintf(stderr, "  %s\n", r->first[i]);
    if (left_out > r->n_first) fprintf(stderr, "  … and %" PRId64 " more\n", left_out - r->n_first);
}

/* Where the loader gave up because of the pictures: says so, with the first one's own message. */
static cg_status none_readable(const cg_dataset *d, cg_status s) {
    char first[512];
    cg_image image = {0};
    snprintf(first, sizeof first, "%s", cg_error_message());
    if (d->ops->image(d, 0, &image) == CG_OK) {
        cg_image_free(&image);
        return cg_error(s, "%s", first);
    }
    if (d->size == 1) return CG_EFORMAT; /* its message is the thread's */
    snprintf(first, sizeof first, "%s", cg_error_message());
    return cg_error(CG_EFORMAT, "not one of %" PRId64 " pictures can be read; the first: %s",
                    d->size, first);
}

cg_status cli_embed_pictures(const char *command, cg_model *m, const cli_run *run,
                             const cg_dataset *d, cg_embeddings *out) {
    cg_loader_report left_out = {0};
    cg_embed_options o = cli_evaluate_options(m, run);
    if (o.batch > d->size) o.batch = d->size;
    cg_status s = cg_embed_dataset(m->runner, d, &o, out, &left_out);
    if (s == CG_EFORMAT) return none_readable(d, s);
    report(command, d->size, &left_out);
    return s;
}
