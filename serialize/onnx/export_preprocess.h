/* Pictures prepared inside the file. Only for the exporter. */
#ifndef CG_ONNX_EXPORT_PREPROCESS_H
#define CG_ONNX_EXPORT_PREPROCESS_H

#include "serialize/onnx/export_private.h"

/* The input pixels, u8 [batch, height, width, 3], and what makes of it the value `image`, f32
 * [batch, size, size, 3], held as [batch, 3, size, size]. */
cg_onnx_ref *cg_onnx_preprocessed(cg_onnx_export *x, const cg_value *image, const cg_preprocess *p);

#endif
