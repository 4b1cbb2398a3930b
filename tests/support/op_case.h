/* The table of op cases. One case serves every mode of test_ops: shape errors, kernel against
 * a scalar reference in double, gradient against finite differences of that reference, one
 * thread against two, speed. */
#ifndef CG_TEST_OP_CASE_H
#define CG_TEST_OP_CASE_H

#include "ops/ops.h"

enum { CG_CASE_IN = 8, CG_CASE_OUT = 3 };

/* How an operand is filled (from a fixed stream). */
typedef enum cg_fill {
    CG_FILL_UNIFORM,  /* U(low, high) */
    CG_FILL_NONZERO,  /* the same, but |x| ≥ 0.1: away from kinks at 0 */
    CG_FILL_INTEGER,  /* whole numbers low … high-1, for ids and labels */
    CG_FILL_OFFSETS,  /* 0 = o0 ≤ o1 ≤ … ≤ high, with empty and full segments among them */
    CG_FILL_DISTINCT, /* evenly spaced over low … high, in random order: far from ties */
} cg_fill;

typedef struct cg_case_operand {
    cg_dtype dtype;
    cg_shape shape;
    cg_fill fill;
    double low, high;
    int differentiate; /* check this operand's gradient */
} cg_case_operand;

/* Operands and results in double (integers too), row-major. */
typedef struct cg_case_data {
    int n_in, n_out;
    cg_shape in_shape[CG_CASE_IN], out_shape[CG_CASE_OUT];
    const double *in[CG_CASE_IN];
    double *out[CG_CASE_OUT];
} cg_case_data;

typedef struct cg_op_case {
    const cg_op *op;
    const char *label; /* what is special about it: "stride 2, padding 1" */
    cg_case_operand in[CG_CASE_IN];
    int n_in, n_out;
    /* Appends the op with the case's attributes; fills out[n_out]. Must not differentiate. */
    void (*build)(cg_graph *g, cg_value *const *in, cg_value **out);
    void (*reference)(cg_case_data *d); /* plain loops in double */
    double tolerance;                   /* of max |difference| / max(1, max |reference|); 0: 1e-5 */
    double grad_tolerance;              /* the same for gradients; 0: 1e-4 */
} cg_op_case;

/* A use that must be refused, with a fragment of the sentence. */
typedef struct cg_bad_case {
    const cg_op *op;
    cg_case_operand in[CG_CASE_IN];
    int n_in;
    void (*build)(cg_graph *g, cg_value *const *in, cg_value **out);
    cg_status status;
    const char *message;
} cg_bad_case;

/* Each file tests/support/cases_*.c holds the cases of a group of ops, ended by a NULL op. */
extern const cg_op_case cg_cases_elementwise[], cg_cases_activation[], cg_cases_shape[],
    cg_cases_reduce[], cg_cases_matrix[], cg_cases_picture[], cg_cases_max_pool[], cg_cases_norm[],
    cg_cases_batch_norm[], cg_cases_attention[], cg_cases_attention_qkv[], cg_cases_loss[],
    cg_cases_chance[];
extern const cg_bad_case cg_bad_elementwise[], cg_bad_activation[], cg_bad_shape[], cg_bad_reduce[],
    cg_bad_matrix[], cg_bad_picture[], cg_bad_max_pool[], cg_bad_norm[], cg_bad_batch_norm[],
    cg_bad_attention[], cg_bad_attention_qkv[], cg_bad_loss[], cg_bad_chance[];

#endif
