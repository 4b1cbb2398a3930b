/* Activations that a matrix product can apply to its result before it is stored. */
#ifndef CG_OPS_EPILOGUE_H
#define CG_OPS_EPILOGUE_H

#include "graph/op.h"

CG_API_BEGIN

/* name, its gradient reads its result instead of its operand */
#define CG_EPILOGUE_LIST(X)                                                                        \
    X(RELU, relu, 1)                                                                               \
    X(GELU, gelu, 0)                                                                               \
    X(GELU_TANH, gelu_tanh, 0)                                                                     \
    X(QUICKGELU, quickgelu, 0)                                                                     \
    X(SILU, silu, 0)

typedef enum cg_epilogue {
    CG_EPILOGUE_NONE,
#define X(NAME, op, from_result) CG_EPILOGUE_##NAME,
    CG_EPILOGUE_LIST(X)
#undef X
        CG_EPILOGUES
} cg_epilogue;

CG_API_END

#endif
