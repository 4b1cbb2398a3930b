/* clipgraph check-grad: are a model's gradients right? */
#include "cli/cli.h"
#include "train/check.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEY_BATCH = 1, KEY_SEED, KEY_TOLERANCE, KEY_STEP, KEY_FLOOR };

typedef struct arguments {
    const char *model;
    cli_run run; /* threads, json */
    cg_check_options check;
} arguments;

static const struct argp_option options[] = {
    {"batch-size", KEY_BATCH, "N", 0, "pairs (default 4)", 0},
    {"seed", KEY_SEED, "N", 0, "of parameters, pictures, captions and directions (default 0)", 0},
    {"tolerance", KEY_TOLERANCE, "X", 0, "largest relative error (default 0.02)", 0},
    {"step", KEY_STEP, "X", 0, "of the difference, relative to a parameter's length", 0},
    {"floor", KEY_FLOOR, "X", 0, "smaller derivatives count as this one", 0},
    {"threads", CLI_KEY_THREADS, "N", 0, "threads (default: one per processor)", 0},
    {"json", CLI_KEY_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_BATCH:
        a->check.batch = cli_int(state, "batch-size", text, 2, 1 << 16);
        return 0;
    case KEY_SEED:
        a->check.seed = (uint64_t)cli_int(state, "seed", text, 0, INT64_MAX);
        return 0;
    case KEY_TOLERANCE:
        a->check.tolerance = cli_float(state, "tolerance", text, 1e-9, 1);
        return 0;
    case KEY_STEP:
        a->check.step = cli_float(state, "step", text, 1e-9, 1);
        return 0;
    case KEY_FLOOR:
        a->check.floor = cli_float(state, "floor", text, 1e-12, 1e6);
        return 0;
    case ARGP_KEY_ARG:
        if (a->model) argp_error(state, "one argument too many: \"%s\"", text);
        a->model = text;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which model? give a name or a JSON file");
        return 0;
    default:
        return cli_run_option(key, text, state, &a->run);
    }
}

static const struct argp parser = {
    options,
    parse,
    "MODEL",
    "Compares the gradient of a model's loss, parameter by parameter, with finite differences of "
    "that loss along a direction, on random parameters, pictures and captions. Exit code 1 where "
    "one differs by more than the tolerance."
    "\vMODEL is the name of a description (tiny-resnet-cbow) or a JSON file. Large models take a "
    "while: four losses for each parameter.",
    NULL,
    NULL,
    NULL};

static void show_progress(void *user, int64_t done, int64_t total) {
    (void)user;
    fprintf(stderr, "\r%3d %%", (int)(100 * done / total));
    if (done == total) fprintf(stderr, "\r      \r");
}

static void print_text(const arguments *a, const cg_check_result *r) {
    int width = 9;
    for (int i = 0; i < r->n; i++) {
        int n = (int)strlen(r->row[i].param->name);
        if (n > width) width = n;
    }
    printf("%-*s  %13s  %13s  %8s\n", width, "parameter", "computed", "measured", "error");
    for (int i = 0; i < r->n; i++) {
        const cg_gradcheck_row *row = &r->row[i];
        printf("%-*s  %13.6g  %13.6g  %8.1e  %s\n", width, row->param->name, row->computed,
               row->measured, row->error, row->ok ? "ok" : "WRONG");
    }
    printf("\n%d of %d gradients agree within %g", r->n - r->failed, r->n, a->check.tolerance);
    printf(" (loss %.4f, seed %" PRIu64 ")\n", r->loss, a->check.seed);
}

static cg_status print_json(const arguments *a, const cg_check_result *r) {
    json_t *list = json_array();
    for (int i = 0; i < r->n; i++) {
        const cg_gradcheck_row *row = &r->row[i];
        json_array_append_new(list, json_pack("{s:s, s:f, s:f, s:f, s:b}", "name", row->param->name,
                                              "computed", row->computed, "measured", row->measured,
                                              "error", row->error, "ok", row->ok));
    }
    json_t *all =
        json_pack("{s:s, s:f, s:f, s:i, s:i, s:o}", "model", a->model, "loss", r->loss, "tolerance",
                  a->check.tolerance, "checked", r->n, "failed", r->failed, "parameters", list);
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(all);
    return text ? CG_OK : cg_error(CG_EFORMAT, "%s: the name is not UTF-8", a->model);
}

static cg_status run(const arguments *a, int *failed) {
    char *path = NULL;
    cg_clip_desc desc;
    cg_context *ctx = NULL;
    cg_runner *runner = NULL;
    cg_check_result r = {0};
    cg_status s = cli_config_find(a->model, &path);
    if (s == CG_OK) s = cg_clip_desc_load(path, &desc);
    if (s == CG_OK) s = cg_context_create(a->run.threads, &ctx);
    if (s == CG_OK) s = cg_runner_create(ctx, &desc, &runner);
    if (s == CG_OK) s = cg_check_model(runner, &a->check, &r);
    if (s == CG_OK && a->run.json) s = print_json(a, &r);
    if (s == CG_OK && !a->run.json) print_text(a, &r);
    *failed = r.failed;
    free(r.row);
    cg_runner_free(runner);
    cg_context_free(ctx);
    free(path);
    return s;
}

int cli_check_grad(int argc, char **argv) {
    arguments a = {.check = cg_check_options_default()};
    int failed = 0;
    cli_parse(&parser, argc, argv, &a);
    if (isatty(STDERR_FILENO)) a.check.progress = show_progress;
    cg_status s = run(&a, &failed);
    if (s != CG_OK) return cli_fail("check-grad", s);
    return failed ? 1 : 0;
}
