/* labels: unit */
#include "data/text.h"
#include "data/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const captions[] = {
    "a photo of a cat",  "a photo of a dog", "two cats &amp; a dog",
    "the cat's hat",     "a caf\xc3\xa9",    "a photo of the caf\xc3\xa9",
    "hats, hats, hats!", "42 photos",        "\xe6\x97\xa5\xe6\x9c\xac",
};
enum { N = sizeof captions / sizeof *captions };

static cg_tokenizer *train(int vocab_size) {
    cg_tokenizer *t;
    if (cg_tokenizer_train(captions, N, vocab_size, &t) != CG_OK)
        fail_msg("%s", cg_error_message());
    return t;
}

static char folder[] = "/tmp/cg_test_tokenizer.XXXXXX";
static char file[sizeof folder + 20];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(file, sizeof file, "%s/tokenizer.json", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(file);
    return rmdir(folder);
}

static void assert_clean(const char *text, const char *wanted) {
    char *clean;
    assert_int_equal(cg_caption_clean(text, &clean), CG_OK);
    assert_string_equal(clean, wanted);
    free(clean);
}

static void test_clean(void **state) {
    (void)state;
    assert_clean("", "");
    assert_clean(" \t\r\n ", "");
    assert_clean("  A  Photo\tof\n a CAT. ", "a photo of a cat.");
    assert_clean("a\xc2\xa0"
                 "b\xe3\x80\x80"
                 "c\xe2\x80\xa8"
                 "d",
                 "a b c d"); /* Unicode spaces */
    assert_clean("\xc3\x80\xc3\x89\xd0\x96\xce\xa3", "\xc3\xa0\xc3\xa9\xd0\xb6\xcf\x83");
    assert_clean("\xc4\xb0", "i\xcc\x87");
    assert_clean("caf&eacute; &amp; th&eacute;", "caf\xc3\xa9 & th\xc3\xa9");
    assert_clean("Tom &amp;amp; Jerry &amp;quot;x&amp;quot;", "tom & jerry \"x\""); /* twice */
    assert_clean("&#65;&#x42;&#X43 &#8364; &#128;", "abc \xe2\x82\xac \xe2\x82\xac");
    assert_clean("&#0; &#xD800; &#1114112; &#99999999999999999999;",
                 "\xef\xbf\xbd \xef\xbf\xbd \xef\xbf\xbd \xef\xbf\xbd");
    assert_clean("&ampx &copy2 &alpha; &alphax &nosuch; & &; &# &#x; &#1;x",
                 "&x \xc2\xa9"
                 "2 \xce\xb1 &alphax &nosuch; & &; &# &#x; x");
    assert_clean("&lt;b&gt;&nbsp;&apos;&hearts;", "<b> '\xe2\x99\xa5");
}

static void test_invalid_utf8(void **state) {
    (void)state;
#define BAD "\xef\xbf\xbd"
    assert_clean("a\xff"
                 "b",
                 "a" BAD "b");
    assert_clean("\xc0\xaf", BAD BAD);                 /* overlong */
    assert_clean("\xed\xa0\x80", BAD BAD BAD);         /* surrogate */
    assert_clean("\xf4\x90\x80\x80", BAD BAD BAD BAD); /* past U+10FFFF */
    assert_clean("\xe2\x82", BAD);                     /* cut short */
    assert_clean("\xe2\x82z", BAD "z");
    assert_clean("\xf0\x9f\x98\x80\xf0\x9f", "\xf0\x9f\x98\x80" BAD);
}

static void test_split(void **state) {
    (void)state;
    const char *text =
        "it's don't 42 --'s caf\xc3\xa9! <|startoftext|> \xe6\x97\xa5\xf0\x9f\x98\x80"
        "x they'll<|endoftext|>";
    const char *wanted[] = {"it",
                            "'s",
                            "don",
                            "'t",
                            "4",
                            "2",
                            "--'",
                            "s",
                            "caf\xc3\xa9",
                            "!",
                            "<|startoftext|>",
                            "\xe6\x97\xa5",
                            "\xf0\x9f\x98\x80",
                            "x",
                            "they",
                            "'ll",
                            "<|endoftext|>"};
    size_t at = 0, n = 0;
    for (cg_span s; cg_text_next(text, &at, &s); n++) {
        assert_true(n < sizeof wanted / sizeof *wanted);
        assert_int_equal(s.end - s.begin, strlen(wanted[n]));
        assert_memory_equal(text + s.begin, wanted[n], s.end - s.begin);
        assert_int_equal(s.kind, n == 10 ? CG_SPAN_START : n == 16 ? CG_SPAN_END : CG_SPAN_WORD);
    }
    assert_int_equal(n, sizeof wanted / sizeof *wanted);
}

static void test_bytes(void **state) {
    (void)state;
    cg_tokenizer *t = train(514); /* no merges: CLIP's numbers of the bytes can be seen */
    int32_t ids[32];
    int n, cut;
    assert_int_equal(cg_tokenizer_vocab_size(t), 514);
    assert_int_equal(cg_tokenizer_start(t), 512);
    assert_int_equal(cg_tokenizer_end(t), 513);
    /* "2024" is 273 271 273 275 and "." 269 in OpenAI's vocabulary too. */
    const int32_t wanted[] = {512, 273, 271, 273, 275, 269, 'c' - 33, 'a' - 33, 't' - 33 + 256,
                              513};
    assert_int_equal(cg_tokenizer_encode(t, "2024. Cat", 32, ids, &n, &cut), CG_OK);
    assert_int_equal(n, 10);
    assert_memory_equal(ids, wanted, sizeof wanted);
    assert_int_equal(cut, 0);
    cg_tokenizer_free(t);
}

/* Counted by hand: words "aab" × 3 and "ab" × 2. ("a", "b</w>") occurs five times, then "a" with
 * the result three times; after that no pair is left. */
static void test_merges(void **state) {
    (void)state;
    const char *text[] = {"aab ab aab", "AB aab"};
    cg_tokenizer *t;
    int32_t ids[8];
    int n;
    assert_int_equal(cg_tokenizer_train(text, 2, 1000, &t), CG_OK);
    assert_int_equal(cg_tokenizer_vocab_size(t), 516);
    assert_int_equal(cg_tokenizer_encode(t, "aab ab aa", 8, ids, &n, NULL), CG_OK);
    const int32_t wanted[] = {514, 513, 512, 'a' - 33, 'a' - 33 + 256, 515};
    assert_int_equal(n, 6);
    assert_memory_equal(ids, wanted, sizeof wanted);
    cg_tokenizer_free(t);
}

static void test_ties(void **state) {
    (void)state;
    const char *text[] = {"xy cd xy cd"};
    cg_tokenizer *t;
    int32_t ids[8];
    int n;
    assert_int_equal(cg_tokenizer_train(text, 1, 515, &t), CG_OK);
    assert_int_equal(cg_tokenizer_encode(t, "cd", 8, ids, &n, NULL), CG_OK);
    assert_int_equal(n, 3); /* "c", "d</w>" comes before "x", "y</w>" */
    cg_tokenizer_free(t);
}

static void test_limit(void **state) {
    (void)state;
    cg_tokenizer *t = train(700);
    int32_t ids[16];
    int n, whole, cut;
    assert_int_equal(cg_tokenizer_encode(t, "a photo of a cat", 16, ids, &whole, &cut), CG_OK);
    assert_int_equal(cut, 0);
    for (int limit = 2; limit <= 16; limit++) {
        int32_t some[16];
        assert_int_equal(cg_tokenizer_encode(t, "a photo of a cat", limit, some, &n, &cut), CG_OK);
        assert_int_equal(n, limit < whole ? limit : whole);
        assert_int_equal(cut, limit < whole);
        assert_memory_equal(some, ids, (size_t)(n - 1) * sizeof *ids);
        assert_int_equal(some[n - 1], cg_tokenizer_end(t));
    }
    assert_int_equal(cg_tokenizer_encode(t, "", 2, ids, &n, &cut), CG_OK);
    assert_int_equal(n, 2);
    assert_int_equal(cut, 0);
    assert_int_equal(cg_tokenizer_encode(t, "a", 1, ids, &n, &cut), CG_EINVAL);
    cg_tokenizer_free(t);
}

static void test_decode(void **state) {
    (void)state;
    cg_tokenizer *t = train(700);
    const char *texts[] = {"a photo of the cats", "zebra \xd0\xb6\xd1\x83\xd0\xba",
                           "\xf0\x9f\x98\x80", "", "caf\xc3\xa9 \xe6\x97\xa5"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t ids[64];
        int n;
        char *text;
        assert_int_equal(cg_tokenizer_encode(t, texts[i], 64, ids, &n, NULL), CG_OK);
        assert_int_equal(cg_tokenizer_decode(t, ids, n, &text), CG_OK);
        assert_string_equal(text, texts[i]);
        free(text);
    }
    char *text;
    int32_t wrong[] = {0, 100000}, half = 0xe2 - 174 + 106; /* one byte of a character */
    assert_int_equal(cg_tokenizer_decode(t, wrong, 2, &text), CG_EINVAL);
    assert_int_equal(cg_tokenizer_decode(t, &half, 1, &text), CG_OK);
    assert_string_equal(text, "\xef\xbf\xbd");
    free(text);
    cg_tokenizer_free(t);
}

static void test_long_word(void **state) {
    (void)state;
    cg_tokenizer *t = train(700);
    enum { LENGTH = 300000 };
    char *text = malloc(LENGTH + 1);
    for (int i = 0; i < LENGTH; i++) text[i] = "catphotohats"[i % 12];
    text[LENGTH] = 0;
    int32_t ids[77];
    int n, cut;
    assert_int_equal(cg_tokenizer_encode(t, text, 77, ids, &n, &cut), CG_OK);
    assert_int_equal(n, 77);
    assert_int_equal(cut, 1);
    free(text);
    cg_tokenizer_free(t);
}

static char *read_file(void) {
    FILE *f = fopen(file, "rb");
    char *text = calloc(1, 1 << 20);
    assert_non_null(f);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

/* What other readers cut is told by the file. */
static void test_truncation(void **state) {
    (void)state;
    cg_tokenizer *a = train(700), *b;
    assert_int_equal(cg_tokenizer_save(a, 0, file), CG_OK);
    char *text = read_file();
    assert_non_null(strstr(text, "\"truncation\": null"));
    free(text);
    assert_int_equal(cg_tokenizer_save(a, 32, file), CG_OK);
    text = read_file();
    assert_non_null(strstr(text, "\"direction\": \"Right\""));
    assert_non_null(strstr(text, "\"max_length\": 32"));
    free(text);
    assert_int_equal(cg_tokenizer_load(file, &b), CG_OK);
    cg_tokenizer_free(a);
    cg_tokenizer_free(b);
}

static void test_round_trip(void **state) {
    (void)state;
    cg_tokenizer *a = train(700), *b, *again = train(700);
    assert_int_equal(cg_tokenizer_save(a, 0, file), CG_OK);
    char *first = read_file();
    assert_int_equal(cg_tokenizer_save(again, 0, file), CG_OK);
    char *second = read_file();
    assert_string_equal(first, second); /* training is deterministic */
    free(second);
    assert_int_equal(cg_tokenizer_load(file, &b), CG_OK);
    assert_int_equal(cg_tokenizer_save(b, 0, file), CG_OK);
    second = read_file();
    assert_string_equal(first, second);
    for (int i = 0; i < N; i++) {
        int32_t x[64], y[64];
        int n, m;
        assert_int_equal(cg_tokenizer_encode(a, captions[i], 64, x, &n, NULL), CG_OK);
        assert_int_equal(cg_tokenizer_encode(b, captions[i], 64, y, &m, NULL), CG_OK);
        assert_int_equal(n, m);
        assert_memory_equal(x, y, (size_t)n * sizeof *x);
    }
    free(first);
    free(second);
    cg_tokenizer_free(a);
    cg_tokenizer_free(b);
    cg_tokenizer_free(again);
}

/* Writes the good file with `old` replaced by `new`, and reads it. */
static cg_status load_changed(const char *good, const char *old, const char *new,
                              cg_tokenizer **out) {
    const char *at = strstr(good, old);
    FILE *f = fopen(file, "wb");
    if (!at) fail_msg("the file has no %s", old);
    fwrite(good, 1, (size_t)(at - good), f);
    fputs(new, f);
    fputs(at + strlen(old), f);
    fclose(f);
    return cg_tokenizer_load(file, out);
}

static void test_malformed(void **state) {
    (void)state;
    static const struct {
        const char *old, *new;
        cg_status status;
        const char *message;
    } cases[] = {
        {"{", "[", CG_EFORMAT, "line"},
        {"\"BPE\"", "\"WordPiece\"", CG_EUNSUPPORTED, "\"WordPiece\", wanted \"BPE\""},
        {"\"</w>\"", "\"\"", CG_EUNSUPPORTED, "end_of_word_suffix"},
        {"\"continuing_subword_prefix\": \"\"", "\"continuing_subword_prefix\": \"##\"",
         CG_EUNSUPPORTED, "continuing_subword_prefix"},
        {"\"model\"", "\"modal\"", CG_EFORMAT, "no object \"model\""},
        {"\"vocab\": {", "\"vocab\": 3, \"x\": {", CG_EFORMAT, "no object \"model.vocab\""},
        {"\"merges\": [", "\"merges\": 3, \"x\": [", CG_EFORMAT, "no array \"model.merges\""},
        {"\"a\": 64", "\"a\": 63", CG_EFORMAT, "both have id 63"},
        {"\"a\": 64", "\"a\": -1", CG_EFORMAT, "\"a\" has an impossible id"},
        {"\"a\": 64", "\"a\": 4611686018427387904", CG_EFORMAT, "\"a\" has an impossible id"},
        {"\"a\": 64", "\"a\": \"64\"", CG_EFORMAT, "\"a\" has no id"},
        {"\"a\": 64,", "", CG_EFORMAT, "lacks \"a\""},
        {"\"a\": 64,", "\"a\": 64, \"a\": 64,", CG_EFORMAT, "duplicate"},
        {"\"merges\": [", "\"merges\": [\"a\",", CG_EFORMAT, "merge 0 is no pair"},
        {"\"merges\": [", "\"merges\": [\" a\",", CG_EFORMAT, "merge 0 is no pair"},
        {"\"merges\": [", "\"merges\": [\"a \",", CG_EFORMAT, "merge 0 is no pair"},
        {"\"merges\": [", "\"merges\": [\"a b c\",", CG_EFORMAT, "merge 0 is no pair"},
        {"\"merges\": [", "\"merges\": [[\"a\", 1],", CG_EFORMAT, "merge 0 is no pair"},
        {"\"merges\": [", "\"merges\": [[\"a\"],", CG_EFORMAT, "merge 0 is no pair"},
        {"\"merges\": [", "\"merges\": [null,", CG_EFORMAT, "merge 0 is no pair"},
        {"\"merges\": [", "\"merges\": [\"q q\",", CG_EFORMAT, "merge 0: "},
        {"\"content\": \"<|endoftext|>\"", "\"content\": \"<|end|>\"", CG_EFORMAT, "both have id"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 1000000, \"content\": \"<x>\"},",
         CG_EFORMAT, "\"<x>\" has an impossible id"},
        {"\"added_tokens\": [", "\"added_tokens\": [{\"id\": 5},", CG_EFORMAT, "added_tokens[0]"},
    };
    cg_tokenizer *t = train(600);
    assert_int_equal(cg_tokenizer_save(t, 0, file), CG_OK);
    cg_tokenizer_free(t);
    char *good = read_file();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cg_status status = load_changed(good, cases[i].old, cases[i].new, &t);
        if (status != cases[i].status || !strstr(cg_error_message(), cases[i].message) ||
            !strstr(cg_error_message(), file))
            fail_msg("case %d: %s: %s", (int)i, cg_status_name(status), cg_error_message());
        assert_null(t);
    }
    for (size_t length = strlen(good); length > 4; length = length * 3 / 4) { /* cut short */
        good[length - 3] = 0;
        FILE *f = fopen(file, "wb");
        fputs(good, f);
        fclose(f);
        assert_int_equal(cg_tokenizer_load(file, &t), CG_EFORMAT);
    }
    free(good);
    assert_int_equal(cg_tokenizer_load("/nonexistent/tokenizer.json", &t), CG_EIO);
}

/* Hugging Face's way of writing the same: merges as pairs, another normaliser. */
static void test_other_forms(void **state) {
    (void)state;
    cg_tokenizer *t = train(600), *pairs, *nfc;
    int32_t x[8], y[8];
    int n, m;
    assert_int_equal(cg_tokenizer_save(t, 0, file), CG_OK);
    char *good = read_file();
    const char *merges = strstr(good, "\"merges\": [");
    char first[64], pair[64];
    assert_int_equal(sscanf(merges, "\"merges\": [ \"%20[^ ] %20[^\"]", first, pair), 2);
    char old[64], new[64];
    snprintf(old, sizeof old, "\"%s %s\"", first, pair);
    snprintf(new, sizeof new, "[\"%s\", \"%s\"]", first, pair);
    assert_int_equal(load_changed(good, old, new, &pairs), CG_OK);
    assert_int_equal(cg_tokenizer_encode(t, "photo", 8, x, &n, NULL), CG_OK);
    assert_int_equal(cg_tokenizer_encode(pairs, "photo", 8, y, &m, NULL), CG_OK);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    assert_int_equal(
        load_changed(good, "\"normalizers\": [", "\"normalizers\": [{\"type\": \"NFC\"},", &nfc),
        CG_OK);
    assert_int_equal(cg_tokenizer_encode(nfc, "e\xcc\x81", 8, x, &n, NULL), CG_OK);
    assert_int_equal(cg_tokenizer_encode(t, "\xc3\xa9", 8, y, &m, NULL), CG_OK);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, (size_t)n * sizeof *x);
    assert_int_equal(cg_tokenizer_encode(nfc, "&lt;", 8, x, &n, NULL), CG_OK);
    assert_true(n > 3); /* HTML is left alone */
    free(good);
    cg_tokenizer_free(t);
    cg_tokenizer_free(pairs);
    cg_tokenizer_free(nfc);
}

static void test_train_errors(void **state) {
    (void)state;
    const char *empty[] = {"", " \n "};
    cg_tokenizer *t;
    assert_int_equal(cg_tokenizer_train(captions, N, 513, &t), CG_EINVAL);
    assert_int_equal(cg_tokenizer_train(empty, 2, 600, &t), CG_EINVAL);
    assert_int_equal(cg_tokenizer_train(NULL, 0, 600, &t), CG_EINVAL);
    assert_null(t);
    cg_tokenizer_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),       cmocka_unit_test(test_invalid_utf8),
        cmocka_unit_test(test_split),       cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_merges),      cmocka_unit_test(test_ties),
        cmocka_unit_test(test_limit),       cmocka_unit_test(test_decode),
        cmocka_unit_test(test_long_word),   cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_truncation),  cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_other_forms), cmocka_unit_test(test_train_errors),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
