/* The serial kernels of attention: one head of one sequence, for both forms of the op. */
#ifndef CG_OPS_ATTENTION_KERNEL_H
#define CG_OPS_ATTENTION_KERNEL_H

#include <stdint.h>

/* Row i of a matrix x lies at x + i * x_row. Gradients lie as what they are gradients of. */
typedef struct cg_attention_head {
    int64_t queries, keys;
    int64_t d, e; /* columns of q and k, and of v and o */
    float scale;
    int causal;
    int last; /* of the heads: the next one does not lie beside it */
    const float *q, *k, *v;
    int64_t q_row, k_row, v_row, o_row, lse_row;
    const float *key_mask;      /* [keys], or NULL */
    float *out, *out_lse;       /* what forward writes, */
    const float *o, *lse, *d_o; /* what backward reads; d_o is NULL in forward */
    float *dq, *dk, *dv;        /* and writes */
} cg_attention_head;

/* Floats of scratch for heads of d and e columns, of any length. */
int64_t cg_attention_forward_floats(int64_t d, int64_t e);
int64_t cg_attention_backward_floats(int64_t d, int64_t e);

/* scratch is aligned to 64 bytes. */
void cg_attention_forward(const cg_attention_head *a, float *scratch);
void cg_attention_backward(const cg_attention_head *a, float *scratch);

#endif
