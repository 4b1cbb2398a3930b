/* bench_embed: embeddings of made-up pictures, or with --texts of captions, by a model as used
 * after training. See bench/job.h for the captions, and for what is timed and reported. */
#include "bench/job.h"

#include <math.h>
#include <stdio.h>

typedef struct arguments {
    cg_bench_options common;
    int texts;
} arguments;

typedef struct embed_job {
    cg_bench_job job;
    int texts;
    float *row; /* [batch, embed_dim] */
} embed_job;

static cg_status prepare(embed_job *e) {
    CG_TRY(cg_bench_model(&e->job));
    size_t n = (size_t)(e->job.batch.n * e->job.desc.embed_dim);
    e->row = malloc(n * sizeof *e->row);
    if (!e->row) return cg_error(CG_ENOMEM, "no memory for embeddings");
    return e->texts ? cg_bench_captions(&e->job) : cg_bench_pictures(&e->job);
}

static cg_status embed(void *self) {
    embed_job *e = self;
    const cg_batch *b = &e->job.batch;
    CG_TRY(e->texts ? cg_runner_embed_texts(e->job.runner, b->token, b->offset, b->n, e->row)
                    : cg_runner_embed_images(e->job.runner, b->image, b->n, e->row));
    if (isfinite(e->row[0])) return CG_OK;
    return cg_error(CG_ENONFINITE, "an embedding is not finite");
}

static error_t parse(int key, char *text, struct argp_state *state) {
    arguments *a = state->input;
    (void)text;
    if (key == ARGP_KEY_INIT)
        state->child_inputs[0] = &a->common;
    else if (key == 'x')
        a->texts = 1;
    else
        return ARGP_ERR_UNKNOWN;
    return 0;
}

static const struct argp_option options[] = {
    {"texts", 'x', NULL, 0, "embed captions, not pictures", 0},
    {0},
};
static const struct argp_child children[] = {{&cg_bench_argp, 0, NULL, 0}, {0}};

int main(int argc, char **argv) {
    arguments a = {.common = cg_bench_defaults()};
    struct argp argp = {options,  parse, NULL, "Times embeddings of pictures or captions.",
                        children, NULL,  NULL};
    cg_bench_parse(&argp, argc, argv, &a);
    embed_job e = {.job.o = &a.common, .texts = a.texts};
    cg_status status = prepare(&e);
    if (status == CG_OK)
        status = cg_bench_run(
            &e.job,
            &(cg_bench_work){.item = a.texts ? "captions" : "pictures", .run = embed, .self = &e});
    free(e.row);
    cg_bench_job_free(&e.job);
    if (status != CG_OK) fprintf(stderr, "bench_embed: %s\n", cg_error_message());
    return status != CG_OK;
}
