/* labels: unit */
/* The list of passes: which are on, what a run of them reports; and the pass contrast. */
#include "autodiff/grad.h"
#include "ops/ops.h"
#include "ops/passes/passes.h"
#include "tests/support/ok.h"

#include <stdint.h>
#include <string.h>

static unsigned bit(const char *name) {
    int n;
    const cg_pass *list = cg_pass_list(&n);
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return 1u << i;
    fail_msg("there is no pass %s", name);
    return 0;
}

static unsigned parse(const char *text) {
    cg_passes_off off = 12345;
    ok(cg_passes_parse(text, &off));
    return off;
}

static void test_words(void **state) {
    (void)state;
    int n;
    cg_pass_list(&n);
    unsigned none = (1u << n) - 1;
    assert_true(n > 0 && n <= CG_MAX_PASSES);
    assert_int_equal(parse("all"), 0);
    assert_int_equal(parse("none"), none);
    assert_int_equal(parse("-rows"), bit("rows"));
    assert_int_equal(parse("-rows,-fuse"), bit("rows") | bit("fuse"));
    assert_int_equal(parse("all,-fold"), bit("fold"));
    assert_int_equal(parse("none,+rows"), none & ~bit("rows"));
    assert_int_equal(parse("none,rows,fuse"), none & ~(bit("rows") | bit("fuse")));
    assert_int_equal(parse("+rows"), 0);
    assert_int_equal(parse("-rows,+rows"), 0); /* the last word counts */
    assert_int_equal(parse("+rows,-rows"), bit("rows"));
    assert_int_equal(parse("-rows,all"), 0);
}

static void refuse(const char *text, const char *sentence) {
    cg_passes_off off;
    assert_int_equal(cg_passes_parse(text, &off), CG_EINVAL);
    if (!strstr(cg_error_message(), sentence))
        fail_msg("%s: the sentence is \"%s\", want \"%s\" in it", text, cg_error_message(),
                 sentence);
}

static void test_unknown(void **state) {
    (void)state;
    refuse("-row", "there is no pass \"row\"; did you mean rows?");
    refuse("none,+fues", "there is no pass \"fues\"; did you mean fuse?");
    refuse("Absorb", "there is no pass \"Absorb\"; did you mean absorb?");
    refuse("-nothing_like_it", "there is no pass \"nothing_like_it\"; there are: rows, absorb");
    refuse("", "there is no pass \"\"");
    refuse("rows,", "there is no pass \"\"");
    refuse("-all", "there is no pass \"all\"");
    refuse("rows,a_word_that_is_longer_than_any_pass_could_be", "there is no pass \"a_word_that");
}

/* --- what is reported ------------------------------------------------------------------------- */

enum { ROWS = 10, IN = 6, OUT = 8, CHOSEN = 2 };

/* Two rows of gelu(linear(x)). */
static cg_graph *two_rows(void) {
    cg_graph *g;
    ok(cg_graph_create(NULL, &g));
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(ROWS, IN));
    cg_value *w = cg_input(g, "w", CG_F32, CG_SHAPE(OUT, IN));
    cg_value *y = cg_gelu(g, cg_linear(g, x, w, cg_input(g, "b", CG_F32, CG_SHAPE(OUT))));
    cg_value *index = cg_input(g, "index", CG_I32, CG_SHAPE(CHOSEN));
    cg_graph_output(g, "y", cg_gather(g, y, index), CG_KEEP);
    return g;
}

static int place(const char *name) {
    int i = 0;
    while (bit(name) != 1u << i) i++;
    return i;
}

static void test_report(void **state) {
    (void)state;
    cg_pass_saving saved[CG_MAX_PASSES] = {{0}};
    cg_graph *g = two_rows();
    ok(cg_passes_run(g, CG_STAGE_MODEL, 0, saved));
    cg_pass_saving *rows = &saved[place("rows")], *fuse = &saved[place("fuse")];
    assert_int_equal(rows->rewrites, 2);
    assert_int_equal(rows->flops, 2 * (ROWS - CHOSEN) * IN * OUT);
    /* the layer's result and gelu's at once; after it, the chosen rows of both, or of x and one */
    int64_t before = (int64_t)sizeof(float) * 2 * ROWS * OUT;
    int64_t after = (int64_t)sizeof(float) * 2 * CHOSEN * OUT;
    assert_int_equal(rows->bytes, before - after);
    assert_int_equal(fuse->rewrites, 0); /* of the other stage */
    ok(cg_passes_run(g, CG_STAGE_WHOLE, 0, saved));
    assert_int_equal(fuse->rewrites, 1);
    assert_int_equal(fuse->flops, 0);
    assert_int_equal(rows->rewrites, 2);
    ok(cg_graph_verify(g));
    assert_ptr_equal(cg_graph_find_output(g, "y")->value->node->op, &cg_op_linear);
    assert_int_equal(g->n_node, 2);
    cg_graph_free(g);

    g = two_rows(); /* reports add up */
    ok(cg_passes_run(g, CG_STAGE_MODEL, 0, saved));
    assert_int_equal(rows->rewrites, 4);
    assert_int_equal(rows->flops, 4 * (ROWS - CHOSEN) * IN * OUT);
    cg_graph_free(g);

    g = two_rows(); /* one that is off does nothing, and none has to report */
    ok(cg_passes_run(g, CG_STAGE_MODEL, bit("rows"), saved));
    assert_int_equal(rows->rewrites, 4);
    assert_int_equal(g->n_node, 3);
    ok(cg_passes_run(g, CG_STAGE_MODEL, 0, NULL));
    assert_int_equal(rows->rewrites, 4);
    cg_graph_free(g);
}

/* A graph that failed keeps its error. */
static void test_failed(void **state) {
    (void)state;
    cg_graph *g = two_rows();
    cg_gather(g, cg_input(g, "bad", CG_F32, CG_SHAPE(3)), cg_graph_find_input(g, "index"));
    assert_int_equal(cg_passes_run(g, CG_STAGE_MODEL, 0, NULL), CG_ESHAPE);
    cg_graph_free(g);
}

/* --- contrast --------------------------------------------------------------------------------- */

static int count(const cg_graph *g, const cg_op *op) {
    int n = 0;
    for (int i = 0; i < g->n_node; i++) n += g->node[i]->op == op;
    return n;
}

/* Losses over the axes first and second of logits, of which those of the same number are the same
 * value; returns how many pairs became one. */
static int pairs(int first, int second, int same, int asked) {
    cg_graph *g;
    cg_value *loss[2], *dx[2], *x[2];
    ok(cg_graph_create(NULL, &g));
    x[0] = cg_input(g, "x", CG_F32, CG_SHAPE(4, 4));
    x[1] = same ? x[0] : cg_input(g, "z", CG_F32, CG_SHAPE(4, 4));
    cg_value *label = cg_input(g, "label", CG_I32, CG_SHAPE(4));
    loss[0] = cg_softmax_cross_entropy(g, x[0], label, first);
    cg_graph_output(g, "mean", cg_mean(g, loss[0], CG_SHAPE(0), 0), CG_KEEP); /* reads it at once */
    loss[1] = cg_softmax_cross_entropy(g, x[1], label, second);
    cg_graph_output(g, "first", loss[0], CG_KEEP);
    cg_graph_output(g, "second", loss[1], CG_KEEP);
    cg_graph_output(g, "lse", loss[1]->node->out[1], CG_KEEP);
    cg_passes_off off;
    ok(cg_passes_parse("none,+contrast", &off));
    ok(cg_passes_run(g, CG_STAGE_MODEL, off, NULL));
    ok(cg_graph_verify(g));
    int n = count(g, &cg_op_contrastive_cross_entropy);
    assert_int_equal(count(g, &cg_op_softmax_cross_entropy), 2 - 2 * n);
    const char *const name[] = {"first", "second"};
    for (int i = 0; i < 2; i++) loss[i] = cg_graph_find_output(g, name[i])->value;
    if (n) {
        assert_int_equal(loss[0]->index, first == 1 ? 0 : 1);
        assert_int_equal(loss[1]->index, second == 1 ? 0 : 1);
        assert_int_equal(cg_graph_find_output(g, "lse")->value->index, second == 1 ? 2 : 3);
    }
    int both = asked == 2;
    ok(cg_grad(g, both ? 2 : 1, both ? loss : loss + asked, NULL, same ? 1 : 2, x, dx));
    cg_graph_output(g, "dx", dx[0], CG_KEEP);
    ok(cg_graph_verify(g));
    if (n) assert_int_equal(count(g, &cg_op_contrastive_cross_entropy_grad), both);
    if (n) assert_int_equal(count(g, &cg_op_softmax_cross_entropy_grad), !both);
    cg_graph_free(g);
    return n;
}

static void test_contrast(void **state) {
    (void)state;
    for (int asked = 0; asked < 3; asked++) { /* gradients of the first loss, the second, both */
        assert_int_equal(pairs(1, 0, 1, asked), 1);
        assert_int_equal(pairs(0, 1, 1, asked), 1);
    }
    assert_int_equal(pairs(1, 0, 0, 2), 0); /* of different logits */
    assert_int_equal(pairs(0, 0, 1, 2), 0); /* over one axis */
    assert_int_equal(pairs(1, 1, 1, 2), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),    cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_report),   cmocka_unit_test(test_failed),
        cmocka_unit_test(test_contrast),
    };
    return cmocka_run_group_tests_name("list of passes", tests, NULL, NULL);
}
