/* From an import to what its runs compute; for serialize/onnx/ only. */
#ifndef CG_ONNX_AHEAD_H
#define CG_ONNX_AHEAD_H

#include "serialize/onnx/import_private.h"

/* Takes m over where the graph has computed inputs; else *out is NULL. */
cg_status cg_onnx_ahead_make(cg_importer *m, cg_onnx_ahead **out);

#endif
