/* labels: unit */
/* A folder includes those below it, never one above or beside it (see docs/ARCHITECTURE.md); and
 * only one file knows oneDNN. Checked on the sources' own #include lines. */
#include <ctype.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* What a folder may include besides itself and the headers of status. */
static const struct {
    const char *folder, *may[9];
} rules[] = {
    {"graph", {NULL}},
    {"ops", {"graph", NULL}},
    {"autodiff", {"graph", "ops", NULL}},
    {"models", {"graph", "ops", NULL}},
    {"data", {NULL}},
    {"serialize", {"graph", "ops", "autodiff", "models", "data", NULL}},
    {"train", {"graph", "ops", "autodiff", "models", "data", "serialize", NULL}},
    {"study", {"graph", "ops", "autodiff", "models", "data", "serialize", "train", NULL}},
    {"cli", {"graph", "ops", "autodiff", "models", "data", "serialize", "train", "study", NULL}},
};
enum { FOLDERS = sizeof rules / sizeof *rules };

/* The status target: what every folder may use. */
static const char *const status_headers[] = {
    "graph/status.h",  "graph/version.h", "graph/rng.h",   "graph/file.h",
    "graph/nearest.h", "graph/decimal.h", "graph/clock.h", NULL};

/* Kept apart, each with the one folder, or files, that may include them. */
static const struct {
    const char *header, *only[4];
} libraries[] = {
    {"dnnl", {"ops/dnn.c", NULL}},   {"oneapi/", {"ops/dnn.c", NULL}},
    {"turbojpeg", {"data/", NULL}},  {"spng", {"data/", NULL}},
    {"webp/", {"data/", NULL}},      {"libexif/", {"data/", NULL}},
    {"utf8proc", {"data/", NULL}},   {"argp.h", {"cli/", NULL}},
    {"onnx/", {"serialize/", NULL}},
};

static int starts(const char *s, const char *with) {
    return strncmp(s, with, strlen(with)) == 0;
}

static int listed(const char *s, const char *const *list) {
    while (*list && strcmp(s, *list) != 0) list++;
    return *list != NULL;
}

/* The folder of a project's header, as an index into rules, or -1. */
static int folder_of(const char *path) {
    for (int i = 0; i < FOLDERS; i++) {
        size_t n = strlen(rules[i].folder);
        if (strncmp(path, rules[i].folder, n) == 0 && path[n] == '/') return i;
    }
    return -1;
}

/* Why `file` (its path from the root) may not include `header`; NULL: it may. */
static const char *refused(const char *file, const char *header, int quoted) {
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        if (!starts(header, libraries[i].header)) continue;
        for (const char *const *p = libraries[i].only; *p; p++)
            if (starts(file, *p)) return NULL;
        return "this library has its place elsewhere";
    }
    if (!quoted) return NULL;
    int from = folder_of(file), to = folder_of(header);
    if (to < 0) return "not a path from the root: wanted folder/name.h";
    if (from == to || listed(header, status_headers)) return NULL;
    return listed(rules[to].folder, rules[from].may) ? NULL : "this folder is not below";
}

/* The name in an #include line; 0: it is none. */
static int include_of(const char *line, char *header, int *quoted) {
    while (isspace((unsigned char)*line)) line++;
    if (*line++ != '#') return 0;
    while (isspace((unsigned char)*line)) line++;
    if (!starts(line, "include")) return 0;
    line += strlen("include");
    while (isspace((unsigned char)*line)) line++;
    if (*line != '"' && *line != '<') return 0;
    *quoted = *line == '"';
    size_t n = strcspn(line + 1, *quoted ? "\"" : ">");
    snprintf(header, 256, "%.*s", (int)n, line + 1);
    return 1;
}

typedef struct findings {
    int files, includes, violations;
    char first[4096]; /* their lines: file:line: … */
} findings;

static void check_line(findings *f, const char *file, int number, const char *line) {
    char header[256];
    int quoted;
    if (!include_of(line, header, &quoted)) return;
    f->includes++;
    const char *why = refused(file, header, quoted);
    if (!why) return;
    f->violations++;
    size_t used = strlen(f->first);
    snprintf(f->first + used, sizeof f->first - used, "%s:%d: includes %s: %s\n", file, number,
             header, why);
}

static void check_file(findings *f, const char *file) {
    char path[1024], line[1024];
    snprintf(path, sizeof path, "%s/%s", CG_SOURCE_DIR, file);
    FILE *in = fopen(path, "r");
    if (!in) return; /* an editor's temporary file, gone since the folder was read */
    f->files++;
    for (int number = 1; fgets(line, sizeof line, in); number++) check_line(f, file, number, line);
    fclose(in);
}

static void check_folder(findings *f, const char *folder) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", CG_SOURCE_DIR, folder);
    DIR *d = opendir(path);
    if (!d) return; /* a folder not begun yet */
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        char inner[1024];
        struct stat st;
        snprintf(inner, sizeof inner, "%s/%s", folder, e->d_name);
        snprintf(path, sizeof path, "%s/%s", CG_SOURCE_DIR, inner);
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            check_folder(f, inner);
            continue;
        }
        const char *dot = strrchr(e->d_name, '.');
        if (dot && (strcmp(dot, ".c") == 0 || strcmp(dot, ".h") == 0 || strcmp(dot, ".def") == 0))
            check_file(f, inner);
    }
    closedir(d);
}

static void folders_include_those_below(void **state) {
    (void)state;
    findings f = {0};
    for (int i = 0; i < FOLDERS; i++) check_folder(&f, rules[i].folder);
    if (f.violations) fail_msg("%d includes go the wrong way:\n%s", f.violations, f.first);
    assert_true(f.files > 100 && f.includes > 500); /* it did look */
}

/* The check itself, on lines that must and must not pass. */
#define INCLUDE "#include " /* apart, so that a search for includes does not find these */

static void violations_are_found(void **state) {
    (void)state;
    static const struct {
        const char *file, *line, *found; /* NULL: passes */
    } cases[] = {
        {"ops/relu.c", "#include \"graph/op.h\"", NULL},
        {"ops/relu.c", "#include <math.h>", NULL},
        {"data/image.c", "#include \"graph/status.h\"", NULL},
        {"data/image.c", "#include <spng.h>", NULL},
        {"ops/dnn.c", INCLUDE "<dnnl.h>", NULL},
        {"cli/main.c", "#include <argp.h>", NULL},
        {"graph/plan.c", "// #include \"cli/cli.h\"", NULL},
        {"graph/plan.c", "#include \"ops/ops.h\"",
         "graph/plan.c:7: includes ops/ops.h: this folder is not below\n"},
        {"autodiff/grad.c", "#include \"models/clip.h\"",
         "autodiff/grad.c:7: includes models/clip.h: this folder is not below\n"},
        {"data/image.c", "  #  include \"graph/types.h\"",
         "data/image.c:7: includes graph/types.h: this folder is not below\n"},
        {"ops/relu.c", INCLUDE "\"dnnl.h\"",
         "ops/relu.c:7: includes dnnl.h: this library has its place elsewhere\n"},
        {"ops/conv2d.c", INCLUDE "<oneapi/dnnl/dnnl.h>",
         "ops/conv2d.c:7: includes oneapi/dnnl/dnnl.h: this library has its place elsewhere\n"},
        {"train/train.c", "#include <webp/decode.h>",
         "train/train.c:7: includes webp/decode.h: this library has its place elsewhere\n"},
        {"train/train.c", "#include \"runner.h\"",
         "train/train.c:7: includes runner.h: not a path from the root: wanted folder/name.h\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        findings f = {0};
        check_line(&f, cases[i].file, 7, cases[i].line);
        assert_string_equal(f.first, cases[i].found ? cases[i].found : "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_include_those_below),
        cmocka_unit_test(violations_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
