/* safetensors files: named tensors and metadata, nothing that runs.
 *
 *   u64 n | n bytes of JSON | data
 *   {"__metadata__": {key: value}, name: {"dtype", "shape", "data_offsets": [begin, end]}}
 *
 * source  huggingface/safetensors, README.md and src/tensor.rs */
#ifndef CG_SAFETENSORS_H
#define CG_SAFETENSORS_H

#include "serialize/tensor.h"

CG_API_BEGIN

typedef struct cg_safetensors cg_safetensors;

/* Maps a file and checks all of its header, but reads no data. The file, untrusted, is refused
 * unless: the header lies within the file and within 100,000,000 bytes; it is UTF-8 JSON without
 * duplicate keys or deep nesting; every dtype is known; every shape times its dtype is the length
 * of its data, computed without overflow; the data have neither gap nor overlap nor rest.
 * errors  CG_ENOTFOUND, CG_EIO, CG_ENOMEM; CG_EFORMAT names the file, the tensor and the fault;
 *         CG_EUNSUPPORTED: a dtype of the format that clipgraph lacks, or a rank above 6 */
cg_status cg_safetensors_open(const char *path, cg_safetensors **out);
void cg_safetensors_close(cg_safetensors *s); /* NULL is allowed */

/* The tensors in the order of their data; valid, names and data too, until the file is closed. Who
 * casts the const of the data away may write there: the file stays as it is (cg_file_map_private).
 */
int cg_safetensors_count(const cg_safetensors *s);
const cg_tensor *cg_safetensors_tensors(const cg_safetensors *s);
const cg_tensor *cg_safetensors_find(const cg_safetensors *s, const char *name); /* NULL: none */

/* The metadata in the order of the file, and one value by key (NULL: none). */
int cg_safetensors_meta_count(const cg_safetensors *s);
const cg_meta *cg_safetensors_meta(const cg_safetensors *s);
const char *cg_safetensors_meta_find(const cg_safetensors *s, const char *key);

/* Writes a file, whole or not at all. Data start at a multiple of 64. Tensors stand in the
 * given order, but those first whose bytes are a multiple of 64, then of 32, and so on: so the
 * former start at multiples of 64, and all are aligned for their elements, without the gaps that
 * the format forbids, and can be used where they are mapped. The same arguments give the same
 * bytes. data of empty tensors may be NULL. errors  CG_EINVAL: duplicate or reserved name, not
 * UTF-8, bytes that do not fit the shape; CG_EIO, CG_ENOMEM */
cg_status cg_safetensors_save(const char *path, const cg_tensor *tensors, int count,
                              const cg_meta *meta, int meta_count);

CG_API_END

#endif
