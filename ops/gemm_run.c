/* Runs of matrix products: a part of the result on each thread, in blocks that stay in L2 and tiles
 * whose sums stay in registers. */
#include "ops/bf16.h"
#include "ops/gemm_kernel.h"
#include "ops/kernel.h"

#include <omp.h>
#include <string.h>

#if defined(__x86_64__)

enum { ROWS = CG_GEMM_ROWS, COLUMNS = CG_GEMM_COLUMNS };

/* Where a part is: words [p0, p0 + kw) of k, rows [i0, i1) of a. */
typedef struct place {
    const cg_gemm *g;
    const cg_gemm_operands *o;
    uint32_t *b_pack;
    char *a_pack;
    float *sums; /* rows from m0 on, columns from n0 on */
    cg_gemm_source a, b;
    int64_t m0, m1, n0, n1;
    int64_t p0, kw, i0, i1;
} place;

/* --- a tile ----------------------------------------------------------------------------------- */

typedef float own_sums[ROWS * COLUMNS];

static void sums_load(const place *w, own_sums sums, int64_t i, int64_t rows, int64_t j,
                      int64_t n) {
    const cg_gemm_shape *s = &w->g->s;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t q = 0; q < COLUMNS; q++)
            sums[r * COLUMNS + q] =
                q < n ? cg_load(w->o->c, (i + r) * s->ldc + j + q, s->c_type == CG_BF16) : 0;
}

static void sums_store(const place *w, const own_sums sums, int64_t i, int64_t rows, int64_t j,
                       int64_t n) {
    float *to = (float *)w->o->c + i * w->g->s.ldc + j;
    for (int64_t r = 0; r < rows; r++, to += w->g->s.ldc)
        memcpy(to, sums + r * COLUMNS, (size_t)n * sizeof *to);
}

/* Rows [i, i + rows), columns from j on: t has a, b and k. Vectors that c has no room for go to the
 * tile's own sums and are copied. */
static void tile_run(const place *w, cg_gemm_tile *t, int64_t i, int64_t rows, int64_t j) {
    static const float zeros[COLUMNS];
    const cg_gemm *g = w->g;
    const cg_gemm_shape *s = &g->s;
    const int64_t n = cg_gemm_least(w->n1 - j, COLUMNS);
    const int vectors = n > CG_GEMM_VECTOR ? 2 : 1, whole = n % CG_GEMM_VECTOR == 0;
    const int first = w->p0 == 0, last = w->p0 + w->kw == g->kw;
    own_sums own;
    float bias[COLUMNS] = {0}, *meet = NULL; /* f32 that blocks of k are added to */
    int64_t meet_ld = g->sums ? g->nc : s->ldc;
    if (g->sums)
        meet = w->sums + (i - w->m0) * meet_ld + j - w->n0;
    else if (s->c_type == CG_F32)
        meet = (float *)w->o->c + i * meet_ld + j;

    t->init = zeros;
    if (first && s->bias) {
        t->init = w->o->bias + j;
        if (!whole) t->init = memcpy(bias, w->o->bias + j, (size_t)n * sizeof *bias);
    }
    t->add = NULL;
    if (!first) {
        int there = g->sums || (s->c_type == CG_F32 && whole);
        if (!there) sums_load(w, own, i, rows, j, n);
        t->add = there ? meet : own;
        t->add_ld = there ? meet_ld : COLUMNS;
    }
    const int in_place = last ? g->plain && whole : g->sums || whole;
    t->out = in_place ? meet : own;
    t->out_ld = in_place ? meet_ld : COLUMNS;
    (*g->kernel)[g->how_a == CG_GEMM_PACK][vectors - 1][rows - 1](t);
    if (in_place) return;
    if (!last || g->plain)
        sums_store(w, own, i, rows, j, n);
    else
        cg_gemm_finish(s, w->o, own, i, rows, j, n);
}

/* --- packing ---------------------------------------------------------------------------------- */

/* Rows of a from i on, tile `index` of the block, as tiles read them. */
static void tile_a(const place *w, int64_t i, int64_t index, cg_gemm_tile *t) {
    const cg_gemm *g = w->g;
    t->lda = w->a.ld;
    if (g->how_a == CG_GEMM_DIRECT) t->a = w->a.at + i * w->a.ld + 4 * w->p0;
    if (g->how_a == CG_GEMM_PACK) t->a = w->a_pack + 4 * index * ROWS * w->kw;
    if (g->how_a == CG_GEMM_COPY) {
        t->lda = cg_gemm_copy_ld(g->kc);
        t->a = w->a_pack + (i - w->i0) * t->lda;
    }
}

static const uint32_t *panel(const place *w, int64_t j) {
    const cg_gemm *g = w->g;
    return w->b_pack + (g->one_block ? 0 : (j - w->n0) * w->kw);
}

static void pack_a(const place *w) {
    const cg_gemm *g = w->g;
    const int64_t rows = w->i1 - w->i0;
    if (g->how_a == CG_GEMM_PACK)
        cg_gemm_pack_a(&w->a, w->i0, rows, cg_gemm_ceil(rows, ROWS), w->p0, w->kw, g->s.k,
                       (uint32_t *)w->a_pack);
    if (g->how_a == CG_GEMM_COPY)
        cg_gemm_copy_a(&w->a, w->i0, rows, w->p0, w->kw, g->s.k, w->a_pack, cg_gemm_copy_ld(g->kc));
}

static void pack_b(const place *w, int64_t j, int64_t end) {
    cg_gemm_pack_b(&w->b, j, end - j, w->p0, w->kw, w->g->s.k, w->b_pack);
}

/* --- blocks ----------------------------------------------------------------------------------- */

/* The next block of a: `index` counts the tiles that have time for it. Each brings a strip of two
 * lines' width, down the rows as they are stored. */
static void look_ahead_a(const place *w, int64_t index, cg_gemm_tile *t) {
    const int64_t turns = w->kw / 4, size = w->a.bf16 ? 2 : 4;
    const int64_t rows = cg_gemm_least(w->m1 - w->i1, w->g->mc);
    const int64_t stored = w->a.along_k ? rows : 4 / size * w->kw;
    const int64_t strips = cg_gemm_ceil(w->a.along_k ? 4 * w->kw : size * rows, 128);
    if (turns == 0 || rows == 0) return;
    const int64_t each = cg_gemm_ceil(stored, turns);
    if (index >= each * strips) return;
    const char *from = w->a.along_k ? w->a.at + w->i1 * w->a.ld + 4 * w->p0
                                    : w->a.at + 4 / size * w->p0 * w->a.ld + size * w->i1;
    t->ahead = from + index / each * 128 + index % each * turns * w->a.ld;
    t->ahead_step = w->a.ld;
}

/* What tile x of a panel brings to L2 for later: the first four a quarter each of the next panel
 * of b, the others the next block of a. */
static void look_ahead(const place *w, int64_t j, int64_t x, int64_t tiles, cg_gemm_tile *t) {
    t->ahead = (const char *)t->b;
    t->ahead_step = 0;
    if (x >= 4)
        look_ahead_a(w, (j - w->n0) / COLUMNS * (tiles - 4) + x - 4, t);
    else if (!w->g->one_block && j + COLUMNS < w->n1) {
        t->ahead += 4 * COLUMNS * w->kw + x * (w->kw / 4) * 128;
        t->ahead_step = 128;
    }
}

/* A block of a stays in L2, and panels of b pass. */
static void run_panels(const place *w) {
    const int64_t rows = w->i1 - w->i0, tiles = cg_gemm_ceil(rows, ROWS);
    for (int64_t j = w->n0; j < w->n1; j += COLUMNS) {
        if (w->g->one_block) pack_b(w, j, cg_gemm_least(j + COLUMNS, w->n1));
        cg_gemm_tile t = {.b = panel(w, j), .k = w->kw};
        for (int64_t x = 0; x < tiles; x++) {
            int64_t i = w->i0 + rows * x / tiles, end = w->i0 + rows * (x + 1) / tiles;
            tile_a(w, i, x, &t);
            look_ahead(w, j, x, tiles, &t);
            tile_run(w, &t, i, end - i, j);
        }
    }
}

/* All of b stays in L2, and rows of a pass: each panel brings its share of the next ones. */
static void run_rows(const place *w) {
    const int64_t rows = w->i1 - w->i0, tiles = cg_gemm_ceil(rows, ROWS);
    const int64_t each = cg_gemm_ceil(ROWS, cg_gemm_ceil(w->n1 - w->n0, COLUMNS));
    cg_gemm_tile t = {.k = w->kw};
    for (int64_t x = 0; x < tiles; x++) {
        int64_t i = w->i0 + rows * x / tiles, end = w->i0 + rows * (x + 1) / tiles;
        tile_a(w, i, x, &t);
        const char *next = t.a + (end - i) * t.lda;
        const int more = w->g->how_a == CG_GEMM_DIRECT ? end < w->m1 : end < w->i1;
        for (int64_t j = w->n0, skip = 0; j < w->n1; j += COLUMNS, skip += each) {
            t.b = panel(w, j);
            t.ahead = more && skip < ROWS ? next + skip * t.lda : (const char *)t.b;
            t.ahead_step = more && skip < ROWS ? 16 * each : 0;
            tile_run(w, &t, i, end - i, j);
        }
    }
}

static void run_block(place *w) {
    const cg_gemm *g = w->g;
    for (w->p0 = 0; w->p0 < g->kw; w->p0 += g->kc) {
        w->kw = cg_gemm_least(g->kc, g->kw - w->p0);
        if (!g->one_block) pack_b(w, w->n0, w->n1);
        for (w->i0 = w->m0; w->i0 < w->m1; w->i0 += g->mc) {
            w->i1 = cg_gemm_least(w->i0 + g->mc, w->m1);
            pack_a(w);
            if (g->a_stays)
                run_panels(w);
            else
                run_rows(w);
        }
    }
}

static void run_part(place *w) {
    const int64_t end = w->n1;
    for (; w->n0 < end; w->n0 += w->g->nc) {
        w->n1 = cg_gemm_least(w->n0 + w->g->nc, end);
        run_block(w);
    }
}

static void part(const cg_gemm *g, const cg_gemm_operands *o, int index, char *scratch) {
    const cg_gemm_shape *s = &g->s;
    const cg_range rows = cg_range_of(s->m, index / g->parts_n, g->parts_m);
    const cg_range panels =
        cg_range_of(cg_gemm_ceil(s->n, COLUMNS), index % g->parts_n, g->parts_n);
    place w = {
        .g = g,
        .o = o,
        .b_pack = (uint32_t *)scratch,
        .a_pack = scratch + g->b_bytes,
        .sums = (float *)(scratch + g->b_bytes + g->a_bytes),
        .a = {o->a, s->lda * cg_gemm_element(s->type), !s->transpose_a, s->type == CG_BF16},
        .b = cg_gemm_source_b(s, o->b, s->ldb),
        .m0 = rows.begin,
        .m1 = rows.end,
        .n0 = panels.begin * COLUMNS,
        .n1 = cg_gemm_least(panels.end * COLUMNS, s->n),
    };
    run_part(&w);
}

void cg_gemm_run(const cg_gemm *g, const cg_gemm_operands *o, void *scratch) {
    const int parts = g->parts_m * g->parts_n;
    /* the context's count, as every region: a pool that changes its size starts threads anew */
#pragma omp parallel num_threads(g->threads) if (parts > 1)
    for (int i = omp_get_thread_num(); i < parts; i += omp_get_num_threads())
        part(g, o, i, scratch ? (char *)scratch + g->part_bytes * (size_t)i : NULL);
}

#else

void cg_gemm_run(const cg_gemm *g, const cg_gemm_operands *o, void *scratch) {
    (void)g, (void)o, (void)scratch; /* there is none */
}

#endif
