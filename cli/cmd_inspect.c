/* clipgraph inspect: what a model is made of and what it will cost, before any step is run. */
#include "cli/cli.h"
#include "graph/summary.h"
#include "train/account.h"
#include "train/program.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    KEY_BATCH = 1,
    KEY_TOKENS,
    KEY_INFERENCE,
    KEY_TRAINING,
    KEY_LAYERS,
    KEY_GRAPH,
    KEY_COLLAPSE,
    KEY_GRADIENTS,
    KEY_THREADS,
    KEY_PRECISION,
    KEY_PASSES,
    KEY_JSON
};

typedef struct arguments {
    const char *model;
    int64_t batch, tokens; /* tokens 0: the context length */
    int inference, layers, collapse, gradients, threads, json;
    char graph; /* 't', 'd', or 0: none */
    cg_precision precision;
    cg_passes_off off;
    int passes_given;
} arguments;

static const struct argp_option options[] = {
    {"batch-size", KEY_BATCH, "N", 0, "pairs in a batch (default 64)", 0},
    {"captions-tokens", KEY_TOKENS, "N", 0,
     "tokens of a caption, start and end included (default: the context length, the most)", 0},
    {"training", KEY_TRAINING, NULL, 0, "show the graph of a training step (default)", 0},
    {"inference", KEY_INFERENCE, NULL, 0, "show the graph of inference instead", 0},
    {"layers", KEY_LAYERS, NULL, 0, "list every node, not only the stages", 0},
    {"graph", KEY_GRAPH, "text|dot", 0, "print the graph alone, as text or for Graphviz", 0},
    {"gradients", KEY_GRADIENTS, NULL, 0, "with --graph: the gradients' nodes too", 0},
    {"collapse", KEY_COLLAPSE, "N", 0,
     "with --graph dot: one box for nodes whose names share N parts", 0},
    {"threads", KEY_THREADS, "N", 0, "threads to plan for (default: one per processor)", 0},
    {"precision", KEY_PRECISION, "fp32|bf16", 0, CLI_PRECISION_DOC, 0},
    {"passes", KEY_PASSES, "LIST", 0,
     "plan with these rewrites: all, none, or all but some, as in -rows,-fuse (all); layers and "
     "graph, which otherwise are the model as described, are shown after them",
     0},
    {"json", KEY_JSON, NULL, 0, "print JSON", 0},
    {0},
};

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_BATCH:
        a->batch = cli_int(state, "batch-size", text, 1, 1 << 20);
        return 0;
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
    case KEY_COLLAPSE:
        a->collapse = (int)cli_int(state, "collapse", text, 0, 64);
        return 0;
    case KEY_GRADIENTS:
        a->gradients = 1;
        return 0;
    case KEY_THREADS:
        a->threads = (int)cli_int(state, "threads", text, 1, 1024);
        return 0;
    case KEY_PRECISION:
        a->precision = cli_precision(state, text);
        return 0;
    case KEY_PASSES:
        a->off = cli_passes(state, text);
        a->passes_given = 1;
        return 0;
    case KEY_JSON:
        a->json = 1;
        return 0;
    case KEY_GRAPH:
        if (strcmp(text, "text") != 0 && strcmp(text, "dot") != 0)
            argp_error(state, "--graph: found \"%s\", wanted text or dot", text);
        a->graph = text[0];
        return 0;
    case ARGP_KEY_ARG:
        if (a->model) argp_error(state, "one argument too many: \"%s\"", text);
        a->model = text;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "which model? give a name, a JSON file or a checkpoint");
        return 0;
    case ARGP_KEY_SUCCESS:
        if (a->gradients && a->inference) argp_error(state, "--gradients: inference has none");
        if (a->graph && a->json) argp_error(state, "--graph and --json exclude each other");
        if ((a->gradients || a->collapse) && !a->graph)
            argp_error(state, "--gradients and --collapse go with --graph");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
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
    "  clipgraph inspect tiny-resnet-cbow --graph dot --collapse 2 | dot -Tsvg",
    NULL,
    NULL,
    NULL};

/* --- what is inspected ------------------------------------------------------------------------ */

typedef struct inspected {
    char *path; /* the description or the checkpoint */
    cg_clip_desc desc;
    cg_clip_build build; /* of a training step */
    int64_t tokens;
    cg_context *ctx;
    cg_params *params;
    cg_graph *graph;
    cg_layer *layer;
    int n_layers;
    cg_account_params count;
    cg_account training, images, texts;
    cg_pass_saving saved[2][CG_MAX_PASSES]; /* in a training step, and in inference */
} inspected;

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
    if (stat(model, &st) == 0 && S_ISDIR(st.st_mode)) {
        CG_TRY(cg_checkpoint_find(model, &m->path));
        return cg_checkpoint_config(m->path, &m->desc, &preprocess);
    }
    CG_TRY(cli_config_find(model, &m->path));
    return cg_clip_desc_load(m->path, &m->desc);
}

static cg_status choose_sizes(const arguments *a, inspected *m) {
    int64_t most = m->desc.text.context_length;
    m->tokens = a->tokens ? a->tokens : most;
    if (m->tokens > most)
        return cg_error(CG_EINVAL,
                        "--captions-tokens: found %" PRId64 ", the context length is %" PRId64,
                        m->tokens, most);
    int64_t read = m->tokens - (cg_clip_text_drops_specials(&m->desc) ? 2 : 0);
    m->build = cg_clip_batch(&m->desc, a->batch, a->batch, a->batch * read);
    m->build.training = m->build.loss = 1;
    return CG_OK;
}

static cg_status build_graph(const arguments *a, inspected *m) {
    cg_clip_build b = m->build;
    b.training = b.loss = !a->inference;
    CG_TRY(cg_params_create(&m->params));
    cg_program how = {.gradients = a->gradients,
                      .precision = a->precision,
                      .off = a->passes_given ? a->off : CG_PASSES_NONE};
    return cg_program_build(m->params, &m->desc, &b, &how, &m->graph);
}

static cg_status plan_all(const arguments *a, inspected *m) {
    cg_program step = {
        .gradients = 1, .precision = a->precision, .off = a->off, .saved = m->saved[0]};
    cg_program use = {.precision = a->precision, .off = a->off, .saved = m->saved[1]};
    cg_clip_build images = {.images = m->build.images};
    cg_clip_build texts = m->build;
    texts.images = texts.training = texts.loss = 0;
    CG_TRY(cg_account_plan(m->ctx, &m->desc, &m->build, &step, &m->training));
    CG_TRY(cg_account_plan(m->ctx, &m->desc, &images, &use, &m->images));
    return cg_account_plan(m->ctx, &m->desc, &texts, &use, &m->texts);
}

/* --- numbers as people read them -------------------------------------------------------------- */

static const char *bytes_text(size_t bytes, char text[32]) {
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes;
    int u = 0;
    for (; x >= 999.95 && u < 4; u++) x /= 1024;
    snprintf(text, 32, "%.*f %s", u > 0, x, unit[u]);
    return text;
}

/* 38316896 as 38,316,896 */
static const char *count_text(int64_t n, char text[32]) {
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

/* --- as text ---------------------------------------------------------------------------------- */

typedef struct sums {
    int64_t params, flops;
    size_t bytes;
} sums;

static sums add_up(const inspected *m) {
    sums all = {0};
    for (int i = 0; i < m->n_layers; i++) {
        all.params += m->layer[i].params;
        all.flops += m->layer[i].flops;
        all.bytes += m->layer[i].activation_bytes;
    }
    return all;
}

static void print_row(const char *name, int width, const char *op, int op_width, const char *shape,
                      int64_t params, double flops, size_t bytes) {
    char p[32], b[32];
    printf("%-*s  %-*s  %-22s  %12s  %9.2f  %11s\n", width, name, op_width, op, shape,
           params ? count_text(params, p) : "-", flops, bytes_text(bytes, b));
}

static void print_layers(const inspected *m) {
    sums all = add_up(m);
    int giga = all.flops >= 1000000000, width = 5, op_width = 5;
    double unit = giga ? 1e9 : 1e6;
    for (int i = 0; i < m->n_layers; i++) {
        int n = (int)strlen(m->layer[i].name), k = m->layer[i].op ? (int)strlen(m->layer[i].op) : 9;
        width = n > width ? n : width;
        op_width = k > op_width ? k : op_width;
    }
    printf("%-*s  %-*s  %-22s  %12s  %9s  %11s\n", width, "layer", op_width, "op", "output",
           "parameters", giga ? "GFLOP" : "MFLOP", "activations");
    for (int i = 0; i < m->n_layers; i++) {
        const cg_layer *l = &m->layer[i];
        char shape[CG_SHAPE_TEXT], nodes[32];
        snprintf(nodes, sizeof nodes, "%d nodes", l->nodes);
        print_row(l->name, width, l->op ? l->op : nodes, op_width, cg_shape_print(&l->shape, shape),
                  l->params, (double)l->flops / unit, l->activation_bytes);
    }
    print_row("total", width, "", op_width, "", all.params, (double)all.flops / unit, all.bytes);
}

static void print_parameters(const inspected *m) {
    const cg_account_params *c = &m->count;
    char text[32];
    printf("\nParameters            %14s  in %d tensors\n", count_text(c->all, text), c->tensors);
    printf("  image tower         %14s\n", count_text(c->image, text));
    printf("  text tower          %14s\n", count_text(c->text, text));
    printf("  logit scale, bias   %14s\n", count_text(c->logits, text));
}

static void print_memory_row(const char *name, size_t a, size_t b, size_t c) {
    char x[32], y[32], z[32];
    printf("%-20s  %14s  %14s  %14s\n", name, a ? bytes_text(a, x) : "-",
           b ? bytes_text(b, y) : "-", c ? bytes_text(c, z) : "-");
}

static void print_memory(const inspected *m) {
    const cg_account *t = &m->training, *i = &m->images, *c = &m->texts;
    printf("\n%-20s  %14s  %14s  %14s\n", "Planned memory", "training step", "embed pictures",
           "embed texts");
    print_memory_row("  parameters", t->params, i->params, c->params);
    print_memory_row("  gradients", t->gradients, i->gradients, c->gradients);
    print_memory_row("  moments", t->moments, i->moments, c->moments);
    print_memory_row("  batch", t->inputs, i->inputs, c->inputs);
    print_memory_row("  laid out weights", t->plan.frozen_bytes, i->plan.frozen_bytes,
                     c->plan.frozen_bytes);
    print_memory_row("  arena", t->plan.arena_bytes, i->plan.arena_bytes, c->plan.arena_bytes);
    print_memory_row("peak", t->total, i->total, c->total);
    print_memory_row("arena: lower bound", t->plan.lower_bound, i->plan.lower_bound,
                     c->plan.lower_bound);
    print_memory_row("arena: scratch", t->plan.scratch_bytes, i->plan.scratch_bytes,
                     c->plan.scratch_bytes);
    print_memory_row("arena: no reuse", t->plan.all_bytes, i->plan.all_bytes, c->plan.all_bytes);
    printf("%-20s  %14.2f  %14.2f  %14.2f\n", "GFLOP", 1e-9 * (double)t->plan.flops,
           1e-9 * (double)i->plan.flops, 1e-9 * (double)c->plan.flops);
}

/* What each pass changed: rewrites, useful operations, and the memory alive at once. */
static void print_passes(const inspected *m) {
    int n;
    const cg_pass *pass = cg_pass_list(&n);
    printf("\n%-12s  %28s  %28s\n", "Passes", "training step", "inference");
    printf("%-12s  %8s %9s %9s  %8s %9s %9s\n", "", "rewrites", "GFLOP", "MiB", "rewrites", "GFLOP",
           "MiB");
    for (int i = 0; i < n; i++) {
        printf("  %-10s", pass[i].name);
        for (int k = 0; k < 2; k++) {
            const cg_pass_saving *s = &m->saved[k][i];
            printf("  %8d %9.2f %9.1f", s->rewrites, 0 - 1e-9 * (double)s->flops,
                   0 - (double)s->bytes / (1 << 20));
        }
        printf("   %s\n", pass[i].what);
    }
}

static void print_text(const arguments *a, const inspected *m) {
    int64_t size = m->desc.vision.image_size;
    printf("%s\n%s: %" PRId64 " pictures of %" PRId64 " x %" PRId64 ", %" PRId64
           " captions of %" PRId64 " tokens, embeddings of %" PRId64 "\n\n",
           m->path, a->inference ? "inference" : "training step, forward", m->build.images, size,
           size, m->build.texts, m->tokens, m->desc.embed_dim);
    print_layers(m);
    print_parameters(m);
    print_memory(m);
    print_passes(m);
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static json_t *layers_json(const inspected *m) {
    json_t *list = json_array();
    for (int i = 0; i < m->n_layers; i++) {
        const cg_layer *l = &m->layer[i];
        json_t *shape = json_array();
        for (int k = 0; k < l->shape.rank; k++)
            json_array_append_new(shape, json_integer(l->shape.dim[k]));
        json_array_append_new(list, json_pack("{s:s, s:s?, s:i, s:o, s:I, s:I, s:I}", "name",
                                              l->name, "op", l->op, "nodes", l->nodes, "output",
                                              shape, "parameters", (json_int_t)l->params, "flops",
                                              (json_int_t)l->flops, "activation_bytes",
                                              (json_int_t)l->activation_bytes));
    }
    return list;
}

static json_t *account_json(const cg_account *c) {
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "frozen_bytes",
        (json_int_t)c->plan.frozen_bytes, "total_bytes", (json_int_t)c->total, "parameter_bytes",
        (json_int_t)c->params, "gradient_bytes", (json_int_t)c->gradients, "moment_bytes",
        (json_int_t)c->moments, "batch_bytes", (json_int_t)c->inputs, "arena_bytes",
        (json_int_t)c->plan.arena_bytes, "arena_lower_bound", (json_int_t)c->plan.lower_bound,
        "scratch_bytes", (json_int_t)c->plan.scratch_bytes, "no_reuse_bytes",
        (json_int_t)c->plan.all_bytes, "flops", (json_int_t)c->plan.flops);
}

static cg_status print_json(const arguments *a, const inspected *m) {
    json_t *all =
        json_pack("{s:s, s:s, s:o, s:I, s:I, s:o, s:{s:I, s:I, s:I, s:I, s:i}, s:{s:o, s:o, s:o}}",
                  "path", m->path, "graph", a->inference ? "inference" : "training", "model_cfg",
                  cg_clip_desc_json(&m->desc), "batch_size", (json_int_t)m->build.images,
                  "caption_tokens", (json_int_t)m->tokens, "layers", layers_json(m), "parameters",
                  "all", (json_int_t)m->count.all, "image", (json_int_t)m->count.image, "text",
                  (json_int_t)m->count.text, "logits", (json_int_t)m->count.logits, "tensors",
                  m->count.tensors, "memory", "training_step", account_json(&m->training),
                  "embed_images", account_json(&m->images), "embed_texts", account_json(&m->texts));
    char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(all);
    return text ? CG_OK : cg_error(CG_EFORMAT, "%s: the path is not UTF-8", m->path);
}

/* ---------------------------------------------------------------------------------------------- */

static cg_status print_graph(const arguments *a, const inspected *m) {
    char *text;
    CG_TRY(a->graph == 't' ? cg_graph_text(m->graph, &text)
                           : cg_graph_dot(m->graph, a->collapse, &text));
    fputs(text, stdout);
    free(text);
    return CG_OK;
}

static cg_status inspect(const arguments *a, inspected *m) {
    if (a->precision == CG_PRECISION_BF16) CG_TRY(cg_context_check_bf16());
    CG_TRY(load_description(a->model, m));
    CG_TRY(choose_sizes(a, m));
    CG_TRY(build_graph(a, m));
    if (a->graph) return print_graph(a, m);
    CG_TRY(cg_graph_layers(m->graph, a->layers ? 0 : 2, &m->layer, &m->n_layers));
    cg_account_count(m->params, &m->count);
    CG_TRY(cg_context_create(a->threads, &m->ctx));
    CG_TRY(plan_all(a, m));
    if (a->json) return print_json(a, m);
    print_text(a, m);
    return CG_OK;
}

int cli_inspect(int argc, char **argv) {
    arguments a = {.batch = 64};
    inspected m = {0};
    cli_parse(&parser, argc, argv, &a);
    cg_status s = inspect(&a, &m);
    inspected_free(&m);
    return s == CG_OK ? 0 : cli_fail("inspect", s);
}
