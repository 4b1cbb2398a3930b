/* segment_position: the place of each row in its segment.
 *   y_r = r - offset_s  where offset_s <= r < offset_(s+1);  0 for rows of no segment
 * shapes  offset i32 [S+1], rising from 0 or more to `rows` or less -> y i32 [rows]
 * attr    rows: int, 0 or more
 * vjp     none
 * errors  CG_ESHAPE: offset is not of rank 1, or empty. CG_EDTYPE. CG_EINVAL: rows.
 *         A run: CG_EINVAL: offsets that fall or leave the rows
 * onnx    of segments of one length: Range, or the first rows of the table that it selects */
#include "ops/elementwise.h"
#include "ops/ops.h"
#include "ops/segment.h"

#include <string.h>

typedef struct segment_position_attr {
    int64_t rows;
} segment_position_attr;

static const cg_attr_field fields[] = {CG_ATTR(segment_position_attr, rows, INT), {0}};

static cg_status infer(const cg_node *n, cg_type *out) {
    const segment_position_attr *attr = n->attr;
    CG_TRY(cg_check_offset(n->in[0], "offset"));
    if (attr->rows < 0)
        return cg_error(CG_EINVAL, "rows is %lld, wanted 0 or more", (long long)attr->rows);
    *out = (cg_type){CG_I32, CG_SHAPE(attr->rows)};
    return CG_OK;
}

static void count(const void *arg, int64_t begin, int64_t end) {
    const cg_task *t = arg;
    const int32_t *offset = t->in[0];
    for (int64_t s = begin; s < end; s++) {
        int32_t *y = (int32_t *)t->out[0] + offset[s], n = offset[s + 1] - offset[s];
        for (int32_t i = 0; i < n; i++) y[i] = i;
    }
}

static cg_status run(const cg_task *t) {
    const int32_t *offset = t->in[0];
    int64_t segments = t->node->in[0]->shape.dim[0] - 1, rows = t->node->out[0]->shape.dim[0];
    int32_t *y = t->out[0];
    CG_TRY(cg_check_rising(offset, segments, rows, "offset"));
    memset(y, 0, (size_t)offset[0] * sizeof *y);
    cg_parallel(t->threads, segments, 1, rows, count, t);
    memset(y + offset[segments], 0, (size_t)(rows - offset[segments]) * sizeof *y);
    return CG_OK;
}

static cg_status onnx(cg_onnx_sink *s, const cg_node *n) {
    cg_onnx_size size[2], rows;
    if (!cg_onnx_segments(s, n->in[0], &size[0], &size[1])) return CG_EUNSUPPORTED;
    rows = cg_onnx_times(size[0], size[1]);
    cg_onnx_ref *place = cg_onnx_repeat(s, cg_onnx_range(s, size[1]), 2, size);
    return cg_onnx_give(s, n->out[0], cg_onnx_reshape(s, place, 1, &rows));
}

const cg_op cg_op_segment_position = {
    .name = "segment_position",
    .min_in = 1,
    .max_in = 1,
    .n_out = 1,
    .attr_size = sizeof(segment_position_attr),
    .attr = fields,
    .infer = infer,
    .run = run,
    .onnx = onnx,
};

cg_value *cg_segment_position(cg_graph *g, cg_value *offset, int64_t rows) {
    segment_position_attr attr = {rows};
    return cg_node_add1(g, &cg_op_segment_position, &attr, 1, &offset);
}
