/* Import as a part of what is done before a run; for serialize/onnx/ only. */
#ifndef CG_ONNX_IMPORT_INSIDE_H
#define CG_ONNX_IMPORT_INSIDE_H

#include "serialize/onnx/budget.h"
#include "serialize/onnx/import.h"

/* cg_onnx_import, which spends of *budget. */
cg_status cg_onnx_import_within(const cg_onnx_file *f, const cg_shape *shape,
                                const int32_t *const *integers, uint64_t wanted, cg_graph *g,
                                cg_budget *budget, cg_onnx_ahead **ahead);

#endif
