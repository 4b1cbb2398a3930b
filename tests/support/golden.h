/* A golden file (tools/make_golden.py) and the model that it describes, built and run.
 *
 * Everything here fails the running test rather than return an error. */
#ifndef CG_TEST_GOLDEN_H
#define CG_TEST_GOLDEN_H

#include "graph/exec.h"
#include "models/clip.h"
#include "serialize/safetensors.h"
#include "tests/support/captions.h"
#include "tests/support/ok.h"

enum { GOLDEN_CAPTIONS = 16 };

typedef struct golden {
    char path[256];
    cg_safetensors *file;
    cg_clip_desc desc;
    struct json_t *training; /* NULL: the file has no training run */
    int64_t images, texts;
    int first;                       /* number of the inputs of step 0 */
    int32_t length[GOLDEN_CAPTIONS]; /* of captions, without start and end */
    double scale;                    /* exp of the log temperature */
    double gradient_norm;            /* of all gradients together */
} golden;

/* Opens tests/golden/NAME.safetensors. */
golden *golden_open(const char *name);
void golden_close(golden *g);

double golden_training(const golden *g, const char *key);

/* The tensor whose name is prefix and name together, which must have `count` elements. */
const float *golden_expected(const golden *g, const char *prefix, const char *name, int64_t count);

/* How many gradients the file has. */
int golden_gradients(const golden *g);

/* --- judging ---------------------------------------------------------------------------------- */

/* The largest part of what is allowed, and how many exceed it. */
typedef struct verdict {
    const char *what;
    double part;
    char worst[160];
    int wrong;
} verdict;

void judge(verdict *v, const char *name, double found, double allowed);

/* ‖Δ‖ ≤ part · ‖g‖ + 1e-7 · ‖all gradients‖: a key bias has a true gradient of zero. */
void judge_gradient(verdict *v, const golden *g, const cg_param *p, const float *found,
                    const float *wanted, double part);

/* Prints the worst; fails the test if one was wrong. */
void pronounce(const verdict *v);

double largest(const float *x, int64_t n);
double largest_difference(const float *a, const float *b, int64_t n);

/* --- the model -------------------------------------------------------------------------------- */

typedef struct golden_setting {
    int backward; /* batch statistics, loss and gradients; 0: inference */
    int passes;   /* 0: none; 1: equal and dead nodes go; 2: all of ops/passes, too */
    int threads;
    cg_text_layout layout;
} golden_setting;

/* A model that has run step 0, not yet committed. */
typedef struct golden_model {
    cg_context *ctx;
    cg_params *params;
    cg_graph *graph;
    cg_plan *plan;
    cg_exec *exec;
    float *gradient; /* laid out as the trained block */
    float *image;
    captions text;
} golden_model;

golden_model golden_run(const golden *g, golden_setting s);
void golden_forget(golden_model *m);

/* The layout in which the tower is trained. */
cg_text_layout golden_layout(const golden *g);

/* An output in place, or a parameter's gradient. */
const float *golden_output(const golden_model *m, const char *name);
const float *golden_gradient(const golden_model *m, const cg_param *p);

/* Compares an output with the tensor of its name behind the prefix. */
void golden_compare(verdict *v, const golden *g, const golden_model *m, const char *name,
                    const char *prefix, double allowed);

#endif
