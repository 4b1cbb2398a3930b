#include "cli/train_job.h"

#include "cli/data.h"
#include "data/epoch_plan.h"
#include "graph/version.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

int cli_job_synthetic(const cli_job *j) {
    return strcmp(j->a.dataset_type, "synthetic") == 0;
}

/* --- which run ------------------------------------------------------------------------------ */

static void base_name(const char *path, char *out, size_t size) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from && path[from - 1] != '/') from--;
    if (n - from > 5 && strncmp(path + n - 5, ".json", 5) == 0) n -= 5;
    snprintf(out, size, "%.*s", (int)(n - from), path + from);
}

/* The run that a checkpoint belongs to: RUN/checkpoints/step-N -> RUN; "" where it stands alone. */
static void run_of(const char *checkpoint, char run[CLI_PATH_ROOM]) {
    snprintf(run, CLI_PATH_ROOM, "%s", checkpoint);
    size_t n = strlen(run);
    while (n > 1 && run[n - 1] == '/') run[--n] = '\0';
    char *last = strrchr(run, '/');
    if (last) *last = '\0';
    char *parent = last ? strrchr(run, '/') : NULL;
    const char *tail = parent ? parent + 1 : run;
    if (last && strcmp(tail, "checkpoints") == 0) {
        if (parent)
            *parent = '\0';
        else
            snprintf(run, CLI_PATH_ROOM, ".");
    } else
        run[0] = '\0';
}

static int exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

/* Finds what --resume means: its checkpoint, and the run's folder. */
static int choose_resumed(cli_job *j) {
    char run[CLI_PATH_ROOM], named[CLI_PATH_ROOM];
    const cli_train_args *a = &j->a;
    snprintf(named, sizeof named, "%s/%s", a->logs, a->name ? a->name : "");
    const char *from = strcmp(a->resume, "latest") == 0 ? named : a->resume;
    if (!exists(from))
        return cli_usage("train", "--resume: %s: there is no such run or checkpoint", from);
    cg_status s = cg_checkpoint_find(from, &j->resume);
    if (s != CG_OK) return cli_fail("train", s);
    run_of(j->resume, run);
    if (!a->name && !run[0])
        return cli_usage("train", "--resume: %s stands outside of a run: give the new one a --name",
                         j->resume);
    snprintf(j->folder, sizeof j->folder, "%s", a->name ? named : run);
    return 0;
}

/* A run goes on at its newest checkpoint; another needs a folder of its own. */
static int check_folder(const cli_job *j) {
    char *newest;
    if (cg_checkpoint_find(j->folder, &newest) != CG_OK) return 0;
    int same = j->resume && strcmp(newest, j->resume) == 0;
    struct stat x, y;
    if (j->resume && stat(newest, &x) == 0 && stat(j->resume, &y) == 0)
        same = x.st_ino == y.st_ino && x.st_dev == y.st_dev;
    int code = 0;
    if (!same && j->resume)
        code = cli_usage("train",
                         "--resume: %s is not the newest checkpoint of its run, that is %s: resume "
                         "this one, or give the new run a --name",
                         j->resume, newest);
    else if (!same) {
        fprintf(stderr,
                "clipgraph train: %s has checkpoints of an earlier run, the newest is %s\n"
                "To go on with it:  clipgraph train --resume %s\n"
                "To begin anew, give another --name.\n",
                j->folder, newest, j->folder);
        code = 2;
    }
    free(newest);
    return code;
}

/* The options of the run that is resumed; NULL: it has none on record. */
static json_t *stored_arguments(const char *checkpoint) {
    char run[CLI_PATH_ROOM], path[CLI_PATH_ROOM + 16];
    run_of(checkpoint, run);
    snprintf(path, sizeof path, "%s/config.json", run);
    json_error_t problem;
    json_t *config = run[0] ? json_load_file(path, 0, &problem) : NULL;
    if (run[0] && !config && exists(path))
        fprintf(stderr,
                "clipgraph train: warning: the run's options cannot be read: %s: line %d: %s\n",
                path, problem.line, problem.text);
    json_t *list = json_incref(json_object_get(config, "arguments"));
    json_decref(config);
    return list;
}

int cli_job_choose(cli_job *j, int argc, char **argv) {
    int code;
    cli_train_args_parse(argc, argv, NULL, &j->a);
    if (j->a.resume) {
        if (strcmp(j->a.resume, "latest") == 0 && !j->a.name)
            return cli_usage("train", "--resume latest wants the run's --name; or give the run: "
                                      "--resume LOGS/NAME");
        if ((code = choose_resumed(j))) return code;
        cli_train_args_free(&j->a);
        cli_train_args_parse(argc, argv, stored_arguments(j->resume), &j->a);
    }
    const char *clash = cli_train_args_clash(&j->a);
    if (clash) return cli_usage("train", "%s", clash);
    base_name(j->a.model, j->model, sizeof j->model);
    if (!j->resume) {
        char stamp[32];
        time_t t = time(NULL);
        struct tm local;
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", localtime_r(&t, &local));
        if (j->a.name)
            snprintf(j->folder, sizeof j->folder, "%s/%s", j->a.logs, j->a.name);
        else
            snprintf(j->folder, sizeof j->folder, "%s/%s-%s", j->a.logs, stamp, j->model);
    }
    return check_folder(j);
}

/* --- the model and its data ----------------------------------------------------------------- */

static cg_status load_description(const cli_job *j, cg_clip_desc *desc) {
    char *path;
    CG_TRY(cli_config_find(j->a.model, &path));
    cg_status s = cg_clip_desc_load(path, desc);
    free(path);
    CG_TRY(s);
    if (j->a.context_length) desc->text.context_length = j->a.context_length;
    if (j->a.vocab_size) desc->text.vocab_size = j->a.vocab_size;
    if (j->a.quick_gelu) desc->quick_gelu = 1;
    if (j->a.patch_dropout >= 0) desc->vision.patch_dropout = (float)j->a.patch_dropout;
    if (j->a.siglip && isnan(desc->init_logit_bias)) { /* as the paper starts it */
        desc->init_logit_scale = logf(10);
        desc->init_logit_bias = -10;
    }
    return cg_clip_desc_check(j->a.model, desc);
}

/* A resumed run keeps its description; one given with it must be the same. */
static cg_status check_resumed_model(const cli_job *j) {
    cg_clip_desc given;
    CG_TRY(load_description(j, &given));
    given.text.vocab_size = j->desc.text.vocab_size; /* learned from the data */
    if (given.text.pool_type == CG_POOL_EOS) given.text.eos_id = j->desc.text.eos_id;
    json_t *x = cg_clip_desc_json(&given), *y = cg_clip_desc_json(&j->desc);
    int same = x && y && json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return same
               ? CG_OK
               : cg_error(CG_EINVAL,
                          "%s, as described by the options, is not the model of the checkpoint %s; "
                          "leave them out, or begin another run",
                          j->a.model, j->resume);
}

/* Was the option given to this command, not only to the run that is resumed? */
static int given_again(const cli_train_args *a, const char *option) {
    int again = 0;
    for (size_t i = json_array_size(a->stored); i < json_array_size(a->arguments); i++)
        again |= strncmp(json_string_value(json_array_get(a->arguments, i)), option,
                         strlen(option)) == 0;
    return again;
}

static cg_status make_description(cli_job *j) {
    const cli_train_args *a = &j->a;
    if (!j->resume) {
        CG_TRY(load_description(j, &j->desc));
        j->preprocess = cg_preprocess_default();
        j->preprocess.size = (int)j->desc.vision.image_size;
    } else {
        CG_TRY(cg_checkpoint_config(j->resume, &j->desc, &j->preprocess));
        CG_TRY(cg_checkpoint_tokenizer(j->resume, &j->tokenizer));
        /* an untouched description's file may be gone by now */
        if (given_again(a, "--model=") || given_again(a, "--siglip") || given_again(a, "--force-"))
            CG_TRY(check_resumed_model(j));
        if (given_again(a, "--vocab-size="))
            return cg_error(CG_EINVAL, "--vocab-size: a resumed run keeps its tokenizer");
        if (a->context_length && a->context_length != j->desc.text.context_length)
            return cg_error(CG_EINVAL,
                            "--context-length %" PRId64 ", but the checkpoint's is %" PRId64,
                            a->context_length, j->desc.text.context_length);
    }
    if (!j->resume || cli_train_args_given(a, "interpolation"))
        j->preprocess.interpolation = (cg_interpolation)a->interpolation;
    if (!j->resume || cli_train_args_given(a, "image-resize-mode"))
        j->preprocess.resize_mode = (cg_resize_mode)a->resize_mode;
    for (int i = 0; i < 3; i++) {
        if (cli_train_args_given(a, "image-mean")) j->preprocess.mean[i] = (float)a->image_mean[i];
        if (cli_train_args_given(a, "image-std")) j->preprocess.std[i] = (float)a->image_std[i];
    }
    return CG_OK;
}

static cg_status open_data(const cli_job *j, const char *path, cg_dataset **out) {
    int synthetic = cli_job_synthetic(j); /* then --val-data is what it is */
    cli_data o = {.type = synthetic ? CLI_DATA_AUTO : cli_data_type_named(j->a.dataset_type),
                  .table = {.image_column = j->a.image_column,
                            .caption_column = j->a.caption_column,
                            .separator = (char)j->a.separator},
                  .classes = j->a.classes};
    return cli_data_open("train", path, &o, out);
}

/* Classes are few: a batch must hold their captions many times. */
static int distinct_captions(const cli_job *j) {
    return !j->a.allow_repeated && !j->train->classes.n;
}

/* Counts an epoch's steps, which the warm-up and the first lines printed need before any thread
 * is started. */
static cg_status count_steps(cli_job *j) {
    cg_epoch_plan plan;
    int64_t batch = j->a.batch_size;
    cg_status s = cg_epoch_plan_init(j->train, batch, distinct_captions(j), 1, 1, &plan);
    j->steps = plan.batches;
    int64_t pairs = plan.n;
    cg_epoch_plan_free(&plan);
    CG_TRY(s);
    const char *data = cli_job_synthetic(j) ? "the synthetic data" : j->a.train_data;
    if (pairs == 0) return cg_error(CG_EFORMAT, "%s: no pair in it has a caption", data);
    if (pairs < batch)
        return cg_error(CG_EINVAL,
                        "--batch-size %" PRId64 " is more than the %" PRId64 " pairs of %s", batch,
                        pairs, data);
    if (j->steps == 0)
        return cg_error(CG_EINVAL,
                        "--batch-size %" PRId64
                        " is more than the distinct captions of %s allow (%d); make it smaller, or "
                        "give --allow-repeated-captions",
                        batch, data, (int)j->train->n_captions);
    return CG_OK;
}

static cg_status make_data(cli_job *j) {
    const cli_train_args *a = &j->a;
    j->templates.path = a->templates;
    CG_TRY(cli_templates_read(&j->templates));
    if (cli_job_synthetic(j)) {
        cg_synthetic_options o = {.seed = (uint64_t)a->seed,
                                  .size = a->num_samples,
                                  .image_size = (int)j->desc.vision.image_size};
        CG_TRY(cg_dataset_synthetic(&o, &j->train));
    } else
        CG_TRY(open_data(j, a->train_data, &j->train));
    if (a->val_data)
        CG_TRY(open_data(j, a->val_data, &j->val));
    else if (cli_job_synthetic(j))
        CG_TRY(cli_held_out(j->desc.vision.image_size, &j->val));
    return count_steps(j);
}

/* Learns the tokenizer from the captions; with templates from sentences in which each caption and
 * each template stands at least once. */
static cg_status learn_tokenizer(cli_job *j) {
    const cg_dataset *d = j->train;
    const cg_templates *t = &j->templates.all;
    int vocab_size = (int)j->desc.text.vocab_size;
    if (!t->n)
        return cg_tokenizer_train((const char *const *)d->caption, (size_t)d->size, vocab_size,
                                  &j->tokenizer);
    int64_t n = d->size > t->n ? d->size : t->n;
    char **text = calloc((size_t)n, sizeof *text);
    cg_status s = text ? CG_OK : cg_error(CG_ENOMEM, "no memory for %" PRId64 " sentences", n);
    for (int64_t i = 0; i < n && s == CG_OK; i++) {
        text[i] = cg_template_fill(t->text[i % t->n], d->caption[i % d->size]);
        if (!text[i]) s = cg_error(CG_ENOMEM, "no memory for %" PRId64 " sentences", n);
    }
    if (s == CG_OK)
        s = cg_tokenizer_train((const char *const *)text, (size_t)n, vocab_size, &j->tokenizer);
    for (int64_t i = 0; text && i < n; i++) free(text[i]);
    free(text);
    return s;
}

static cg_status make_model(cli_job *j) {
    if (!j->tokenizer) {
        CG_TRY(learn_tokenizer(j));
        j->desc.text.vocab_size = cg_tokenizer_vocab_size(j->tokenizer);
        if (j->desc.text.pool_type == CG_POOL_EOS)
            j->desc.text.eos_id = cg_tokenizer_end(j->tokenizer);
    }
    CG_TRY(cg_context_create((int)j->a.threads, &j->ctx));
    CG_TRY(cg_runner_create(j->ctx, &j->desc, &j->runner));
    CG_TRY(cg_runner_set_program(j->runner, j->a.precision, j->a.off, NULL));
    cg_params_init(cg_runner_params(j->runner), (uint64_t)j->a.seed);
    return CG_OK;
}

/* --- options -------------------------------------------------------------------------------- */

static void settle_options(cli_job *j) {
    cli_train_args *a = &j->a;
    int64_t total = j->steps * a->epochs;
    int vit = cg_vision_arch_of(&j->desc.vision) ==
              CG_VISION_VIT; /* wants a shorter memory of squares than a ResNet */
    if (a->beta2 < 0) a->beta2 = vit ? 0.98 : 0.999;
    if (a->eps < 0) a->eps = vit ? 1e-6 : 1e-8;
    if (a->warmup < 0) a->warmup = total / 10 < 10000 ? total / 10 : 10000;
    if (a->warmup >= total)
        fprintf(stderr,
                "clipgraph train: warning: --warmup %" PRId64 " is no less than the run's %" PRId64
                " steps: the learning rate never gets to --lr\n",
                a->warmup, total);
    a->threads = j->ctx->threads;
    if (!a->workers) a->workers = j->ctx->threads;
}

static cg_status make_config(cli_job *j) {
    j->config = json_pack("{s:s, s:O, s:o?, s:o?}", "clipgraph", CLIPGRAPH_VERSION, "arguments",
                          j->a.arguments, "options", cli_train_args_json(&j->a), "model_cfg",
                          cg_clip_desc_json(&j->desc));
    return j->config ? CG_OK : cg_error(CG_ENOMEM, "no memory for config.json");
}

static void fill_options(cli_job *j) {
    const cli_train_args *a = &j->a;
    j->options = (cg_train_options){
        .folder = j->folder,
        .config = j->config,
        .batch_size = a->batch_size,
        .epochs = a->epochs,
        .warmup = a->warmup,
        .lr = a->lr,
        .adamw = {.beta1 = (float)a->beta1,
                  .beta2 = (float)a->beta2,
                  .eps = (float)a->eps,
                  .weight_decay = (float)a->wd,
                  .clip_norm = (float)a->grad_clip_norm},
        .seed = (uint64_t)a->seed,
        .workers = (int)a->workers,
        .preprocess = j->preprocess,
        .augment = {.scale_min = a->aug_scale[0],
                    .scale_max = a->aug_scale[1],
                    .ratio = a->aug_ratio,
                    .shift = a->aug_shift,
                    .rotation = a->aug_rotation,
                    .gain = a->aug_gain,
                    .saturation = a->aug_saturation,
                    .flip = a->aug_flip},
        .cache_bytes = a->cache_mb << 20,
        .distinct_captions = distinct_captions(j),
        .templates = j->templates.all,
        .save_every = a->save_frequency,
        .keep = a->keep,
        .val_every = a->val_frequency,
        .log_every = a->log_every,
        .learned_limit = log(100),
    };
}

cg_status cli_job_make(cli_job *j) {
    CG_TRY(make_description(j));
    CG_TRY(make_data(j));
    CG_TRY(make_model(j));
    settle_options(j);
    CG_TRY(make_config(j));
    fill_options(j);
    return CG_OK;
}

void cli_job_free(cli_job *j) {
    cg_runner_free(j->runner);
    cg_context_free(j->ctx);
    cg_tokenizer_free(j->tokenizer);
    cg_dataset_free(j->val);
    cg_dataset_free(j->train);
    cli_templates_free(&j->templates);
    json_decref(j->config);
    free(j->resume);
    cli_train_args_free(&j->a);
}
