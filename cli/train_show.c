#include "cli/train_show.h"

#include "cli/cli.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- JSON ----------------------------------------------------------------------------------- */

void cli_show_json(struct json_t *j) {
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text) printf("%s\n", text);
    fflush(stdout);
    free(text);
    json_decref(j);
}

struct json_t *cli_recall_json(const cg_recall *r) {
    return json_pack("{s:f, s:f, s:f}", "R@1", r->at1, "R@5", r->at5, "R@10", r->at10);
}

struct json_t *cli_retrieval_json(const cg_retrieval *r) {
    return json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:f}", "image_to_text",
                     cli_recall_json(&r->image_to_text), "text_to_image",
                     cli_recall_json(&r->text_to_image), "chance", cli_recall_json(&r->chance),
                     "images", (json_int_t)r->images, "captions", (json_int_t)r->captions,
                     "left_out", (json_int_t)r->left_out, "truncated", (json_int_t)r->truncated,
                     "seconds", r->seconds);
}

static void progress_json(const cg_train_progress *p, int64_t epoch) {
    cli_show_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "event",
                            "step", "step", (json_int_t)p->step, "total_steps",
                            (json_int_t)p->total_steps, "epoch", (json_int_t)epoch, "epochs",
                            (json_int_t)p->epochs, "loss", p->loss, "temperature", p->temperature,
                            "lr", p->lr, "gradient_norm", p->gradient_norm, "pairs_per_second",
                            p->pairs_per_second, "seconds_left", p->seconds_left));
}

/* --- text ----------------------------------------------------------------------------------- */

static void clear_line(cli_show *s) {
    if (s->line_open) printf("\r\033[K");
    s->line_open = 0;
}

static int columns(void) {
    struct winsize w;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void describe(const cg_train_progress *p, int64_t epoch, char *text, size_t size) {
    char left[32];
    snprintf(text, size,
             "epoch %" PRId64 "/%" PRId64 "  step %" PRId64 "/%" PRId64
             "  loss %.3f  temperature %.1f  %.0f pairs/s  %s left",
             epoch, p->epochs, p->step, p->total_steps, p->loss, p->temperature,
             p->pairs_per_second, cli_duration(p->seconds_left, left));
}

static void progress_text(cli_show *s, const cg_train_progress *p, int64_t epoch) {
    char text[256];
    double t = now();
    int done = p->step == p->total_steps;
    if (s->terminal) {
        if (!done && t - s->last < 0.1) return;
        describe(p, epoch, text, sizeof text);
        printf("\r\033[K%.*s", columns() - 1, text);
        s->line_open = 1;
    } else {
        int ended = p->step * p->epochs % p->total_steps == 0; /* an epoch; never between them */
        if (!done && t - s->last < (ended ? 1 : 10)) return;
        describe(p, epoch, text, sizeof text);
        printf("%s\n", text);
    }
    fflush(stdout);
    s->last = t;
}

/* --- the run's events ----------------------------------------------------------------------- */

void cli_show_begin(cli_show *s) {
    s->terminal = !s->json && !s->quiet && isatty(STDOUT_FILENO);
    s->last = now() - 60; /* the first step is shown */
    s->line_open = 0;
}

void cli_show_progress(void *show, const cg_train_progress *p) {
    cli_show *s = show;
    int64_t steps = p->total_steps / (p->epochs > 0 ? p->epochs : 1); /* of an epoch */
    int64_t epoch = steps > 0 ? (p->step - 1) / steps + 1 : 1;
    if (s->quiet) return;
    if (!s->json)
        progress_text(s, p, epoch);
    else if (p->step % s->log_every == 0 || p->step == p->total_steps)
        progress_json(p, epoch);
}

void cli_show_evaluated(void *show, int64_t step, const cg_retrieval *r) {
    cli_show *s = show;
    if (s->quiet) return;
    if (s->json) {
        json_t *j = json_pack("{s:s, s:I}", "event", "evaluation", "step", (json_int_t)step);
        json_t *figures = cli_retrieval_json(r);
        if (j && figures) json_object_update(j, figures);
        json_decref(figures);
        cli_show_json(j);
        return;
    }
    clear_line(s);
    printf("step %" PRId64 ": picture to text R@1 %.1f R@5 %.1f R@10 %.1f, text to picture %.1f "
           "%.1f %.1f %% (chance %.1f %.1f %.1f)\n",
           step, 100 * r->image_to_text.at1, 100 * r->image_to_text.at5,
           100 * r->image_to_text.at10, 100 * r->text_to_image.at1, 100 * r->text_to_image.at5,
           100 * r->text_to_image.at10, 100 * r->chance.at1, 100 * r->chance.at5,
           100 * r->chance.at10);
    fflush(stdout);
}

void cli_show_saved(void *show, const char *folder) {
    cli_show *s = show;
    if (s->json) cli_show_json(json_pack("{s:s, s:s}", "event", "checkpoint", "folder", folder));
}

void cli_show_end(cli_show *s) {
    if (s->line_open) printf("\n");
    s->line_open = 0;
    fflush(stdout);
}
