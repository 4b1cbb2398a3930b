/* Parameters to a file and back, matched by name. */
#ifndef CG_PARAMS_IO_H
#define CG_PARAMS_IO_H

#include "graph/params.h"
#include "serialize/tensor.h"

CG_API_BEGIN

/* How a file and a store may differ; all zero (or NULL) is strict: not at all. */
typedef struct cg_params_load_options {
    int allow_missing;    /* parameters that the file lacks keep their values */
    int allow_unexpected; /* tensors that the store lacks are left out */
} cg_params_load_options;

/* Writes every parameter, in order of declaration, to a safetensors file (whole or not at all).
 * The metadata is the given lines and format = "pt", which Python's loaders ask for.
 * errors  CG_EINVAL: not allocated; those of cg_safetensors_save */
cg_status cg_params_save(const cg_params *p, const char *path, const cg_meta *meta, int meta_count);

/* Fills the store from a safetensors file; f16 and bf16 widen to f32, and a scalar may be stored
 * as [1]. Either everything fits and is copied, or the store stays as it was.
 * errors  CG_EINVAL names what is missing, what is unexpected and the nearest name that it may
 *         have meant; CG_ESHAPE, CG_EDTYPE with what was found and wanted; those of
 *         cg_safetensors_open */
cg_status cg_params_load(cg_params *p, const char *path, const cg_params_load_options *options);

/* For inference: as cg_params_load, strictly, of a store that is declared and not allocated, which
 * borrows (cg_params_borrow) the mapped file: a page of it is read when a run first touches it, and
 * a write changes this process's copy alone. Tensors of another element type, or that do not start
 * at a multiple of their element's size, are copied now. The file must not be cut short or
 * rewritten in place while the store is there (graph/file.h); whoever replaces it by renaming, as
 * cg_params_save does, changes nothing for this store. Its length is checked here, the numbers in
 * it are not. errors  CG_EINVAL: allocated already; those of cg_params_load */
cg_status cg_params_map(cg_params *p, const char *path);

/* As cg_params_load, from tensors that another reader gives. */
cg_status cg_params_load_tensors(cg_params *p, const cg_tensor *tensors, int count,
                                 const cg_params_load_options *options);

CG_API_END

#endif
