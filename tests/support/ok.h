/* What must succeed in a test: if it does not, the test fails with the call and the sentence. */
#ifndef CG_TEST_OK_H
#define CG_TEST_OK_H

#include "graph/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ok(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CG_OK) fail_msg("%s: %s", #call, cg_error_message());                        \
    } while (0)

#endif
