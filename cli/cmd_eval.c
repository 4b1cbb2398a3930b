#include "cli/data.h"
#include "cli/inputs.h"
#include "cli/train_show.h"
#include "graph/clock.h"
#include "train/zero_shot.h"

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
    cg_dataset *data;
    cg_retrieval model, pixels;
    cg_zero_shot zero_shot; /* images 0: the data has no classes */
} test_set;

typedef struct eval_args {
    const char *checkpoint, *train_data, *name;
    cli_data data;
    cli_templates templates;
    int pixels, n;
    test_set set[MAX_SETS];
    cli_run run;
} eval_args;

/* --- options -------------------------------------------------------------------------------- */

enum { CHECKPOINT = 500, VAL_DATA, BASELINE, TRAIN_DATA, NAME };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What is measured:", 1},
    {"checkpoint", CHECKPOINT, "PATH", 0,
     "a run (its newest checkpoint), a checkpoint, or an open_clip folder", 1},
    {"val-data", VAL_DATA, "[LABEL=]DATA", 0,
     "a table of pictures and captions, a folder with a folder of pictures for each class, or IDX "
     "pictures (MNIST and its like); given several times, each is a column",
     1},
    {"name", NAME, "LABEL", 0, "what to call the model in the output", 1},
    {NULL, 0, NULL, 0, "What it is held against:", 3},
    {"baseline", BASELINE, "pixels", 0,
     "the captions of the training pictures with the most similar 16 x 16 pixels", 3},
    {"train-data", TRAIN_DATA, "DATA", 0, "the training pictures, for --baseline", 3},
    {0},
};

static void base_label(const char *path, char label[LABEL_ROOM]) {
    size_t end = strlen(path), from;
    while (end > 1 && path[end - 1] == '/') end--;
    for (from = end; from > 0 && path[from - 1] != '/';) from--;
    const char *name = path + from, *dot = strrchr(name, '.');
    int n = dot && dot > name ? (int)(dot - name) : (int)(end - from);
    snprintf(label, LABEL_ROOM, "%.*s", n < 40 ? n : 40, name);
}

/* LABEL=PATH, or a path, which may have an equals sign too. */
static void add_set(const struct argp_state *state, eval_args *a, const char *text) {
    if (a->n == MAX_SETS) argp_error(state, "--val-data: at most %d", MAX_SETS);
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
    if (a->data.type == CLI_DATA_SYNTHETIC && a->n)
        argp_error(state, "--val-data and --dataset-type synthetic exclude each other");
    if (a->data.type != CLI_DATA_SYNTHETIC && !a->n)
        argp_error(state, "no data: give --val-data DATA, or --dataset-type synthetic");
    if (a->pixels && !a->train_data)
        argp_error(state, "--baseline pixels compares with training pictures: give --train-data");
    if (!a->pixels && a->train_data)
        argp_error(state, "--train-data is for --baseline pixels; the data to measure on is "
                          "--val-data");
    if (a->pixels && a->data.type == CLI_DATA_SYNTHETIC)
        argp_error(state,
                   "--baseline pixels is not for drawn scenes: no training picture has the caption "
                   "of a held-out scene");
    if (a->data.type == CLI_DATA_SYNTHETIC) {
        a->n = 1;
        snprintf(a->set[0].label, LABEL_ROOM, "held out");
    }
}

static error_t parse(int key, char *text, struct argp_state *state) {
    eval_args *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->run;
        state->child_inputs[1] = &a->templates;
        state->child_inputs[2] = &a->data;
        return 0;
    case CHECKPOINT:
        a->checkpoint = text;
        return 0;
    case VAL_DATA:
        add_set(state, a, text);
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
    "picture of a caption, is among the first 1, 5 and 10. Where the data has classes, also "
    "zero-shot accuracy: how often the class whose name fits a picture best is its own.\v"
    "The candidates of a picture are the distinct captions of the data, or all classes; ties count "
    "against the model. Chance is k divided by the number of candidates.\n"
    "\n"
    "Examples:\n"
    "  clipgraph eval --checkpoint logs/NAME --val-data test.csv\n"
    "  clipgraph eval --checkpoint logs/NAME --val-data easy=a.csv \\\n"
    "      --val-data hard=b.csv --baseline pixels --train-data c.csv\n"
    "  clipgraph eval --checkpoint logs/NAME --val-data FOLDER-OF-CLASSES \\\n"
    "      --template 'a photo of a {}'\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 wrong usage.";

/* --- measuring ------------------------------------------------------------------------------ */

static void warn_no_class(const test_set *set) {
    const cg_zero_shot *z = &set->zero_shot;
    if (!z->no_class) return;
    fflush(stdout);
    fprintf(stderr,
            "clipgraph eval: warning: %s: zero-shot accuracy leaves out %" PRId64 " of %" PRId64
            " pictures, whose caption is no class; the first is \"%s\"\n",
            set->label, z->no_class, z->images + z->no_class, z->first);
}

/* The pictures are embedded once, for retrieval and for classes. */
static cg_status score(const eval_args *a, const cg_model *m, test_set *set) {
    const cg_dataset *d = set->data;
    cg_embeddings e;
    cg_loader_report report = {0};
    cg_embed_options o = cli_evaluate_options(m, &a->run);
    double begun = cg_now();
    o.need_caption = 1;
    o.templates = a->templates.all;
    CG_TRY(cg_embed_dataset(m->runner, d, &o, &e, &report));
    cg_status s = cg_score_retrieval(m->runner, d, &o, &e, &set->model);
    if (s == CG_OK && d->classes.n)
        s = cg_score_zero_shot(m->runner, d, &d->classes, &o, &e, &set->zero_shot);
    set->model.seconds = cg_now() - begun;
    cg_embeddings_free(&e);
    if (s != CG_OK) return s;
    report.truncated = set->model.truncated;
    cli_report_left_out("eval", d->size, &report);
    warn_no_class(set);
    return CG_OK;
}

static cg_status measure(const eval_args *a, const cg_model *m, const cg_dataset *train,
                         test_set *set) {
    cg_status s = score(a, m, set);
    int workers = cli_evaluate_options(m, &a->run).workers;
    if (s == CG_OK && train) s = cg_evaluate_pixels(train, set->data, workers, &set->pixels);
    return s == CG_OK || !set->path ? s : cg_error_in(s, "%s", set->path);
}

/* Everything is opened before anything is measured: the last path may be the wrong one. */
static cg_status open_all(eval_args *a, cg_model *m, cg_dataset **train) {
    CG_TRY(cli_model_load(a->checkpoint, &a->run, 1, m));
    if (a->pixels) CG_TRY(cli_data_open("eval", a->train_data, &a->data, train));
    for (int i = 0; i < a->n; i++)
        CG_TRY(a->set[i].path ? cli_data_open("eval", a->set[i].path, &a->data, &a->set[i].data)
                              : cli_held_out(m->preprocess.size, &a->set[i].data));
    return CG_OK;
}

static cg_status measure_all(eval_args *a, cg_model *m) {
    cg_dataset *train = NULL;
    cg_status s = open_all(a, m, &train);
    for (int i = 0; i < a->n && s == CG_OK; i++) s = measure(a, m, train, &a->set[i]);
    for (int i = 0; i < a->n; i++) cg_dataset_free(a->set[i].data);
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

static int has_classes(const test_set *s) {
    return s->zero_shot.images > 0;
}

static int more_than_five(const test_set *s) {
    return s->zero_shot.classes > 5;
}

static int count(const eval_args *a, int (*is)(const test_set *)) {
    int n = 0;
    for (int i = 0; i < a->n; i++) n += is(&a->set[i]);
    return n;
}

static void print_count(const test_set *s, int64_t n) {
    if (n)
        printf("%*" PRId64, width_of(s), n);
    else
        printf("%*s", width_of(s), "-");
}

static void print_zero_shot(const eval_args *a) {
    static const struct {
        const char *name, *at;
        size_t offset;
    } row[] = {{"zero-shot", "top-1", offsetof(cg_zero_shot, top1)},
               {"", "top-5", offsetof(cg_zero_shot, top5)},
               {"  per class", "top-1", offsetof(cg_zero_shot, per_class)},
               {"  chance", "top-1", offsetof(cg_zero_shot, chance)}};
    for (int k = 0; k < 4; k++) {
        int (*is)(const test_set *) = k == 1 ? more_than_five : has_classes;
        if (!count(a, is)) continue;
        printf("%-16s %-5s", row[k].name, row[k].at);
        for (int i = 0; i < a->n; i++) {
            const test_set *s = &a->set[i];
            if (is(s))
                printf("%*.1f", width_of(s),
                       100 * *(const double *)((const char *)&s->zero_shot + row[k].offset));
            else
                printf("%*s", width_of(s), "-");
        }
        printf("\n");
    }
}

static void print_table(const eval_args *a, const cg_model *m) {
    printf("%s%s%s%s\n\n%-22s", a->name ? a->name : "", a->name ? " (" : "", m->folder,
           a->name ? ")" : "", "%");
    for (int i = 0; i < a->n; i++) printf("%*s", width_of(&a->set[i]), a->set[i].label);
    printf("\n");
    if (count(a, has_classes)) print_zero_shot(a);
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
    if (count(a, has_classes)) printf("\n%-22s", "classes");
    for (int i = 0; count(a, has_classes) && i < a->n; i++)
        print_count(&a->set[i], a->set[i].zero_shot.classes);
    printf("\n");
}

static json_t *zero_shot_json(const eval_args *a, const cg_zero_shot *z) {
    return json_pack("{s:f, s:o, s:f, s:f, s:I, s:I, s:I, s:I, s:i}", "top1", z->top1, "top5",
                     z->classes > 5 ? json_real(z->top5) : json_null(), "per_class", z->per_class,
                     "chance", z->chance, "images", (json_int_t)z->images, "classes",
                     (json_int_t)z->classes, "classes_shown", (json_int_t)z->shown, "no_class",
                     (json_int_t)z->no_class, "templates", a->templates.all.n);
}

static void print_json(const eval_args *a, const cg_model *m) {
    json_t *sets = json_array();
    for (int i = 0; i < a->n; i++) {
        const test_set *s = &a->set[i];
        json_t *j = cli_retrieval_json(&s->model);
        json_object_set_new(j, "label", json_string(s->label));
        if (has_classes(s)) json_object_set_new(j, "zero_shot", zero_shot_json(a, &s->zero_shot));
        json_object_set_new(j, "data", json_string(s->path ? s->path : "synthetic"));
        if (a->pixels) json_object_set_new(j, "nearest_pixels", cli_recall_json(pixels(s)));
        json_array_append_new(sets, j);
    }
    cli_show_json(
        json_pack("{s:s?, s:s, s:o}", "name", a->name, "checkpoint", m->folder, "sets", sets));
}

int cli_eval(int argc, char **argv) {
    static const struct argp_child children[] = {
        {&cli_run_argp, 0, "Running:", 4},
        {&cli_templates_argp, 0, "The sentences around captions and class names:", 2},
        {&cli_data_argp, 0, NULL, 0},
        {0}};
    static const struct argp argp = {options, parse, NULL, doc, children, NULL, NULL};
    eval_args a = {0};
    cg_model m = {0};
    cli_parse(&argp, argc, argv, &a);
    cg_status s = cli_templates_read(&a.templates);
    if (s == CG_OK) s = measure_all(&a, &m);
    int code = s == CG_OK ? 0 : cli_fail("eval", s);
    if (code == 0) (a.run.json ? print_json : print_table)(&a, &m);
    code = cli_profile_end("eval", &a.run.profile, m.runner, a.run.json, code);
    cli_templates_free(&a.templates);
    cg_model_free(&m);
    return code;
}
