/* How a training run is shown: a line rewritten in place on a terminal, a line now and then
 * elsewhere, or JSON. */
#ifndef CG_CLI_TRAIN_SHOW_H
#define CG_CLI_TRAIN_SHOW_H

#include "train/train.h"

typedef struct cli_show {
    int json, quiet;
    int64_t log_every, epochs;
    /* its own */
    int terminal, line_open;
    double last;
    int64_t last_epoch;
} cli_show;

/* Call before the run; the pointers to functions are those of cg_train_watch, `user` a cli_show. */
void cli_show_begin(cli_show *show);
void cli_show_progress(void *show, const cg_train_progress *p);
void cli_show_evaluated(void *show, int64_t step, const cg_retrieval *r);
void cli_show_saved(void *show, const char *folder);
void cli_show_end(cli_show *show); /* leaves the terminal on a new line */

/* A JSON object on a line of stdout; takes it over. */
void cli_show_json(struct json_t *j);

/* {"R@1": …, "R@5": …, "R@10": …} */
struct json_t *cli_recall_json(const cg_recall *r);

/* {"image_to_text": {"R@1": …}, "text_to_image": …, "chance": …, "images": …} */
struct json_t *cli_retrieval_json(const cg_retrieval *r);

#endif
