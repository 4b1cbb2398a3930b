/* The tiles of f32 operands. */
#if defined(__x86_64__)
#define TARGET CG_GEMM_TARGET
#define TABLE  cg_gemm_f32
#define DOT    "vfmadd231ps"
#include "ops/gemm_tile.h"
#endif
