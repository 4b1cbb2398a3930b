/* labels: fuzz */
/* Exported files, and such as ask for much, damaged. Each is opened, and where that succeeds
 * imported and run: whatever comes of it, it is no crash. The same files each time; as a program,
 *
 *     test_onnx_fuzz SECONDS [SEED]    goes on for so long, with files of its own */
#include "graph/clock.h"
#include "graph/op.h"
#include "graph/rng.h"
#include "serialize/onnx/import.h"
#include "serialize/onnx/session.h"
#include "tests/support/ok.h"
#include "tests/support/onnx_damage.h"
#include "tests/support/onnx_tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER CG_SOURCE_DIR "/tests/golden/"
#define PATH   "onnx_fuzz.tmp.onnx"

static const char *const names[] = {
    "onnx/openai-vit-13",        "onnx/openai-rn-16",          "onnx/openai-text-16",
    "onnx/openai-vit-18-dynamo", "onnx/openai-text-18-dynamo", "onnx/hf-image-16",
    "onnx/hf-text-17",           "onnx/hf-masked-14",          "onnx/hf-masked-17",
    "onnx/hf-both-18",           "onnx_hostile/atoms",         "onnx_hostile/computed",
    "onnx_hostile/cuts",         "onnx_hostile/join_nothing",  "onnx_hostile/pick_by_many",
    "onnx_hostile/pick_nothing", "onnx_hostile/picked",        "onnx_hostile/resized",
    "onnx_hostile/sequences",    "onnx_hostile/sums"};
enum { FILES = sizeof names / sizeof *names, MOST = 8, ROUNDS = 400 };

typedef struct source {
    unsigned char *data;
    size_t bytes;
} source;

typedef struct tally {
    int64_t made, opened, imported, run;
    double slowest;
} tally;

/* An input of sizes that its file allows, small ones where it does not say; zeroed, or ids and
 * masks of 0 and 1. */
static void draw(cg_rng *r, const cg_onnx_port *p, cg_tensor *t) {
    *t = (cg_tensor){.name = p->name, .dtype = p->dtype};
    t->shape.rank = p->rank < 0 ? 2 : p->rank;
    for (int i = 0; i < t->shape.rank; i++)
        t->shape.dim[i] = p->rank >= 0 && p->dim[i] > 0 && p->dim[i] <= 64 ? p->dim[i] : 2;
    t->bytes = (size_t)cg_shape_count(&t->shape) * cg_dtype_size(t->dtype);
    unsigned char *data = calloc(t->bytes + 1, 1);
    assert_non_null(data);
    size_t size = cg_dtype_size(t->dtype);
    for (size_t i = 0; i < t->bytes / size; i++)
        data[i * size] = t->dtype == CG_F32 ? 0 : (unsigned char)(i == 1 || cg_rng_below(r, 2));
    t->data = data;
}

/* Does a run cost little? */
static int is_small(const cg_graph *g) {
    int64_t bytes = 0, flops = 0;
    for (int i = 0; i < g->n_value; i++) {
        bytes += cg_shape_count(&g->value[i]->shape) * (int64_t)cg_dtype_size(g->value[i]->dtype);
        if (bytes > INT64_C(1) << 26) return 0;
    }
    for (int i = 0; i < g->n_node; i++) {
        if (g->node[i]->op->flops) flops += g->node[i]->op->flops(g->node[i]);
        if (flops > INT64_C(1) << 28) return 0;
    }
    return 1;
}

/* Its integers, which are of one byte each. */
static int32_t *as_i32(const cg_tensor *t) {
    int64_t n = cg_shape_count(&t->shape);
    int32_t *x = t->dtype == CG_F32 ? NULL : calloc((size_t)n + 1, sizeof *x);
    const unsigned char *data = t->data;
    for (int64_t i = 0; x && i < n; i++) x[i] = data[(size_t)i * cg_dtype_size(t->dtype)];
    return x;
}

static int import(const cg_onnx_file *f, const cg_tensor *in, int n) {
    cg_params *params;
    cg_graph *g = NULL;
    cg_onnx_computed *computed = NULL;
    cg_shape shape[MOST];
    int32_t *integers[MOST];
    ok(cg_params_create(&params));
    for (int i = 0; i < n; i++) {
        shape[i] = in[i].shape;
        integers[i] = as_i32(&in[i]);
    }
    cg_status s = cg_onnx_params(f, params);
    if (s == CG_OK) s = cg_graph_create(params, &g);
    if (s == CG_OK)
        s = cg_onnx_import(f, shape, (const int32_t *const *)integers, ~UINT64_C(0), g,
                           &(cg_budget){0}, &computed);
    if (s == CG_OK) ok(cg_graph_verify(g));
    int small = s == CG_OK && is_small(g);
    if (s != CG_OK) assert_true(cg_error_message()[0] != '\0');
    for (int i = 0; i < n; i++) free(integers[i]);
    cg_onnx_computed_free(computed);
    cg_graph_free(g);
    cg_params_free(params);
    return s == CG_OK ? 1 + small : 0;
}

static void run(cg_context *ctx, const cg_tensor *in, int n, tally *t) {
    cg_onnx_session *s;
    ok(cg_onnx_session_create(ctx, PATH, NULL, &s));
    for (int i = 0; i < 2; i++) {
        cg_tensor out = {0};
        t->run += cg_onnx_session_run(s, in, n, &out, 1) == CG_OK && i == 0;
    }
    cg_onnx_session_free(s);
}

static void try_file(cg_context *ctx, cg_rng *r, tally *t) {
    cg_onnx_file *f;
    const cg_onnx_port *port;
    cg_tensor in[MOST];
    t->made++;
    if (cg_onnx_open(PATH, &f) != CG_OK) {
        assert_non_null(strstr(cg_error_message(), PATH));
        return;
    }
    t->opened++;
    int n = cg_onnx_inputs(f, &port);
    if (n <= MOST) {
        for (int i = 0; i < n; i++) draw(r, &port[i], &in[i]);
        int found = import(f, in, n);
        t->imported += found > 0;
        if (found > 1) run(ctx, in, n, t);
        for (int i = 0; i < n; i++) free((void *)(uintptr_t)in[i].data);
    }
    cg_onnx_close(f);
}

/* Until so many seconds are over; 0: ROUNDS files. */
static tally fuzz(double seconds, uint64_t seed) {
    source s[FILES];
    tally t = {0};
    cg_context *ctx;
    double begun = cg_now();
    ok(cg_context_create(1, &ctx));
    for (int i = 0; i < FILES; i++) {
        char path[512];
        snprintf(path, sizeof path, FOLDER "%s.onnx", names[i]);
        s[i].data = tiny_read(path, &s[i].bytes);
    }
    for (uint64_t k = 0; seconds > 0 ? cg_now() - begun < seconds : k < ROUNDS; k++) {
        cg_rng r = cg_rng_at(seed, CG_RNG_INIT, k, 0);
        double at = cg_now();
        const source *from = &s[cg_rng_below(&r, FILES)];
        onnx_damage(&r, from->data, from->bytes, PATH);
        try_file(ctx, &r, &t);
        if (cg_now() - at > t.slowest) t.slowest = cg_now() - at;
    }
    for (int i = 0; i < FILES; i++) free(s[i].data);
    cg_context_free(ctx);
    return t;
}

static void test_damaged(void **state) {
    (void)state;
    tally t = fuzz(0, 1);
    print_message("%d files: %d opened, %d imported, %d run\n", (int)t.made, (int)t.opened,
                  (int)t.imported, (int)t.run);
    assert_true(t.opened > t.made / 4); /* damage is not always fatal, so that it goes deep */
    assert_true(t.run > t.made / 20);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damaged)};
    if (argc < 2) return cmocka_run_group_tests(tests, NULL, NULL);
    tally t = fuzz(strtod(argv[1], NULL), argc > 2 ? strtoull(argv[2], NULL, 10) : 2);
    printf("%lld files: %lld opened, %lld imported, %lld run; the slowest took %.1f s\n",
           (long long)t.made, (long long)t.opened, (long long)t.imported, (long long)t.run,
           t.slowest);
    return 0;
}
