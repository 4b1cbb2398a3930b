/* The runtime of ONNX files: a file, run at any sizes. For each set of input shapes and wanted
 * outputs it imports the graph, recognises what our ops do better, runs the passes and plans it;
 * the eight plans used last are kept. What a graph says of a run's integers, that they make a mask
 * of some keys or select a row of each text, or do not, is looked at in each run, and where it is
 * otherwise there is another graph: which graph runs does not depend on earlier runs. From the
 * second run on weights are laid out once, for all plans.
 *
 *     cg_onnx_session *s;
 *     CG_TRY(cg_onnx_session_create(ctx, "image.onnx", NULL, &s));
 *     cg_tensor in = {"pixel_values", CG_F32, CG_SHAPE(1, 3, 224, 224), pixels, bytes};
 *     cg_tensor out = {.name = "image_embeds"};
 *     CG_TRY(cg_onnx_session_run(s, &in, 1, &out, 1));    out.data: f32 [1, 512]
 *
 * One thread of control at a time uses a session. */
#ifndef CG_ONNX_SESSION_H
#define CG_ONNX_SESSION_H

#include "graph/exec.h"
#include "ops/passes/passes.h"
#include "serialize/onnx/read.h"

CG_API_BEGIN

typedef struct cg_onnx_session cg_onnx_session;

/* How graphs are made; all zero: f32, everything recognised, all passes. */
typedef struct cg_onnx_how {
    int bf16;    /* matrix products of bf16 numbers, summed in f32 */
    int literal; /* nothing is recognised: each operator as it stands, masks and selected rows as
                    the file's own operators compute them */
    cg_passes_off off;        /* passes left out */
    const char *const *inner; /* values inside, by name, that are outputs, too */
    int n_inner;
} cg_onnx_how;

/* Opens the file and makes its weights ready. ctx is borrowed; how and its names are copied, NULL:
 * all zero.
 * errors  those of cg_onnx_open; CG_EUNSUPPORTED: bf16 on a processor that cannot multiply it */
cg_status cg_onnx_session_create(cg_context *ctx, const char *path, const cg_onnx_how *how,
                                 cg_onnx_session **out);
void cg_onnx_session_free(cg_onnx_session *s); /* NULL is allowed */

/* What the file says: inputs, outputs, metadata (read.h). */
const cg_onnx_file *cg_onnx_session_file(const cg_onnx_session *s);

/* Runs. Inputs are found by name; those that the wanted outputs do not need may be absent. Data may
 * lie at any address; f32 or f16 for floats, i64, i32 or u8 for integers, which must fit i32. An
 * output is found by its name, or where that is NULL is the file's output of that number; it is
 * given dtype (CG_F32), shape, data and bytes; the data belong to the session until its next run.
 * errors  CG_ENOTFOUND: no such input or output; CG_EINVAL: an input twice, or absent, or an
 *         integer out of range; CG_EDTYPE, CG_ESHAPE; CG_EUNSUPPORTED: an operator, by node;
 *         CG_EFORMAT: an output is not of the shape that the file declares; what kernels report */
cg_status cg_onnx_session_run(cg_onnx_session *s, const cg_tensor *in, int n_in, cg_tensor *out,
                              int n_out);

/* The graph that the last run ran, NULL before the first; and the execution, for profiles. */
const cg_graph *cg_onnx_session_graph(const cg_onnx_session *s);
cg_exec *cg_onnx_session_exec(cg_onnx_session *s);

CG_API_END

#endif
