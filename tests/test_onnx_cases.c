/* labels: golden */
/* Files of one thing each that importers get wrong (tools/make_onnx_cases.py): their results
 * against ONNX Runtime's, as they stand and with everything recognised; and files that are refused.
 */
#include "ops/ops.h"
#include "serialize/onnx/session.h"
#include "serialize/safetensors.h"
#include "tests/support/golden.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define FOLDER CG_SOURCE_DIR "/tests/golden/onnx_cases/"

static const char *const cases[] = {
    "mask_equal",      "mask_pad",        "mask_above",     "mask_softmax",   "where_ids",
    "where_low",       "where_inf",       "add_low",        "add_scaled",     "mask_factor",
    "branch_integers", "gather_computed", "cast_bool",      "mod_fmod",       "max_rank",
    "pow_rank",        "norm_held",       "empty_results",  "slice_empty",    "reversed",
    "resize_linear_0", "resize_linear_1", "resize_cubic_0", "resize_cubic_1", "gather_positions",
    "cast_narrow",     "choose_infinite", "choose_finite",  "choose_log",     "choose_rank",
    "choose_given",    "choose_not",      "choose_of_ids",  "choose_moved",   "bool_number",
    "resize_by_0.9",   "resize_by_0.7",   "resize_by_0.6",  "fractions",      "slice_far",
    "gather_from_end", "norm_of_rows",    "mask_between",   "mask_two",       "mask_negative",
    "mask_not_low",    "mask_no_key",     "mask_float",     "where_undone",   "where_no_key",
    "where_nan",       "softmax_nan",     "softmax_1_24",   "softmax_6_4",    "softmax_12_2",
    "end_bounded",     "end_of_two",      "end_elements",   "in_turn_0",      "in_turn_1",
};
enum { CASES = sizeof cases / sizeof *cases, MOST = 4 };

typedef struct run {
    cg_safetensors *golden;
    cg_context *ctx;
    cg_onnx_session *session;
    cg_tensor in[MOST], out;
    int n_in;
} run;

/* The inputs of a case. */
static void take(run *r, const char *name) {
    char key[512];
    const cg_onnx_port *port;
    r->n_in = cg_onnx_inputs(cg_onnx_session_file(r->session), &port);
    assert_true(r->n_in <= MOST);
    for (int i = 0; i < r->n_in; i++) {
        snprintf(key, sizeof key, "%s/in/%s", name, port[i].name);
        const cg_tensor *t = cg_safetensors_find(r->golden, key);
        if (!t) fail_msg("no tensor %s", key);
        r->in[i] = *t;
        r->in[i].name = port[i].name;
    }
}

static cg_status begin(run *r, const char *name, cg_onnx_how how) {
    char path[512];
    *r = (run){0};
    ok(cg_safetensors_open(FOLDER "cases.safetensors", &r->golden));
    ok(cg_context_create(1, &r->ctx));
    snprintf(path, sizeof path, FOLDER "%s.onnx", name);
    CG_TRY(cg_onnx_session_create(r->ctx, path, &how, &r->session));
    take(r, name);
    return cg_onnx_session_run(r->session, r->in, r->n_in, &r->out, 1);
}

static void end(run *r) {
    cg_onnx_session_free(r->session);
    cg_context_free(r->ctx);
    cg_safetensors_close(r->golden);
}

static void compare(const char *name, const run *r) {
    char key[64];
    snprintf(key, sizeof key, "%s/out/y", name);
    const cg_tensor *wanted = cg_safetensors_find(r->golden, key);
    if (!wanted) fail_msg("no tensor %s", key);
    if (!cg_shape_equal(&r->out.shape, &wanted->shape)) fail_msg("%s: another shape", name);
    assert_int_equal(r->out.bytes, wanted->bytes);
    const float *found = r->out.data;
    for (size_t i = 0; i < wanted->bytes / sizeof(float); i++) {
        float x;
        memcpy(&x, (const char *)wanted->data + i * sizeof x, sizeof x);
        int same = found[i] == x; /* infinities */
        if (!same && !(fabs((double)found[i] - (double)x) <= 2e-6 * fmax(1, fabs((double)x))))
            fail_msg("%s: y[%zu] is %.8g, wanted %.8g", name, i, (double)found[i], (double)x);
    }
}

static void test_cases(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++)
        for (int literal = 0; literal < 2; literal++) {
            run r;
            cg_onnx_how how = {.literal = literal, .off = literal ? CG_PASSES_NONE : 0};
            if (begin(&r, cases[i], how) != CG_OK) fail_msg("%s: %s", cases[i], cg_error_message());
            compare(cases[i], &r);
            end(&r);
        }
}

static int count(const cg_graph *g, const cg_op *op) {
    int n = 0;
    for (int i = 0; i < g->n_node; i++) n += g->node[i]->op == op;
    return n;
}

/* Masks of ids become those of keys, whatever the rule; other numbers stay with their softmax, and
 * so do rows that see no key, and rows of the softmax that are not the scores'. */
static void test_masks_of_keys(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int softmax;
    } list[] = {{"mask_equal", 0},   {"mask_pad", 0},    {"mask_above", 0},    {"mask_between", 0},
                {"mask_two", 0},     {"add_scaled", 1},  {"mask_negative", 0}, {"mask_not_low", 1},
                {"mask_no_key", 1},  {"mask_float", 1},  {"where_undone", 1},  {"where_no_key", 1},
                {"softmax_1_24", 1}, {"softmax_6_4", 1}, {"softmax_12_2", 1},  {"softmax_nan", 1}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        run r;
        ok(begin(&r, list[i].name, (cg_onnx_how){0}));
        const cg_graph *g = cg_onnx_session_graph(r.session);
        if (count(g, &cg_op_softmax) != list[i].softmax) fail_msg("%s", list[i].name);
        end(&r);
    }
}

/* A row of each text is known to be one, however it is found. */
static void test_rows_of_texts(void **state) {
    (void)state;
    static const char *const list[] = {"end_bounded", "end_of_two", "in_turn_0", "end_elements"};
    for (int i = 0; i < 4; i++) {
        run r;
        ok(begin(&r, list[i], (cg_onnx_how){0}));
        assert_int_equal(count(cg_onnx_session_graph(r.session), &cg_op_end_token), i < 3);
        end(&r);
    }
}

/* One session, and ids of which the second ones have a text without a key: they need a graph of
 * their own, and those before and after have the one that was made for them. */
static void test_in_turn(void **state) {
    (void)state;
    for (int literal = 0; literal < 2; literal++) {
        run r;
        const cg_graph *graph[4] = {NULL};
        ok(begin(&r, "in_turn_0", (cg_onnx_how){.literal = literal}));
        for (int i = 0; i < 8; i++) {
            char name[16];
            snprintf(name, sizeof name, "in_turn_%d", i % 4);
            take(&r, name);
            r.out = (cg_tensor){0};
            ok(cg_onnx_session_run(r.session, r.in, r.n_in, &r.out, 1));
            compare(name, &r);
            const cg_graph *g = cg_onnx_session_graph(r.session);
            if (i < 4) graph[i] = g;
            assert_ptr_equal(g, graph[i % 4]);
            assert_int_equal(count(g, &cg_op_softmax), literal || i % 4 == 1);
        }
        assert_ptr_equal(graph[0], graph[2]);
        assert_ptr_equal(graph[0], graph[3]);
        assert_int_equal(graph[0] == graph[1], literal);
        end(&r);
    }
}

/* Shapes that follow from integers are those of the run. */
static void test_lengths(void **state) {
    (void)state;
    run r;
    ok(begin(&r, "length_0", (cg_onnx_how){0}));
    for (int i = 0; i < 4; i++) {
        const char *name = i % 2 ? "length_1" : "length_0";
        take(&r, name);
        r.out = (cg_tensor){0};
        ok(cg_onnx_session_run(r.session, r.in, r.n_in, &r.out, 1));
        compare(name, &r);
    }
    end(&r);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *name;
        cg_status status;
        const char *says;
    } list[] = {
        {"refused_dropout", CG_EUNSUPPORTED, "(Dropout): has training_mode true, wanted false"},
        {"refused_own_maker", CG_EFORMAT, "(Split): has 0 operands"},
        {"refused_axis_twice", CG_EFORMAT, "(Slice): has axis 0 twice"},
        {"refused_index_0", CG_EFORMAT, "has index 9223372036854775807, wanted less than 2"},
        {"refused_index_1", CG_EUNSUPPORTED, "picks along axis 1"},
        {"refused_branch_name", CG_EFORMAT, "(If): defines h, which is defined around the branch"},
        {"refused_conv_strides", CG_EFORMAT, "(Conv): has a stride of 0 and a dilation of 1"},
        {"refused_conv_dilations", CG_EFORMAT, "(Conv): has a stride of 1 and a dilation of 0"},
        {"refused_conv_group", CG_EFORMAT, "(Conv): has 0 groups"},
        {"refused_conv_kernel_shape", CG_EFORMAT, "has a kernel_shape of 7, its weight one of 3"},
        {"refused_pad_axes", CG_EUNSUPPORTED, "(Pad): has axes that only a run knows"},
        {"refused_branch_input", CG_EFORMAT, "reads nothing, which nothing defines"},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        run r;
        cg_status s = begin(&r, list[i].name, (cg_onnx_how){0});
        if (s != list[i].status || !strstr(cg_error_message(), list[i].says))
            fail_msg("%s: %s, \"%s\", wanted \"%s\"", list[i].name, cg_status_name(s),
                     s ? cg_error_message() : "", list[i].says);
        end(&r);
    }
}

/* Millions of integers, with which the file computes before it selects rows by them. */
static void test_many_integers(void **state) {
    (void)state;
    enum { MANY = 2000000 };
    run r;
    ok(begin(&r, "gather_computed", (cg_onnx_how){0}));
    int64_t *ids = calloc(MANY, sizeof *ids);
    assert_non_null(ids);
    for (int64_t k = 0; k < MANY; k++) ids[k] = k % 40;
    cg_tensor in = {"ids", CG_I64, CG_SHAPE(1, MANY), ids, MANY * sizeof *ids};
    ok(cg_onnx_session_run(r.session, &in, 1, &r.out, 1));
    const float *y = r.out.data;
    assert_memory_equal(y, y + 40 * 8, 8 * sizeof *y);
    assert_memory_not_equal(y, y + 41 * 8, 8 * sizeof *y);
    free(ids);
    end(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),         cmocka_unit_test(test_masks_of_keys),
        cmocka_unit_test(test_rows_of_texts), cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_lengths),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_many_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
