#include "tests/support/run_once.h"

#include "graph/exec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

cg_graph *cg_once_graph(void) {
    cg_graph *g;
    assert_int_equal(cg_graph_create(NULL, &g), CG_OK);
    return g;
}

cg_status cg_run_once_on(int threads, cg_graph *g, cg_value *y, const cg_once *in, int n,
                         void *result, size_t bytes) {
    cg_context *ctx;
    cg_plan *p;
    cg_exec *e;
    cg_graph_output(g, "y", y, CG_KEEP);
    assert_int_equal(cg_graph_status(g), CG_OK);
    assert_int_equal(cg_context_create(threads, &ctx), CG_OK);
    assert_int_equal(cg_plan_create(ctx, g, &p), CG_OK);
    assert_int_equal(cg_exec_create(&e), CG_OK);
    assert_int_equal(cg_exec_use(e, p), CG_OK);
    for (int i = 0; i < n; i++)
        assert_int_equal(cg_exec_bind_input(e, in[i].name, in[i].data), CG_OK);
    cg_status s = cg_exec_run(e);
    if (s == CG_OK) memcpy(result, cg_exec_output(e, "y"), bytes);
    cg_exec_free(e);
    cg_plan_free(p);
    cg_context_free(ctx);
    return s;
}

cg_status cg_run_once(cg_graph *g, cg_value *y, const cg_once *in, int n, void *result,
                      size_t bytes) {
    return cg_run_once_on(2, g, y, in, n, result, bytes);
}
