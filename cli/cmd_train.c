#include "cli/cli.h"
#include "cli/stop.h"
#include "cli/train_job.h"
#include "cli/train_show.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- what is printed ------------------------------------------------------------------------ */

static void print_start(cli_job *j) {
    const cli_train_args *a = &j->a;
    int64_t parameters = cg_params_total(cg_runner_params(j->runner));
    if (a->quiet) return;
    if (a->json) {
        cli_show_json(json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:I, s:I, s:s?}", "event", "start",
                                "folder", j->folder, "model", j->model, "parameters",
                                (json_int_t)parameters, "pairs", (json_int_t)j->train->size,
                                "distinct_captions", (int)j->train->n_captions, "steps_per_epoch",
                                (json_int_t)j->steps, "total_steps",
                                (json_int_t)(j->steps * a->epochs), "resumed_from", j->resume));
        return;
    }
    printf("data    %" PRId64 " pairs with %d distinct captions", j->train->size,
           (int)j->train->n_captions);
    if (j->templates.all.n)
        printf(" in %d template%s", j->templates.all.n, j->templates.all.n == 1 ? "" : "s");
    printf(" (%s)\n", cli_job_synthetic(j) ? "synthetic" : a->train_data);
    printf("model   %s: %.2f M parameters, pictures of %d x %d, vocabulary of %d\n", j->model,
           (double)parameters * 1e-6, j->preprocess.size, j->preprocess.size,
           cg_tokenizer_vocab_size(j->tokenizer));
    printf("run     %s: %" PRId64 " epochs of %" PRId64 " steps, %" PRId64
           " pairs each; %d thread%s\n",
           j->folder, a->epochs, j->steps, a->batch_size, j->ctx->threads,
           j->ctx->threads == 1 ? "" : "s");
    if (j->resume) printf("resume  from %s\n", j->resume);
    fflush(stdout);
}

/* A word as a shell reads it. */
static void print_word(FILE *f, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=./,:+@%";
    if (word[0] && word[strspn(word, plain)] == '\0') {
        fputs(word, f);
        return;
    }
    fputc('\'', f);
    for (; *word; word++) fputs(*word == '\'' ? "'\\''" : (char[]){*word, '\0'}, f);
    fputc('\'', f);
}

/* config.json has the rest, except what a resumed run was told otherwise. */
static void print_resume_command(FILE *f, const cli_job *j) {
    fputs("clipgraph train --resume ", f);
    print_word(f, j->folder);
    for (size_t i = json_array_size(j->a.stored); j->resume && i < json_array_size(j->a.arguments);
         i++) {
        fputc(' ', f);
        print_word(f, json_string_value(json_array_get(j->a.arguments, i)));
    }
    fputc('\n', f);
}

/* Those of the options that say how data is read: eval has them by the same names. */
static void print_data_options(const cli_job *j) {
    static const char *const names[] = {"--csv-", "--classes=", "--templates=", "--dataset-type="};
    int n = cli_job_synthetic(j) ? 3 : 4; /* the last would exclude --val-data */
    for (size_t i = 0; i < json_array_size(j->a.arguments); i++)
        for (int k = 0; k < n; k++) {
            const char *text = json_string_value(json_array_get(j->a.arguments, i));
            if (strncmp(text, names[k], strlen(names[k])) != 0) continue;
            fputc(' ', stdout);
            print_word(stdout, text);
        }
}

static void print_next(const cli_job *j) {
    printf("next    clipgraph eval --checkpoint ");
    print_word(stdout, j->folder);
    if (j->a.val_data) {
        printf(" --val-data ");
        print_word(stdout, j->a.val_data);
    } else if (cli_job_synthetic(j))
        printf(" --dataset-type synthetic");
    else
        printf(" --val-data DATA");
    print_data_options(j);
    printf("\n        clipgraph classify --checkpoint ");
    print_word(stdout, j->folder);
    printf(" --labels \"cat,dog\" PICTURE...\n        clipgraph search --checkpoint ");
    print_word(stdout, j->folder);
    printf(" FOLDER \"a red circle\"\n");
}

static void print_end_json(const cg_train_result *r, double rate) {
    json_t *o = json_pack("{s:s, s:I, s:I, s:b, s:f, s:f, s:f, s:s}", "event", "end", "step",
                          (json_int_t)r->step, "total_steps", (json_int_t)r->total_steps, "stopped",
                          r->stopped, "seconds", r->seconds, "loss", r->loss, "pairs_per_second",
                          rate, "checkpoint", r->checkpoint);
    if (o && r->val.images) json_object_set_new(o, "evaluation", cli_retrieval_json(&r->val));
    cli_show_json(o);
}

static void print_end(const cli_job *j, const cg_train_result *r, int64_t from) {
    char time_text[32];
    double rate = r->seconds > 0 ? (double)((r->step - from) * j->a.batch_size) / r->seconds : 0;
    if (j->a.json) {
        print_end_json(r, rate);
        return;
    }
    if (r->step == from && !r->stopped)
        printf("done    nothing: %" PRId64 " steps are made, and --epochs asks for %" PRId64 "\n",
               r->step, r->total_steps);
    else
        printf("%s %" PRId64 " of %" PRId64 " steps, %s, %.0f pairs/s, loss %.4f\n",
               r->stopped ? "stopped" : "done   ", r->step, r->total_steps,
               cli_duration(r->seconds, time_text), rate, r->loss);
    printf("saved   %s\n", r->checkpoint);
    if (r->stopped) {
        printf("go on   ");
        print_resume_command(stdout, j);
    } else
        print_next(j);
    fflush(stdout);
}

/* --- the run -------------------------------------------------------------------------------- */

/* Steps made before this run; 0 where it cannot be told (then cg_train says why). */
static int64_t resumed_step(const cli_job *j) {
    char path[CLI_PATH_ROOM + 16];
    if (!j->resume) return 0;
    snprintf(path, sizeof path, "%s/state.json", j->resume);
    json_t *state = json_load_file(path, 0, NULL);
    int64_t step = json_integer_value(json_object_get(state, "step"));
    json_decref(state);
    return step;
}

static int run(cli_job *j) {
    cg_train_result result;
    cli_show show = {.json = j->a.json, .quiet = j->a.quiet, .log_every = j->a.log_every};
    cg_train_watch watch = {.user = &show,
                            .progress = cli_show_progress,
                            .evaluated = cli_show_evaluated,
                            .saved = cli_show_saved,
                            .stop = cli_stop_asked};
    int64_t from = resumed_step(j);
    print_start(j);
    cli_show_begin(&show);
    cli_stop_watch("\nstopping after this step, with a checkpoint; once more: at once\n");
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit fails, and is told */
    cg_status s = cg_exec_profile(cg_runner_exec(j->runner), j->a.profile.profile);
    if (s != CG_OK) return cli_fail("train", s);
    s = cg_train(j->runner, j->train, j->val, j->tokenizer, &j->options, j->resume, &watch,
                 &result);
    cli_show_end(&show);
    if (s == CG_OK) print_end(j, &result, from);
    int profiled = cli_profile_end("train", &j->a.profile, j->runner, j->a.json, 0);
    cli_report_left_out("train", j->train->size, &result.loader);
    if (s == CG_OK) return result.stopped ? cli_stop_code() : profiled;
    int code = cli_fail("train", s);
    if (s == CG_EIO && result.checkpoint[0]) {
        fprintf(stderr, "The last checkpoint is whole: %s\nTo go on:  ", result.checkpoint);
        print_resume_command(stderr, j);
    }
    return code;
}

int cli_train(int argc, char **argv) {
    cli_job j = {0};
    int code = cli_job_choose(&j, argc, argv);
    if (code == 0) {
        cg_status s = cli_profile_begin(&j.a.profile);
        if (s == CG_OK) s = cli_job_make(&j);
        code = s == CG_OK ? run(&j) : cli_fail("train", s);
    }
    cli_job_free(&j);
    return code;
}
