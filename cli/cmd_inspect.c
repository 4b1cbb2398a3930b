/* clipgraph inspect: what a model is made of and what it will cost, before any step is run. */
#include "cli/cli.h"
#include "cli/inspect.h"
#include "graph/nearest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    KEY_TOKENS = 1,
    KEY_INFERENCE,
    KEY_TRAINING,
    KEY_LAYERS,
    KEY_GRAPH,
    KEY_COLLAPSE,
    KEY_AFTER,
    KEY_TOWER,
    KEY_OUT,
    KEY_GRADIENTS
};

static const struct argp_option options[] = {
    {"batch-size", CLI_KEY_BATCH, "N", 0, "pairs in a batch (default 64)", 0},
    {"captions-tokens", KEY_TOKENS, "N", 0,
     "tokens of a caption, start and end included (default: the context length, the most)", 0},
    {"training", KEY_TRAINING, NULL, 0, "show the graph of a training step (default)", 0},
    {"inference", KEY_INFERENCE, NULL, 0, "show the graph of inference instead", 0},
    {"layers", KEY_LAYERS, NULL, 0, "list every node, not only the stages", 0},
    {"tower", KEY_TOWER, "image|text|both", 0, "with --inference: the graph of one tower (both)",
     0},
    {"graph", KEY_GRAPH, "FORMAT", 0,
     "print the graph alone: text, dot (for Graphviz), svg (a picture, drawn by Graphviz) or json",
     0},
    {"out", KEY_OUT, "FILE", 0, "with --graph: write it to a file, whole or not at all", 0},
    {"gradients", KEY_GRADIENTS, NULL, 0, "with --graph: the gradients' nodes too", 0},
    {"collapse", KEY_COLLAPSE, "N", 0,
     "with --graph dot or svg: one box for nodes whose names share N parts", 0},
    {"after", KEY_AFTER, "PASS", 0,
     "with --graph: the graph as it is after this pass and those before it; none: as the model is "
     "described (default); all; each: one file for each pass that changes something, in the folder "
     "--out",
     0},
    {"threads", CLI_KEY_THREADS, "N", 0, "threads to plan for (default: one per processor)", 0},
    {"precision", CLI_KEY_PRECISION, "fp32|bf16", 0, CLI_PRECISION_DOC, 0},
    {"passes", CLI_KEY_PASSES, "LIST", 0,
     "plan with these rewrites: all, none, or all but some, as in -rows,-fuse (all); layers and "
     "graph, which otherwise are the model as described, are shown after them",
     0},
    {"json", CLI_KEY_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static inspect_format graph_format(const struct argp_state *state, const char *text) {
    static const char *const names[] = {"text", "dot", "svg", "json"};
    for (int i = 0; i < 4; i++)
        if (strcmp(text, names[i]) == 0) return (inspect_format)(INSPECT_GRAPH_TEXT + i);
    argp_error(state, "--graph: found \"%s\", wanted text, dot, svg or json", text);
    return INSPECT_NO_GRAPH;
}

static void choose_tower(const struct argp_state *state, const char *text, inspect_arguments *a) {
    int image = strcmp(text, "image") == 0, words = strcmp(text, "text") == 0;
    if (!image && !words && strcmp(text, "both") != 0)
        argp_error(state, "--tower: found \"%s\", wanted image, text or both", text);
    a->images = !words;
    a->texts = !image;
}

/* How many passes of the list run. */
static void choose_pass(const struct argp_state *state, const char *text, inspect_arguments *a) {
    int n;
    const cg_pass *pass = cg_pass_list(&n);
    a->after_given = 1;
    a->after = strcmp(text, "each") == 0 ? INSPECT_EACH : strcmp(text, "all") == 0 ? n : 0;
    if (a->after || strcmp(text, "none") == 0) return;
    const char *name[CG_MAX_PASSES + 4] = {"each", "all", "none"};
    for (int i = 0; i < n; i++) {
        name[3 + i] = pass[i].name;
        if (strcmp(text, pass[i].name) == 0) a->after = i + 1;
    }
    if (a->after) return;
    const char *nearest = cg_nearest(text, name);
    if (nearest)
        argp_error(state, "--after: there is no pass \"%s\"; did you mean %s?", text, nearest);
    argp_error(state, "--after: there is no pass \"%s\"; `clipgraph inspect MODEL` lists them",
               text);
}

static void check_together(const struct argp_state *state, const inspect_arguments *a) {
    if (a->gradients && a->inference) argp_error(state, "--gradients: inference has none");
    if (!(a->images && a->texts) && !a->inference)
        argp_error(state, "--tower goes with --inference: a training step needs both");
    if (a->graph && a->run.json) argp_error(state, "--graph and --json exclude each other");
    if ((a->gradients || a->collapse || a->after_given || a->out) && !a->graph)
        argp_error(state, "--gradients, --collapse, --after and --out go with --graph");
    if (a->collapse && a->graph != INSPECT_GRAPH_DOT && a->graph != INSPECT_GRAPH_SVG)
        argp_error(state, "--collapse goes with --graph dot or svg: text and json have every node");
    if (a->after == INSPECT_EACH && !a->out) argp_error(state, "--after each: which folder? --out");
}

/* Options of --graph. */
static error_t parse_graph(int key, char *text, struct argp_state *state) {
    inspect_arguments *a = state->input;
    switch (key) {
    case KEY_GRAPH:
        a->graph = graph_format(state, text);
        return 0;
    case KEY_COLLAPSE:
        a->collapse = (int)cli_int(state, "collapse", text, 0, 64);
        return 0;
    case KEY_GRADIENTS:
        a->gradients = 1;
        return 0;
    case KEY_AFTER:
        choose_pass(state, text, a);
        return 0;
    case KEY_OUT:
        if (!text[0]) argp_error(state, "--out: the file's name is empty");
        a->out = text;
        return 0;
    default:
        return cli_run_option(key, text, state, &a->run);
    }
}

static error_t parse(int key, char *text, struct argp_state *state) {
    inspect_arguments *a = state->input;
    switch (key) {
    case KEY_TOKENS:
        a->tokens = cli_int(state, "captions-tokens", text, 2, 1 << 20);
        return 0;
    case KEY_INFERENCE:
        a->inference = 1;
        return 0;
    case KEY_TRAINING:
        a->inference = 0;
        return 0;
    case KEY_LAYERS:
        a->layers = 1;
        return 0;
    case KEY_TOWER:
        choose_tower(state, text, a);
        return 0;
    case ARGP_KEY_ARG:
        if (a->model) argp_error(state, "one argument too many: \"%s\"", text);
        a->model = text;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which model? give a name, a JSON file or a checkpoint");
        return 0;
    case ARGP_KEY_SUCCESS:
        check_together(state, a);
        return 0;
    case CLI_KEY_PASSES:
        a->passes_given = 1;
        return cli_run_option(key, text, state, &a->run);
    default:
        return parse_graph(key, text, state);
    }
}

static const struct argp parser = {
    options,
    parse,
    "MODEL|CONFIG|CHECKPOINT",
    "Shows a model's layers with their shapes, parameters, useful floating-point operations and "
    "activations, and the memory that a training step and inference will take, as planned; nothing "
    "is run."
    "\vExamples:\n"
    "  clipgraph inspect RN50-CBOW --batch-size 32\n"
    "  clipgraph inspect ViT-B-32 --inference --graph svg --collapse 3 --out vit.svg\n"
    "  clipgraph inspect RN50 --graph svg --gradients --collapse 2 --after each --out passes",
    NULL,
    NULL,
    NULL};

/* --- what is inspected ------------------------------------------------------------------------ */

static void inspected_free(inspected *m) {
    free(m->layer);
    cg_graph_free(m->graph);
    cg_params_free(m->params);
    cg_context_free(m->ctx);
    free(m->path);
}

static cg_status load_description(const char *model, inspected *m) {
    struct stat st;
    cg_preprocess preprocess;
    size_t length = strlen(model);
    if (length > 5 && strcmp(model + length - 5, ".onnx") == 0)
        return cg_error(CG_EINVAL,
                        "%s: inspect takes a model's name, its description (JSON) or a checkpoint; "
                        "`clipgraph run %s` shows what is in an ONNX file",
                        model, model);
    if (stat(model, &st) == 0 && S_ISDIR(st.st_mode)) {
        CG_TRY(cg_checkpoint_find(model, &m->path));
        return cg_checkpoint_config(m->path, &m->desc, &preprocess);
    }
    CG_TRY(cli_config_find(model, &m->path));
    return cg_clip_desc_load(m->path, &m->desc);
}

static cg_status choose_sizes(const inspect_arguments *a, inspected *m) {
    int64_t most = m->desc.text.context_length;
    m->tokens = a->tokens ? a->tokens : most;
    if (m->tokens > most)
        return cg_error(CG_EINVAL,
                        "--captions-tokens: found %" PRId64 ", the context length is %" PRId64,
                        m->tokens, most);
    int64_t read = m->tokens - (cg_clip_text_drops_specials(&m->desc) ? 2 : 0);
    m->build =
        cg_clip_batch(&m->desc, a->run.batch_size, a->run.batch_size, a->run.batch_size * read);
    m->build.training = m->build.loss = 1;
    return CG_OK;
}

cg_status inspect_build(const inspect_arguments *a, cg_passes_off off, cg_pass_saving *saved,
                        inspected *m) {
    cg_clip_build b = m->build;
    b.training = b.loss = !a->inference;
    if (!a->images) b.images = 0;
    if (!a->texts) b.texts = 0;
    cg_graph_free(m->graph);
    m->graph = NULL;
    cg_program how = {
        .gradients = a->gradients, .precision = a->run.precision, .off = off, .saved = saved};
    return cg_program_build(m->params, &m->desc, &b, &how, &m->graph);
}

/* Layers and graph are of the model as described, unless passes are asked for. */
static cg_status build_graph(const inspect_arguments *a, inspected *m) {
    cg_passes_off off = a->passes_given ? a->run.off : CG_PASSES_NONE;
    if (a->after_given) off = a->run.off | (a->after < 0 ? 0 : CG_PASSES_NONE << a->after);
    CG_TRY(cg_params_create(&m->params));
    return inspect_build(a, off, NULL, m);
}

const char *inspect_program(const inspect_arguments *a) {
    if (!a->inference) return a->gradients ? "training step" : "training step, forward";
    return a->images && a->texts ? "inference" : a->images ? "image tower" : "text tower";
}

static cg_status plan_all(const inspect_arguments *a, inspected *m) {
    cg_program step = {
        .gradients = 1, .precision = a->run.precision, .off = a->run.off, .saved = m->saved[0]};
    cg_program use = {.precision = a->run.precision, .off = a->run.off, .saved = m->saved[1]};
    cg_clip_build images = {.images = m->build.images};
    cg_clip_build texts = m->build;
    texts.images = texts.training = texts.loss = 0;
    CG_TRY(cg_account_plan(m->ctx, &m->desc, &m->build, &step, &m->training));
    CG_TRY(cg_account_plan(m->ctx, &m->desc, &images, &use, &m->images));
    return cg_account_plan(m->ctx, &m->desc, &texts, &use, &m->texts);
}

/* ---------------------------------------------------------------------------------------------- */

static cg_status inspect(const inspect_arguments *a, inspected *m) {
    if (a->run.precision == CG_PRECISION_BF16) CG_TRY(cg_context_check_bf16());
    CG_TRY(load_description(a->model, m));
    CG_TRY(choose_sizes(a, m));
    CG_TRY(build_graph(a, m));
    if (a->graph) return inspect_print_graph(a, m);
    CG_TRY(cg_graph_layers(m->graph, a->layers ? 0 : 2, &m->layer, &m->n_layers));
    cg_account_count(m->params, &m->count);
    CG_TRY(cg_context_create(a->run.threads, &m->ctx));
    CG_TRY(plan_all(a, m));
    if (a->run.json) return inspect_print_json(a, m);
    inspect_print_text(a, m);
    return CG_OK;
}

int cli_inspect(int argc, char **argv) {
    inspect_arguments a = {.run.batch_size = 64, .images = 1, .texts = 1};
    inspected m = {0};
    cli_parse(&parser, argc, argv, &a);
    cg_status s = inspect(&a, &m);
    inspected_free(&m);
    return s == CG_OK ? 0 : cli_fail("inspect", s);
}
