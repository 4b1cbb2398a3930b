#include "tests/support/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct printed printed;

#define FORMAT(format, text)                                                                       \
    do {                                                                                           \
        va_list list;                                                                              \
        va_start(list, format);                                                                    \
        vsnprintf(text, sizeof(text), format, list);                                               \
        va_end(list);                                                                              \
    } while (0)

int run_in(const char *environment, const char *arguments) {
    char command[4096];
    snprintf(command, sizeof command,
             "cd '%s' && exec env %s '%s' %s >out.log 2>err.log </dev/null", in_folder("."),
             environment, CG_CLI, arguments);
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
