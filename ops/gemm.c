#include "ops/gemm.h"

#include "ops/gemm_kernel.h"

#include <stdlib.h>

#if defined(__x86_64__) && !defined(CLIPGRAPH_KERNEL_TARGET)

int cg_gemm_available(cg_dtype type) {
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("fma"))
        return 0;
    return type == CG_F32 || (type == CG_BF16 && __builtin_cpu_supports("avx512bf16"));
}

#else

int cg_gemm_available(cg_dtype type) {
    (void)type;
    return 0;
}

#endif

/* Below these sizes packing costs more than the tiles win; a product that is small and sums over
 * many rows is all packing. */
int cg_gemm_is_faster(const cg_gemm_shape *s) {
    if (!cg_gemm_available(s->type) || (s->c_type != CG_F32 && s->c_type != CG_BF16)) return 0;
    if (s->transpose_a) return s->m >= 512 && s->n >= 512 && s->k >= 32;
    return s->m >= 768 && s->n >= 64 && s->k >= 64;
}

/* --- how a product is cut --------------------------------------------------------------------- */

/* Measured on a Zen 4 with 32 KiB of L1 and 1 MiB of L2, of which half is safe to count on: pages
 * lie where they may, and some fall together. */
enum {
    ROWS = CG_GEMM_ROWS,
    COLUMNS = CG_GEMM_COLUMNS,
    K_MOST = 512,      /* words of k at a time: a panel of b is 64 KiB */
    N_MOST = 768,      /* columns that are packed at a time, and stay in L3 until they are read */
    A_ROWS = 6 * ROWS, /* of a block of a, 168 KiB */
    FEW_ROWS = 12 * ROWS, /* they are all one block */
    B_WORDS = 64 * 1024,  /* of a block of b that stays in L2 */
    SAME_PLACE = 4096,    /* rows this far apart, or a multiple of it, collide in L1 */
};

static int64_t k_words(const cg_gemm_shape *s) {
    return s->type == CG_BF16 ? (s->k + 1) / 2 : s->k;
}

static int64_t k_block(int64_t kw) {
    int64_t blocks = cg_gemm_ceil(kw, K_MOST);
    return cg_gemm_ceil(cg_gemm_ceil(kw, blocks), 16) * 16;
}

/* Parts of the result such that the largest takes least: its products, and the packing that each
 * does for itself. The factors are cycles a word. */
static void choose_parts(cg_gemm *g, int threads) {
    const cg_gemm_shape *s = &g->s;
    double best = 0;
    for (int pm = 1; pm <= threads; pm++) {
        double rows = (double)cg_gemm_ceil(s->m, pm);
        double panels = (double)cg_gemm_ceil(cg_gemm_ceil(s->n, COLUMNS), threads / pm);
        double cost = rows * panels * 2 + 0.5 * panels * COLUMNS + 0.4 * rows;
        if (pm > 1 && cost >= best) continue;
        best = cost;
        g->parts_m = (int)cg_gemm_least(pm, s->m);
        g->parts_n = (int)cg_gemm_least(threads / pm, cg_gemm_ceil(s->n, COLUMNS));
    }
}

static cg_gemm_a choose_a(const cg_gemm_shape *s) {
    if (s->transpose_a) return CG_GEMM_PACK;
    if (s->type == CG_BF16 && s->k % 2) return CG_GEMM_COPY; /* its last word is half a one */
    int collide = s->m > 1 && s->lda * cg_gemm_element(s->type) % SAME_PLACE == 0;
    return collide ? CG_GEMM_COPY : CG_GEMM_DIRECT;
}

static void choose_blocks(cg_gemm *g) {
    const cg_gemm_shape *s = &g->s;
    const int64_t rows = cg_gemm_ceil(s->m, g->parts_m);
    const int64_t n = cg_gemm_ceil(cg_gemm_ceil(s->n, COLUMNS), g->parts_n) * COLUMNS;
    g->one_block = rows <= FEW_ROWS;
    g->a_stays = g->one_block || g->how_a == CG_GEMM_PACK || n * g->kc > B_WORDS;
    g->mc = g->one_block ? rows : A_ROWS;
    g->nc = n;
    if (!g->one_block)
        g->nc = cg_gemm_ceil(cg_gemm_ceil(n, cg_gemm_ceil(n, N_MOST)), COLUMNS) * COLUMNS;
    g->b_bytes = 4 * (size_t)g->kc * (size_t)(g->one_block ? COLUMNS : g->nc);
    if (g->how_a == CG_GEMM_PACK)
        g->a_bytes = 4 * (size_t)g->kc * (size_t)(cg_gemm_ceil(g->mc, ROWS) * ROWS);
    if (g->how_a == CG_GEMM_COPY) g->a_bytes = (size_t)cg_gemm_copy_ld(g->kc) * (size_t)g->mc;
    g->a_bytes = cg_align64(g->a_bytes);
    g->part_bytes = g->b_bytes + g->a_bytes;
    if (g->sums) g->part_bytes += sizeof(float) * (size_t)rows * (size_t)g->nc;
    g->part_bytes = cg_align64(g->part_bytes);
}

/* --- making ----------------------------------------------------------------------------------- */

static cg_status check(const cg_gemm_shape *s) {
    const cg_dtype type[] = {s->c_type, s->residual ? s->residual_type : CG_F32};
    if (!cg_gemm_available(s->type))
        return cg_error(CG_EKERNEL, "no matrix product of %s of our own on this processor",
                        cg_dtype_name(s->type));
    for (int i = 0; i < 2; i++)
        if (type[i] != CG_F32 && type[i] != CG_BF16)
            return cg_error(CG_EKERNEL, "a matrix product of our own does not give %s",
                            cg_dtype_name(type[i]));
    return CG_OK;
}

static void defaults(cg_gemm_shape *s) {
    if (!s->lda) s->lda = s->transpose_a ? s->m : s->k;
    if (!s->ldb) s->ldb = s->transpose_b ? s->k : s->n;
    if (!s->ldc) s->ldc = s->n;
    if (!s->ldr) s->ldr = s->n;
}

cg_status cg_gemm_create(const cg_gemm_shape *shape, int threads, cg_gemm **out) {
    CG_TRY(check(shape));
    cg_gemm *g = calloc(1, sizeof *g);
    if (!g) return cg_error(CG_ENOMEM, "no memory for a matrix product");
    g->s = *shape;
    defaults(&g->s);
#if defined(__x86_64__)
    g->kernel = shape->type == CG_BF16 ? &cg_gemm_bf16 : &cg_gemm_f32;
#endif
    g->threads = threads;
    g->kw = k_words(shape);
    g->kc = k_block(g->kw);
    g->plain = shape->c_type == CG_F32 && !shape->residual && shape->activation == CG_GEMM_NONE &&
               !shape->relu_last;
    g->sums = shape->c_type == CG_BF16 && g->kc < g->kw;
    g->how_a = choose_a(&g->s);
    choose_parts(g, threads);
    choose_blocks(g);
    *out = g;
    return CG_OK;
}

void cg_gemm_free(cg_gemm *g) {
    free(g);
}

const char *cg_gemm_impl(const cg_gemm *g) {
    return g->s.type == CG_BF16 ? "cg:avx512_bf16" : "cg:avx512";
}

size_t cg_gemm_scratch(const cg_gemm *g) {
    return g->part_bytes * (size_t)(g->parts_m * g->parts_n);
}
