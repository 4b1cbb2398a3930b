/* Tensors made of nothing but their names, so that full models can be compared with numbers from
 * elsewhere without storing weights or inputs. tools/golden/hashed.py is the other half; its header
 * states the rules, which both sides follow to the last bit:
 *
 *     k    = top 24 bits of cg_mix64(fnv1a64(name) + i)
 *     u(i) = (2k + 1 - 2²⁴) / 2²⁴        in (-1, 1), exact in f32, symmetric, never 0
 *
 * source  Fowler, Noll and Vo, FNV-1a; Steele et al., SplitMix, OOPSLA 2014 */
#ifndef CG_TEST_HASH_H
#define CG_TEST_HASH_H

#include "graph/params.h"
#include "models/desc.h"

/* fnv1a64(name): where a tensor's numbers start. */
uint64_t cg_hash_name(const char *name);

/* u(i) of the tensor whose name has this key. */
double cg_hash_unit(uint64_t key, int64_t i);

/* Fills every parameter of an allocated store by its name and rank; counters become 5. */
void cg_hash_params(cg_params *p);

/* Pictures of that number, f32 [n, size, size, 3]: noise upon blocks of 8 × 8 pixels. */
void cg_hash_image(int number, int64_t n, int64_t size, float *out);

/* n captions of that number, as a tokenizer gives them: start, caption (t + number) mod n's length
 * of ids, end. token has room for the lengths' sum and 2 n; offset [n + 1]. */
void cg_hash_captions(int number, const cg_text_desc *text, int64_t n, const int32_t *length,
                      int32_t *token, int32_t *offset);

#endif
