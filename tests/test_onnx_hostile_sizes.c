/* labels: unit */
/* Files of some hundred bytes that name sizes which no machine has, or loops without end
 * (tools/make_onnx_hostile.py): each is refused in its sentence, at once, and touches little
 * memory; as it stands, too. */
#include "serialize/onnx/session.h"
#include "tests/support/ok.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define FOLDER CG_SOURCE_DIR "/tests/golden/onnx_hostile/"

enum { MOST = 2, SECONDS = 2, MIB = 640 }; /* a sanitizer is slow, and wants memory of its own */

static const struct {
    const char *name;
    cg_status status;
    const char *words;
} files[] = {
    {"atoms", CG_EUNSUPPORTED, "node y (MatMul): a transposition of 15 axes"},
    {"computed", CG_EUNSUPPORTED, "computes [17179869184] before the run, 68719476736 bytes"},
    {"cuts", CG_ENOMEM, "bytes, and 0 for weights laid out, the machine has "},
    {"join_nothing", CG_EUNSUPPORTED, "(Concat): has 2199023255552 elements to be computed before"},
    {"pick_by_many", CG_EUNSUPPORTED, "(Gather): has indices that only a run knows, or too many"},
    {"pick_nothing", CG_EUNSUPPORTED, "(Gather): has 2147483648 elements to be computed before"},
    {"picked", CG_EUNSUPPORTED, "(Gather): has 4194304 elements to be computed before"},
    {"resized", CG_EUNSUPPORTED, "(Resize): makes [1073741824, 64] before the run, 274877906944"},
    {"sequences", CG_ENOMEM, "a run needs 1236950581888 bytes, and 0 for weights"},
    {"sums", CG_EUNSUPPORTED, "(ReduceSum): has 16777216 elements to be computed before"},
};

/* All 1, of the dimensions that the file says. */
static void fill(const cg_onnx_port *p, cg_tensor *t) {
    *t = (cg_tensor){.name = p->name, .dtype = p->dtype, .shape = {.rank = p->rank}};
    for (int i = 0; i < p->rank; i++) t->shape.dim[i] = p->dim[i];
    int64_t n = cg_shape_count(&t->shape);
    t->bytes = (size_t)n * cg_dtype_size(t->dtype);
    void *data = malloc(t->bytes);
    assert_non_null(data);
    for (int64_t i = 0; i < n; i++) {
        if (t->dtype == CG_F32)
            ((float *)data)[i] = 1;
        else
            ((int64_t *)data)[i] = 1;
    }
    t->data = data;
}

static cg_status run(const char *name, int literal) {
    char path[512];
    cg_context *ctx;
    cg_onnx_session *s;
    cg_tensor in[MOST], out = {0};
    const cg_onnx_port *port;
    ok(cg_context_create(1, &ctx));
    snprintf(path, sizeof path, FOLDER "%s.onnx", name);
    ok(cg_onnx_session_create(ctx, path, &(cg_onnx_how){.literal = literal}, &s));
    int n = cg_onnx_inputs(cg_onnx_session_file(s), &port);
    assert_in_range(n, 1, MOST);
    for (int i = 0; i < n; i++) fill(&port[i], &in[i]);
    cg_status status = cg_onnx_session_run(s, in, n, &out, 1);
    for (int i = 0; i < n; i++) free((void *)(uintptr_t)in[i].data);
    cg_onnx_session_free(s);
    cg_context_free(ctx);
    return status;
}

static void test_refused_at_once(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (int literal = 0; literal < 2; literal++) {
            clock_t begun = clock();
            cg_status found = run(files[i].name, literal);
            double took = (double)(clock() - begun) / CLOCKS_PER_SEC;
            if (found != files[i].status || !strstr(cg_error_message(), files[i].words))
                fail_msg("%s: %s, \"%s\", wanted %s, \"%s\"", files[i].name, cg_status_name(found),
                         found ? cg_error_message() : "", cg_status_name(files[i].status),
                         files[i].words);
            if (took > SECONDS) fail_msg("%s took %.1f s", files[i].name, took);
        }
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    if (usage.ru_maxrss > MIB * 1024L) fail_msg("%ld KiB were touched", usage.ru_maxrss);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
