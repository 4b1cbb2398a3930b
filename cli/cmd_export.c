/* clipgraph export: a model as an ONNX file, with a certificate that it does what the model does.
 */
#include "cli/data.h"
#include "cli/inputs.h"
#include "cli/onnxruntime.h"
#include "cli/stop.h"
#include "train/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    KEY_CHECKPOINT = 1,
    KEY_WHAT,
    KEY_OUT,
    KEY_NAME,
    KEY_OPSET,
    KEY_WEIGHTS,
    KEY_NO_OPTIMIZE,
    KEY_EXTERNAL,
    KEY_PREPROCESS,
    KEY_LABELS,
    KEY_LABELS_FILE,
    KEY_TOLERANCE,
    KEY_VERIFY,
    KEY_PICTURES,
    KEY_DATA,
    KEY_LOSS
};

typedef struct arguments {
    const char *checkpoint, *out, *labels, *labels_file, *data;
    cli_data how;   /* the data are to be read */
    char *pictures; /* in argv */
    cli_templates templates;
    cg_export_options o;
    int what_given, loss_given;
    cli_run run; /* threads, json */
} arguments;

static const struct argp_option options[] = {
    {"checkpoint", KEY_CHECKPOINT, "FOLDER", 0, "the model: a run, a checkpoint, or a hub folder",
     0},
    {"what", KEY_WHAT, "PART", 0,
     "image or text: a tower; both: both towers and their logits; classifier: the image tower, and "
     "probabilities of labels",
     0},
    {"out", KEY_OUT, "FOLDER", 0, "where to: the folder is written whole or not at all", 0},
    {"name", KEY_NAME, "NAME", 0, "of the file, without .onnx (model)", 0},
    {"labels", KEY_LABELS, "A,B,C", 0, "classifier: " CLI_LABELS_DOC, 0},
    {"labels-file", KEY_LABELS_FILE, "FILE", 0, "classifier: " CLI_LABELS_FILE_DOC, 0},
    {"preprocess", KEY_PREPROCESS, NULL, 0,
     "prepare pictures inside the file: its input is then pixels, whatever their number", 0},
    {"opset", KEY_OPSET, "17..20", 0, "version of ONNX's operators (17; 18 with --preprocess)", 0},
    {"weights", KEY_WEIGHTS, "f32|f16|bf16", 0,
     "how matrices are stored; all is computed in f32 (f32)", 0},
    {"no-optimize", KEY_NO_OPTIMIZE, NULL, 0, "the graph and parameters as they were trained", 0},
    {"external-data", KEY_EXTERNAL, NULL, 0,
     "weights in a file of their own, NAME.onnx.data (so anyway where there are 2 GiB of them)", 0},
    {"tolerance", KEY_TOLERANCE, "X", 0,
     "what an element of an embedding may differ by from the model's (weights in f32: 1e-5; f16: "
     "2e-3; bf16: 2e-2)",
     0},
    {"verify-with", KEY_VERIFY, "onnxruntime", 0,
     "hold the file against the model by this runtime, too (a package of python3)", 0},
    {"pictures", KEY_PICTURES, "FILE|FOLDER", 0, "compare up to 64 of these pictures, too", 0},
    {"val-data", KEY_DATA, "DATA", 0,
     "measure model and file on it: recall, or with labels accuracy; a table of pictures and "
     "captions, a folder with a folder of pictures for each class, or IDX pictures; or give "
     "--dataset-type synthetic",
     0},
    {"most-loss", KEY_LOSS, "POINTS", 0,
     "how many points of recall or accuracy the file may lose (0.5)", 0},
    {"threads", CLI_KEY_THREADS, "N", 0, "threads of the model (default: one per processor)", 0},
    {"json", CLI_KEY_JSON, NULL, 0, "print the certificate", 0},
    {0},
};

/* The number of a word, or a usage error. */
static int word(const struct argp_state *state, const char *option, const char *text,
                const char *const *words, const char *wanted) {
    for (int i = 0; words[i]; i++)
        if (strcmp(text, words[i]) == 0) return i;
    argp_error(state, "--%s: found \"%s\", wanted %s", option, text, wanted);
    return 0;
}

static void parse_what(const struct argp_state *state, const char *text, arguments *a) {
    static const char *const words[] = {"image", "text", "both", "classifier", NULL};
    a->o.what = (cg_onnx_what)word(state, "what", text, words, "image, text, both or classifier");
    a->what_given = 1;
}

static void parse_weights(const struct argp_state *state, const char *text, arguments *a) {
    static const char *const words[] = {"f32", "f16", "bf16", "fp32", "fp16", NULL};
    static const cg_dtype dtype[] = {CG_F32, CG_F16, CG_BF16, CG_F32, CG_F16};
    a->o.weights = dtype[word(state, "weights", text, words, "f32, f16 or bf16")];
}

static void check_together(const struct argp_state *state, const arguments *a) {
    int labels = a->labels || a->labels_file;
    int templates = a->templates.n_given || a->templates.path;
    if (!a->checkpoint) argp_error(state, "no model: give --checkpoint FOLDER");
    if (!a->what_given) argp_error(state, "which part? --what image, text, both or classifier");
    if (!a->out || !a->out[0]) argp_error(state, "where to? --out FOLDER");
    if (a->labels && a->labels_file) argp_error(state, "give either --labels or --labels-file");
    if (a->o.what == CG_ONNX_CLASSIFIER && !labels)
        argp_error(state, "a classifier of what? --labels or --labels-file");
    if (a->o.what != CG_ONNX_CLASSIFIER && (labels || templates))
        argp_error(state, "labels and templates go with --what classifier");
    if (a->o.what == CG_ONNX_TEXT && (a->o.inside || a->pictures))
        argp_error(state, "--preprocess and --pictures: the text tower reads no pictures");
    int synthetic = a->how.type == CLI_DATA_SYNTHETIC;
    const char *given = synthetic ? NULL : cli_data_given(&a->how);
    if (a->data && synthetic)
        argp_error(state, "--val-data and --dataset-type synthetic exclude each other");
    if (a->loss_given) given = "--most-loss";
    if (given && !a->data && !synthetic) argp_error(state, "%s: on what? --val-data DATA", given);
    if (a->o.inside && a->o.opset == 17)
        argp_error(state, "--preprocess needs --opset 18 or later: Resize cannot smooth before");
}

/* How the file is held against the model. */
static error_t parse_check(int key, char *text, struct argp_state *state) {
    static const char *const runtimes[] = {"onnxruntime", NULL};
    arguments *a = state->input;
    switch (key) {
    case KEY_TOLERANCE:
        a->o.tolerance = cli_float(state, "tolerance", text, 1e-9, 1);
        return 0;
    case KEY_VERIFY:
        word(state, "verify-with", text, runtimes, "onnxruntime");
        a->o.check = cli_onnxruntime_check;
        return 0;
    case KEY_PICTURES:
        a->pictures = text;
        return 0;
    case KEY_DATA:
        a->data = text;
        return 0;
    case KEY_LOSS:
        a->o.most_loss = cli_float(state, "most-loss", text, 0, 100) / 100;
        a->loss_given = 1;
        return 0;
    default:
        return cli_run_option(key, text, state, &a->run);
    }
}

/* What is in the file. */
static error_t parse_file(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_WHAT:
        parse_what(state, text, a);
        return 0;
    case KEY_NAME:
        a->o.name = text;
        return 0;
    case KEY_OPSET:
        a->o.opset = (int)cli_int(state, "opset", text, 17, 20);
        return 0;
    case KEY_WEIGHTS:
        parse_weights(state, text, a);
        return 0;
    case KEY_NO_OPTIMIZE:
        a->o.as_described = 1;
        return 0;
    case KEY_EXTERNAL:
        a->o.external = 1;
        return 0;
    case KEY_PREPROCESS:
        a->o.inside = 1;
        return 0;
    case KEY_LABELS:
        a->labels = text;
        return 0;
    case KEY_LABELS_FILE:
        a->labels_file = text;
        return 0;
    default:
        return parse_check(key, text, state);
    }
}

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->templates;
        state->child_inputs[1] = &a->how;
        return 0;
    case KEY_CHECKPOINT:
        a->checkpoint = text;
        return 0;
    case KEY_OUT:
        a->out = text;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "one argument too many: \"%s\"", text);
        return 0;
    case ARGP_KEY_SUCCESS:
        check_together(state, a);
        return 0;
    default:
        return parse_file(key, text, state);
    }
}

static const struct argp_child children[] = {
    {&cli_templates_argp, 0, NULL, 0}, {&cli_data_argp, 0, "How --val-data is read:", 1}, {0}};
static const struct argp parser = {
    options,
    parse,
    "",
    "Writes a trained model as an ONNX file, which other runtimes run, with what is needed beside "
    "it: the tokenizer, how pictures are prepared, the labels. The file is read back and held "
    "against the model, on pictures and captions that go wrong easily; NAME.json says how near it "
    "is, and where it is too far off nothing is written."
    "\vExamples:\n"
    "  clipgraph export --checkpoint logs/first --what image --preprocess \\\n"
    "      --out image\n"
    "  clipgraph export --checkpoint logs/first --what classifier \\\n"
    "      --labels \"cat,dog\" --template \"a photo of a {}.\" --weights f16 \\\n"
    "      --verify-with onnxruntime --out pets\n"
    "\n"
    "Ctrl-C finishes the step, and leaves nothing behind; a second one stops at once.\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 130 stopped by Ctrl-C, 143 by SIGTERM.",
    children,
    NULL,
    NULL};

/* --- what was written ------------------------------------------------------------------------- */

static void print_figure(const cg_parity_figure *f) {
    static const char *const differ[] = {
        [CG_PARITY_PIXELS] = "differ by %.2g of 255 at most",
        [CG_PARITY_EMBEDDINGS] = "differ by %.2g at most",
        [CG_PARITY_LOGITS] = "differ by %.2g of the temperature at most",
        [CG_PARITY_PROBABILITIES] = "their logarithms differ by %.2g of the temperature at most",
    };
    printf("  %-17s ", f->output);
    printf(differ[f->kind], f->most);
    if (f->kind == CG_PARITY_PIXELS) {
        printf(", in %" PRId64 " of %" PRId64 " numbers\n", f->apart, f->elements);
        return;
    }
    printf("; %" PRId64 " of %" PRId64 " have the same best match", f->agree, f->rows);
    if (f->agree < f->rows) printf(", else the model's is better by %.2g at most", f->lead);
    if (f->kind == CG_PARITY_EMBEDDINGS) printf("; cosine %.7f at least", f->min_cosine);
    putchar('\n');
}

static void print_result(const char *runtime, const cg_parity_result *r) {
    printf("held against the model %s: %" PRId64 " pictures", runtime, r->pictures);
    if (r->given) printf(" (%" PRId64 " given)", r->given);
    printf(", %" PRId64 " captions, %d runs\n", r->captions, r->cases);
    for (int i = 0; i < r->n; i++) print_figure(&r->figure[i]);
}

static void print_accuracy(const cg_accuracy *a) {
    if (a->n)
        printf("on data: %" PRId64 " pictures among %" PRId64
               " candidates, in %%, by the model and "
               "by the file\n",
               a->pictures, a->candidates);
    for (int i = 0; i < a->n; i++)
        printf("  %-21s %6.2f %6.2f\n", a->figure[i].name, 100 * a->figure[i].model,
               100 * a->figure[i].file);
}

static void print_certificate(const arguments *a, const cg_certificate *c) {
    if (a->run.json) {
        puts(c->json);
        return;
    }
    printf("wrote %s/%s.onnx, opset %d, weights in %s, %.1f MB", a->out,
           a->o.name ? a->o.name : "model", c->opset, cg_dtype_name(c->weights),
           1e-6 * (double)(c->bytes + c->data_bytes));
    if (c->data_bytes) printf(" with its data");
    printf("; what it needs stands beside it\n");
    char other[80];
    printf("held against the checkpoint: %" PRId64 " numbers are the same", c->compared);
    if (c->weights != CG_F32)
        printf("; but for matrices, rounded to %s, it is this file in f32:",
               cg_dtype_name(c->weights));
    putchar('\n');
    print_result("operator by operator", &c->literal);
    print_result("by our runtime", &c->parity);
    snprintf(other, sizeof other, "by %s", c->checked_by);
    if (c->checked_by[0]) print_result(other, &c->checked);
    print_accuracy(&c->accuracy);
    if (c->parity.left_out)
        fprintf(stderr,
                "clipgraph export: %" PRId64 " of %" PRId64
                " given pictures could not be read, and were not compared\n",
                c->parity.left_out, c->parity.left_out + c->parity.given);
    if (c->truncated)
        fprintf(stderr,
                "clipgraph export: %" PRId64 " texts of labels cut to the model's context\n",
                c->truncated);
}

int cli_export(int argc, char **argv) {
    arguments a = {.o = {.most_loss = 0.005}};
    cli_lines labels = {0};
    cg_model m = {0};
    cg_dataset *pictures = NULL, *data = NULL;
    cg_certificate c = {0};
    cli_parse(&parser, argc, argv, &a);
    int measures = a.data || a.how.type == CLI_DATA_SYNTHETIC;
    int images_only = a.o.what == CG_ONNX_IMAGE && !measures;
    cg_status s = CG_OK;
    if (a.o.what == CG_ONNX_CLASSIFIER) s = cli_labels_read(a.labels, a.labels_file, &labels);
    if (s == CG_OK) s = cli_templates_read(&a.templates);
    if (s == CG_OK && a.pictures) s = cli_pictures("export", &a.pictures, 1, &pictures);
    if (s == CG_OK && a.data) s = cli_data_open("export", a.data, &a.how, &data);
    if (s == CG_OK)
        s = (images_only ? cg_model_load_pictures : cg_model_load)(a.checkpoint, a.run.threads, &m);
    if (s == CG_OK && measures && !data) s = cli_held_out(m.preprocess.size, &data);
    a.o.label = (const char *const *)labels.line;
    a.o.labels = labels.n;
    a.o.templates = a.templates.all;
    a.o.pictures = pictures;
    a.o.data = data;
    a.o.stop = cli_stop_asked;
    cli_stop_watch("\nstopping after this step; once more: at once\n");
    if (s == CG_OK) s = cg_export(&m, a.out, &a.o, &c);
    if (s == CG_OK) print_certificate(&a, &c);
    int code = s == CG_OK ? 0 : cli_fail("export", s);
    if (s != CG_OK && cli_stop_code()) code = cli_stop_code();
    cg_certificate_free(&c);
    cg_dataset_free(pictures);
    cg_dataset_free(data);
    cg_model_free(&m);
    cli_templates_free(&a.templates);
    cli_lines_free(&labels);
    return code;
}
