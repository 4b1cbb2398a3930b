/* segment_prefix: marks each segment's rows up to and including one of them: the keys that a query
 * in that row sees under a causal mask.
 *   y_r = 1 where offset_s <= r <= row_s for a segment s, else 0
 * shapes  row i32 [S], offset i32 [S+1], rising from 0 or more to `rows` or less -> y f32 [rows]
 * attr    rows: int, 0 or more
 * vjp     none
 * errors  CG_ESHAPE: row or offset is not of rank 1, or not one row for each segment. CG_EDTYPE.
 *         CG_EINVAL: rows. A run: CG_EINVAL: offsets that fall or leave the rows, a row that is not
 *         of its segment
 * onnx    of segments of one length: LessOrEqual, Cast */
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/segment.h"

#include <string.h>

typedef struct segment_prefix_attr {
    int64_t rows;
} segment_prefix_attr;

static const cg_attr_field fields[] = {CG_ATTR(segment_prefix_attr, rows, INT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const segment_prefix_attr *attr = n->attr;
    CG_TRY(cg_check_dtype(n->in[0], "row", CG_I32));
    CG_TRY(cg_check_rank(n->in[0], "row", 1));
    CG_TRY(cg_check_offset(n->in[1], "offset"));
    int64_t found = n->in[0]->shape.dim[0], wanted = n->in[1]->shape.dim[0] - 1;
    if (found != wanted)
        return cg_error(CG_ESHAPE, "row has %lld elements, wanted %lld, one for each segment",
                        (long long)found, (long long)wanted);
    if (attr->rows < 0)
        return cg_error(CG_EINVAL, "rows is %lld, wanted 0 or more", (long long)attr->rows);
    *out = (cg_type){CG_F32, CG_SHAPE(attr->rows)};
    return CG_OK;
}

static cg_status run(const cg_task *t) {
    const int32_t *row = t->in[0], *offset = t->in[1];
    int64_t segments = t->node->in[0]->shape.dim[0], rows = t->node->out[0]->shape.dim[0];
    float *y = t->out[0];
    CG_TRY(cg_check_rising(offset, segments, rows, "offset"));
    memset(y, 0, (size_t)rows * sizeof *y);
    for (int64_t s = 0; s < segments; s++) {
        if (row[s] < offset[s] || row[s] >= offset[s + 1])
            return cg_error(CG_EINVAL, "row[%lld] is %d, wanted one of its segment, %d to %d",
                            (long long)s, (int)row[s], (int)offset[s], (int)offset[s + 1] - 1);
        for (int32_t r = offset[s]; r <= row[s]; r++) y[r] = 1;
    }
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    enum { FLOAT = 1 };
    cg_onnx_size size[2], rows;
    if (!cg_onnx_segments(s, n->in[1], &size[0], &size[1])) return CG_EUNSUPPORTED;
    rows = cg_onnx_times(size[0], size[1]);
    cg_onnx_ref *last = cg_onnx_within(s, n->in[0], size[1]);
    last = cg_onnx_reshape(s, last, 2, (cg_onnx_size[]){size[0], cg_onnx_fixed(1)});
    cg_onnx_ref *place = cg_onnx_repeat(s, cg_onnx_range(s, size[1]), 2, size);
    cg_onnx_ref *seen = cg_onnx_binary(s, "LessOrEqual", place, last);
    cg_onnx_node cast = {"Cast", 1, {seen}, {CG_ONNX_INT("to", FLOAT)}};
    return cg_onnx_give(s, n->out[0], cg_onnx_reshape(s, cg_onnx_like(s, &cast, seen), 1, &rows));
}

const cg_op cg_op_segment_prefix = {
    .name = "segment_prefix",
    .min_in = 2,
    .max_in = 2,
    .n_out = 1,
    .attr_size = sizeof(segment_prefix_attr),
    .attr = fields,
    .infer = infer,
    .run = run,
    .onnx = onnx,
};

cg_value *cg_segment_prefix(cg_graph *g, cg_value *row, cg_value *offset, int64_t rows) {
    segment_prefix_attr attr = {rows};
    return cg_node_add1(g, &cg_op_segment_prefix, &attr, 2, (cg_value *[]){row, offset});
}
