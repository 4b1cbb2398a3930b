#include "ops/ops.h"

#include <string.h>

static const cg_op *const all[] = {
#define CG_OP(name) &cg_op_##name,
#include "ops/ops.def"
#undef CG_OP
};

const cg_op *const *cg_op_list(int *n) {
    *n = (int)(sizeof all / sizeof *all);
    return all;
}

const cg_op *cg_op_find(const char *name) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0) return all[i];
    return NULL;
}
