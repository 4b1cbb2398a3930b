/* clipgraph embed: embeddings of pictures or texts, as files for search and for other programs. */
#include "cli/inputs.h"
#include "serialize/npy.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_CHECKPOINT = 1, KEY_TABLE, KEY_TEXTS, KEY_OUT, KEY_IMAGE, KEY_SEPARATOR };
enum { PATH_ROOM = 4096 };

typedef struct arguments {
    cli_run run;
    const char *checkpoint, *table, *texts, *image_column;
    char separator; /* of the table; 0: as the header line has it */
    char *out;
    char **path;
    int n_paths;
} arguments;

static const struct argp_option options[] = {
    {"checkpoint", KEY_CHECKPOINT, "FOLDER", 0, "the model: a run, a checkpoint, or a hub folder",
     0},
    {"table", KEY_TABLE, "FILE", 0, "embed the pictures of a table", 0},
    {"csv-img-key", KEY_IMAGE, "NAME", 0, "the table's column of pictures (default filepath)", 0},
    {"csv-separator", KEY_SEPARATOR, "C", 0,
     "a character, tab or comma (default: what the header line has: a tab, else a comma)", 0},
    {"texts", KEY_TEXTS, "FILE", 0, "embed texts, one per line", 0},
    {"out", KEY_OUT, "PREFIX", 0, "write PREFIX.npy and PREFIX.txt", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->run;
        return 0;
    case KEY_CHECKPOINT:
        a->checkpoint = text;
        return 0;
    case KEY_TABLE:
        a->table = text;
        return 0;
    case KEY_TEXTS:
        a->texts = text;
        return 0;
    case KEY_IMAGE:
        a->image_column = text;
        return 0;
    case KEY_SEPARATOR:
        a->separator = cli_separator(state, "csv-separator", text);
        return 0;
    case KEY_OUT:
        a->out = text;
        return 0;
    case ARGP_KEY_ARGS:
        a->path = state->argv + state->next;
        a->n_paths = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!a->checkpoint) argp_error(state, "no model: give --checkpoint FOLDER");
        if ((a->n_paths > 0) + !!a->table + !!a->texts != 1)
            argp_error(state, "give one of: pictures or folders, --table, --texts");
        if (!a->out || !a->out[0]) argp_error(state, "where to? give --out PREFIX");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_run_argp, 0, "Running:", 0}, {0}};
static const struct argp parser = {
    options,
    parse,
    "[PICTURE|FOLDER...]",
    "Writes embeddings, unit vectors in one space for pictures and texts: PREFIX.npy, float32 "
    "[n, width], and PREFIX.txt, the path or text of each row, one per line. What cannot be read "
    "has no row. `search --index PREFIX` reads them."
    "\vExample:\n"
    "  clipgraph embed --checkpoint logs/first photos/ --out photos",
    children,
    NULL,
    NULL};

/* Names the two files. errors  CG_EINVAL: too long */
static cg_status name_files(const char *prefix, char npy[PATH_ROOM], char txt[PATH_ROOM]) {
    if (snprintf(npy, PATH_ROOM, "%s.npy", prefix) >= PATH_ROOM ||
        snprintf(txt, PATH_ROOM, "%s.txt", prefix) >= PATH_ROOM)
        return cg_error(CG_EINVAL, "--out: the path is too long");
    return CG_OK;
}

/* Can they be written? Better known before hours of embedding. */
static cg_status check_place(const char *prefix) {
    char path[2][PATH_ROOM];
    CG_TRY(name_files(prefix, path[0], path[1]));
    for (int i = 0; i < 2; i++) {
        cg_file *f;
        CG_TRY(cg_file_create(path[i], &f));
        cg_file_abandon(f);
    }
    return CG_OK;
}

/* A name takes one line of PREFIX.txt. */
static cg_status check_names(char *const *name, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (strpbrk(name[i], "\r\n"))
            return cg_error(CG_EFORMAT, "%s: a name with a line end", name[i]);
    return CG_OK;
}

/* Both files are complete before the first of them takes its place. */
static cg_status save(const char *prefix, const float *row, int64_t n, int64_t width,
                      char *const *name, const int64_t *index) {
    char npy[PATH_ROOM], txt[PATH_ROOM];
    cg_file *rows = NULL, *names = NULL;
    CG_TRY(name_files(prefix, npy, txt));
    cg_status s = cg_npy_create(npy, CG_F32, &CG_SHAPE(n, width), &rows);
    if (s == CG_OK) s = cg_file_create(txt, &names);
    for (int64_t i = 0; i < n && s == CG_OK; i++)
        s = cg_file_printf(names, "%s\n", name[index ? index[i] : i]);
    if (s == CG_OK) s = cg_file_write(rows, row, (size_t)(n * width) * sizeof *row);
    if (s != CG_OK) {
        cg_file_abandon(rows);
        cg_file_abandon(names);
        return s;
    }
    s = cg_file_commit(rows);
    if (s == CG_OK) return cg_file_commit(names);
    cg_file_abandon(names);
    return s;
}

static cg_status print_json(const char *prefix, int64_t n, int64_t width, int64_t left_out) {
    json_t *all = json_pack("{s:s+, s:s+, s:I, s:I, s:I}", "npy", prefix, ".npy", "txt", prefix,
                            ".txt", "rows", (json_int_t)n, "width", (json_int_t)width, "left_out",
                            (json_int_t)left_out);
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(all);
    return text ? CG_OK : cg_error(CG_EFORMAT, "--out: the prefix is not UTF-8");
}

static cg_status finish(const arguments *a, const float *row, int64_t n, int64_t width,
                        char *const *name, const int64_t *index, int64_t left_out) {
    CG_TRY(save(a->out, row, n, width, name, index));
    if (a->run.json) return print_json(a->out, n, width, left_out);
    printf("wrote %s.npy, float32 [%" PRId64 ", %" PRId64 "], and %s.txt, %" PRId64 " %s\n", a->out,
           n, width, a->out, n, n == 1 ? "line" : "lines");
    return CG_OK;
}

static cg_status embed_pictures(arguments *a, cg_model *m) {
    cg_dataset *d = NULL;
    cg_embeddings e = {0};
    const char *image = a->image_column ? a->image_column : "filepath";
    /* captions are not read, and need not be there */
    cg_table_options columns = {
        .image_column = image, .caption_column = image, .separator = a->separator};
    CG_TRY(a->table ? cli_table(a->table, columns, &d)
                    : cli_pictures("embed", a->path, a->n_paths, &d));
    cg_status s = check_names(d->path, d->size);
    if (s == CG_OK) s = cli_model_load(a->checkpoint, &a->run, m);
    if (s == CG_OK) s = cli_embed_pictures("embed", m, &a->run, d, &e);
    if (s == CG_OK) s = finish(a, e.row, e.n, e.width, d->path, e.index, d->size - e.n);
    cg_embeddings_free(&e);
    cg_dataset_free(d);
    return s;
}

static cg_status embed_texts(arguments *a, cg_model *m) {
    cli_lines l;
    float *row = NULL;
    int64_t cut = 0;
    CG_TRY(cli_lines_read(a->texts, 0, &l));
    cg_status s = l.n ? cli_model_load(a->checkpoint, &a->run, m)
                      : cg_error(CG_EFORMAT, "%s: has no text in it", a->texts);
    if (s == CG_OK)
        s = cg_embed_texts(m->runner, m->tokenizer, (const char *const *)l.line, l.n, &row, &cut);
    if (s == CG_OK)
        s = cli_check_embeddings("texts", row, l.n * cg_runner_desc(m->runner)->embed_dim);
    if (s == CG_OK && cut)
        fprintf(stderr,
                "clipgraph embed: %" PRId64 " of %" PRId64 " texts cut to the model's %" PRId64
                " tokens\n",
                cut, l.n, cg_runner_desc(m->runner)->text.context_length);
    if (s == CG_OK) s = finish(a, row, l.n, cg_runner_desc(m->runner)->embed_dim, l.line, NULL, 0);
    free(row);
    cli_lines_free(&l);
    return s;
}

int cli_embed(int argc, char **argv) {
    arguments a = {0};
    cg_model m = {0};
    cli_parse(&parser, argc, argv, &a);
    size_t n = strlen(a.out);
    if (n > 4 && strcmp(a.out + n - 4, ".npy") == 0) a.out[n - 4] = '\0';
    cg_status s = check_place(a.out);
    if (s == CG_OK) s = a.texts ? embed_texts(&a, &m) : embed_pictures(&a, &m);
    int code = s == CG_OK ? 0 : cli_fail("embed", s);
    code = cli_profile_end("embed", &a.run.profile, m.runner, a.run.json, code);
    cg_model_free(&m);
    return code;
}
