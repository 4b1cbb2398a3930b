/* train: trains a small model on scenes that are drawn as they are needed, and saves it.
 *
 *     train DESCRIPTION FOLDER    a JSON file, and where the checkpoint goes
 *
 * The loop is spelled out; cg_train (train/train.h) also evaluates, saves on the way, resumes. */
#include <clipgraph.h>

#include <stdio.h>
#include <stdlib.h>

enum { PAIRS = 2048, BATCH = 64, STEPS = 48, SEED = 1 };

typedef struct job { /* all that is made, so that one place can free it */
    cg_clip_desc desc;
    cg_preprocess preprocess;
    cg_dataset *data;
    cg_tokenizer *tokenizer;
    cg_context *ctx;
    cg_runner *runner;
    cg_optimizer *optimizer;
    cg_loader *loader;
    float *gradient; /* laid out as the block of all trained parameters */
} job;

/* Pairs of pictures and captions, and a tokenizer learned from the captions. */
static cg_status make_data(job *j) {
    int side = (int)j->desc.vision.image_size;
    cg_synthetic_options scenes = {.seed = SEED, .size = PAIRS, .image_size = side};
    CG_TRY(cg_dataset_synthetic(&scenes, &j->data));
    CG_TRY(cg_tokenizer_train((const char *const *)j->data->caption, PAIRS,
                              (int)j->desc.text.vocab_size, &j->tokenizer));
    j->desc.text.vocab_size = cg_tokenizer_vocab_size(j->tokenizer); /* perhaps fewer */
    j->preprocess = cg_preprocess_default();
    j->preprocess.size = side;
    cg_loader_options how = {.batch = BATCH,
                             .workers = 1,
                             .seed = SEED,
                             .shuffle = 1,
                             .distinct_captions = 1, /* none is another's wrong answer */
                             .drop_last = 1,
                             .preprocess = j->preprocess,
                             .tokenizer = j->tokenizer,
                             .context_length = (int)j->desc.text.context_length};
    return cg_loader_open(j->data, &how, 0, 0, &j->loader);
}

static cg_status make_model(job *j) {
    cg_adamw adamw = {.beta1 = 0.9F, .beta2 = 0.98F, .eps = 1e-6F, .weight_decay = 0.1F};
    CG_TRY(cg_context_create(0, &j->ctx)); /* 0: a thread for each processor */
    CG_TRY(cg_runner_create(j->ctx, &j->desc, &j->runner));
    cg_params *params = cg_runner_params(j->runner);
    cg_params_init(params, SEED);
    j->gradient = calloc((size_t)cg_params_trained_elements(params), sizeof *j->gradient);
    if (!j->gradient) return cg_error(CG_ENOMEM, "no memory for the gradient");
    return cg_optimizer_create(params, adamw, j->ctx->threads, &j->optimizer);
}

static cg_status train(job *j) {
    for (int step = 0; step < STEPS; step++) {
        const cg_batch *batch; /* the loader's; NULL at the end of each epoch */
        double loss;
        CG_TRY(cg_loader_next(j->loader, &batch));
        if (!batch) CG_TRY(cg_loader_next(j->loader, &batch));
        CG_TRY(cg_runner_backward(j->runner, batch, j->gradient, &loss));
        double norm = cg_optimizer_norm(j->optimizer, j->gradient);
        double lr = cg_schedule_lr(2e-3, step, STEPS / 10, STEPS);
        cg_optimizer_step(j->optimizer, j->gradient, norm, lr);
        cg_runner_commit(j->runner); /* running statistics of batch norm */
        if (step % 8 == 7) printf("step %2d  loss %.4f\n", step + 1, loss);
    }
    return CG_OK;
}

static cg_status run(job *j, const char *description, const char *folder) {
    CG_TRY(cg_clip_desc_load(description, &j->desc));
    CG_TRY(make_data(j));
    CG_TRY(make_model(j));
    CG_TRY(train(j));
    cg_checkpoint c = {.desc = &j->desc, /* no moments: to be used, not trained further */
                       .preprocess = &j->preprocess,
                       .params = cg_runner_params(j->runner),
                       .tokenizer = j->tokenizer};
    return cg_checkpoint_save(folder, &c);
}

int main(int argc, char **argv) {
    job j = {0};
    cg_status s = argc == 3 ? run(&j, argv[1], argv[2])
                            : cg_error(CG_EINVAL, "wanted two arguments: DESCRIPTION FOLDER");
    if (s != CG_OK) fprintf(stderr, "train: %s\n", cg_error_message());
    cg_loader_close(j.loader); /* before what it borrows; all of them take NULL */
    cg_optimizer_free(j.optimizer);
    cg_runner_free(j.runner);
    cg_context_free(j.ctx);
    cg_tokenizer_free(j.tokenizer);
    cg_dataset_free(j.data);
    free(j.gradient);
    return s == CG_OK ? 0 : 1;
}
