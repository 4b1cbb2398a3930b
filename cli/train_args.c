#include "cli/train_args.h"

#include "cli/data.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the table ------------------------------------------------------------------------------ */

typedef enum option_type {
    STRING,
    INT,
    FLOAT,
    PAIR,
    TRIPLE,
    FLAG,
    CHAR,
    CHOICE,
    PRECISION,
    PASSES,
    PROFILE
} option_type;

typedef struct train_option {
    const char *name; /* NULL: a heading */
    option_type type;
    size_t offset;
    double low, high;
    const char *arg, *doc;
    const char *const *choice;
    int passing; /* a resumed run does not need it again */
} train_option;

static const char *const interpolations[] = {"bicubic", "bilinear", NULL};
static const char *const resize_modes[] = {"shortest", "longest", "squash", NULL};

#define AT(field) offsetof(cli_train_args, field)
#define HEAD(text)                                                                                 \
    { NULL, STRING, 0, 0, 0, NULL, text, NULL, 0 }
#define TEXT(name, field, arg, doc)                                                                \
    { name, STRING, AT(field), 0, 0, arg, doc, NULL, 0 }
#define WHOLE(name, field, low, high, doc)                                                         \
    { name, INT, AT(field), low, high, "N", doc, NULL, 0 }
#define REAL(name, field, low, high, doc)                                                          \
    { name, FLOAT, AT(field), low, high, "X", doc, NULL, 0 }
#define MANY(name, type, field, low, high, arg, doc)                                               \
    { name, type, AT(field), low, high, arg, doc, NULL, 0 }
#define ONE_OF(name, field, list, arg, doc)                                                        \
    { name, CHOICE, AT(field), 0, 0, arg, doc, list, 0 }
#define PASSING(name, type, field, arg, doc)                                                       \
    { name, type, AT(field), 0, 0, arg, doc, NULL, 1 }

/* clang-format off */
static const train_option options[] = {
    HEAD("Data:"),
    TEXT("train-data", train_data, "DATA", "a table of pictures and captions (with a header line; "
         "relative paths in it are relative to it), a folder with a folder of pictures for each "
         "class, or IDX pictures (MNIST and its like)"),
    TEXT("val-data", val_data, "DATA", "data to evaluate on (synthetic data: held-out scenes)"),
    TEXT("dataset-type", dataset_type, CLI_DATA_TYPES, "what DATA is (auto: found out), or "
         "synthetic: scenes drawn on the fly, no files needed"),
    WHOLE("train-num-samples", num_samples, 1, 1e9, "synthetic: pairs in an epoch (10000)"),
    TEXT("csv-img-key", image_column, "NAME", "column of the pictures' paths (filepath)"),
    TEXT("csv-caption-key", caption_column, "NAME", "column of the captions (title)"),
    MANY("csv-separator", CHAR, separator, 0, 0, "C", "a character, tab or comma (what the header "
         "line has: a tab, else a comma)"),
    TEXT("classes", classes, "FILE", "the names of the classes, one per line; for a folder also "
         "FOLDER<tab>NAME (the folders' names, underscores read as spaces; IDX: numbers)"),
    TEXT("templates", templates, "FILE", "sentences with {} for the caption, one per line: each "
         "pair is trained with one drawn anew in each epoch (the caption alone); validation takes "
         "the first"),
    {"allow-repeated-captions", FLAG, AT(allow_repeated), 0, 0, NULL, "let a batch hold a caption "
     "twice; otherwise repeats are dealt to other batches, since they would be told apart as if "
     "they differed. Data with classes always may", NULL, 0},
    WHOLE("cache-mb", cache_mb, 0, 1e7, "keep decoded pictures up to N MB (512)"),

    HEAD("Model:"),
    TEXT("model", model, "NAME|FILE", "description: a name such as ViT-B-32 or tiny-resnet-cbow, or "
         "a JSON file (RN50, with its text Transformer)"),
    WHOLE("vocab-size", vocab_size, 514, 1 << 20, "symbols learned from the captions (the "
          "description's); fewer where the captions do not hold as many"),
    WHOLE("context-length", context_length, 3, 1 << 20, "tokens read of a caption (the "
          "description's)"),
    {"siglip", FLAG, AT(siglip), 0, 0, NULL, "the sigmoid loss: each pair judged by itself, a "
     "temperature that starts at 10 and a bias at -10 (those of the description where it has them)",
     NULL, 0},
    {"force-quick-gelu", FLAG, AT(quick_gelu), 0, 0, NULL, "QuickGELU, the activation of OpenAI's "
     "weights, in towers that name none", NULL, 0},
    REAL("force-patch-dropout", patch_dropout, 0, 0.984375, "share of a ViT's patches left out in a "
         "step (the description's)"),

    HEAD("Optimization:"),
    WHOLE("batch-size", batch_size, 1, 1 << 20, "pairs contrasted with one another (64)"),
    WHOLE("epochs", epochs, 1, 1e9, "times through the data (32)"),
    REAL("lr", lr, 0, 1e38, "highest learning rate (5e-4); it falls to 0 in a half cosine"),
    WHOLE("warmup", warmup, 0, 1e12, "steps in which it rises (a tenth of all, at most 10000)"),
    REAL("wd", wd, 0, 1e6, "weight decay (0.2)"),
    REAL("beta1", beta1, 0, 0.999999, "AdamW (0.9)"),
    REAL("beta2", beta2, 0, 0.9999999, "AdamW (0.98 for a ViT, else 0.999)"),
    REAL("eps", eps, 1e-30, 1, "AdamW (1e-6 for a ViT, else 1e-8)"),
    REAL("grad-clip-norm", grad_clip_norm, 0, 1e30, "scale gradients down to this length (0: never)"),
    WHOLE("seed", seed, 0, 9e15, "of the start, the order, augmentation and scenes (0)"),
    MANY("precision", PRECISION, precision, 0, 0, "fp32|bf16", CLI_PRECISION_DOC),
    MANY("passes", PASSES, passes, 0, 0, "LIST", CLI_PASSES_DOC),

    HEAD("Pictures:"),
    MANY("aug-scale", PAIR, aug_scale, 0, 100, "MIN,MAX", "area of the random crop over the "
         "picture's (0.9,1); above 1 zooms out; 0,0: no crop"),
    REAL("aug-ratio", aug_ratio, 0, 100, "its aspect is between 1/X and X (1.3333); 0: kept"),
    REAL("aug-shift", aug_shift, 0, 10, "its centre moves by up to X of its side (0)"),
    REAL("aug-rotation", aug_rotation, 0, 180, "degrees, either way (0)"),
    REAL("aug-gain", aug_gain, 0, 1, "each colour channel times 1 +- X (0)"),
    REAL("aug-saturation", aug_saturation, 0, 1, "saturation times 1 +- X (0)"),
    REAL("aug-flip", aug_flip, 0, 1, "probability of a mirror image (0)"),
    MANY("image-mean", TRIPLE, image_mean, -1000, 1000, "R,G,B", "subtracted (CLIP's)"),
    MANY("image-std", TRIPLE, image_std, 1e-6, 1000, "R,G,B", "divided by (CLIP's)"),
    ONE_OF("interpolation", interpolation, interpolations, "NAME", "bicubic or bilinear (bicubic)"),
    ONE_OF("image-resize-mode", resize_mode, resize_modes, "NAME", "shortest, longest or squash "
           "(shortest: then the centre is cut out)"),

    HEAD("The run:"),
    PASSING("logs", STRING, logs, "DIR", "folder of all runs (logs)"),
    PASSING("name", STRING, name, "NAME", "of this run (date, time and model)"),
    PASSING("resume", STRING, resume, "PATH|latest", "go on from a run's newest checkpoint, or from "
            "the one given; options not given are those of that run. latest: of --name"),
    WHOLE("save-frequency", save_frequency, 0, 1e9, "epochs between checkpoints (1); 0: one at "
          "the end"),
    WHOLE("keep", keep, 0, 1e9, "newest checkpoints kept (3); 0: all"),
    WHOLE("val-frequency", val_frequency, 0, 1e9, "epochs between evaluations (1); 0: only at the "
          "end"),
    WHOLE("log-every-n-steps", log_every, 1, 1e9, "steps between lines of metrics.jsonl (100)"),

    HEAD("Running:"),
    WHOLE("threads", threads, 1, 1024, "of the model (one for each processor)"),
    WHOLE("workers", workers, 1, 4096, "threads that read pictures (as many); the result does not "
          "depend on it"),
    PASSING("json", FLAG, json, NULL, "print one JSON object per line"),
    PASSING("quiet", FLAG, quiet, NULL, "print only warnings and the summary"),
    PASSING("profile", PROFILE, profile, "FILE", CLI_PROFILE_DOC),
};
/* clang-format on */

enum { N_OPTIONS = sizeof options / sizeof *options, FIRST_KEY = 1000 };
_Static_assert((int)N_OPTIONS <= (int)CLI_TRAIN_OPTIONS, "given[] has a place for each option");

static void set_defaults(cli_train_args *a) {
    cg_preprocess p = cg_preprocess_default();
    *a = (cli_train_args){.model = "RN50",
                          .dataset_type = "auto",
                          .num_samples = 10000,
                          .batch_size = 64,
                          .epochs = 32,
                          .warmup = -1,
                          .lr = 5e-4,
                          .wd = 0.2,
                          .beta1 = 0.9,
                          .beta2 = -1,
                          .eps = -1,
                          .patch_dropout = -1,
                          .logs = "logs",
                          .save_frequency = 1,
                          .keep = 3,
                          .val_frequency = 1,
                          .log_every = 100,
                          .aug_scale = {0.9, 1},
                          .aug_ratio = 4.0 / 3,
                          .cache_mb = 512};
    for (int i = 0; i < 3; i++) {
        a->image_mean[i] = (double)p.mean[i];
        a->image_std[i] = (double)p.std[i];
    }
}

/* --- reading -------------------------------------------------------------------------------- */

static void read_numbers(const struct argp_state *state, const train_option *o, const char *text,
                         double *out, int n) {
    const char *at = text;
    for (int i = 0; i < n; i++) {
        char *end;
        out[i] = strtod(at, &end);
        if (end == at || *end != (i + 1 < n ? ',' : '\0') || !(out[i] >= o->low) ||
            !(out[i] <= o->high))
            argp_error(state, "--%s: found \"%s\", wanted %s: numbers from %g to %g", o->name, text,
                       o->arg, o->low, o->high);
        at = end + 1;
    }
}

static int read_choice(const struct argp_state *state, const train_option *o, const char *text) {
    for (int i = 0; o->choice[i]; i++)
        if (strcmp(text, o->choice[i]) == 0) return i;
    char list[128] = "";
    for (int i = 0; o->choice[i]; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? " or " : "", o->choice[i]);
    }
    argp_error(state, "--%s: found \"%s\", wanted %s", o->name, text, list);
    return 0;
}

static void read_option(const struct argp_state *state, const train_option *o, char *text,
                        cli_train_args *a) {
    void *at = (char *)a + o->offset;
    switch (o->type) {
    case STRING:
        *(const char **)at = text;
        break;
    case INT:
        *(int64_t *)at = cli_int(state, o->name, text, (int64_t)o->low, (int64_t)o->high);
        break;
    case FLOAT:
        *(double *)at = cli_float(state, o->name, text, o->low, o->high);
        break;
    case PAIR:
        read_numbers(state, o, text, at, 2);
        break;
    case TRIPLE:
        read_numbers(state, o, text, at, 3);
        break;
    case FLAG:
        *(int *)at = 1;
        break;
    case CHAR:
        *(int *)at = (unsigned char)cli_separator(state, o->name, text);
        break;
    case CHOICE:
        *(int *)at = read_choice(state, o, text);
        break;
    case PRECISION:
        a->precision = cli_precision(state, text);
        break;
    case PASSES:
        a->passes = text;
        a->off = cli_passes(state, text);
        break;
    case PROFILE:
        *(cli_profile *)at = cli_profile_option(state, text);
        break;
    }
    if (o->passing) return;
    json_t *argument =
        text ? json_sprintf("--%s=%s", o->name, text) : json_sprintf("--%s", o->name);
    if (!argument) /* a resumed run would miss it */
        argp_error(state, "--%s: \"%s\" is not UTF-8, which config.json wants", o->name, text);
    json_array_append_new(a->arguments, argument);
}

static error_t parse(int key, char *text, struct argp_state *state) {
    cli_train_args *a = state->input;
    if (key >= FIRST_KEY && key < FIRST_KEY + N_OPTIONS) {
        a->given[key - FIRST_KEY] = 1;
        read_option(state, &options[key - FIRST_KEY], text, a);
        return 0;
    }
    if (key == ARGP_KEY_ARG)
        argp_error(state, "\"%s\" is no option; data is given by --train-data", text);
    return ARGP_ERR_UNKNOWN;
}

static const char before[] =
    "Trains a CLIP model.\v"
    "Defaults are in brackets; names and defaults are open_clip's where it has them. In "
    "LOGS/NAME/ stand config.json (what the run was told), metrics.jsonl, and "
    "checkpoints/step-N/, which open_clip's and clipgraph's other commands read.\n"
    "\n"
    "The tokenizer is learned from the captions and kept with the model. The same command gives "
    "the same bits, with any number of --workers; so does a run that was stopped and resumed.\n"
    "\n"
    "Ctrl-C finishes the step, saves a checkpoint and says how to go on; a second one stops at "
    "once.\n"
    "\n"
    "Examples:\n"
    "  clipgraph train --dataset-type synthetic --model tiny-resnet-cbow --epochs 4\n"
    "  clipgraph train --train-data a.csv --val-data b.csv --model RN50-CBOW\n"
    "  clipgraph train --train-data FOLDER-OF-CLASSES --templates a.txt --model RN50-CBOW\n"
    "  clipgraph train --resume logs/NAME\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 130 stopped by Ctrl-C, 143 by SIGTERM, both with "
    "a checkpoint.";

void cli_train_args_parse(int argc, char **argv, struct json_t *stored, cli_train_args *out) {
    struct argp_option table[N_OPTIONS + 1] = {0};
    const struct argp argp = {.options = table, .parser = parse, .doc = before};
    int group = 0, n = (int)json_array_size(stored);
    for (int i = 0; i < N_OPTIONS; i++) {
        group += !options[i].name;
        table[i] = (struct argp_option){
            options[i].name, options[i].name ? FIRST_KEY + i : 0,
            options[i].arg,  options[i].type == PROFILE ? OPTION_ARG_OPTIONAL : 0,
            options[i].doc,  group};
    }
    set_defaults(out);
    out->stored = stored;
    out->arguments = json_array();
    char **all = calloc((size_t)(argc + n) + 1, sizeof *all);
    if (!all || !out->arguments) {
        fprintf(stderr, "%s: no memory\n", argv[0]);
        exit(1);
    }
    all[0] = argv[0];
    for (int i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(stored, (size_t)i));
        all[1 + i] = (char *)(uintptr_t)(text ? text : "");
    }
    memcpy(all + 1 + n, argv + 1, (size_t)(argc - 1) * sizeof *all);
    cli_parse(&argp, argc + n, all, out);
    free(all);
}

void cli_train_args_free(cli_train_args *a) {
    json_decref(a->arguments);
    json_decref(a->stored);
    a->arguments = a->stored = NULL;
}

int cli_train_args_given(const cli_train_args *a, const char *name) {
    for (int i = 0; i < N_OPTIONS; i++)
        if (options[i].name && strcmp(options[i].name, name) == 0) return a->given[i];
    return 0;
}

/* --- checking ------------------------------------------------------------------------------- */

const char *cli_train_args_clash(const cli_train_args *a) {
    int synthetic = strcmp(a->dataset_type, "synthetic") == 0;
    int columns = a->image_column || a->caption_column || a->separator;
    if (cli_data_type_named(a->dataset_type) < 0)
        return "--dataset-type: wanted " CLI_DATA_TYPES " (webdataset is not available)";
    if (synthetic && a->train_data)
        return "--train-data and --dataset-type synthetic exclude each other: give one of them";
    if (!synthetic && !a->train_data)
        return "no data: give --train-data DATA, or --dataset-type synthetic to try things out";
    if (synthetic && columns && !a->val_data)
        return "--csv-... options are for tables, and synthetic data has none";
    if (!synthetic && cli_train_args_given(a, "train-num-samples"))
        return "--train-num-samples is for --dataset-type synthetic; other data is read whole";
    if (synthetic && (a->classes || a->templates))
        return "--classes and --templates are for labelled data; drawn scenes have sentences";
    if (a->batch_size < 2)
        return "--batch-size 1 leaves nothing to contrast a pair with; give 2 or more";
    if (a->aug_scale[0] > a->aug_scale[1]) return "--aug-scale MIN,MAX: MIN is larger than MAX";
    if (a->aug_scale[1] > 0 && a->aug_scale[0] < 1e-4)
        return "--aug-scale MIN,MAX: MIN is below 0.0001 (0,0 is for no crop)";
    if (a->aug_ratio > 0 && a->aug_ratio < 1)
        return "--aug-ratio: wanted 1 or more, or 0 to keep the picture's";
    if (a->name && (!a->name[0] || strchr(a->name, '/') || a->name[0] == '.'))
        return "--name: wanted a folder's name, without slashes or a leading dot (see --logs)";
    if (!a->logs[0]) return "--logs: the folder's name is empty";
    if (a->json && a->quiet) return "--json and --quiet exclude each other";
    return NULL;
}

/* --- writing -------------------------------------------------------------------------------- */

static json_t *numbers(const double *x, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, json_real(x[i]));
    return list;
}

static json_t *option_json(const train_option *o, const cli_train_args *a) {
    const void *at = (const char *)a + o->offset;
    const char *text;
    switch (o->type) {
    case STRING:
    case PASSES:
        text = *(const char *const *)at;
        return text ? json_string(text) : json_null();
    case INT:
        return json_integer(*(const int64_t *)at);
    case FLOAT:
        return json_real(*(const double *)at);
    case PAIR:
        return numbers(at, 2);
    case TRIPLE:
        return numbers(at, 3);
    case FLAG:
        return json_boolean(*(const int *)at);
    case PROFILE:
        return json_boolean(((const cli_profile *)at)->on);
    case CHAR:
        return *(const int *)at ? json_sprintf("%c", *(const int *)at) : json_null();
    case CHOICE:
        return json_string(o->choice[*(const int *)at]);
    default:
        return json_string(cli_precision_name(a->precision));
    }
}

struct json_t *cli_train_args_json(const cli_train_args *a) {
    json_t *j = json_object();
    for (int i = 0; i < N_OPTIONS; i++)
        if (options[i].name) json_object_set_new(j, options[i].name, option_json(&options[i], a));
    return j;
}
