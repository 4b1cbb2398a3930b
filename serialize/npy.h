/* .npy files: one NumPy array each, little-endian f4, f2, i4, i8 or u1 in C order.
 *
 *   "\x93NUMPY" | major | minor | header length (u16; u32 from version 2) | header | data
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * source  numpy/lib/format.py */
#ifndef CG_NPY_H
#define CG_NPY_H

#include "graph/file.h"
#include "graph/types.h"

CG_API_BEGIN

typedef struct cg_npy {
    cg_dtype dtype; /* CG_F32, CG_F16, CG_I32, CG_I64 or CG_U8 */
    cg_shape shape;
    const void *data; /* aligned; in the mapped file, valid until cg_npy_close */
    cg_map map;
} cg_npy;

/* errors  CG_ENOTFOUND, CG_EIO; CG_EFORMAT: not such a file, or cut short; CG_EUNSUPPORTED:
 *         another element type, byte order, Fortran order, version or a rank above 6 */
cg_status cg_npy_open(const char *path, cg_npy *out);
void cg_npy_close(cg_npy *a); /* an all-zero or closed one is allowed */

/* Writes a whole array, or nothing. errors  CG_EDTYPE, CG_ESHAPE, CG_EIO */
cg_status cg_npy_save(const char *path, cg_dtype dtype, const cg_shape *shape, const void *data);

/* The same by parts: writes the header; the caller adds the data with cg_file_write, as many
 * bytes as the shape takes, and ends with cg_file_commit. */
cg_status cg_npy_create(const char *path, cg_dtype dtype, const cg_shape *shape, cg_file **out);

CG_API_END

#endif
