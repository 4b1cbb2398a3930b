/* Damage to ONNX files, as a stream of random numbers has it. */
#ifndef CG_TEST_ONNX_DAMAGE_H
#define CG_TEST_ONNX_DAMAGE_H

#include "graph/rng.h"

#include <stddef.h>

/* Writes a file to `path`, damaged: one of three in its bytes, which are changed, cut off or copied
 * elsewhere; the others in their structure, nodes, attributes, tensors and names being changed for
 * others. Failures fail the running test. */
void onnx_damage(cg_rng *r, const unsigned char *data, size_t bytes, const char *path);

#endif
