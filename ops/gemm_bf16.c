/* The tiles of bf16 operands: a pair of them is multiplied and added to an f32. */
#if defined(__x86_64__)
#define TARGET CG_GEMM_TARGET ",avx512bf16"
#define TABLE  cg_gemm_bf16
#define DOT    "vdpbf16ps"
#include "ops/gemm_tile.h"
#endif
