/* A run of attention and its gradient, in both forms. A task is one head of one sequence, so that
 * every result is written by one task in one order. The kernel works on f32: of bf16 operands a
 * task widens its head's columns into scratch, and rounds what is made there. */
#include "ops/attention.h"
#include "ops/attention_kernel.h"
#include "ops/bf16.h"
#include "ops/kernel.h"
#include "ops/segment.h"

#include <omp.h>
#include <string.h>

/* Which of a head's matrices are bf16. */
typedef struct types {
    int qkv, o, d_o, result[3]; /* out, or dq, dk, dv */
    int any;
} types;

typedef struct work {
    cg_attention_form f;
    types bf16;
    cg_attention_head head; /* the first, of row 0 */
    const int32_t *q_offset, *k_offset;
} work;

static types types_of(const cg_node *n, const cg_attention_form *f) {
    types b = {.qkv = cg_is_bf16(n->in[0])};
    b.any = b.qkv;
    if (f->grad) {
        b.o = cg_is_bf16(n->in[f->o]);
        b.d_o = cg_is_bf16(n->in[f->o + 2]);
        b.any |= b.o | b.d_o;
    }
    for (int i = 0; i < 3; i++) {
        int out = f->grad && !f->fused ? i : 0;
        b.any |= b.result[i] = cg_is_bf16(n->out[out]);
    }
    return b;
}

/* x + n elements of either type. */
static void *ahead(const void *x, int64_t n, int bf16) {
    return (char *)(uintptr_t)x + n * (bf16 ? 2 : 4);
}

static work work_of(const cg_task *t) {
    const cg_attention_attr *attr = t->node->attr;
    work w = {.f = cg_attention_form_of(t->node)};
    const cg_attention_form *f = &w.f;
    w.bf16 = types_of(t->node, f);
    w.q_offset = t->in[f->q_offset];
    w.k_offset = t->in[f->k_offset];
    w.head = (cg_attention_head){.d = f->q_width / f->heads,
                                 .e = f->v_width / f->heads,
                                 .scale = attr->scale,
                                 .causal = attr->causal != 0,
                                 .q = t->in[0],
                                 .k = t->in[f->k],
                                 .v = t->in[f->v],
                                 .q_row = f->q_width,
                                 .k_row = f->q_width,
                                 .v_row = f->v_width,
                                 .o_row = f->v_width,
                                 .lse_row = f->heads};
    if (f->fused) {
        w.head.k = ahead(w.head.k, f->q_width, w.bf16.qkv);
        w.head.v = ahead(w.head.v, 2 * f->q_width, w.bf16.qkv);
        w.head.q_row = w.head.k_row = w.head.v_row = 3 * f->q_width;
    }
    if (t->node->n_in > f->key_mask) w.head.key_mask = t->in[f->key_mask];
    return w;
}

/* Head h of sequence s. */
static cg_attention_head head_at(const work *w, int64_t s, int64_t h) {
    cg_attention_head a = w->head;
    const types *b = &w->bf16;
    int64_t i = w->q_offset[s], j = w->k_offset[s];
    int64_t q = i * a.q_row + h * a.d, k = j * a.k_row + h * a.d, v = j * a.v_row + h * a.e;
    int64_t o = i * a.o_row + h * a.e, lse = i * a.lse_row + h;
    a.queries = w->q_offset[s + 1] - i;
    a.keys = w->k_offset[s + 1] - j;
    a.last = h + 1 == w->f.heads || b->any;
    a.q = ahead(a.q, q, b->qkv);
    a.k = ahead(a.k, k, b->qkv);
    a.v = ahead(a.v, v, b->qkv);
    if (a.key_mask) a.key_mask += j;
    if (w->f.grad) {
        a.o = ahead(a.o, o, b->o);
        a.lse += lse;
        a.d_o = ahead(a.d_o, o, b->d_o);
        a.dq = ahead(a.dq, q, b->result[0]);
        a.dk = ahead(a.dk, k, b->result[1]);
        a.dv = ahead(a.dv, v, b->result[2]);
    } else {
        a.out = ahead(a.out, o, b->result[0]);
        a.out_lse += lse;
    }
    return a;
}

static cg_status check_offsets(const work *w) {
    const cg_attention_form *f = &w->f;
    if (f->fused) return cg_check_rising(w->q_offset, f->sequences, f->q_rows, "offset");
    CG_TRY(cg_check_rising(w->q_offset, f->sequences, f->q_rows, "q_offset"));
    return cg_check_rising(w->k_offset, f->sequences, f->k_rows, "k_offset");
}

/* Zeroes the rows that belong to no sequence. */
static void zero_rest(void *x, int bf16, int64_t rows, int64_t width, const int32_t *offset,
                      int64_t sequences) {
    int64_t begin = offset[0], end = offset[sequences], size = bf16 ? 2 : 4;
    memset(x, 0, (size_t)(begin * width * size));
    memset(ahead(x, end * width, bf16), 0, (size_t)((rows - end) * width * size));
}

static void begin_forward(work *w, void *const *out) {
    const cg_attention_form *f = &w->f;
    w->head.out = out[0];
    w->head.out_lse = out[1];
    zero_rest(out[0], w->bf16.result[0], f->q_rows, f->v_width, w->q_offset, f->sequences);
    zero_rest(out[1], 0, f->q_rows, f->heads, w->q_offset, f->sequences);
}

static void begin_backward(work *w, const void *const *in, void *const *out) {
    const cg_attention_form *f = &w->f;
    cg_attention_head *a = &w->head;
    const int *bf16 = w->bf16.result;
    a->o = in[f->o];
    a->lse = in[f->o + 1];
    a->d_o = in[f->o + 2];
    a->dq = out[0];
    if (f->fused) {
        a->dk = ahead(a->dq, f->q_width, bf16[0]);
        a->dv = ahead(a->dk, f->q_width, bf16[0]);
    } else {
        a->dk = out[1];
        a->dv = out[2];
        zero_rest(a->dk, bf16[1], f->k_rows, a->k_row, w->k_offset, f->sequences);
        zero_rest(a->dv, bf16[2], f->k_rows, a->v_row, w->k_offset, f->sequences);
    }
    zero_rest(a->dq, bf16[0], f->q_rows, a->q_row, w->q_offset, f->sequences);
}

/* --- bf16 ------------------------------------------------------------------------------------- */

CG_INLINE void copy(const void *x, int64_t row, void *y, int64_t y_row, int64_t rows,
                    int64_t columns, int from, int to) {
    for (int64_t i = 0; i < rows; i++)
#pragma omp simd
        for (int64_t c = 0; c < columns; c++)
            cg_store(y, i * y_row + c, cg_load(x, i * row + c, from), to);
}

/* Copies a matrix from one type and row length to others. */
CG_KERNEL static void copy_matrix(const void *x, int64_t row, int from, void *y, int64_t y_row,
                                  int to, int64_t rows, int64_t columns) {
    CG_TYPED(copy, from, to, x, row, y, y_row, rows, columns)
}

/* Room for a matrix in scratch, which then goes on behind it, aligned. */
static float *room(int64_t rows, int64_t columns, float **scratch) {
    float *x = *scratch;
    *scratch += (rows * columns + 15) / 16 * 16;
    return x;
}

/* A matrix of the head as f32, its rows one behind another. */
static const float *taken(const float *x, int64_t row, int64_t rows, int64_t columns, int bf16,
                          float **scratch) {
    float *y = room(rows, columns, scratch);
    copy_matrix(x, row, bf16, y, columns, 0, rows, columns);
    return y;
}

static void given(const float *x, int64_t rows, int64_t columns, float *y, int64_t row, int bf16) {
    copy_matrix(x, columns, 0, y, row, bf16, rows, columns);
}

/* Floats of a head's matrices, of at most so many rows. */
static int64_t widened_floats(const cg_attention_form *f, int64_t queries, int64_t keys) {
    int64_t d = f->q_width / f->heads, e = f->v_width / f->heads, floats = 0;
    const int64_t size[] = {queries * d, keys * d,    keys * e, queries * e,
                            queries * e, queries * d, keys * d, keys * e};
    for (int i = 0; i < (f->grad ? 8 : 4); i++) floats += (size[i] + 15) / 16 * 16;
    return floats;
}

/* The head with q, k and v taken; what else it reads and writes follows. */
static cg_attention_head take(const cg_attention_head *head, const types *b, float **at) {
    cg_attention_head a = *head;
    a.q = taken(a.q, a.q_row, a.queries, a.d, b->qkv, at);
    a.k = taken(a.k, a.k_row, a.keys, a.d, b->qkv, at);
    a.v = taken(a.v, a.v_row, a.keys, a.e, b->qkv, at);
    a.q_row = a.k_row = a.d;
    a.v_row = a.o_row = a.e;
    return a;
}

static void forward_bf16(const cg_attention_head *head, const types *b, float *scratch) {
    cg_attention_head a = take(head, b, &scratch);
    a.out = room(a.queries, a.e, &scratch);
    cg_attention_forward(&a, scratch);
    given(a.out, a.queries, a.e, head->out, head->o_row, b->result[0]);
}

static void backward_bf16(const cg_attention_head *head, const types *b, float *scratch) {
    cg_attention_head a = take(head, b, &scratch);
    a.o = taken(head->o, head->o_row, a.queries, a.e, b->o, &scratch);
    a.d_o = taken(head->d_o, head->o_row, a.queries, a.e, b->d_o, &scratch);
    a.dq = room(a.queries, a.d, &scratch);
    a.dk = room(a.keys, a.d, &scratch);
    a.dv = room(a.keys, a.e, &scratch);
    cg_attention_backward(&a, scratch);
    given(a.dq, a.queries, a.d, head->dq, head->q_row, b->result[0]);
    given(a.dk, a.keys, a.d, head->dk, head->k_row, b->result[1]);
    given(a.dv, a.keys, a.e, head->dv, head->v_row, b->result[2]);
}

/* --- tasks ------------------------------------------------------------------------------------ */

static int64_t kernel_floats(const cg_attention_form *f) {
    int64_t d = f->q_width / f->heads, e = f->v_width / f->heads;
    return f->grad ? cg_attention_backward_floats(d, e) : cg_attention_forward_floats(d, e);
}

/* The most rows of a sequence: as the graph knows them, or as many as there are. */
static int64_t longest(const cg_value *offset, int64_t rows) {
    const int32_t *x = offset->data;
    int64_t most = 0;
    if (offset->kind != CG_VALUE_CONSTANT) return rows;
    for (int64_t s = 0; s + 1 < offset->shape.dim[0]; s++)
        if (x[s + 1] - x[s] > most) most = x[s + 1] - x[s];
    return most < rows ? most : rows;
}

static int64_t scratch_floats(const cg_node *n, const cg_attention_form *f) {
    int64_t floats = kernel_floats(f);
    if (types_of(n, f).any)
        floats += widened_floats(f, longest(n->in[f->q_offset], f->q_rows),
                                 longest(n->in[f->k_offset], f->k_rows));
    return (floats + 15) / 16 * 16;
}

cg_status cg_attention_prepare(cg_prep *p) {
    cg_attention_form f = cg_attention_form_of(p->node);
    p->scratch = (size_t)(scratch_floats(p->node, &f) * p->ctx->threads) * sizeof(float);
    return CG_OK;
}

static void run_head(const work *w, const cg_attention_head *head, float *scratch) {
    if (w->f.grad) {
        if (w->bf16.any)
            backward_bf16(head, &w->bf16, scratch);
        else
            cg_attention_backward(head, scratch);
    } else if (w->bf16.any) {
        forward_bf16(head, &w->bf16, scratch);
    } else {
        cg_attention_forward(head, scratch);
    }
}

cg_status cg_attention_run(const cg_task *t) {
    work w = work_of(t);
    CG_TRY(check_offsets(&w));
    if (w.f.grad)
        begin_backward(&w, t->in, t->out);
    else
        begin_forward(&w, t->out);
    double multiplied = cg_attention_pairs(t->node, &w.f) * (double)(w.f.q_width + w.f.v_width);
    int threads = multiplied < CG_PARALLEL_MIN ? 1 : t->threads;
    int64_t tasks = w.f.sequences * w.f.heads, floats = scratch_floats(t->node, &w.f);
    int64_t chunk = tasks / (8 * (int64_t)threads) + 1; /* heads share rows: best by one thread */
#pragma omp parallel for schedule(dynamic, chunk) num_threads(threads)
    for (int64_t i = 0; i < tasks; i++) {
        cg_attention_head head = head_at(&w, i / w.f.heads, i % w.f.heads);
        run_head(&w, &head, (float *)t->scratch + omp_get_thread_num() * floats);
    }
    return CG_OK;
}
