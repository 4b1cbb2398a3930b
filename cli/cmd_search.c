/* clipgraph search: the pictures of a folder, or the rows of an index, nearest to a text or to
 * another picture. */
#include "cli/inputs.h"
#include "serialize/npy.h"
#include "train/match.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_CHECKPOINT = 1, KEY_TEXT, KEY_IMAGE, KEY_INDEX, KEY_TOP };

typedef struct arguments {
    cli_run run;
    const char *checkpoint, *text;
    char *image, *index, *folder;
    int64_t top;
} arguments;

static const struct argp_option options[] = {
    {"checkpoint", KEY_CHECKPOINT, "FOLDER", 0, "the model: a run, a checkpoint, or a hub folder",
     0},
    {"text", KEY_TEXT, "TEXT", 0, "what to look for (or after the folder)", 0},
    {"image", KEY_IMAGE, "PICTURE", 0, "a picture to look for its like", 0},
    {"index", KEY_INDEX, "PREFIX", 0,
     "search PREFIX.npy and PREFIX.txt, made by `embed` with the same model", 0},
    {"top", KEY_TOP, "K", 0, "results to print (default 10)", 0},
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
    case KEY_TEXT:
        a->text = text;
        return 0;
    case KEY_IMAGE:
        a->image = text;
        return 0;
    case KEY_INDEX:
        a->index = text;
        return 0;
    case KEY_TOP:
        a->top = cli_int(state, "top", text, 1, 1 << 20);
        return 0;
    case ARGP_KEY_ARG:
        if (!a->folder && !a->index)
            a->folder = text;
        else if (!a->text && !a->image)
            a->text = text;
        else
            argp_error(state, "one argument too many: \"%s\"", text);
        return 0;
    case ARGP_KEY_END:
        if (!a->checkpoint) argp_error(state, "no model: give --checkpoint FOLDER");
        if (!a->folder == !a->index) argp_error(state, "where? give either a folder or --index");
        if (!a->text == !a->image) argp_error(state, "for what? give either --text or --image");
        if (a->text && !a->text[0]) argp_error(state, "for what? the text is empty");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{&cli_run_argp, 0, "Running:", 0}, {0}};
static const struct argp parser = {
    options,
    parse,
    "FOLDER [TEXT]\n--index PREFIX [TEXT]",
    "Ranks the pictures of a folder, or the rows of an index, by the cosine between their "
    "embedding and that of a text or a picture."
    "\vExamples:\n"
    "  clipgraph search --checkpoint logs/first photos/ \"a red circle\"\n"
    "  clipgraph embed --checkpoint logs/first photos/ --out photos\n"
    "  clipgraph search --checkpoint logs/first --index photos --image mine.jpg",
    children,
    NULL,
    NULL};

/* What is searched: rows and their names. */
typedef struct candidates {
    const float *row;
    int64_t n;
    char **name;
    cg_embeddings embedded; /* of a folder */
    cg_dataset *folder;
    cg_npy npy; /* of an index */
    cli_lines lines;
} candidates;

static void candidates_free(candidates *c) {
    if (c->folder) free(c->name);
    cg_embeddings_free(&c->embedded);
    cg_dataset_free(c->folder);
    cg_npy_close(&c->npy);
    cli_lines_free(&c->lines);
}

/* --- an index --------------------------------------------------------------------------------- */

static cg_status check_index(const char *npy, const char *txt, const candidates *c, int64_t width) {
    const cg_shape *shape = &c->npy.shape;
    char found[CG_SHAPE_TEXT];
    if (c->npy.dtype != CG_F32 || shape->rank != 2)
        return cg_error(CG_EFORMAT, "%s: found %s %s, wanted float32 [rows, width]", npy,
                        cg_dtype_name(c->npy.dtype), cg_shape_print(shape, found));
    if (shape->dim[1] != width)
        return cg_error(CG_EFORMAT,
                        "%s: its rows are %" PRId64 " wide, the model's embeddings are %" PRId64
                        ": it was made with another model",
                        npy, shape->dim[1], width);
    if (shape->dim[0] != c->lines.n)
        return cg_error(CG_EFORMAT, "%s has %" PRId64 " rows, but %s has %" PRId64 " lines", npy,
                        shape->dim[0], txt, c->lines.n);
    if (shape->dim[0] == 0) return cg_error(CG_EFORMAT, "%s: has no rows", npy);
    const float *x = c->npy.data;
    for (int64_t i = 0; i < shape->dim[0] * width; i++)
        if (!isfinite(x[i]))
            return cg_error(CG_EFORMAT, "%s: row %" PRId64 " has a value that is not finite", npy,
                            i / width);
    return CG_OK;
}

static cg_status load_index(const arguments *a, int64_t width, candidates *c) {
    char npy[4096], txt[4096];
    size_t n = strlen(a->index);
    if (n > 4 && strcmp(a->index + n - 4, ".npy") == 0) a->index[n - 4] = '\0';
    if (snprintf(npy, sizeof npy, "%s.npy", a->index) >= (int)sizeof npy ||
        snprintf(txt, sizeof txt, "%s.txt", a->index) >= (int)sizeof txt)
        return cg_error(CG_EINVAL, "--index: the path is too long");
    CG_TRY(cg_npy_open(npy, &c->npy));
    CG_TRY(cli_lines_read(txt, 1, &c->lines));
    CG_TRY(check_index(npy, txt, c, width));
    c->row = c->npy.data;
    c->n = c->lines.n;
    c->name = c->lines.line;
    return CG_OK;
}

/* --- a folder --------------------------------------------------------------------------------- */

static cg_status embed_folder(const arguments *a, cg_model *m, candidates *c) {
    CG_TRY(cli_embed_pictures("search", m, &a->run, c->folder, &c->embedded));
    c->row = c->embedded.row;
    c->n = c->embedded.n;
    c->name = malloc((size_t)c->n * sizeof *c->name + 1);
    if (!c->name) return cg_error(CG_ENOMEM, "no memory for names");
    for (int64_t i = 0; i < c->n; i++) c->name[i] = c->folder->path[c->embedded.index[i]];
    return CG_OK;
}

/* --- the query -------------------------------------------------------------------------------- */

static cg_status embed_query(const arguments *a, cg_model *m, float **out) {
    cg_embeddings e = {0};
    cg_dataset *d = NULL;
    int64_t cut = 0;
    if (a->text) {
        CG_TRY(cg_embed_texts(m->runner, m->tokenizer, &a->text, 1, out, &cut));
        if (cut)
            fprintf(stderr,
                    "clipgraph search: the text was cut to the model's %" PRId64 " tokens\n",
                    cg_runner_desc(m->runner)->text.context_length);
        return cli_check_embeddings("text", *out, cg_runner_desc(m->runner)->embed_dim);
    }
    CG_TRY(cli_pictures("search", &a->image, 1, &d));
    cg_status s = d->size == 1 ? cli_embed_pictures("search", m, &a->run, d, &e)
                               : cg_error(CG_EINVAL, "--image: %s is a folder", a->image);
    cg_dataset_free(d);
    *out = e.row;
    e.row = NULL;
    cg_embeddings_free(&e);
    return s;
}

/* --- results ---------------------------------------------------------------------------------- */

static cg_status print_json(const arguments *a, const candidates *c, const double *score,
                            const int64_t *best, int64_t n) {
    json_t *list = json_array();
    for (int64_t k = 0; k < n; k++)
        json_array_append_new(
            list, json_pack("{s:s, s:f}", "name", c->name[best[k]], "cosine", score[best[k]]));
    json_t *all =
        json_pack("{s:s, s:I, s:o}", a->text ? "text" : "image", a->text ? a->text : a->image,
                  "searched", (json_int_t)c->n, "results", list);
    int whole = all && json_array_size(list) == (size_t)n;
    char *text = whole ? json_dumps(all, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(all);
    return text ? CG_OK : cg_error(CG_EFORMAT, "the text or a name is not UTF-8");
}

static cg_status print_results(const arguments *a, const candidates *c, const float *query,
                               int64_t width) {
    int64_t top = a->top < c->n ? a->top : c->n;
    double *score = malloc((size_t)c->n * sizeof *score + 1);
    int64_t *best = malloc((size_t)top * sizeof *best + 1);
    cg_status s = score && best ? CG_OK : cg_error(CG_ENOMEM, "no memory to rank");
    if (s == CG_OK) {
        cg_match_cosines(query, c->row, c->n, width, score);
        cg_match_best(score, c->n, top, best);
        if (a->run.json)
            s = print_json(a, c, score, best, top);
        else
            for (int64_t k = 0; k < top; k++)
                printf("%3" PRId64 "  %7.4f  %s\n", k + 1, score[best[k]], c->name[best[k]]);
    }
    free(score);
    free(best);
    return s;
}

static cg_status search(arguments *a, cg_model *m, candidates *c) {
    float *query = NULL;
    if (a->folder) CG_TRY(cli_pictures("search", &a->folder, 1, &c->folder));
    CG_TRY(cli_model_load(a->checkpoint, &a->run, m));
    int64_t width = cg_runner_desc(m->runner)->embed_dim;
    if (a->index) CG_TRY(load_index(a, width, c));
    cg_status s = embed_query(a, m, &query);
    if (s == CG_OK && a->folder) s = embed_folder(a, m, c);
    if (s == CG_OK) s = print_results(a, c, query, width);
    free(query);
    return s;
}

int cli_search(int argc, char **argv) {
    arguments a = {.top = 10};
    cg_model m = {0};
    candidates c = {0};
    cli_parse(&parser, argc, argv, &a);
    cg_status s = search(&a, &m, &c);
    int code = s == CG_OK ? 0 : cli_fail("search", s);
    code = cli_profile_end("search", &a.run.profile, m.runner, a.run.json, code);
    candidates_free(&c);
    cg_model_free(&m);
    return code;
}
