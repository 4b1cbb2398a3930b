/* Where a value's elements come from: back through nodes that only move, select or scale them. For
 * serialize/onnx/recognise*.c. */
#ifndef CG_ONNX_TRACE_H
#define CG_ONNX_TRACE_H

#include "serialize/onnx/view.h"

enum { CG_TRACE_MOVES = 1, CG_TRACE_SLICES = 2, CG_TRACE_SCALES = 4 };

/* Elements of base from `offset` on, seen so, times scale. */
typedef struct cg_trace {
    cg_value *base;
    int64_t offset;
    cg_view view;
    float scale;
} cg_trace;

/* through: what the way back may pass, as bits. */
cg_trace cg_trace_of(cg_value *v, int through);

#endif
