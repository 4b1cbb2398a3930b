/* What must succeed in a test, and what must be refused: where it is not so, the test fails with
 * the call and the sentence. */
#ifndef CG_TEST_OK_H
#define CG_TEST_OK_H

#include "graph/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CG_OK) fail_msg("%s: %s", #call, cg_error_message());                        \
    } while (0)

/* By this status, and these words in its sentence. */
#define refused(call, wanted, words)                                                               \
    do {                                                                                           \
        cg_status found_ = (call);                                                                 \
        if (found_ != (wanted) || !strstr(cg_error_message(), words))                              \
            fail_msg("%s: %s, \"%s\", wanted %s, \"%s\"", #call, cg_status_name(found_),           \
                     found_ ? cg_error_message() : "", cg_status_name(wanted), words);             \
    } while (0)

#endif
