/* labels: golden slow */
/* Models of full size at inference, weights by the hash, against what tools/make_golden.py
 * computed in double: embeddings and logits of two pictures and three captions, one of them empty
 * and one as long as can be. */
#include "tests/support/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void compare_logits(verdict *v, const golden *g, const golden_model *m) {
    int64_t n = g->images * g->texts, d = g->desc.embed_dim;
    const float *image = golden_output(m, "image_embedding");
    const float *text = golden_output(m, "text_embedding");
    float *found = malloc((size_t)n * sizeof *found);
    assert_non_null(found);
    for (int64_t k = 0; k < n; k++) {
        double sum = 0;
        for (int64_t i = 0; i < d; i++)
            sum += (double)image[k / g->texts * d + i] * (double)text[k % g->texts * d + i];
        found[k] = (float)(g->scale * sum);
    }
    judge(v, "logits", largest_difference(found, golden_expected(g, "", "logits", n), n),
          1e-5 * g->scale);
    free(found);
}

static void check(const char *name, cg_text_layout layout) {
    golden *g = golden_open(name);
    golden_model m = golden_run(g, (golden_setting){.passes = 2, .threads = 2, .layout = layout});
    verdict v = {.what = name};
    golden_compare(&v, g, &m, "image_embedding", "", 1e-5);
    golden_compare(&v, g, &m, "text_embedding", "", 1e-5);
    compare_logits(&v, g, &m);
    golden_forget(&m);
    golden_close(g);
    pronounce(&v);
}

static void rn50(void **state) {
    (void)state;
    check("rn50", CG_TEXT_PACKED);
}

static void vit_b_32(void **state) {
    (void)state;
    check("vit_b_32", CG_TEXT_UNIFORM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rn50),
        cmocka_unit_test(vit_b_32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
