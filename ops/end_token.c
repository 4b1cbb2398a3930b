/* end_token: the row of each segment's end token.
 *   eos_id 0 or more: y_s is the first row of segment s where token_r = eos_id, or the segment's
 *                     first row where there is none
 *   eos_id -1:        y_s is the first row of segment s with its largest token
 * shapes  token i32 [R], offset i32 [S+1], rising from 0 or more to R or less -> y i32 [S]
 * attr    eos_id: int, -1 or more
 * vjp     none
 * errors  CG_ESHAPE: token is not of rank 1; offset is not, or empty. CG_EDTYPE. CG_EINVAL:
 *         eos_id; a run: offsets that fall or leave the rows, an empty segment
 * onnx    of segments of one length: Cast (i32), ArgMax; with eos_id Equal before them
 * source  CLIP's text.argmax(dim=-1); open_clip's text_global_pool, "argmax" and "eos" */
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/segment.h"

typedef struct end_token_attr {
    int64_t eos_id;
} end_token_attr;

static const cg_attr_field fields[] = {CG_ATTR(end_token_attr, eos_id, INT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const end_token_attr *attr = n->attr;
    const cg_value *token = n->in[0], *offset = n->in[1];
    CG_TRY(cg_check_dtype(token, "token", CG_I32));
    CG_TRY(cg_check_rank(token, "token", 1));
    CG_TRY(cg_check_offset(offset, "offset"));
    if (attr->eos_id < -1)
        return cg_error(CG_EINVAL, "eos_id is %lld, wanted -1 or more", (long long)attr->eos_id);
    *out = (cg_type){CG_I32, CG_SHAPE(offset->shape.dim[0] - 1)};
    return CG_OK;
}

static int32_t first_equal(const int32_t *token, int32_t begin, int32_t end, int64_t id) {
    for (int32_t r = begin; r < end; r++)
        if (token[r] == id) return r;
    return begin;
}

static int32_t first_largest(const int32_t *token, int32_t begin, int32_t end) {
    int32_t at = begin;
    for (int32_t r = begin + 1; r < end; r++)
        if (token[r] > token[at]) at = r;
    return at;
}

static void find(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const end_token_attr *attr = t->node->attr;
    const int32_t *token = t->in[0], *offset = t->in[1];
    int32_t *y = t->out[0];
    for (int64_t s = begin; s < end; s++)
        y[s] = attr->eos_id < 0 ? first_largest(token, offset[s], offset[s + 1])
                                : first_equal(token, offset[s], offset[s + 1], attr->eos_id);
}

static cg_status run(const cg_task *t) {
    const int32_t *offset = t->in[1];
    int64_t rows = t->node->in[0]->shape.dim[0], segments = t->node->out[0]->shape.dim[0];
    CG_TRY(cg_check_rising(offset, segments, rows, "offset"));
    for (int64_t s = 0; s < segments; s++)
        if (offset[s] == offset[s + 1])
            return cg_error(CG_EINVAL, "segment %lld is empty, wanted at least one token",
                            (long long)s);
    cg_parallel(t->threads, segments, 1, rows, find, t);
    return CG_OK;
}

/* Of equal numbers ArgMax takes the first; it reads i32, because older runtimes know no other. */
static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    enum { INT32 = 6 };
    const end_token_attr *attr = n->attr;
    cg_onnx_size size[2];
    if (!cg_onnx_segments(s, n->in[1], &size[0], &size[1])) return CG_EUNSUPPORTED;
    cg_onnx_ref *x = cg_onnx_reshape(s, cg_onnx_value(s, n->in[0]), 2, size);
    x = cg_onnx_plain(s, x);
    if (attr->eos_id >= 0) x = cg_onnx_binary(s, "Equal", x, cg_onnx_integer(s, attr->eos_id));
    cg_onnx_node cast = {"Cast", 1, {x}, {CG_ONNX_INT("to", INT32)}};
    cg_onnx_node largest = {"ArgMax",
                            1,
                            {cg_onnx_like(s, &cast, x)},
                            {CG_ONNX_INT("axis", 1), CG_ONNX_INT("keepdims", 0)}};
    return cg_onnx_give_rows(s, n->out[0], cg_onnx_make(s, &largest, 1, size), size[1]);
}

const cg_op cg_op_end_token = {
    .name = "end_token",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(end_token_attr),
    .attr = fields,
    .infer = infer,
    .run = run,
    .onnx = onnx,
};

cg_value *cg_end_token(cg_graph *g, cg_value *token, cg_value *offset, int64_t eos_id) {
    end_token_attr attr = {eos_id};
    return cg_node_add1(g, &cg_op_end_token, &attr, 2, (cg_value *[]){token, offset});
}
