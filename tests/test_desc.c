/* labels: unit */
/* Model descriptions: what is read, what is refused and in which words, what is written. */
#include "graph/decimal.h"
#include "graph/file.h"
#include "models/desc.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT(text)   "{\"embed_dim\": 64" text "}"
#define CBOW         ", \"text_cfg\": {\"text_arch\": \"cbow\"}"
#define VISION(text) ROOT(", \"vision_cfg\": {\"layers\": [1, 1, 1, 1], " text "}" CBOW)
#define TEXT(text)                                                                                 \
    ROOT(", \"vision_cfg\": {\"layers\": [1, 1, 1, 1]}, "                                          \
         "\"text_cfg\": {\"text_arch\": \"cbow\", " text "}")
#define VIT(text)   ROOT(", \"vision_cfg\": {" text "}")
#define WORDS(text) ROOT(", \"text_cfg\": {" text "}")

static cg_status parse(const char *text, cg_clip_desc *d) {
    json_error_t error;
    json_t *j = json_loads(text, 0, &error);
    if (!j) fail_msg("%s: %s", text, error.text);
    cg_status s = cg_clip_desc_parse("m.json", j, d);
    json_decref(j);
    return s;
}

static cg_clip_desc parsed(const char *text) {
    cg_clip_desc d;
    if (parse(text, &d) != CG_OK) fail_msg("%s: %s", text, cg_error_message());
    return d;
}

/* Says what went wrong, in the test's name for it, unless code and message are as wanted. */
static void assert_refused(const char *what, cg_status s, cg_status code, const char *message) {
    if (s != code || !strstr(cg_error_message(), message))
        fail_msg("%s: status %d, \"%s\"; wanted %d, \"%s\"", what, (int)s,
                 s == CG_OK ? "" : cg_error_message(), (int)code, message);
}

static char *written(const cg_clip_desc *d) {
    json_t *j = cg_clip_desc_json(d);
    char *text = j ? json_dumps(j, JSON_SORT_KEYS) : NULL;
    json_decref(j);
    if (!text) fail_msg("a description cannot be written");
    return text;
}

/* Every key, as it is written. */
static void assert_same(const cg_clip_desc *a, const cg_clip_desc *b) {
    char *x = written(a), *y = written(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void defaults(void **state) {
    (void)state;
    cg_clip_desc d = parsed(VISION("\"width\": 8")), usual = cg_clip_desc_default();
    assert_int_equal(usual.embed_dim, 0);
    assert_int_equal(d.vision.image_size, 224);
    assert_int_equal(d.vision.head_width, 64);
    assert_int_equal(d.text.context_length, 77);
    assert_int_equal(d.text.vocab_size, 49408);
    assert_int_equal(d.text.width, 512);
    assert_int_equal(d.text.heads, 8);
    assert_int_equal(d.text.layers, 12);
    assert_true(fabs((double)d.init_logit_scale - log(1 / .07)) < 1e-6);
    assert_int_equal(usual.vision.n_layers, 1);
    assert_int_equal(usual.vision.layers[0], 12);
    assert_int_equal(usual.vision.width, 768);
    assert_int_equal(usual.text.text_arch, CG_TEXT_TRANSFORMER);
}

/* The file with every key, each unlike its default, and what the struct then holds. */
static void each_key(void **state) {
    (void)state;
    static const cg_clip_desc wanted = {
        .embed_dim = 48,
        .vision = {.vision_arch = CG_VISION_VIT,
                   .image_size = 96,
                   .layers = {5},
                   .n_layers = 1,
                   .width = 40,
                   .head_width = 20,
                   .patch_size = 12,
                   .mlp_ratio = 2.5f,
                   .ls_init_value = 0.125f,
                   .patch_dropout = 0.25f,
                   .no_ln_pre = 1,
                   .pool_type = CG_POOL_AVG,
                   .final_ln_after_pool = 1,
                   .act = CG_ACT_SILU,
                   .norm = CG_NORM_RMS},
        .text = {.text_arch = CG_TEXT_TRANSFORMER,
                 .context_length = 16,
                 .vocab_size = 700,
                 .width = 24,
                 .heads = 3,
                 .layers = 0,
                 .mlp_ratio = 3,
                 .ls_init_value = 0.5f,
                 .pool_type = CG_POOL_EOS,
                 .pad_id = 3,
                 .eos_id = 4,
                 .no_causal_mask = 1,
                 .use_pad_mask = 1,
                 .proj_bias = 1,
                 .act = CG_ACT_GELU_TANH,
                 .norm = CG_NORM_RMS},
        .quick_gelu = 1,
        .init_logit_scale = 1.25f,
        .init_logit_bias = -10,
    };
    cg_clip_desc d =
        parsed("{\"embed_dim\": 48, \"quick_gelu\": true, \"init_logit_scale\": 1.25, "
               "\"init_logit_bias\": -10, \"vision_cfg\": {\"vision_arch\": \"vit\", "
               "\"image_size\": 96, \"layers\": 5, "
               "\"width\": 40, \"head_width\": 20, \"patch_size\": 12, \"mlp_ratio\": 2.5, "
               "\"ls_init_value\": 0.125, \"patch_dropout\": 0.25, \"no_ln_pre\": true, "
               "\"pool_type\": \"avg\", \"final_ln_after_pool\": true, \"act\": \"silu\", "
               "\"norm\": \"rmsnorm\"}, \"text_cfg\": {\"text_arch\": \"transformer\", "
               "\"context_length\": 16, \"vocab_size\": 700, \"width\": 24, \"heads\": 3, "
               "\"layers\": 0, \"mlp_ratio\": 3, \"ls_init_value\": 0.5, \"pool_type\": \"eos\", "
               "\"pad_id\": 3, \"eos_id\": 4, \"no_causal_mask\": true, \"use_pad_mask\": true, "
               "\"proj_bias\": true, \"act\": \"gelu_tanh\", \"norm\": \"rmsnorm\"}}");
    assert_same(&d, &wanted);
}

/* null is the default, which open_clip's files write where a key does not matter. */
static void nulls(void **state) {
    (void)state;
    cg_clip_desc plain = parsed(VISION("\"width\": 8"));
    cg_clip_desc d = parsed(
        VISION("\"width\": 8, \"patch_size\": null, \"act\": null, \"ls_init_value\": null"));
    assert_same(&d, &plain);
    assert_true(isnan(d.vision.ls_init_value) && isnan(d.init_logit_bias));
}

static void hub_form(void **state) {
    (void)state;
    cg_clip_desc plain = parsed(VISION("\"width\": 8"));
    cg_clip_desc hub =
        parsed("{\"model_cfg\": " VISION("\"width\": 8") ", \"preprocess_cfg\": {\"size\": 224}}");
    assert_same(&hub, &plain);
}

static void mistakes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        cg_status code;
        const char *message;
    } cases[] = {
        /* keys that are not known */
        {ROOT(", \"embed_dmi\": 3"), CG_EINVAL,
         "m.json: unknown key \"embed_dmi\"; did you mean \"embed_dim\"?"},
        {VISION("\"widht\": 8"), CG_EINVAL,
         "m.json: vision_cfg: unknown key \"widht\"; did you mean \"width\"?"},
        {TEXT("\"vocab\": 8"), CG_EINVAL, "m.json: text_cfg: unknown key \"vocab\""},
        /* types */
        {"[1]", CG_EINVAL, "m.json: found a list, wanted an object"},
        {"{\"embed_dim\": \"8\"}", CG_EINVAL,
         "m.json: embed_dim: found a string, wanted a whole number"},
        {ROOT(", \"init_logit_scale\": true"), CG_EINVAL, "found true, wanted a number"},
        {ROOT(", \"quick_gelu\": 1"), CG_EINVAL, "found a whole number, wanted true or false"},
        {VISION("\"norm\": \"batchnorm\""), CG_EINVAL,
         "norm: found \"batchnorm\", wanted \"layernorm\" or \"rmsnorm\""},
        {VISION("\"act\": \"tanh\""), CG_EINVAL,
         "wanted \"gelu\", \"gelu_tanh\", \"quickgelu\", \"relu\" or \"silu\""},
        {ROOT(", \"vision_cfg\": 3"), CG_EINVAL, "found a whole number, wanted an object"},
        {VISION("\"width\": 8.5"), CG_EINVAL, "width: found a number, wanted a whole number"},
        {ROOT(", \"vision_cfg\": {\"layers\": [1, 1, 1]}"), CG_EINVAL,
         "layers: found a list, wanted a whole number, or a list of four"},
        {ROOT(", \"vision_cfg\": {\"layers\": [1, 1, true, 1]}"), CG_EINVAL,
         "layers: found true, wanted a whole number"},
        {ROOT(", \"text_cfg\": {\"text_arch\": 1}"), CG_EINVAL,
         "found a whole number, wanted \"transformer\" or \"cbow\""},
        {ROOT(", \"text_cfg\": {\"text_arch\": \"cbwo\"}"), CG_EINVAL,
         "text_arch: found \"cbwo\", wanted \"transformer\" or \"cbow\""},
        /* ranges */
        {"{\"embed_dim\": 65537}", CG_EINVAL, "embed_dim: found 65537, wanted 1 to 65536"},
        {VISION("\"width\": -8"), CG_EINVAL, "m.json: vision_cfg: width: found -8, wanted 1 to"},
        {VISION("\"head_width\": 0"), CG_EINVAL, "head_width: found 0, wanted 1 to 65536"},
        {TEXT("\"context_length\": 2"), CG_EINVAL, "context_length: found 2, wanted 3 to"},
        {ROOT(", \"init_logit_scale\": 1e300"), CG_EINVAL, "found 1e+300, wanted -10 to 10"},
        {ROOT(", \"vision_cfg\": {\"layers\": [1, 1, 0, 1]}"), CG_EINVAL,
         "layers: found 0, wanted 1 to 1000"},
        {"{}", CG_EINVAL, "m.json: embed_dim is missing"},
        /* sizes that clash */
        {VISION("\"image_size\": 100, \"width\": 8"), CG_EINVAL,
         "image_size 100 is not a multiple of 32"},
        {VISION("\"width\": 9"), CG_EINVAL, "width 9 is odd"},
        {VISION("\"width\": 8, \"head_width\": 96"), CG_EINVAL,
         "head_width 96 does not divide the features (32 times width), 256"},
        {VIT("\"vision_arch\": \"resnet\""), CG_EINVAL, "layers is one number, wanted a ResNet's"},
        {VISION("\"vision_arch\": \"vit\""), CG_EINVAL, "layers is a list, wanted a ViT's one"},
        {VIT("\"patch_size\": 30"), CG_EINVAL, "patch_size 30 does not divide image_size, 224"},
        {VIT("\"width\": 96"), CG_EINVAL, "head_width 64 does not divide width, 96"},
        {VIT("\"mlp_ratio\": 0.02, \"width\": 32, \"head_width\": 32"), CG_EINVAL,
         "leaves an MLP of width 32 no"},
        {WORDS("\"heads\": 3"), CG_EINVAL, "text_cfg: heads 3 does not divide width, 512"},
        {WORDS("\"pad_id\": 49408"), CG_EINVAL, "pad_id 49408 is not below vocab_size 49408"},
        {TEXT("\"pad_id\": 49408"), CG_EINVAL, "pad_id 49408 is not below vocab_size 49408"},
        {WORDS("\"pool_type\": \"eos\", \"eos_id\": 50000"), CG_EINVAL, "eos_id 50000 is not"},
        /* keys that this tower does not read, and towers that are not built */
        {VISION("\"no_ln_pre\": true"), CG_EINVAL,
         "no_ln_pre is set, but a tower of kind \"resnet\" does not read it"},
        {VISION("\"patch_dropout\": 0.5"), CG_EINVAL, "patch_dropout is set, but a tower of kind"},
        {VISION("\"act\": \"gelu\""), CG_EINVAL, "act is set, but a tower of kind"},
        {VISION("\"patch_size\": 32"), CG_EINVAL, "patch_size is set, but a tower of kind"},
        {TEXT("\"heads\": 4"), CG_EINVAL, "heads is set, but a tower of kind \"cbow\""},
        {TEXT("\"use_pad_mask\": true"), CG_EINVAL,
         "use_pad_mask is set, but a tower of kind \"cbow\""},
        {VIT("\"timm_model_name\": \"vit_base\""), CG_EUNSUPPORTED,
         "key \"timm_model_name\" asks for a tower of another library"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cg_clip_desc d;
        assert_refused(cases[i].text, parse(cases[i].text, &d), cases[i].code, cases[i].message);
    }
}

/* --- descriptions built by hand --------------------------------------------------------------- */

static void by_hand(void **state) {
    (void)state;
    const cg_clip_desc good = parsed(VISION("\"width\": 8"));
    cg_clip_desc d = good;
    assert_int_equal(cg_clip_desc_check("d", &d), CG_OK);
    d.vision.head_width = 0; /* which is divided by */
    assert_refused("head_width", cg_clip_desc_check("d", &d), CG_EINVAL,
                   "d: vision_cfg: head_width: found 0, wanted 1 to 65536");
    d = good;
    d.embed_dim = -1;
    assert_refused("embed_dim", cg_clip_desc_check("d", &d), CG_EINVAL, "embed_dim: found -1");
    d = good;
    d.vision.n_layers = 5;
    assert_refused("n_layers", cg_clip_desc_check("d", &d), CG_EINVAL,
                   "layers: found 5 numbers, wanted 1 or 4");
    d = good;
    d.vision.layers[3] = 0;
    assert_refused("layers", cg_clip_desc_check("d", &d), CG_EINVAL, "layers: found 0, wanted 1");
    d = good;
    d.text.text_arch = (cg_text_arch)7;
    assert_refused("text_arch", cg_clip_desc_check("d", &d), CG_EINVAL, "text_arch: no such kind");
    d = good;
    d.text.width = INT64_MAX;
    assert_refused("width", cg_clip_desc_check("d", &d), CG_EINVAL, "text_cfg: width: found 9223");
    d = good;
    d.init_logit_scale = NAN;
    assert_refused("scale", cg_clip_desc_check("d", &d), CG_EINVAL, "init_logit_scale: found nan");
}

/* --- writing ---------------------------------------------------------------------------------- */

static void round_trip(void **state) {
    (void)state;
    cg_clip_desc d = parsed(VISION("\"width\": 8")), again;
    for (int k = 0; k < 4; k++) {
        static const float scales[] = {2.65926f, 0, -9.99999905f, .1f};
        d.init_logit_scale = scales[k];
        json_t *j = cg_clip_desc_json(&d);
        assert_non_null(j);
        assert_int_equal(cg_clip_desc_parse("m.json", j, &again), CG_OK);
        json_decref(j);
        assert_same(&again, &d);
    }
    d.text.heads = 3; /* which a bag of words has not: what is written can be read again */
    json_t *j = cg_clip_desc_json(&d);
    assert_int_equal(cg_clip_desc_parse("m.json", j, &again), CG_OK);
    assert_int_equal(again.text.heads, 8);
    json_decref(j);
    d = parsed(VIT("\"width\": 128"));
    j = cg_clip_desc_json(&d);
    assert_int_equal(cg_clip_desc_parse("m.json", j, &again), CG_OK);
    assert_same(&again, &d);
    json_decref(j);
}

static void decimals(void **state) {
    (void)state;
    assert_true(cg_decimal(.1f) == .1);
    assert_true(cg_decimal(.48145466f) == .48145467); /* the same float */
    assert_true(cg_decimal(-2.65926f) == -2.65926);
    assert_true(cg_decimal(0) == 0);
    assert_true(isinf(cg_decimal(INFINITY)) && isnan(cg_decimal(NAN)));
    for (uint32_t i = 0; i < 10000; i++) {
        float x = ldexpf((float)(i * 2654435761u >> 8), (int)(i % 200) - 120);
        assert_true((float)cg_decimal(x) == x);
    }
}

/* --- files ------------------------------------------------------------------------------------ */

static void files(void **state) {
    (void)state;
    static const char bad[] = "{\"embed_dim\": 64,\n \"vision_cfg\": {\n}";
    const char *path = "test_desc.json";
    cg_clip_desc d, wanted = parsed(VISION("\"width\": 8"));
    assert_refused("missing", cg_clip_desc_load("no-such.json", &d), CG_EIO,
                   "no-such.json: No such file");
    assert_int_equal(cg_file_save(path, bad, strlen(bad)), CG_OK);
    assert_refused("malformed", cg_clip_desc_load(path, &d), CG_EFORMAT,
                   "test_desc.json: line 3: ");
    static const char twice[] = "{\"embed_dim\": 64,\n \"embed_dim\": 65}";
    assert_int_equal(cg_file_save(path, twice, strlen(twice)), CG_OK);
    assert_refused("duplicate", cg_clip_desc_load(path, &d), CG_EFORMAT, "line 2: ");
    static const char good[] = VISION("\"width\": 8");
    assert_int_equal(cg_file_save(path, good, strlen(good)), CG_OK);
    assert_int_equal(cg_clip_desc_load(path, &d), CG_OK);
    assert_same(&d, &wanted);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),   cmocka_unit_test(each_key), cmocka_unit_test(nulls),
        cmocka_unit_test(hub_form),   cmocka_unit_test(mistakes), cmocka_unit_test(by_hand),
        cmocka_unit_test(round_trip), cmocka_unit_test(decimals), cmocka_unit_test(files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
