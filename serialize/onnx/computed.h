/* From an import to what its runs compute, and what a graph may ask of it; for serialize/onnx/
 * only. */
#ifndef CG_ONNX_COMPUTED_H
#define CG_ONNX_COMPUTED_H

#include "serialize/onnx/import_private.h"
#include "serialize/onnx/mask.h"

/* Takes m over where the graph has computed inputs; else *out is NULL. */
cg_status cg_onnx_computed_make(cg_importer *m, cg_onnx_computed **out);

/* An input that is computed: its numbers, f32 or i32 as the graph has it, at an address that stays;
 * now they are those of the run that the graph is made for. NULL: v is none, or n is NULL. */
const void *cg_onnx_computed_numbers(const cg_onnx_computed *n, const cg_value *v);

/* Both make an input of the graph of what inputs that are computed hold, if they are of that form
 * now. NULL: they are not, or the graph has failed. The graph is then for runs in which they are,
 * or are not, of that form as they are now (cg_onnx_computed_run). */

/* Keys that a mask lets be seen, f32 [sequences · keys] of 1 and 0. */
cg_value *cg_onnx_computed_keys(cg_onnx_computed *n, cg_graph *g, const cg_mask *mask, int causal);

/* Indices, of which `width` in a row are those of one row of a matrix [sequences · rows, width],
 * and that is a row of each sequence in turn: i32 [sequences · rows], 1 in those rows, and 0. */
typedef struct cg_chosen_rows {
    const int32_t *index; /* [sequences, width] */
    int64_t sequences, rows, width;
} cg_chosen_rows;
cg_value *cg_onnx_computed_rows(cg_onnx_computed *n, cg_graph *g, const cg_chosen_rows *rows);

#endif
