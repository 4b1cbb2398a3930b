/* labels: unit */
/* Labelled data: class names, folders by class, templates, zero-shot accuracy. */
#include "data/dataset.h"
#include "data/loader.h"
#include "tests/support/folder.h"
#include "train/zero_shot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_picture(const char *file, int shade) {
    cg_image image;
    ok(cg_image_alloc(16, 12, &image));
    memset(image.rgb, shade, 16 * 12 * 3);
    ok(cg_image_save_png(in_folder(file), &image));
    cg_image_free(&image);
}

static void assert_pair(const cg_dataset *d, int64_t i, const char *path, const char *caption) {
    assert_string_equal(d->path[i], in_folder(path));
    assert_string_equal(d->caption[i], caption);
}

/* ---- class names ---- */

static void test_classes(void **state) {
    (void)state;
    static const char text[] = "\xef\xbb\xbfT-shirt/top\r\n\nn02123394\tPersian  cat\nZebra";
    cg_classes c;
    write_file("c.txt", text, sizeof text - 1);
    assert_int_equal(cg_classes_read(in_folder("c.txt"), &c), CG_OK);
    assert_int_equal(c.n, 3);
    assert_string_equal(c.at[0].key, "T-shirt/top");
    assert_string_equal(c.at[0].caption, "t-shirt/top");
    assert_string_equal(c.at[1].name, "Persian  cat");
    assert_string_equal(c.at[1].caption, "persian cat");
    assert_int_equal(cg_classes_find(&c, "persian cat"), 1);
    assert_int_equal(cg_classes_find(&c, "zebra"), 2);
    assert_int_equal(cg_classes_find(&c, "t-shirt"), -1);
    assert_int_equal(cg_classes_find_key(&c, "n02123394"), 1);
    assert_int_equal(cg_classes_find_key(&c, "persian cat"), -1);
    cg_classes_free(&c);
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"\n\r\n", "no class in it"},
        {"cat\ndog\ncat\n", "class \"cat\" is given twice"},
        {"cat\ndog\nCat\n", "\"cat\" and \"Cat\" are both class \"cat\""},
        {"a\tcat\na\tdog\n", "line 2: \"a\" is given twice"},
        {"a\tcat\n\tdog\n", "line 2: wanted NAME, or KEY<tab>NAME; found an empty key"},
        {"a\tcat\tb\n", "line 1: wanted NAME, or KEY<tab>NAME; found a second tab"},
        {"cat\n   \n", "line 2: the class's name is empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file("c.txt", bad[i].text, strlen(bad[i].text));
        refused(cg_classes_read(in_folder("c.txt"), &c), CG_EFORMAT, bad[i].message);
        cg_classes_free(&c);
    }
    write_file("c.txt", "c\0a", 3);
    refused(cg_classes_read(in_folder("c.txt"), &c), CG_EFORMAT, "zero byte");
    refused(cg_classes_read(in_folder("none.txt"), &c), CG_EIO, "none.txt");
}

/* ---- folders ---- */

static cg_status open_folders(const char *file, const char *classes, cg_dataset **d) {
    cg_classes c = {0};
    char top[600];
    if (classes) {
        write_file("classes.txt", classes, strlen(classes));
        assert_int_equal(cg_classes_read(in_folder("classes.txt"), &c), CG_OK);
    }
    snprintf(top, sizeof top, "%s", in_folder(file));
    cg_status s = cg_dataset_class_folders(top, classes ? &c : NULL, NULL, d);
    cg_classes_free(&c);
    return s;
}

static void test_class_folders(void **state) {
    (void)state;
    static const char *const folders[] = {"tree",           "tree/Red_fox", "tree/Red_fox/more",
                                          "tree/blue bird", "tree/empty",   "tree/.hidden",
                                          "elsewhere"};
    cg_dataset *d;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(mkdir(in_folder(folders[i]), 0777), 0);
    refused(open_folders("tree", NULL, &d), CG_ENOTFOUND, "no picture in a folder of it");
    write_picture("tree/top.png", 1);
    refused(open_folders("tree", NULL, &d), CG_ENOTFOUND, "no picture in a folder of it");
    write_picture("tree/Red_fox/z.png", 2);
    write_picture("tree/Red_fox/more/a.png", 3);
    write_picture("tree/blue bird/b.png", 4);
    write_picture("tree/.hidden/c.png", 5);
    write_picture("elsewhere/d.png", 6);
    assert_int_equal(symlink("../elsewhere", in_folder("tree/linked")), 0);
    assert_int_equal(open_folders("tree", NULL, &d), CG_OK);
    assert_int_equal(d->size, 4);
    assert_pair(d, 0, "tree/Red_fox/more/a.png", "red fox");
    assert_pair(d, 1, "tree/Red_fox/z.png", "red fox");
    assert_pair(d, 2, "tree/blue bird/b.png", "blue bird");
    assert_pair(d, 3, "tree/linked/d.png", "linked");
    assert_int_equal(d->n_captions, 3);
    assert_int_equal(d->n_skipped, 0);
    assert_int_equal(d->classes.n, 3); /* "empty" is none: it holds no picture */
    assert_string_equal(d->classes.at[0].key, "Red_fox");
    assert_string_equal(d->classes.at[0].name, "Red fox");
    cg_dataset_free(d);
    refused(open_folders("nowhere", NULL, &d), CG_EIO, "nowhere");
}

/* A file of classes names the folders; its classes without a folder are classes all the same. */
static void test_named_folders(void **state) {
    (void)state;
    cg_dataset *d;
    assert_int_equal(open_folders("tree", "Red_fox\tvixen\nunicorn\nblue bird\nlinked\n", &d),
                     CG_OK);
    assert_int_equal(d->classes.n, 4);
    assert_pair(d, 0, "tree/Red_fox/more/a.png", "vixen");
    assert_pair(d, 2, "tree/blue bird/b.png", "blue bird");
    cg_dataset_free(d);
    refused(open_folders("tree", "Red_fox\nblue bird\n", &d), CG_EFORMAT,
            "folder \"linked\" is not among the 2 classes given");
    assert_int_equal(open_folders("tree", "red fox\nBlue  Bird\nlinked\n", &d), CG_OK);
    assert_pair(d, 1, "tree/Red_fox/z.png", "red fox");
    assert_pair(d, 2, "tree/blue bird/b.png", "blue bird");
    cg_dataset_free(d);
    assert_int_equal(mkdir(in_folder("tree/red fox"), 0777), 0);
    write_picture("tree/red fox/e.png", 7);
    refused(open_folders("tree", NULL, &d), CG_EFORMAT,
            "\"Red_fox\" and \"red fox\" are both class \"red fox\"");
}

/* A folder that cannot be read (here: one too deep; root may read all others) is noted. */
static void test_unreadable_folder(void **state) {
    (void)state;
    char path[600];
    cg_dataset *d;
    snprintf(path, sizeof path, "%s", in_folder("deep"));
    assert_int_equal(mkdir(path, 0777), 0);
    write_picture("deep/here.png", 1);
    snprintf(path, sizeof path, "%s", in_folder("deep"));
    for (int i = 0; i < 66; i++) {
        strcat(path, "/d");
        assert_int_equal(mkdir(path, 0777), 0);
    }
    assert_int_equal(cg_dataset_folder(in_folder("deep"), NULL, &d), CG_OK);
    assert_int_equal(d->size, 1);
    assert_int_equal(d->n_skipped, 1);
    assert_non_null(strstr(d->skipped[0], "more than 64 folders deep"));
    cg_dataset_free(d);
    unlink(in_folder("deep/here.png"));
    refused(cg_dataset_folder(in_folder("deep"), NULL, &d), CG_ENOTFOUND,
            "no picture in it (PNG, JPEG or WebP); ");
}

/* So is a picture that may not be read; root, who may read all, becomes another for a while. */
static void test_unreadable_file(void **state) {
    (void)state;
    uid_t me = geteuid();
    cg_dataset *d;
    assert_int_equal(mkdir(in_folder("locked"), 0777), 0);
    write_picture("locked/open.png", 1);
    write_picture("locked/shut.png", 1);
    assert_int_equal(chmod(in_folder("locked/open.png"), 0644), 0);
    assert_int_equal(chmod(in_folder("locked/shut.png"), 0), 0);
    assert_int_equal(chmod(in_folder("locked"), 0755), 0);
    assert_int_equal(chmod(in_folder("."), 0755), 0);
    if (me == 0) assert_int_equal(seteuid(65534), 0);
    cg_status s = cg_dataset_folder(in_folder("locked"), NULL, &d);
    if (me == 0) assert_int_equal(seteuid(0), 0);
    assert_int_equal(s, CG_OK);
    assert_int_equal(d->size, 1);
    assert_int_equal(d->n_skipped, 1);
    assert_non_null(strstr(d->skipped[0], "locked/shut.png: Permission denied"));
    cg_dataset_free(d);
}

/* ---- templates ---- */

static void test_fill(void **state) {
    (void)state;
    static const char *const good[] = {"a {} {}.", "{}"}, *const bad[] = {"{}", "a cat"};
    char *text = cg_template_fill(good[0], "cat");
    assert_string_equal(text, "a cat {}.");
    free(text);
    assert_int_equal(cg_templates_check(&(cg_templates){good, 2}), CG_OK);
    refused(cg_templates_check(&(cg_templates){bad, 2}), CG_EINVAL, "\"a cat\" has no {}");
    /* drawn evenly, by seed, epoch and pair */
    cg_templates t = {good, 2};
    int alone[3] = {0};
    for (uint64_t i = 0; i < 1000; i++) {
        char *drawn[3] = {cg_templates_sentence(&t, "x", 1, 0, i),
                          cg_templates_sentence(&t, "x", 1, 1, i),
                          cg_templates_sentence(&t, "x", 2, 0, i)};
        alone[0] += !strcmp(drawn[0], "x");
        alone[1] += !strcmp(drawn[0], drawn[1]);
        alone[2] += !strcmp(drawn[0], drawn[2]);
        for (int k = 0; k < 3; k++) free(drawn[k]);
    }
    for (int k = 0; k < 3; k++) assert_in_range(alone[k], 420, 580);
    text = cg_templates_sentence(&t, "", 1, 0, 0);
    assert_string_equal(text, "");
    free(text);
}

/* Of one pixel each, in the classes 0 2 1 0 2. */
static cg_dataset *five_pictures(void) {
    static const uint8_t images[16 + 5] = {0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 1};
    static const uint8_t labels[8 + 5] = {0, 0, 8, 1, 0, 0, 0, 5, 0, 2, 1, 0, 2};
    cg_dataset *d;
    write_file("five-images-idx3-ubyte", images, sizeof images);
    write_file("five-labels-idx1-ubyte", labels, sizeof labels);
    ok(cg_dataset_idx(in_folder("five-images-idx3-ubyte"), NULL, &d));
    return d;
}

/* Captions, templates and their order count; how they are divided among the two does, too. */
static void test_fingerprint(void **state) {
    (void)state;
    static const char *const two[] = {"a {}", "{}"}, *const turned[] = {"{}", "a {}"};
    uint64_t seen[5];
    cg_dataset *d = five_pictures();
    seen[0] = cg_dataset_fingerprint(d, &(cg_templates){0});
    seen[1] = cg_dataset_fingerprint(d, &(cg_templates){two, 1});
    seen[2] = cg_dataset_fingerprint(d, &(cg_templates){two, 2});
    seen[3] = cg_dataset_fingerprint(d, &(cg_templates){turned, 2});
    d->caption[4][0] = '1';
    seen[4] = cg_dataset_fingerprint(d, &(cg_templates){0});
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < i; k++) assert_true(seen[i] != seen[k]);
    d->caption[4][0] = '2';
    assert_true(cg_dataset_fingerprint(d, &(cg_templates){two, 2}) == seen[2]);
    cg_dataset_free(d);
}

/* The loader's tokens are those of the sentence, whatever the workers, in a resumed run too. */
static void test_loader_templates(void **state) {
    (void)state;
    static const char *const templates[] = {"a photo of a {}", "one {} here", "{}"};
    cg_templates t = {templates, 3};
    cg_tokenizer *tokenizer;
    cg_dataset *d = five_pictures();
    assert_int_equal(cg_tokenizer_train(templates, 3, 600, &tokenizer), CG_OK);
    for (int workers = 1; workers <= 3; workers += 2)
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            cg_loader_options o = {.batch = 2,
                                   .workers = workers,
                                   .seed = 9,
                                   .shuffle = 1,
                                   .drop_last = 1,
                                   .tokenizer = tokenizer,
                                   .context_length = 20,
                                   .need_caption = 1,
                                   .templates = t};
            cg_loader *l;
            const cg_batch *b;
            assert_int_equal(cg_loader_open(d, &o, epoch, epoch % 2, &l), CG_OK);
            assert_int_equal(cg_loader_next(l, &b), CG_OK);
            for (int64_t i = 0; i < b->n; i++) {
                char *found,
                    *wanted = cg_templates_sentence(&t, d->caption[b->index[i]], 9, (uint64_t)epoch,
                                                    (uint64_t)b->index[i]);
                assert_int_equal(cg_tokenizer_decode(tokenizer, b->token + b->offset[i],
                                                     b->offset[i + 1] - b->offset[i], &found),
                                 CG_OK);
                assert_string_equal(found, wanted);
                free(found);
                free(wanted);
            }
            cg_loader_close(l);
        }
    static const char *const bad[] = {"a photo"};
    cg_loader_options o = {.batch = 2, .workers = 1, .templates = {bad, 1}};
    cg_loader *l;
    refused(cg_loader_open(d, &o, 0, 0, &l), CG_EINVAL, "has no {}");
    cg_tokenizer_free(tokenizer);
    cg_dataset_free(d);
}

/* ---- accuracy ---- */

/* Seven classes on a circle, 51.4° apart; pictures at given angles from their class. */
static void test_rank_classes(void **state) {
    (void)state;
    static const float x[7] = {1,          .6234898F,  -.2225209F, -.9009689F,
                               -.9009689F, -.2225209F, .6234898F};
    static const float y[7] = {0,          .7818315F,  .9749279F, .4338837F,
                               -.4338837F, -.9749279F, -.7818315F};
    float label[14], image[12];
    /* class 0 three times: its own place, its neighbour's, the far side; class 1: its own; class 3:
     * halfway to 4, a tie, and two places off */
    static const int32_t class_of[6] = {0, 0, 0, 1, 3, 3};
    static const int place[6] = {0, 1, 3, 1, -1, 5};
    cg_zero_shot z;
    for (int i = 0; i < 7; i++) label[2 * i] = x[i], label[2 * i + 1] = y[i];
    for (int i = 0; i < 6; i++) {
        image[2 * i] = place[i] < 0 ? -1 : x[place[i]];
        image[2 * i + 1] = place[i] < 0 ? 0 : y[place[i]];
    }
    for (int threads = 1; threads <= 2; threads++) {
        assert_int_equal(cg_rank_classes(image, class_of, 6, label, 7, 2, threads, &z), CG_OK);
        assert_int_equal(z.images, 6);
        assert_int_equal(z.classes, 7);
        assert_int_equal(z.shown, 3);
        assert_float_equal(z.chance, 1. / 7, 1e-12);
        assert_float_equal(z.top1, 2. / 6, 1e-12); /* the tie counts against */
        assert_float_equal(z.top5, 5. / 6, 1e-12); /* all but the far side */
        assert_float_equal(z.per_class, (1. / 3 + 1 + 0) / 3, 1e-12);
    }
    image[0] = NAN;
    assert_int_equal(cg_rank_classes(image, class_of, 6, label, 7, 2, 1, &z), CG_OK);
    assert_float_equal(z.top1, 1. / 6, 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),         cmocka_unit_test(test_class_folders),
        cmocka_unit_test(test_named_folders),   cmocka_unit_test(test_unreadable_folder),
        cmocka_unit_test(test_unreadable_file), cmocka_unit_test(test_fill),
        cmocka_unit_test(test_fingerprint),     cmocka_unit_test(test_loader_templates),
        cmocka_unit_test(test_rank_classes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
