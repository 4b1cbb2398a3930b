/* labels: unit grad */
/* The passes rows and absorb on a transformer block of which one row a sequence is asked for: they
 * change neither results nor gradients, under every mask, pooling and layout, and leave alone what
 * they must. */
#include "autodiff/grad.h"
#include "graph/exec.h"
#include "ops/ops.h"
#include "ops/passes/passes.h"
#include "tests/support/hash.h"
#include "tests/support/ok.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- the block -------------------------------------------------------------------------------- */

enum { SEQUENCES = 3, TOKENS = 5, ROWS = 16, WIDTH = 8, HEADS = 2, MOST = 24 };

typedef enum pool { FIRST, LAST, END } pool;

typedef struct setup {
    const char *label;
    int packed; /* offsets come with a run, rows are left over; else they are known */
    int causal, masked, rms;
    pool pool;
    int through, absorbs; /* is attention asked for these rows alone; are keys absorbed? */
} setup;

/* Ends in the middle of a sequence, at its first row and at its last. */
static const int32_t token[ROWS] = {1, 9, 2, 3, 3, 1, 2, 1, 9, 8, 9, 1, 1, 2, 3, 4};
static const int32_t packed[SEQUENCES + 1] = {0, 4, 9, 14};
static const int32_t uniform[SEQUENCES + 1] = {0, TOKENS, 2 * TOKENS, 3 * TOKENS};

typedef struct block {
    cg_graph *g;
    cg_value *weight[MOST]; /* all that has a gradient */
    int n;
    const setup *how;
    cg_value *offset, *mask;
} block;

static cg_value *weight(block *b, const char *name, cg_shape shape) {
    return b->weight[b->n++] = cg_input(b->g, name, CG_F32, shape);
}

/* A linear layer of its own. */
static cg_value *layer(block *b, const char *name, cg_value *x, int64_t width) {
    char w[32], bias[32];
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(bias, sizeof bias, "%s.b", name);
    return cg_linear(b->g, x, weight(b, w, CG_SHAPE(width, x->shape.dim[1])),
                     weight(b, bias, CG_SHAPE(width)));
}

static cg_value *norm(block *b, const char *name, cg_value *x) {
    char gain[32], bias[32];
    snprintf(gain, sizeof gain, "%s.gain", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    cg_value *w = weight(b, gain, CG_SHAPE(WIDTH));
    if (b->how->rms) return cg_rms_norm(b->g, x, w, 1e-5f);
    return cg_layer_norm(b->g, x, w, weight(b, bias, CG_SHAPE(WIDTH)), 1e-5f);
}

static cg_value *pooled_rows(const block *b) {
    int32_t row[SEQUENCES];
    cg_graph *g = b->g;
    if (b->how->pool == END)
        return cg_end_token(g, cg_input(g, "token", CG_I32, CG_SHAPE(ROWS)), b->offset, -1);
    if (b->how->packed) /* the first ones */
        return cg_slice(g, b->offset, 0, 0, SEQUENCES);
    for (int s = 0; s < SEQUENCES; s++)
        row[s] = b->how->pool == FIRST ? uniform[s] : uniform[s + 1] - 1;
    return cg_constant(g, CG_I32, CG_SHAPE(SEQUENCES), row);
}

/* All rows of the block's result. */
static cg_value *all_rows(block *b) {
    cg_graph *g = b->g;
    cg_value *x = weight(b, "x", CG_SHAPE(ROWS, WIDTH));
    b->offset = b->how->packed ? cg_input(g, "offset", CG_I32, CG_SHAPE(SEQUENCES + 1))
                               : cg_constant(g, CG_I32, CG_SHAPE(SEQUENCES + 1), uniform);
    b->mask = b->how->masked ? cg_input(g, "mask", CG_F32, CG_SHAPE(ROWS)) : NULL;
    cg_value *qkv = layer(b, "in", norm(b, "ln_1", x), (int64_t)3 * WIDTH);
    cg_value *o = cg_attention_qkv(
        g, qkv, b->offset,
        (cg_attention_options){
            .heads = HEADS, .scale = 0.5f, .causal = b->how->causal, .key_mask = b->mask});
    x = cg_add(g, x, layer(b, "out", o, WIDTH));
    cg_value *hidden = cg_gelu(g, layer(b, "fc", norm(b, "ln_2", x), 12));
    return cg_add(g, x, cg_mul(g, layer(b, "proj", hidden, WIDTH), weight(b, "ls", CG_SHAPE(8))));
}

static void build(block *b, const setup *how) {
    *b = (block){.how = how};
    ok(cg_graph_create(NULL, &b->g));
    cg_value *x = all_rows(b);
    cg_value *y = layer(b, "head", norm(b, "post", cg_gather(b->g, x, pooled_rows(b))), 6);
    cg_graph_output(b->g, "y", y, CG_KEEP);
    ok(cg_graph_status(b->g));
}

/* --- running ---------------------------------------------------------------------------------- */

static cg_value *run_passes(cg_graph *g, const char *passes) {
    cg_passes_off off;
    ok(cg_passes_parse(passes, &off));
    ok(cg_passes_run(g, CG_STAGE_MODEL, off, NULL));
    ok(cg_graph_verify(g));
    return cg_graph_find_output(g, "y")->value;
}

static const cg_node *find(const cg_graph *g, const cg_op *op) {
    for (int i = 0; i < g->n_node; i++)
        if (g->node[i]->op == op) return g->node[i];
    return NULL;
}

/* y, then the gradient of each weight of Σ y², as one list. */
enum { NUMBERS = 4096 };

static int64_t compute(block *b, float *result) {
    static float data[MOST][NUMBERS];
    static float mask[ROWS] = {1, 0, 1, 1, 0, 1, 0, 1,
                               1, 0, 0, 0, 0, 0, 1, 0}; /* the third: none */
    cg_context *ctx;
    cg_plan *p;
    cg_exec *e;
    cg_graph *g = b->g;
    cg_value *y = cg_graph_find_output(g, "y")->value,
             *loss = cg_sum(g, cg_mul(g, y, y), CG_SHAPE(0, 1), 0);
    cg_value *grad[MOST];
    char name[16];
    ok(cg_grad(g, 1, &loss, NULL, b->n, b->weight, grad));
    for (int i = 0; i < b->n; i++) {
        snprintf(name, sizeof name, "grad%d", i);
        cg_graph_output(g, name, grad[i], CG_KEEP);
    }
    ok(cg_graph_verify(g));
    ok(cg_context_create(2, &ctx));
    ok(cg_plan_create(ctx, g, &p));
    ok(cg_exec_create(&e));
    ok(cg_exec_use(e, p));
    for (int i = 0; i < b->n; i++) {
        uint64_t key = cg_hash_name(b->weight[i]->name);
        for (int64_t k = 0; k < cg_shape_count(&b->weight[i]->shape); k++)
            data[i][k] = (float)cg_hash_unit(key, k);
        ok(cg_exec_bind_input(e, b->weight[i]->name, data[i]));
    }
    if (b->how->packed) ok(cg_exec_bind_input(e, "offset", packed));
    if (b->how->masked) ok(cg_exec_bind_input(e, "mask", mask));
    if (b->how->pool == END) ok(cg_exec_bind_input(e, "token", token));
    ok(cg_exec_run(e));
    int64_t n = 0;
    for (int i = 0; i < g->n_output; i++) {
        const cg_value *v = g->output[i].value;
        int64_t count = cg_shape_count(&v->shape);
        memcpy(result + n, cg_exec_output(e, g->output[i].name), (size_t)count * sizeof *result);
        n += count;
    }
    cg_exec_free(e);
    cg_plan_free(p);
    cg_context_free(ctx);
    return n;
}

static void same_numbers(const char *label, const float *want, const float *got, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)want[i] - (double)got[i]) <= 3e-6 * most))
            fail_msg("%s: number %lld is %.9g, without passes %.9g", label, (long long)i,
                     (double)got[i], (double)want[i]);
}

static const setup setups[] = {
    {"class token", 0, 0, 0, 0, FIRST, 1, 1},
    {"class token, rms norm", 0, 0, 0, 1, FIRST, 1, 1},
    {"class token, key mask", 0, 0, 1, 0, FIRST, 1, 0},
    {"causal, last row", 0, 1, 0, 0, LAST, 1, 1},
    {"causal, last row, key mask", 0, 1, 1, 0, LAST, 1, 0},
    {"causal, first row", 0, 1, 0, 0, FIRST, 1, 1},
    {"causal, end token", 0, 1, 0, 0, END, 1, 1},
    {"causal, end token, key mask", 0, 1, 1, 0, END, 1, 0},
    {"end token", 0, 0, 0, 0, END, 1, 1},
    {"packed, causal, end token", 1, 1, 0, 0, END, 1, 1},
    {"packed, causal, end token, rms norm", 1, 1, 0, 1, END, 1, 1},
    {"packed, causal, end token, key mask", 1, 1, 1, 0, END, 1, 0},
    {"packed, end token", 1, 0, 0, 0, END, 1, 0}, /* no mask says that there are keys */
    {"packed, end token, key mask", 1, 0, 1, 0, END, 1, 0},
    {"packed, first row", 1, 1, 0, 0, FIRST, 0, 0},
};

static void test_block(void **state) {
    (void)state;
    static float want[NUMBERS], got[NUMBERS];
    static const char *const passes[] = {"none,+rows", "none,+rows,+absorb", "all"};
    for (size_t i = 0; i < sizeof setups / sizeof *setups; i++) {
        const setup *how = &setups[i];
        block b;
        build(&b, how);
        int64_t n = compute(&b, want);
        cg_graph_free(b.g);
        for (int k = 0; k < 3; k++) {
            build(&b, how);
            run_passes(b.g, passes[k]);
            const cg_node *attention = find(b.g, &cg_op_attention);
            if ((attention != NULL) != how->through)
                fail_msg("%s: %s", how->label, attention ? "rows went too far" : "rows stopped");
            if (k > 0 && attention && (attention->in[1] == attention->in[2]) != how->absorbs)
                fail_msg("%s: keys are%s absorbed", how->label, how->absorbs ? " not" : "");
            assert_int_equal(compute(&b, got), n);
            same_numbers(how->label, want, got, n);
            cg_graph_free(b.g);
        }
    }
}

/* A bias of the keys changes nothing, whatever the keys are multiplied by. */
static void test_key_bias(void **state) {
    (void)state;
    static float got[NUMBERS];
    block b;
    build(&b, &setups[0]);
    run_passes(b.g, "none,+rows,+absorb");
    compute(&b, got);
    int64_t at = cg_shape_count(&cg_graph_find_output(b.g, "y")->value->shape);
    for (int i = 0; strcmp(b.weight[i]->name, "in.b") != 0; i++)
        at += cg_shape_count(&b.weight[i]->shape);
    for (int i = 0; i < WIDTH; i++) {
        assert_true(got[at + i] != 0 && got[at + 2 * WIDTH + i] != 0);
        assert_true(got[at + WIDTH + i] == 0);
    }
    cg_graph_free(b.g);
}

/* --- what rows leaves alone ------------------------------------------------------------------- */

typedef enum watcher { NOBODY, OUTPUT, READER, OTHER_ROWS, SAME_ROWS } watcher;

/* Whether a selection of rows of gelu(x) moves up, where something else looks at gelu(x), too. */
static int moves(watcher who) {
    cg_graph *g;
    ok(cg_graph_create(NULL, &g));
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(6, 4)), *y = cg_gelu(g, x);
    cg_value *index = cg_input(g, "index", CG_I32, CG_SHAPE(2));
    cg_value *z = cg_gather(g, y, index), *also = NULL;
    if (who == OUTPUT) also = y;
    if (who == READER) also = cg_scale(g, y, 2);
    if (who == OTHER_ROWS) also = cg_gather(g, y, cg_input(g, "other", CG_I32, CG_SHAPE(2)));
    if (who == SAME_ROWS) also = cg_scale(g, cg_gather(g, y, index), 2);
    cg_graph_output(g, "y", z, CG_KEEP);
    if (also) cg_graph_output(g, "also", also, CG_KEEP);
    int moved = run_passes(g, "none,+rows")->node->op == &cg_op_gelu;
    cg_graph_free(g);
    return moved;
}

static void test_other_readers(void **state) {
    (void)state;
    assert_true(moves(NOBODY));
    assert_true(moves(SAME_ROWS));
    assert_false(moves(OUTPUT));
    assert_false(moves(READER));
    assert_false(moves(OTHER_ROWS));
}

/* Not through what mixes rows, nor through self-attention whose statistics are asked for, nor where
 * a row is not of its own sequence. */
static void test_rows_that_mix(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        cg_graph *g;
        ok(cg_graph_create(NULL, &g));
        const int32_t row[2] = {i == 2 ? 2 : 0, 2}, offset[3] = {0, 2, 4}, empty[3] = {0, 4, 4};
        cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(4, 4));
        cg_value *w = cg_input(g, "w", CG_F32, CG_SHAPE(12, 4));
        cg_value *o = cg_attention_qkv(g, cg_linear(g, x, w, NULL),
                                       cg_constant(g, CG_I32, CG_SHAPE(3), i == 3 ? empty : offset),
                                       (cg_attention_options){.heads = 1, .scale = 1});
        if (i == 0) o = cg_matmul(g, cg_input(g, "mix", CG_F32, CG_SHAPE(4, 4)), x, 0, 0);
        if (i == 1) cg_graph_output(g, "lse", o->node->out[1], CG_KEEP);
        cg_graph_output(g, "y", cg_gather(g, o, cg_constant(g, CG_I32, CG_SHAPE(2), row)), CG_KEEP);
        assert_ptr_equal(run_passes(g, "none,+rows")->node->op, &cg_op_gather);
        cg_graph_free(g);
    }
}

/* --- what absorb leaves alone ----------------------------------------------------------------- */

typedef enum obstacle {
    NONE,
    EMPTY,        /* a sequence without keys */
    RUN_OFFSETS,  /* known in a run only: one may be empty */
    RUN_MASK,     /* so may all keys of a sequence be masked */
    KEYS_READ,    /* by another node, too */
    VALUES_KEPT,  /* as an output */
    STATISTICS,   /* of attention are asked for */
    ACTIVATION,   /* behind the keys' projection */
    RESIDUAL,     /* added to the values' projection */
    OTHER_VALUES, /* projected from other rows */
    TWO_QUERIES,  /* in a sequence */
    NO_QUERY,     /* some rows of q are of no sequence */
} obstacle;

static int absorbs(obstacle what) {
    cg_graph *g;
    ok(cg_graph_create(NULL, &g));
    const int32_t q_at[3] = {0, 1, 2}, q_two[2] = {0, 2}, at[3] = {0, 6, 12},
                  empty[3] = {0, 12, 12};
    int64_t s = what == TWO_QUERIES ? 1 : 2;
    cg_value *q = cg_input(g, "q", CG_F32, CG_SHAPE(what == NO_QUERY ? 3 : 2, 8));
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(12, 8)), *other = x;
    cg_value *w = cg_input(g, "w", CG_F32, CG_SHAPE(8, 8)), *u = cg_input(g, "u", CG_F32, w->shape);
    cg_value *bias = cg_input(g, "b", CG_F32, CG_SHAPE(8)), *residual = NULL;
    if (what == OTHER_VALUES) other = cg_input(g, "other", CG_F32, x->shape);
    if (what == RESIDUAL) residual = cg_input(g, "residual", CG_F32, x->shape);
    cg_value *k = cg_linear_with(g, x, w, bias, what == ACTIVATION ? CG_EPILOGUE_GELU : 0, NULL);
    cg_value *v = cg_linear_with(g, other, u, bias, CG_EPILOGUE_NONE, residual);
    cg_value *q_offset = cg_constant(g, CG_I32, CG_SHAPE(s + 1), s == 1 ? q_two : q_at);
    cg_value *offset = cg_constant(g, CG_I32, CG_SHAPE(s + 1), what == EMPTY ? empty : at);
    if (what == RUN_OFFSETS) offset = cg_input(g, "offset", CG_I32, CG_SHAPE(s + 1));
    cg_attention_options options = {.heads = 2, .scale = 0.5f};
    if (what == RUN_MASK) options.key_mask = cg_input(g, "mask", CG_F32, CG_SHAPE(12));
    cg_value *y = cg_attention(g, q, k, v, q_offset, offset, options);
    if (what == KEYS_READ) cg_graph_output(g, "k", cg_scale(g, k, 2), CG_KEEP);
    if (what == VALUES_KEPT) cg_graph_output(g, "v", v, CG_KEEP);
    if (what == STATISTICS) cg_graph_output(g, "lse", y->node->out[1], CG_KEEP);
    cg_graph_output(g, "y", y, CG_KEEP);
    ok(cg_graph_status(g));
    int did = run_passes(g, "none,+absorb") != y;
    cg_graph_free(g);
    return did;
}

static void test_obstacles(void **state) {
    (void)state;
    assert_true(absorbs(NONE));
    for (obstacle what = EMPTY; what <= NO_QUERY; what++)
        if (absorbs(what)) fail_msg("obstacle %d was none", (int)what);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block),         cmocka_unit_test(test_key_bias),
        cmocka_unit_test(test_other_readers), cmocka_unit_test(test_rows_that_mix),
        cmocka_unit_test(test_obstacles),
    };
    return cmocka_run_group_tests_name("passes on rows", tests, NULL, NULL);
}
