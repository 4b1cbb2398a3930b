#include "cli/cli.h"
#include "cli/train_show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SETS = 16, LABEL_ROOM = 64 };

/* A set of pairs that the model is measured on: a column of the table. */
typedef struct test_set {
    const char *path; /* NULL: synthetic */
    char label[LABEL_ROOM];
    cg_retrieval model, pixels;
} test_set;

typedef struct eval_args {
    const char *checkpoint, *train_data, *name;
    cg_table_options table;
    int synthetic, pixels, n;
    test_set set[MAX_SETS];
    cli_run run;
} eval_args;

/* --- options -------------------------------------------------------------------------------- */

enum {
    CHECKPOINT = 500,
    VAL_DATA,
    DATASET_TYPE,
    IMAGE_KEY,
    CAPTION_KEY,
    SEPARATOR,
    BASELINE,
    TRAIN_DATA,
    NAME
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What is measured:", 1},
    {"checkpoint", CHECKPOINT, "PATH", 0,
     "a run (its newest checkpoint), a checkpoint, or an open_clip folder", 1},
    {"val-data", VAL_DATA, "[LABEL=]TABLE", 0,
     "table of pictures and captions; given several times, each is a column", 1},
    {"dataset-type", DATASET_TYPE, "csv|synthetic", 0,
     "csv (the default), or synthetic: scenes that training never draws", 1},
    {"csv-img-key", IMAGE_KEY, "NAME", 0, "column of the pictures' paths (filepath)", 1},
    {"csv-caption-key", CAPTION_KEY, "NAME", 0, "column of the captions (title)", 1},
    {"csv-separator", SEPARATOR, "C", 0,
     "a character, tab or comma (what the header line has: a tab, else a comma)", 1},
    {"name", NAME, "LABEL", 0, "what to call the model in the output", 1},
    {NULL, 0, NULL, 0, "What it is held against:", 2},
    {"baseline", BASELINE, "pixels", 0,
     "the captions of the training pictures with the most similar 16 x 16 pixels", 2},
    {"train-data", TRAIN_DATA, "TABLE", 0, "table of the training pictures, for --baseline", 2},
    {0},
};

static void base_label(const char *path, char label[LABEL_ROOM]) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    int n = dot && dot > name ? (int)(dot - name) : (int)strlen(name);
    snprintf(label, LABEL_ROOM, "%.*s", n < 40 ? n : 40, name);
}

/* LABEL=PATH, or a path, which may have an equals sign too. */
static void add_set(const struct argp_state *state, eval_args *a, const char *text) {
    if (a->n == MAX_SETS) argp_error(state, "--val-data: at most %d tables", MAX_SETS);
    test_set *s = &a->set[a->n++];
    size_t n = strcspn(text, "=/");
    if (text[n] == '=' && n > 0 && n < 40 && access(text, F_OK) != 0) {
        snprintf(s->label, sizeof s->label, "%.*s", (int)n, text);
        s->path = text + n + 1;
    } else {
        base_label(text, s->label);
        s->path = text;
    }
}

static void check(const struct argp_state *state, eval_args *a) {
    if (!a->checkpoint) argp_error(state, "which model? Give --checkpoint PATH");
    if (a->synthetic && a->n)
        argp_error(state, "--val-data and --dataset-type synthetic exclude each other");
    if (!a->synthetic && !a->n)
        argp_error(state, "no data: give --val-data TABLE, or --dataset-type synthetic");
    if (a->pixels && !a->train_data)
        argp_error(state, "--baseline pixels compares with training pictures: give --train-data");
    if (!a->pixels && a->train_data)
        argp_error(state, "--train-data is for --baseline pixels; the table to measure on is "
                          "--val-data");
    if (a->pixels && a->synthetic)
        argp_error(state, "--baseline pixels is for tables: no training picture has the caption "
                          "of a held-out scene");
    if (a->synthetic) {
        a->n = 1;
        snprintf(a->set[0].label, LABEL_ROOM, "held out");
    }
}

static error_t parse(int key, char *text, struct argp_state *state) {
    eval_args *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->run;
        return 0;
    case CHECKPOINT:
        a->checkpoint = text;
        return 0;
    case VAL_DATA:
        add_set(state, a, text);
        return 0;
    case DATASET_TYPE:
        a->synthetic = strcmp(text, "synthetic") == 0;
        if (!a->synthetic && strcmp(text, "csv") != 0)
            argp_error(state, "--dataset-type: found \"%s\", wanted csv or synthetic", text);
        return 0;
    case IMAGE_KEY:
        a->table.image_column = text;
        return 0;
    case CAPTION_KEY:
        a->table.caption_column = text;
        return 0;
    case SEPARATOR:
        a->table.separator = cli_separator(state, "csv-separator", text);
        return 0;
    case BASELINE:
        if (strcmp(text, "pixels") != 0)
            argp_error(state, "--baseline: found \"%s\", wanted pixels", text);
        a->pixels = 1;
        return 0;
    case TRAIN_DATA:
        a->train_data = text;
        return 0;
    case NAME:
        a->name = text;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state,
                   "\"%s\" is no option; the model is given by --checkpoint, the data by "
                   "--val-data",
                   text);
        return 0;
    case ARGP_KEY_END:
        check(state, a);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char doc[] =
    "Measures retrieval: how often the right caption of a picture, and a right "
    "picture of a caption, is among the first 1, 5 and 10.\v"
    "The candidates of a picture are the distinct captions of the table; ties count against the "
    "model. Chance is k divided by the number of captions.\n"
    "\n"
    "Examples:\n"
    "  clipgraph eval --checkpoint logs/NAME --val-data test.csv\n"
    "  clipgraph eval --checkpoint logs/NAME --val-data easy=a.csv \\\n"
    "      --val-data hard=b.csv --baseline pixels --train-data c.csv\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 wrong usage.";

/* --- measuring ------------------------------------------------------------------------------ */

static cg_status measure(const eval_args *a, const cli_model *m, const cg_dataset *train,
                         test_set *set) {
    cg_dataset *d;
    cg_loader_report report = {0};
    cg_evaluate_options o = cli_evaluate_options(m, &a->run);
    if (set->path)
        CG_TRY(cli_table(set->path, a->table, &d));
    else
        CG_TRY(cli_held_out(m->preprocess.size, &d));
    cg_status s = cg_evaluate_retrieval(m->runner, d, &o, &set->model, &report);
    if (s == CG_OK) cli_report_left_out("eval", d->size, &report);
    if (s == CG_OK && train) s = cg_evaluate_pixels(train, d, o.workers, &set->pixels);
    cg_dataset_free(d);
    return s == CG_OK || !set->path ? s : cg_error_in(s, "%s", set->path);
}

static cg_status measure_all(eval_args *a, cli_model *m) {
    cg_dataset *train = NULL;
    CG_TRY(cli_model_load(a->checkpoint, &a->run, m));
    if (a->pixels) CG_TRY(cli_table(a->train_data, a->table, &train));
    cg_status s = CG_OK;
    for (int i = 0; i < a->n && s == CG_OK; i++) s = measure(a, m, train, &a->set[i]);
    cg_dataset_free(train);
    return s;
}

/* --- printing ------------------------------------------------------------------------------- */

static const cg_recall *image_to_text(const test_set *s) {
    return &s->model.image_to_text;
}

static const cg_recall *text_to_image(const test_set *s) {
    return &s->model.text_to_image;
}

static const cg_recall *chance(const test_set *s) {
    return &s->model.chance;
}

static const cg_recall *pixels(const test_set *s) {
    return &s->pixels.image_to_text;
}

static int width_of(const test_set *s) {
    int n = (int)strlen(s->label);
    return 2 + (n > 7 ? n : 7);
}

static void print_recall(const eval_args *a, const char *name,
                         const cg_recall *(*get)(const test_set *)) {
    static const char *const at[] = {"R@1", "R@5", "R@10"};
    for (int k = 0; k < 3; k++) {
        printf("%-16s %-5s", k ? "" : name, at[k]);
        for (int i = 0; i < a->n; i++) {
            const cg_recall *r = get(&a->set[i]);
            printf("%*.1f", width_of(&a->set[i]),
                   100 * (k == 0   ? r->at1
                          : k == 1 ? r->at5
                                   : r->at10));
        }
        printf("\n");
    }
}

static void print_table(const eval_args *a, const cli_model *m) {
    printf("%s%s%s%s\n\n%-22s", a->name ? a->name : "", a->name ? " (" : "", m->folder,
           a->name ? ")" : "", "%");
    for (int i = 0; i < a->n; i++) printf("%*s", width_of(&a->set[i]), a->set[i].label);
    printf("\n");
    print_recall(a, "picture to text", image_to_text);
    if (a->pixels) print_recall(a, "  nearest pixels", pixels);
    print_recall(a, "  chance", chance);
    print_recall(a, "text to picture", text_to_image);
    printf("\n%-22s", "pictures");
    for (int i = 0; i < a->n; i++)
        printf("%*" PRId64, width_of(&a->set[i]), a->set[i].model.images);
    printf("\n%-22s", "distinct captions");
    for (int i = 0; i < a->n; i++)
        printf("%*" PRId64, width_of(&a->set[i]), a->set[i].model.captions);
    printf("\n");
}

static void print_json(const eval_args *a, const cli_model *m) {
    json_t *sets = json_array();
    for (int i = 0; i < a->n; i++) {
        const test_set *s = &a->set[i];
        const cg_recall *p = pixels(s);
        json_t *j = cli_retrieval_json(&s->model);
        json_object_set_new(j, "label", json_string(s->label));
        json_object_set_new(j, "data", json_string(s->path ? s->path : "synthetic"));
        if (a->pixels)
            json_object_set_new(
                j, "nearest_pixels",
                json_pack("{s:f, s:f, s:f}", "R@1", p->at1, "R@5", p->at5, "R@10", p->at10));
        json_array_append_new(sets, j);
    }
    cli_show_json(
        json_pack("{s:s?, s:s, s:o}", "name", a->name, "checkpoint", m->folder, "sets", sets));
}

int cli_eval(int argc, char **argv) {
    static const struct argp_child children[] = {{&cli_run_argp, 0, "Running:", 3}, {0}};
    static const struct argp argp = {options, parse, NULL, doc, children, NULL, NULL};
    eval_args a = {0};
    cli_model m = {0};
    cli_parse(&argp, argc, argv, &a);
    cg_status s = measure_all(&a, &m);
    int code = s == CG_OK ? 0 : cli_fail("eval", s);
    if (code == 0) (a.run.json ? print_json : print_table)(&a, &m);
    cli_model_free(&m);
    return code;
}
