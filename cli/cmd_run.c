/* clipgraph run: an ONNX file, described, or run on arrays. */
#include "cli/arrays.h"
#include "cli/cli.h"
#include "graph/clock.h"
#include "serialize/onnx/session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { KEY_INPUT = 1, KEY_OUTPUT, KEY_RANDOM, KEY_REPEAT, KEY_LITERAL, KEY_GRAPH };
enum { MOST = CLI_ARRAYS, PATH_ROOM = 4096 };

typedef struct arguments {
    char *model;
    char *input[MOST], *size[MOST]; /* NAME=FILE, NAME=D,D */
    char *file[MOST];               /* of outputs, NAME=FILE */
    char *folder;                   /* of all outputs */
    int n_input, n_size, n_file, random, graph, literal;
    int64_t repeat;
    cli_run run; /* threads, precision, passes, profile */
} arguments;

static const struct argp_option options[] = {
    {"input", KEY_INPUT, "NAME=FILE.npy", 0,
     "an input: float32, float16, int32, int64 or uint8; repeatable", 0},
    {"output", KEY_OUTPUT, "FOLDER|NAME=FILE.npy", 0,
     "write every output to FOLDER/NAME.npy, or one to a file, and then compute no others; "
     "repeatable",
     0},
    {"random", KEY_RANDOM, "NAME=D,D,...", OPTION_ARG_OPTIONAL,
     "run on random numbers; sizes that the file leaves open are 1, or as given; repeatable", 0},
    {"repeat", KEY_REPEAT, "N", 0, "run N times more and print the times", 0},
    {"threads", CLI_KEY_THREADS, "N", 0, "threads (default: one per processor)", 0},
    {"precision", CLI_KEY_PRECISION, "fp32|bf16", 0, CLI_PRECISION_DOC, 0},
    {"passes", CLI_KEY_PASSES, "LIST", 0, CLI_PASSES_DOC, 0},
    {"literal", KEY_LITERAL, NULL, 0,
     "run each operator as it stands: attention, norms and activations that are spelt out, masks "
     "and "
     "selected rows are not recognised",
     0},
    {"graph", KEY_GRAPH, NULL, 0, "print the graph that was run, one line a node", 0},
    {"profile", CLI_KEY_PROFILE, "FILE", OPTION_ARG_OPTIONAL, CLI_PROFILE_DOC, 0},
    {0},
};

/* Appends NAME=REST to a list. */
static void add(struct argp_state *state, const char *option, char *text, char **list, int *n) {
    if (text[0] == '=' || !strchr(text, '='))
        argp_error(state, "--%s: found \"%s\", wanted NAME=...", option, text);
    if (*n == MOST) argp_error(state, "--%s: more than %d of them", option, MOST);
    list[(*n)++] = text;
}

static void take_output(struct argp_state *state, arguments *a, char *text) {
    if (strchr(text, '='))
        add(state, "output", text, a->file, &a->n_file);
    else if (a->folder || !text[0])
        argp_error(state, "--output: wanted one folder");
    else
        a->folder = text;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    switch (key) {
    case KEY_INPUT:
        add(state, "input", text, a->input, &a->n_input);
        return 0;
    case KEY_OUTPUT:
        take_output(state, a, text);
        return 0;
    case KEY_RANDOM:
        a->random = 1;
        if (text) add(state, "random", text, a->size, &a->n_size);
        return 0;
    case KEY_REPEAT:
        a->repeat = cli_int(state, "repeat", text, 1, 1000000);
        return 0;
    case KEY_LITERAL:
        a->literal = 1;
        return 0;
    case KEY_GRAPH:
        a->graph = 1;
        return 0;
    case ARGP_KEY_ARG: /* --random's, where a space stands before it */
        if (a->random && a->model && strchr(text, '=')) {
            add(state, "random", text, a->size, &a->n_size);
            return 0;
        }
        if (a->model) argp_error(state, "one model only, found \"%s\" too", text);
        a->model = text;
        return 0;
    case ARGP_KEY_END:
        if (!a->model) argp_error(state, "no model: give a file, MODEL.onnx");
        if ((a->repeat || a->folder || a->n_file || a->graph || a->run.profile.on) && !a->n_input &&
            !a->random)
            argp_error(state, "what on? give --input NAME=FILE.npy or --random");
        return 0;
    default:
        return cli_run_option(key, text, state, &a->run);
    }
}

static const struct argp parser = {
    options,
    parse,
    "MODEL.onnx",
    "Runs an ONNX file on arrays. Without inputs it says what is in the file: inputs, outputs, "
    "metadata and operators. Without --output it prints the beginning of each result."
    "\vExamples:\n"
    "  clipgraph run image.onnx\n"
    "  clipgraph run image.onnx --input pixel_values=photos.npy \\\n"
    "      --output image_embeds=rows.npy\n"
    "  clipgraph run image.onnx --random pixel_values=32,3,224,224 \\\n"
    "      --repeat 10 --profile",
    NULL,
    NULL,
    NULL};

/* --- saying what is there --------------------------------------------------------------------- */

static void print_port(const cg_onnx_port *p) {
    printf("  %-16s %s", p->name, p->is_bool ? "bool" : cg_dtype_name(p->dtype));
    if (p->rank >= 0) printf(" [");
    for (int i = 0; i < p->rank; i++) {
        printf("%s", i ? ", " : "");
        if (p->dim[i] >= 0)
            printf("%" PRId64, p->dim[i]);
        else
            printf("%s", p->symbol[i][0] ? p->symbol[i] : "?");
    }
    printf("%s\n", p->rank >= 0 ? "]" : " of any shape");
}

static void describe(const char *path, const cg_onnx_file *f) {
    const cg_onnx_port *port;
    const cg_meta *meta;
    const cg_onnx_operator *op;
    int n = cg_onnx_inputs(f, &port), nodes = 0;
    printf("%s: opset %" PRId64 ", %" PRId64 " weights%s%s\n", path, cg_onnx_opset(f),
           cg_onnx_weights(f), *cg_onnx_producer(f) ? ", made by " : "", cg_onnx_producer(f));
    printf("inputs\n");
    for (int i = 0; i < n; i++) print_port(&port[i]);
    n = cg_onnx_outputs(f, &port);
    printf("outputs\n");
    for (int i = 0; i < n; i++) print_port(&port[i]);
    n = cg_onnx_meta(f, &meta);
    if (n) printf("metadata\n");
    for (int i = 0; i < n; i++) printf("  %-16s %s\n", meta[i].key, meta[i].value);
    n = cg_onnx_operators(f, &op);
    for (int i = 0; i < n; i++) nodes += op[i].count;
    printf("%d nodes\n", nodes);
    for (int i = 0; i < n; i++) printf("  %-16s %d\n", op[i].name, op[i].count);
}

/* --- outputs ---------------------------------------------------------------------------------- */

/* The outputs asked for, by name; all where none are. */
static cg_status choose(arguments *a, const cg_onnx_file *f, cg_tensor *out, char **path, int *n) {
    const cg_onnx_port *port;
    int all = cg_onnx_outputs(f, &port);
    *n = 0;
    for (int i = 0; i < a->n_file; i++) {
        path[i] = cli_split(a->file[i]);
        out[(*n)++].name = a->file[i];
    }
    for (int i = 0; i < all && (a->folder || !a->n_file); i++) {
        if (*n == MOST) return cg_error(CG_EUNSUPPORTED, "more than %d outputs", MOST);
        out[(*n)++].name = port[i].name;
    }
    return CG_OK;
}

static void print_tensor(const cg_tensor *t) {
    char text[CG_SHAPE_TEXT];
    int64_t count = cg_shape_count(&t->shape);
    printf("%s %s %s", t->name, cg_dtype_name(t->dtype), cg_shape_print(&t->shape, text));
    for (int64_t i = 0; i < count && i < 6; i++)
        printf(" %.6g", (double)((const float *)t->data)[i]);
    printf("%s\n", count > 6 ? " ..." : "");
}

static cg_status save(const arguments *a, const cg_tensor *out, int n, char *const *path) {
    if (a->folder && mkdir(a->folder, 0777) != 0 && errno != EEXIST)
        return cg_error(CG_EIO, "--output: %s: %s", a->folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        char place[PATH_ROOM];
        const char *to = i < a->n_file ? path[i] : place;
        if (i >= a->n_file && !a->folder) {
            print_tensor(&out[i]);
            continue;
        }
        if (i >= a->n_file) {
            if (strchr(out[i].name, '/'))
                return cg_error(CG_EINVAL,
                                "output %s: not a name for a file: give --output %s=FILE",
                                out[i].name, out[i].name);
            if (snprintf(place, sizeof place, "%s/%s.npy", a->folder, out[i].name) >= PATH_ROOM)
                return cg_error(CG_EINVAL, "--output: the path is too long");
        }
        CG_TRY(cg_npy_save(to, out[i].dtype, &out[i].shape, out[i].data));
        char text[CG_SHAPE_TEXT];
        printf("wrote %s, float32 %s\n", to, cg_shape_print(&out[i].shape, text));
    }
    return CG_OK;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The first run makes the plan, the second lays out weights: neither is counted among the rest. */
static cg_status time_runs(const arguments *a, cg_onnx_session *s, const cli_arrays *in,
                           cg_tensor *out, int n) {
    double *seconds = malloc((size_t)a->repeat * sizeof *seconds + 1);
    if (!seconds) return cg_error(CG_ENOMEM, "no memory for times");
    cg_status status = cg_onnx_session_run(s, in->tensor, in->n, out, n);
    for (int64_t i = 0; i < a->repeat && status == CG_OK; i++) {
        double begun = cg_now();
        status = cg_onnx_session_run(s, in->tensor, in->n, out, n);
        seconds[i] = cg_now() - begun;
    }
    if (status == CG_OK) {
        qsort(seconds, (size_t)a->repeat, sizeof *seconds, by_size);
        printf("%" PRId64 " run%s: median %.3f ms, fastest %.3f, slowest %.3f\n", a->repeat,
               a->repeat == 1 ? "" : "s", 1e3 * seconds[a->repeat / 2], 1e3 * seconds[0],
               1e3 * seconds[a->repeat - 1]);
    }
    free(seconds);
    return status;
}

static cg_status print_graph(const cg_onnx_session *s) {
    char *text;
    CG_TRY(cg_graph_text(cg_onnx_session_graph(s), &text));
    fputs(text, stdout);
    free(text);
    return CG_OK;
}

/* Where all inputs are given, it is not for the command line that a file cannot be run. */
static cg_status blame(cg_status s, const cg_onnx_session *session, const cli_arrays *in) {
    const cg_onnx_port *port;
    int all = !session || in->n >= cg_onnx_inputs(cg_onnx_session_file(session), &port);
    return s == CG_EINVAL && all ? CG_EFORMAT : s;
}

/* loading: the seconds that the session took to be there. */
static cg_status run(arguments *a, cg_onnx_session *s, cli_arrays *in, double loading) {
    cg_tensor out[MOST] = {{0}};
    char *path[MOST];
    int n;
    const cg_onnx_file *f = cg_onnx_session_file(s);
    CG_TRY(cli_arrays_load(a->input, a->n_input, in));
    if (a->random) CG_TRY(cli_arrays_draw(a->size, a->n_size, f, in));
    CG_TRY(choose(a, f, out, path, &n));
    CG_TRY(cg_exec_profile(cg_onnx_session_exec(s), a->run.profile.profile));
    double begun = cg_now();
    cg_status status = cg_onnx_session_run(s, in->tensor, in->n, out, n);
    if (status != CG_OK) return blame(status, s, in);
    double first = cg_now() - begun;
    CG_TRY(save(a, out, n, path));
    if (a->graph) CG_TRY(print_graph(s));
    if (!a->repeat) return CG_OK;
    printf("loaded in %.3f ms, first run %.3f ms\n", 1e3 * loading, 1e3 * first);
    return time_runs(a, s, in, out, n);
}

int cli_run_onnx(int argc, char **argv) {
    arguments a = {0};
    cg_context *ctx = NULL;
    cg_onnx_session *s = NULL;
    cli_arrays in = {0};
    cli_parse(&parser, argc, argv, &a);
    cg_onnx_how how = {
        .literal = a.literal, .bf16 = a.run.precision == CG_PRECISION_BF16, .off = a.run.off};
    cg_status status = cli_profile_begin(&a.run.profile);
    double begun = cg_now();
    if (status == CG_OK) status = cg_context_create(a.run.threads, &ctx);
    if (status == CG_OK) status = blame(cg_onnx_session_create(ctx, a.model, &how, &s), s, &in);
    double loading = cg_now() - begun;
    cg_profile_end(a.run.profile.profile, CLI_PROFILE_LOADING, begun);
    if (status == CG_OK && !a.n_input && !a.random)
        describe(a.model, cg_onnx_session_file(s));
    else if (status == CG_OK)
        status = run(&a, s, &in, loading);
    int code = status == CG_OK ? 0 : cli_fail("run", status);
    code = cli_profile_end_exec("run", &a.run.profile, s ? cg_onnx_session_exec(s) : NULL,
                                ctx ? ctx->threads : 0, 0, code);
    cli_arrays_free(&in);
    cg_onnx_session_free(s);
    cg_context_free(ctx);
    return code;
}
