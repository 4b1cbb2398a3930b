#include "graph/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[1024];

void cg_error_set(const char *format, ...) {
    char text[sizeof message]; /* an argument may be the old message */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, sizeof message);
}

void cg_error_prefix(const char *format, ...) {
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof text)
        snprintf(text + n, sizeof text - (size_t)n, ": %s", message);
    memcpy(message, text, sizeof message);
}

const char *cg_error_message(void) {
    return message;
}

const char *cg_status_name(cg_status code) {
    static const char *const names[] = {
#define X(name, text) #name,
        CG_STATUS_LIST(X)
#undef X
    };
    return (unsigned)code < sizeof names / sizeof *names ? names[code] : "?";
}

const char *cg_status_text(cg_status code) {
    static const char *const texts[] = {
#define X(name, text) text,
        CG_STATUS_LIST(X)
#undef X
    };
    return (unsigned)code < sizeof texts / sizeof *texts ? texts[code] : "unknown status";
}
