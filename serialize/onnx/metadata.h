/* More metadata for a file that is there. */
#ifndef CG_ONNX_METADATA_H
#define CG_ONNX_METADATA_H

#include "serialize/tensor.h"

CG_API_BEGIN

/* Appends entries to an ONNX file's metadata. Nothing of what is there changes: in the format, a
 * message's fields may stand anywhere in it, so that these come behind all others. Not safe against
 * a crash: for files that are being made. errors  CG_EIO, CG_ENOTFOUND, CG_ENOMEM */
cg_status cg_onnx_append_meta(const char *path, const cg_meta *meta, int n);

CG_API_END

#endif
