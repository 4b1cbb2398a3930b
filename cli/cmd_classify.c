/* clipgraph classify: which of these labels fits each picture best. */
#include "cli/inputs.h"
#include "train/match.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_CHECKPOINT = 1, KEY_LABELS, KEY_FILE, KEY_TOP };

typedef struct arguments {
    cli_run run;
    const char *checkpoint, *labels, *labels_file;
    cli_templates templates;
    int64_t top;
    char **path; /* in argv */
    int n_paths;
} arguments;

static const struct argp_option options[] = {
    {"checkpoint", KEY_CHECKPOINT, "FOLDER", 0, "the model: a run, a checkpoint, or a hub folder",
     0},
    {"labels", KEY_LABELS, "A,B,C", 0, CLI_LABELS_DOC, 0},
    {"labels-file", KEY_FILE, "FILE", 0, CLI_LABELS_FILE_DOC, 0},
    {"top", KEY_TOP, "K", 0, "labels to print for a picture (default 5)", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->run;
        state->child_inputs[1] = &a->templates;
        return 0;
    case KEY_CHECKPOINT:
        a->checkpoint = text;
        return 0;
    case KEY_LABELS:
        a->labels = text;
        return 0;
    case KEY_FILE:
        a->labels_file = text;
        return 0;
    case KEY_TOP:
        a->top = cli_int(state, "top", text, 1, 1 << 20);
        return 0;
    case ARGP_KEY_ARGS:
        a->path = state->argv + state->next;
        a->n_paths = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!a->checkpoint) argp_error(state, "no model: give --checkpoint FOLDER");
        if (!a->labels == !a->labels_file)
            argp_error(state, "give either --labels or --labels-file");
        if (!a->n_paths) argp_error(state, "no picture: name pictures or folders");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&cli_run_argp, 0, "Running:", 1}, {&cli_templates_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
    options,
    parse,
    "PICTURE|FOLDER...",
    "Ranks labels for pictures, without training on those labels: the probability of a label is "
    "the softmax of temperature times cosine between the picture's and the label's embedding."
    "\vExample:\n"
    "  clipgraph classify --checkpoint logs/first --labels \"cat,dog\" \\\n"
    "      --template \"a photo of a {}.\" --template \"a drawing of a {}.\" photos/",
    children,
    NULL,
    NULL};

enum { BAR = 24 };

static int print_text(const char *path, const cli_lines *labels, const double *p,
                      const int64_t *best, int64_t n) {
    printf("%s\n", path);
    for (int64_t k = 0; k < n; k++) {
        char bar[BAR + 1];
        int filled = (int)(p[best[k]] * BAR + .5);
        memset(bar, ' ', BAR);
        memset(bar, '#', (size_t)filled);
        bar[BAR] = '\0';
        printf("  %5.1f %%  %s  %s\n", 100 * p[best[k]], bar, labels->line[best[k]]);
    }
    return 1;
}

/* 0: the line cannot be JSON; jansson takes UTF-8 only, names of files may be anything. */
static int print_json(const char *path, const cli_lines *labels, const double *p,
                      const int64_t *best, int64_t n) {
    json_t *list = json_array();
    for (int64_t k = 0; k < n; k++)
        json_array_append_new(list, json_pack("{s:s, s:f}", "label", labels->line[best[k]],
                                              "probability", p[best[k]]));
    json_t *line = json_pack("{s:s, s:o}", "picture", path, "labels", list);
    int whole = line && json_array_size(list) == (size_t)n;
    char *text = whole ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text)
        puts(text);
    else
        fprintf(stderr, "clipgraph classify: %s: its name or a label is not UTF-8\n", path);
    free(text);
    json_decref(line);
    return text != NULL;
}

static cg_status print_all(const arguments *a, const cg_model *m, const cg_dataset *d,
                           const cg_embeddings *e, const cli_lines *labels, const float *label) {
    int64_t top = a->top < labels->n ? a->top : labels->n;
    double *p = malloc((size_t)labels->n * sizeof *p);
    int64_t *best = malloc((size_t)top * sizeof *best);
    cg_status s = p && best ? CG_OK : cg_error(CG_ENOMEM, "no memory to rank labels");
    int64_t failed = 0;
    for (int64_t i = 0; i < e->n && s == CG_OK; i++) {
        const char *path = d->path[e->index[i]];
        cg_match_probabilities(e->row + i * e->width, label, labels->n, e->width,
                               cg_runner_temperature(m->runner), p);
        cg_match_best(p, labels->n, top, best);
        if (!a->run.json && i) putchar('\n');
        failed += !(a->run.json ? print_json : print_text)(path, labels, p, best, top);
    }
    if (failed)
        s = cg_error(CG_EFORMAT, "%" PRId64 " of %" PRId64 " pictures could not be printed as JSON",
                     failed, e->n);
    free(p);
    free(best);
    return s;
}

static cg_status classify(const arguments *a, cg_model *m, const cg_dataset *d,
                          const cli_lines *labels) {
    cg_embeddings e = {0};
    float *label = NULL;
    int64_t cut = 0;
    cg_status s = cg_match_labels(m->runner, m->tokenizer, (const char *const *)labels->line,
                                  labels->n, &a->templates.all, &label, &cut);
    if (s == CG_OK && cut)
        fprintf(stderr,
                "clipgraph classify: %" PRId64 " of %" PRId64 " texts cut to the model's %" PRId64
                " tokens\n",
                cut, labels->n * (a->templates.all.n ? a->templates.all.n : 1),
                cg_runner_desc(m->runner)->text.context_length);
    if (s == CG_OK) s = cli_embed_pictures("classify", m, &a->run, d, &e);
    if (s == CG_OK) s = print_all(a, m, d, &e, labels, label);
    cg_embeddings_free(&e);
    free(label);
    return s;
}

int cli_classify(int argc, char **argv) {
    arguments a = {.top = 5};
    cli_lines labels = {0};
    cg_model m = {0};
    cg_dataset *d = NULL;
    cli_parse(&parser, argc, argv, &a);
    cg_status s = cli_labels_read(a.labels, a.labels_file, &labels);
    if (s == CG_OK) s = cli_templates_read(&a.templates);
    if (s == CG_OK) s = cli_pictures("classify", a.path, a.n_paths, &d);
    if (s == CG_OK) s = cli_model_load(a.checkpoint, &a.run, 1, &m);
    if (s == CG_OK) s = classify(&a, &m, d, &labels);
    int code = s == CG_OK ? 0 : cli_fail("classify", s);
    code = cli_profile_end("classify", &a.run.profile, m.runner, a.run.json, code);
    cg_dataset_free(d);
    cg_model_free(&m);
    cli_templates_free(&a.templates);
    cli_lines_free(&labels);
    return code;
}
