/* labels: unit */
/* An export with its weights in a file of their own, over an older one: whatever happens in
 * between, the model that is there reads its own weights. */
#define _GNU_SOURCE /* renameat */
#include "ops/ops.h"
#include "serialize/onnx/export.h"
#include "serialize/onnx/session.h"
#include "tests/support/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "model.onnx"
enum { SIDE = 32, BROKEN = 7 };

/* In place of the system's: of the renames of an export one fails, or ends the process. */
static int renames, fails_at, ends_at;

int rename(const char *from, const char *to) {
    renames++;
    if (renames == ends_at) _exit(BROKEN);
    if (renames == fails_at) {
        errno = EIO;
        return -1;
    }
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* y = x w, w all `value`. */
static cg_status export(float value, int external) {
    static float w[SIDE * SIDE];
    cg_context *ctx;
    cg_graph *g;
    for (int i = 0; i < SIDE * SIDE; i++) w[i] = value;
    ok(cg_context_create(1, &ctx));
    ok(cg_graph_create(NULL, &g));
    cg_value *x = cg_input(g, "x", CG_F32, CG_SHAPE(2, SIDE));
    cg_value *y = cg_matmul(g, x, cg_constant(g, CG_F32, CG_SHAPE(SIDE, SIDE), w), 0, 0);
    cg_graph_output(g, "y", y, CG_KEEP);
    renames = 0;
    cg_status s =
        cg_onnx_export_graph(ctx, in_folder(NAME), g, &(cg_onnx_options){.external = external});
    cg_graph_free(g);
    cg_context_free(ctx);
    return s;
}

/* The model that is there has weights of this value. */
static void expect(float value) {
    static const float x[2 * SIDE] = {1};
    const cg_tensor in = {"x", CG_F32, CG_SHAPE(2, SIDE), x, sizeof x};
    cg_tensor out = {0};
    cg_context *ctx;
    cg_onnx_session *s;
    ok(cg_context_create(1, &ctx));
    ok(cg_onnx_session_create(ctx, in_folder(NAME), NULL, &s));
    ok(cg_onnx_session_run(s, &in, 1, &out, 1));
    assert_float_equal(((const float *)out.data)[SIDE - 1], value, 1e-6);
    cg_onnx_session_free(s);
    cg_context_free(ctx);
}

static int clear(void **state) {
    static const char *const list[] = {NAME, NAME ".data", NAME ".1.data", NAME ".2.data"};
    (void)state;
    fails_at = ends_at = 0;
    for (int i = 0; i < 4; i++) (void)unlink(in_folder(list[i]));
    return 0;
}

static void test_replaced(void **state) {
    (void)state;
    ok(export(1, 1));
    assert_int_equal(renames, 2);
    assert_true(there(NAME ".data"));
    ok(export(2, 1));
    expect(2);
    assert_true(there(NAME ".1.data") && !there(NAME ".data"));
    ok(export(3, 1));
    expect(3);
    assert_true(there(NAME ".data") && !there(NAME ".1.data"));
    ok(export(4, 0)); /* without weights of its own beside it: they are nobody's business */
    expect(4);
}

static void test_fails_between(void **state) {
    (void)state;
    ok(export(1, 1));
    for (fails_at = 1; fails_at <= 2; fails_at++) {
        refused(export(2, 1), CG_EIO, fails_at == 1 ? NAME ".1.data" : NAME);
        expect(1);
        assert_true(there(NAME ".data") && !there(NAME ".1.data"));
    }
}

/* Ends a child within an export, before a rename. */
static void end_at(int rename_number) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        ends_at = rename_number;
        (void)export(2, 1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == BROKEN);
}

static void test_ends_between(void **state) {
    (void)state;
    ok(export(1, 1));
    end_at(1);
    expect(1);
    end_at(2);
    expect(1);
    assert_true(there(NAME ".1.data")); /* nobody's */
    ok(export(3, 1));
    expect(3);
    assert_true(there(NAME ".2.data") && !there(NAME ".data") && !there(NAME ".1.data"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_replaced, clear, clear),
        cmocka_unit_test_setup_teardown(test_fails_between, clear, clear),
        cmocka_unit_test_setup_teardown(test_ends_between, clear, clear),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
