#include "tests/support/cli.h"

#include "graph/file.h"
#include "serialize/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct printed printed;

static char folder[64];

/* --- the folder ------------------------------------------------------------------------------- */

int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/clipgraph-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

int remove_folder(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

const char *in_folder(const char *name, char path[PATH_ROOM]) {
    snprintf(path, PATH_ROOM, "%s/%s", folder, name);
    return path;
}

int there(const char *name) {
    char path[PATH_ROOM];
    return access(in_folder(name, path), F_OK) == 0;
}

void write_file(const char *name, const void *bytes, size_t size) {
    char path[PATH_ROOM];
    ok(cg_file_save(in_folder(name, path), bytes, size));
}

void write_text(const char *name, const char *text) {
    write_file(name, text, strlen(text));
}

void write_array(const char *name, cg_dtype dtype, cg_shape shape, const void *data) {
    char path[PATH_ROOM];
    ok(cg_npy_save(in_folder(name, path), dtype, &shape, data));
}

void write_program(const char *name, const char *script) {
    char path[PATH_ROOM], text[1024];
    snprintf(text, sizeof text, "#!/bin/sh\n%s\n", script);
    write_text(name, text);
    assert_int_equal(chmod(in_folder(name, path), 0755), 0);
}

void read_file(const char *name, char *text, size_t size) {
    char path[PATH_ROOM];
    FILE *f = fopen(in_folder(name, path), "rb");
    if (!f) fail_msg("%s is not there", name);
    size_t n = fread(text, 1, size, f);
    fclose(f);
    if (n == size) fail_msg("%s has %zu bytes or more", name, size);
    text[n] = '\0';
}

#define FORMAT(format, text)                                                                       \
    do {                                                                                           \
        va_list list;                                                                              \
        va_start(list, format);                                                                    \
        vsnprintf(text, sizeof(text), format, list);                                               \
        va_end(list);                                                                              \
    } while (0)

void shell(const char *format, ...) {
    char text[2048], command[2400];
    FORMAT(format, text);
    snprintf(command, sizeof command, "cd '%s' && { %s; }", folder, text);
    if (system(command) != 0) fail_msg("failed: %s", text);
}

/* --- the program ------------------------------------------------------------------------------ */

int run_in(const char *environment, const char *arguments) {
    char command[4096];
    snprintf(command, sizeof command,
             "cd '%s' && exec env %s '%s' %s >out.log 2>err.log </dev/null", folder, environment,
             CG_CLI, arguments);
    int status = system(command);
    read_file("out.log", printed.out, sizeof printed.out);
    read_file("err.log", printed.err, sizeof printed.err);
    if (!WIFEXITED(status)) fail_msg("%s: ended by signal %d", arguments, WTERMSIG(status));
    return WEXITSTATUS(status);
}

int run(const char *format, ...) {
    char arguments[2048];
    FORMAT(format, arguments);
    return run_in("", arguments);
}

static void expect_code(const char *arguments, int wanted) {
    int code = run_in("", arguments);
    if (code != wanted)
        fail_msg("%s: exit code %d, wanted %d: %s", arguments, code, wanted, printed.err);
}

void succeeds(const char *format, ...) {
    char arguments[2048];
    FORMAT(format, arguments);
    expect_code(arguments, 0);
}

void fails(const char *arguments, int code, const char *sentence) {
    expect_code(arguments, code);
    if (!strstr(printed.err, sentence))
        fail_msg("%s: \"%s\", wanted \"%s\"", arguments, printed.err, sentence);
    assert_string_equal(printed.out, "");
}

json_t *json_of(const char *format, ...) {
    char arguments[2048];
    json_error_t e;
    FORMAT(format, arguments);
    expect_code(arguments, 0);
    json_t *j = json_loads(printed.out, 0, &e);
    if (!j) fail_msg("%s: %s in %s", arguments, e.text, printed.out);
    return j;
}

void prints(const char *words) {
    if (!strstr(printed.out, words)) fail_msg("no \"%s\" in \"%s\"", words, printed.out);
}

void prints_no(const char *words) {
    if (strstr(printed.out, words)) fail_msg("\"%s\" in \"%s\"", words, printed.out);
}

void warns(const char *words) {
    if (!strstr(printed.err, words)) fail_msg("no \"%s\" in \"%s\"", words, printed.err);
}
