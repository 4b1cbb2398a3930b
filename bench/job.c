#include "bench/job.h"

#include "graph/rng.h"

#include <stdio.h>
#include <string.h>

/* --- options ---------------------------------------------------------------------------------- */

cg_bench_options cg_bench_defaults(void) {
    return (cg_bench_options){
        .precision = CG_F32, .batch = 64, .tokens = 10, .steps = 10, .gemm = CG_PEAK_GEMM};
}

enum { KEY_CAPTIONS = 1, KEY_TURNS };

static const struct argp_option options[] = {
    {"model", 'm', "FILE", 0, "description of the model (JSON); required", 0},
    {"batch", 'b', "N", 0, "pairs, pictures or captions at a time (64)", 0},
    {"passes", 'x', "LIST", 0, "passes to run: all, none, or all but some, as in -rows,-fuse", 0},
    {"precision", 'p', "f32|bf16", 0, "operands of products (f32)", 0},
    {"caption-tokens", 'k', "K", 0, "tokens of a caption on average, without start and end (10)",
     0},
    {"captions", KEY_CAPTIONS, "FILE", 0, "captions, one a line, as ids with spaces between", 0},
    {"threads", 't', "N", 0, "threads (default: one per processor)", 0},
    {"steps", 's', "N", 0, "runs that are timed in a turn, after 2 that are not (10)", 0},
    {"gemm", 'g', "N", 0,
     "rows of the matrices that the peak is measured with (4096); 0: it is not measured", 0},
    {"turns", KEY_TURNS, NULL, 0,
     "say \"ready\", then take a turn and print its JSON for each line of standard input", 0},
    {"json", 'j', NULL, 0, "print one line of JSON", 0},
    {0},
};

static cg_dtype precision_of(struct argp_state *state, const char *text) {
    if (strcmp(text, "bf16") == 0) return CG_BF16;
    if (strcmp(text, "f32") != 0)
        argp_error(state, "--precision: found \"%s\", wanted f32 or bf16", text);
    return CG_F32;
}

static error_t parse(int key, char *text, struct argp_state *state) {
    cg_bench_options *o = state->input;
    switch (key) {
    case 'm':
        o->model = text;
        return 0;
    case 'b':
        o->batch = cg_bench_whole(state, text, 1);
        return 0;
    case 'p':
        o->precision = precision_of(state, text);
        return 0;
    case 'x':
        if (cg_passes_parse(text, &o->off) != CG_OK)
            argp_error(state, "--passes: %s", cg_error_message());
        return 0;
    case 'k':
        o->tokens = cg_bench_whole(state, text, 1);
        return 0;
    case KEY_CAPTIONS:
        o->captions = text;
        return 0;
    case 't':
        o->threads = (int)cg_bench_whole(state, text, 1);
        return 0;
    case 's':
        o->steps = (int)cg_bench_whole(state, text, 1);
        return 0;
    case 'g':
        o->gemm = cg_bench_whole(state, text, 0);
        return 0;
    case KEY_TURNS:
        o->turns = o->json = 1;
        return 0;
    case 'j':
        o->json = 1;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "one argument too many: \"%s\"", text);
        return 0;
    case ARGP_KEY_END:
        if (!o->model) argp_error(state, "which model? give --model FILE");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cg_bench_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};

/* --- the model -------------------------------------------------------------------------------- */

cg_status cg_bench_model(cg_bench_job *j) {
    CG_TRY(cg_clip_desc_load(j->o->model, &j->desc));
    CG_TRY(cg_context_create(j->o->threads, &j->ctx));
    CG_TRY(cg_runner_create(j->ctx, &j->desc, &j->runner));
    CG_TRY(cg_runner_set_program(j->runner,
                                 j->o->precision == CG_BF16 ? CG_PRECISION_BF16 : CG_PRECISION_F32,
                                 j->o->off, NULL));
    cg_params_init(cg_runner_params(j->runner), 0);
    j->batch.n = j->o->batch;
    j->seconds = calloc((size_t)j->o->steps, sizeof *j->seconds);
    return j->seconds ? CG_OK : cg_error(CG_ENOMEM, "no memory for %d steps", j->o->steps);
}

void cg_bench_job_free(cg_bench_job *j) {
    free(j->seconds);
    free(j->batch.image);
    free(j->batch.token);
    free(j->batch.offset);
    cg_runner_free(j->runner);
    cg_context_free(j->ctx);
}

/* --- pictures and captions -------------------------------------------------------------------- */

cg_status cg_bench_pictures(cg_bench_job *j) {
    int64_t size = j->desc.vision.image_size;
    size_t n = (size_t)(j->batch.n * size * size * 3);
    cg_rng rng = cg_rng_at(0, CG_RNG_SYNTHETIC, 0, 0);
    j->batch.image = malloc(n * sizeof *j->batch.image);
    if (!j->batch.image) return cg_error(CG_ENOMEM, "no memory for pictures");
    for (size_t i = 0; i < n; i++) j->batch.image[i] = (float)cg_rng_range(&rng, -1.7, 1.7);
    return CG_OK;
}

static int32_t *begin_caption(const cg_bench_job *j, int64_t t) {
    int32_t *id = j->batch.token + j->batch.offset[t];
    id[0] = (int32_t)j->desc.text.vocab_size - 2;
    return id + 1;
}

static void end_caption(const cg_bench_job *j, int64_t t, int32_t length) {
    const cg_batch *b = &j->batch;
    b->offset[t + 1] = b->offset[t] + length + 2;
    b->token[b->offset[t + 1] - 1] = (int32_t)j->desc.text.vocab_size - 1;
}

static cg_status make_captions(cg_bench_job *j) {
    int64_t mean = j->o->tokens, most = j->desc.text.context_length - 2;
    int64_t ids = j->desc.text.vocab_size - 2;
    if (mean > most)
        return cg_error(CG_EINVAL, "captions of %lld tokens, but the context has room for %lld",
                        (long long)mean, (long long)most);
    int64_t spread = mean - 1 < most - mean ? mean - 1 : most - mean;
    for (int64_t t = 0; t < j->batch.n; t++) {
        uint64_t shape = cg_mix64((uint64_t)t) % (uint64_t)(2 * spread + 1);
        int32_t length = (int32_t)(mean - spread + (int64_t)shape), *id = begin_caption(j, t);
        for (int32_t i = 0; i < length; i++)
            id[i] = (int32_t)(cg_mix64(((uint64_t)t + 1) << 32 | (uint64_t)i) % (uint64_t)ids);
        end_caption(j, t, length);
    }
    return CG_OK;
}

/* The ids of a line as caption t. */
static cg_status read_caption(cg_bench_job *j, int64_t t, const char *line) {
    int64_t most = j->desc.text.context_length - 2, ids = j->desc.text.vocab_size - 2;
    int32_t length = 0, *id = begin_caption(j, t);
    const char *at = line + strspn(line, " \t\r\n");
    for (char *end; *at; at = end + strspn(end, " \t\r\n"), length++) {
        long long x = strtoll(at, &end, 10);
        if (end == at || !strchr(" \t\r\n", *end) || x < 0 || x >= ids)
            return cg_error(CG_EFORMAT, "%s: caption %lld: found \"%.*s\", wanted ids below %lld",
                            j->o->captions, (long long)t + 1, (int)strcspn(at, " \t\r\n"), at,
                            (long long)ids);
        if (length == most)
            return cg_error(CG_EFORMAT, "%s: caption %lld is longer than the context, %lld tokens",
                            j->o->captions, (long long)t + 1, (long long)most);
        id[length] = (int32_t)x;
    }
    end_caption(j, t, length);
    return CG_OK;
}

static cg_status read_captions(cg_bench_job *j, FILE *f) {
    char *line = NULL;
    size_t room = 0;
    int64_t lines = 0;
    cg_status s = CG_OK;
    while (s == CG_OK && lines < j->batch.n && getline(&line, &room, f) > 0)
        s = read_caption(j, lines++, line);
    free(line);
    if (s != CG_OK) return s;
    if (lines == 0) return cg_error(CG_EFORMAT, "%s: has no caption in it", j->o->captions);
    for (int64_t t = lines; t < j->batch.n; t++) { /* from the start again */
        const int32_t *from = j->batch.offset + t - lines;
        int32_t length = from[1] - from[0] - 2;
        memcpy(begin_caption(j, t), j->batch.token + from[0] + 1, (size_t)length * sizeof *from);
        end_caption(j, t, length);
    }
    return CG_OK;
}

cg_status cg_bench_captions(cg_bench_job *j) {
    cg_batch *b = &j->batch;
    b->offset = calloc((size_t)b->n + 1, sizeof *b->offset);
    b->token = calloc((size_t)(b->n * j->desc.text.context_length), sizeof *b->token);
    if (!b->offset || !b->token) return cg_error(CG_ENOMEM, "no memory for captions");
    if (!j->o->captions) return make_captions(j);
    FILE *f = fopen(j->o->captions, "r");
    if (!f) return cg_error(CG_ENOTFOUND, "%s: cannot be opened", j->o->captions);
    cg_status s = read_captions(j, f);
    fclose(f);
    return s;
}
