/* Runs a case of the op table: fills operands, builds and plans the graph, returns what it
 * computed in double. Failures of any kind fail the running test with case and sentence. */
#ifndef CG_TEST_OP_RUN_H
#define CG_TEST_OP_RUN_H

#include "graph/context.h"
#include "tests/support/op_case.h"

/* A case with its numbers. */
typedef struct cg_fixture {
    const cg_op_case *c;
    double *in[CG_CASE_IN];    /* rounded to the operand's type */
    double *seed[CG_CASE_OUT]; /* output gradients, rounded to f32; NULL: the output is not f32 */
    cg_shape out_shape[CG_CASE_OUT];
} cg_fixture;

cg_fixture cg_fixture_make(const cg_op_case *c);
void cg_fixture_free(cg_fixture *f);

/* The fixture's data for the reference; out is the caller's. */
cg_case_data cg_fixture_data(const cg_fixture *f, double *const *out);
int64_t cg_fixture_out_count(const cg_fixture *f, int output);
int64_t cg_fixture_in_count(const cg_fixture *f, int operand);

typedef struct cg_case_run {
    /* What is asked. */
    cg_context *ctx;
    unsigned seeds; /* bit o: output o is seeded; 0: no gradient is computed */
    int wrap;       /* operands are results (of a scale by 1), so that they may be overwritten */
    int keep;       /* … and outputs as well, so that they must not be */
    int shift;      /* inputs lie one element off their alignment */
    /* Bit i: operand i, and result i, of every node whose op allows it is bf16. Or, so that there
     * is something to compare with: such operands are f32, but rounded to what a bf16 holds. */
    unsigned bf16_in, bf16_out;
    int rounded;
    int again; /* gradients give the op's first result again, if they can */
    /* What was found, in double; the caller frees it by cg_case_run_free. */
    double *out[CG_CASE_OUT];
    double *dx[CG_CASE_IN];   /* of operands to differentiate */
    double *kept[CG_CASE_IN]; /* keep: the operands after the run */
    double *repeated;         /* again: output 0, as the gradient gives it; or NULL */
    int unstable;             /* a second run gave other bits */
    char slow[128];           /* a node whose kernel is a reference, "" if none */
    int narrowed;             /* how many operands and results are bf16, or rounded; 0 where some
                                 were asked for and none is: nothing was run */
} cg_case_run;

void cg_case_run_do(const cg_fixture *f, cg_case_run *r);
void cg_case_run_free(cg_case_run *r);

/* Marks which ops have been planned by any run. */
int cg_op_was_run(const cg_op *op);

/* The most results that a node of the op has had in any run. */
int cg_op_most_out(const cg_op *op);

/* Which operands and results of an op have been bf16 in any run. */
void cg_op_ran_bf16(const cg_op *op, unsigned *in, unsigned *out);

/* The operands of a case as inputs of a graph, named in0, in1, … */
void cg_case_inputs(cg_graph *g, const cg_case_operand *operand, int n, cg_value **in);

#endif
