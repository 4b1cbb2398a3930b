#include "cli/cli.h"

#include "graph/nearest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- errors --------------------------------------------------------------------------------- */

int cli_fail(const char *command, cg_status s) {
    const char *message = cg_error_message();
    fflush(stdout);
    fprintf(stderr, "clipgraph %s: %s\n", command, message[0] ? message : cg_status_text(s));
    return s == CG_EINVAL ? 2 : 1;
}

int cli_usage(const char *command, const char *format, ...) {
    va_list args;
    fflush(stdout);
    fprintf(stderr, "clipgraph %s: ", command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry `clipgraph %s --help`.\n", command);
    return 2;
}

/* --- options -------------------------------------------------------------------------------- */

enum { MAX_OPTIONS = 128 };

static int list_options(const struct argp *a, const char **name, int n) {
    for (const struct argp_option *o = a->options; o && (o->name || o->key || o->doc); o++)
        if (o->name && n < MAX_OPTIONS) name[n++] = o->name;
    for (const struct argp_child *c = a->children; c && c->argp; c++)
        n = list_options(c->argp, name, n);
    return n;
}

/* Does the word (of n bytes) begin an option's name? argp takes unambiguous beginnings. */
static int begins_one(const char *word, size_t n, const char *const *name) {
    for (; *name; name++)
        if (strncmp(*name, word, n) == 0) return 1;
    return 0;
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input) {
    const char *name[MAX_OPTIONS + 4] = {0};
    int n = list_options(argp, name, 0);
    name[n++] = "help";
    name[n++] = "usage";
    name[n++] = "version";
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        char word[64];
        const char *text = argv[i] + 2;
        size_t length = strcspn(text[-2] == '-' && text[-1] == '-' ? text : "", "=");
        if (strncmp(argv[i], "--", 2) != 0 || begins_one(text, length, name)) continue;
        snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), text);
        const char *nearest = cg_nearest(word, name);
        fprintf(stderr, "%s: unknown option --%s", argv[0], word);
        if (nearest) fprintf(stderr, "; did you mean --%s?", nearest);
        fprintf(stderr, "\nTry `%s --help`.\n", argv[0]);
        exit(2);
    }
    if (argp_parse(argp, argc, argv, 0, NULL, input) != 0) exit(2);
}

static const char *dashes(const char *option) {
    return option[0] == '-' ? "" : "--";
}

int64_t cli_int(const struct argp_state *state, const char *option, const char *text, int64_t low,
                int64_t high) {
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (end == text || *end || errno || x < low || x > high)
        argp_error(state, "%s%s: found \"%s\", wanted a whole number from %" PRId64 " to %" PRId64,
                   dashes(option), option, text, low, high);
    return x;
}

double cli_float(const struct argp_state *state, const char *option, const char *text, double low,
                 double high) {
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !(x >= low && x <= high))
        argp_error(state, "%s%s: found \"%s\", wanted a number from %g to %g", dashes(option),
                   option, text, low, high);
    return x;
}

char cli_separator(const struct argp_state *state, const char *option, const char *text) {
    if (strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0) return '\t';
    if (strcmp(text, "comma") == 0) return ',';
    if (!text[0] || text[1] || text[0] == '"' || text[0] == '\n' || text[0] == '\r')
        argp_error(state, "%s%s: found \"%s\", wanted one character, \"tab\" or \"comma\"",
                   dashes(option), option, text);
    return text[0];
}

static const struct argp_option run_options[] = {
    {"batch-size", CLI_KEY_BATCH, "N", 0, "pairs worked on together (default 64)", 0},
    {"threads", CLI_KEY_THREADS, "N", 0, "threads of the model (default: one per processor)", 0},
    {"workers", CLI_KEY_WORKERS, "N", 0, "threads that read pictures (default: as many)", 0},
    {"precision", CLI_KEY_PRECISION, "fp32|bf16", 0, CLI_PRECISION_DOC, 0},
    {"passes", CLI_KEY_PASSES, "LIST", 0, CLI_PASSES_DOC, 0},
    {"json", CLI_KEY_JSON, NULL, 0, "print JSON, one object per line", 0},
    {"profile", CLI_KEY_PROFILE, "FILE", OPTION_ARG_OPTIONAL, CLI_PROFILE_DOC, 0},
    {0},
};

error_t cli_run_option(int key, char *text, const struct argp_state *state, cli_run *run) {
    switch (key) {
    case CLI_KEY_BATCH:
        run->batch_size = cli_int(state, "batch-size", text, 1, 1 << 20);
        return 0;
    case CLI_KEY_THREADS:
        run->threads = (int)cli_int(state, "threads", text, 1, 1024);
        return 0;
    case CLI_KEY_WORKERS:
        run->workers = (int)cli_int(state, "workers", text, 1, 4096);
        return 0;
    case CLI_KEY_JSON:
        run->json = 1;
        return 0;
    case CLI_KEY_PRECISION:
        run->precision = cli_precision(state, text);
        return 0;
    case CLI_KEY_PASSES:
        run->off = cli_passes(state, text);
        return 0;
    case CLI_KEY_PROFILE:
        run->profile = cli_profile_option(state, text);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_run(int key, char *text, struct argp_state *state) {
    cli_run *run = state->input;
    if (!run) return ARGP_ERR_UNKNOWN;
    if (key == ARGP_KEY_END && !run->batch_size) run->batch_size = 64;
    return cli_run_option(key, text, state, run);
}

const struct argp cli_run_argp = {.options = run_options, .parser = parse_run};

/* --- data ----------------------------------------------------------------------------------- */

cg_status cli_table(const char *path, cg_table_options options, cg_dataset **out) {
    FILE *f = options.separator ? NULL : fopen(path, "rb");
    if (f) {
        int tab = 0, comma = 0;
        for (int c; (c = getc(f)) != EOF && c != '\n';) {
            tab |= c == '\t';
            comma |= c == ',';
        }
        fclose(f);
        if (comma && !tab) options.separator = ',';
    }
    return cg_dataset_table(path, &options, out);
}

cg_status cli_held_out(int64_t image_size, cg_dataset **out) {
    cg_synthetic_options o = {.size = 500, .image_size = (int)image_size, .held_out = 1};
    return cg_dataset_synthetic(&o, out);
}

/* --- the model ------------------------------------------------------------------------------- */

cg_status cli_model_load(const char *checkpoint, cli_run *run, int texts, cg_model *out) {
    CG_TRY(cli_profile_begin(&run->profile));
    double begun = cg_profile_begin(run->profile.profile);
    CG_TRY((texts ? cg_model_load : cg_model_load_pictures)(checkpoint, run->threads, out));
    CG_TRY(cg_runner_set_program(out->runner, run->precision, run->off, NULL));
    cg_profile_end(run->profile.profile, CLI_PROFILE_LOADING, begun);
    return cg_exec_profile(cg_runner_exec(out->runner), run->profile.profile);
}

/* --- evaluation ------------------------------------------------------------------------------ */

cg_embed_options cli_evaluate_options(const cg_model *m, const cli_run *run) {
    return (cg_embed_options){.batch = run->batch_size ? run->batch_size : 64,
                              .workers = run->workers ? run->workers : m->ctx->threads,
                              .preprocess = m->preprocess,
                              .tokenizer = m->tokenizer};
}

/* --- saying things -------------------------------------------------------------------------- */

void cli_report_left_out(const char *command, int64_t total, const cg_loader_report *r) {
    int64_t left_out = r->unreadable + r->too_large + r->empty_caption;
    fflush(stdout);
    if (left_out) {
        const char *comma = "";
        fprintf(stderr,
                "clipgraph %s: warning: %" PRId64 " of %" PRId64 " pairs left out:", command,
                left_out, total);
        struct {
            int64_t n;
            const char *why;
        } reason[] = {{r->unreadable, "unreadable"},
                      {r->too_large, "too large"},
                      {r->empty_caption, "without a caption"}};
        for (int i = 0; i < 3; i++) {
            if (!reason[i].n) continue;
            fprintf(stderr, "%s %" PRId64 " %s", comma, reason[i].n, reason[i].why);
            comma = ",";
        }
        fprintf(stderr, "\n");
        for (int i = 0; i < r->n_first; i++) fprintf(stderr, "  %s\n", r->first[i]);
    }
    if (r->truncated)
        fprintf(stderr,
                "clipgraph %s: warning: %" PRId64 " caption%s cut to the model's context length\n",
                command, r->truncated, r->truncated == 1 ? "" : "s");
}

const char *cli_duration(double seconds, char text[32]) {
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(text, 32, "?");
    else if (seconds < 59.95)
        snprintf(text, 32, "%.*f s", seconds < 9.95, seconds);
    else if (seconds < 3599.5)
        snprintf(text, 32, "%d min %02d s", (int)(seconds + 0.5) / 60, (int)(seconds + 0.5) % 60);
    else
        snprintf(text, 32, "%d h %02d min", (int)(seconds / 3600), (int)(seconds / 60) % 60);
    return text;
}
